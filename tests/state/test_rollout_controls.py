"""What people have a hand in while a version is built: failures and retry, deadlines, approval, pins, reuse."""

from __future__ import annotations

import pytest

from headrace.plan.rollout import Fail, Hold, Stay, SwitchOver, Wait
from headrace.state.database import Database
from tests.state.flights import KEYS, all_claims, current, flights, keys, rollouts, serve
from tests.state.world import World


@pytest.fixture
def world(db: Database) -> World:
    return World(db)


async def test_a_unit_that_fails_for_good_fails_the_rollout_and_retry_resumes_it(world: World) -> None:
    await serve(world)
    before = await current(world)
    await world.apply("flights", *flights(1, maxAttempts=1))
    (pod,) = await world.claim()
    assert await world.fail(pod)
    assert await world.advance("flights") == Fail(cause="job join, partition a: it broke")
    assert await rollouts(world) == [("Failed", "job join, partition a: it broke")]
    assert await world.claim() == []
    plan = await world.apply("flights", *flights(1, maxAttempts=1))
    assert plan.blocked is not None
    assert (plan.blocked.reason, plan.steps) == ("RolloutFailed", ())
    assert await current(world) == before
    await world.apply("flights", *flights(1, maxAttempts=1), annotations={"headrace.dev/retry": "1"})
    assert await rollouts(world) == [("Building", None)]
    assert len(await world.drain()) == 6
    assert await world.advance("flights") == SwitchOver()


async def test_a_version_that_failed_and_is_applied_again_tries_again_what_failed(world: World) -> None:
    await serve(world)
    await world.apply("flights", *flights(1, maxAttempts=1))
    (pod,) = await world.claim()
    assert await world.fail(pod)
    await world.advance("flights")
    await world.apply("flights", *flights())
    await world.apply("flights", *flights(1, maxAttempts=1))
    assert await rollouts(world) == [("Superseded", "job join, partition a: it broke"), ("Building", None)]
    assert len(await world.drain()) == 6
    assert await world.advance("flights") == SwitchOver()


async def test_a_unit_that_failed_in_the_serving_version_too_does_not_stop_a_rollout(world: World) -> None:
    await world.apply("flights", *flights(maxAttempts=1))
    await world.run("flights", "month", *KEYS)
    while pods := await world.claim():
        for pod in pods:
            assert await (world.fail(pod) if (pod.job, pod.partitions) == ("join", ["b"]) else world.complete(pod))
    await world.apply("flights", *flights(1, maxAttempts=1))
    while pods := await world.claim():
        for pod in pods:
            assert await (world.fail(pod) if (pod.job, pod.partitions) == ("join", ["b"]) else world.complete(pod))
    assert await world.advance("flights") == SwitchOver()
    assert await keys(world) == "ac"


async def test_a_deadline_that_is_over_fails_it(world: World) -> None:
    await serve(world)
    await world.apply("flights", *flights(1), rollout={"deadlineSeconds": 3600})
    assert await world.advance("flights") in (Stay(), Hold(seconds=60))
    await world.rows(
        "UPDATE rollouts SET deadline_at = now() - interval '1 second' WHERE state = 'Building' RETURNING 1"
    )
    assert await world.advance("flights") == Fail(cause="its deadline is over: 3 units of the build not done")
    assert await world.claim() == []


async def test_a_manual_rollout_waits_for_approval_and_catches_up_meanwhile(world: World) -> None:
    await serve(world)
    manual = {"strategy": "Manual"}
    plan = await world.apply("flights", *flights(1), rollout=manual)
    await world.drain()
    assert await world.advance("flights") == Wait()
    assert await rollouts(world) == [("Ready", None)]
    await world.run("flights", "month", "d")
    await world.drain()
    assert await world.advance("flights") == Stay()
    assert "b" in await keys(world)
    wrong = {"headrace.dev/approve": "1 v1-other"}
    await world.apply("flights", *flights(1), rollout=manual, annotations=wrong)
    assert await rollouts(world) == [("Ready", None)]
    right = {"headrace.dev/approve": f"2 {plan.explanation.yaml_hash}"}
    await world.apply("flights", *flights(1), rollout=manual, annotations=right)
    assert await rollouts(world) == [("Done", None)]
    assert await keys(world, "rank") == "abcd"
    assert await world.drain() == []


async def test_a_plan_above_its_bound_builds_nothing_before_approval(world: World) -> None:
    await serve(world)
    bound = {"maxBuildTasks": 5}
    plan = await world.apply("flights", *flights(1), rollout=bound)
    assert plan.explanation.approval == "it would run 6 tasks, more than the 5 of rollout.maxBuildTasks"
    await world.run("flights", "month", "d")
    assert sorted({job for job, _ in await world.drain()}) == ["clean", "join", "other", "rank"]
    assert await world.rows("SELECT count(*) FROM tasks WHERE backfill") == [(0,)]
    approve = {"headrace.dev/approve": f"1 {plan.explanation.yaml_hash}"}
    await world.apply("flights", *flights(1), rollout=bound, annotations=approve)
    assert len(await world.drain()) == 8
    assert await world.advance("flights") == SwitchOver()
    assert await keys(world) == "abcd"


async def test_a_build_above_its_bound_that_is_manual_too_is_approved_twice(world: World) -> None:
    await serve(world)
    both = {"maxBuildTasks": 5, "strategy": "Manual"}
    plan = await world.apply("flights", *flights(1), rollout=both)
    for request, state in (("1", "Ready"), ("2", "Done")):
        approve = {"headrace.dev/approve": f"{request} {plan.explanation.yaml_hash}"}
        await world.apply("flights", *flights(1), rollout=both, annotations=approve)
        await world.drain()
        await world.advance("flights")
        assert await rollouts(world) == [(state, None)]


async def test_a_pinned_version_serves_until_it_is_unpinned(world: World) -> None:
    await serve(world)
    before = await current(world)
    ((first,),) = await world.rows("SELECT yaml_hash FROM dag_versions")
    await world.apply("flights", *flights(1))
    await world.drain()
    await world.advance("flights")
    after = await current(world)
    pin = {"headrace.dev/pin": f"1 {first}"}
    await world.apply("flights", *flights(1), annotations=pin)
    assert await current(world) == before
    # A tool that takes the annotation back undoes nothing, and a newer document is registered and waits.
    await world.apply("flights", *flights(2))
    assert await current(world) == before
    assert await world.drain() == []
    assert await world.rows("SELECT count(*) FROM dag_versions") == [(3,)]
    await world.apply("flights", *flights(1), annotations={**pin, "headrace.dev/unpin": "2"})
    assert await current(world) == after
    assert await world.drain() == []


async def test_what_never_served_cannot_be_pinned(world: World) -> None:
    await serve(world)
    plan = await world.apply("flights", *flights(1))
    told = await world.command("flights", "pin", plan.explanation.yaml_hash)
    assert told is not None
    assert told.startswith(f"refused: no version of {plan.explanation.yaml_hash[:20]} has served")


async def test_reuse_keeps_the_data_of_a_changed_job_and_of_what_follows(world: World) -> None:
    await serve(world)
    before, ranks = await current(world), await current(world, "rank")
    plan = await world.apply("flights", *flights(1), rollout={"reuse": ["join"]})
    assert (plan.explanation.tasks, [j.reuses for j in plan.explanation.jobs if j.job == "join"]) == (0, [True])
    assert (await current(world), await current(world, "rank")) == (before, ranks)
    assert await world.drain() == []
    await world.run("flights", "month", "d")
    ran = {pod.job: pod.config for pod in await all_claims(world)}
    assert ran["join"] == {"n": 1}
    # For good, also without the wish; and the first document has its own data as ever.
    await world.apply("flights", *flights(1, timeoutSeconds=9))
    assert await world.drain() == []
    await world.apply("flights", *flights())
    assert await world.drain() == []
    assert await keys(world) == "abcd"


async def test_reuse_can_be_wished_for_while_the_version_is_built(world: World) -> None:
    await serve(world)
    before = await current(world)
    await world.apply("flights", *flights(1))
    (running,) = await world.claim()
    await world.apply("flights", *flights(1), rollout={"reuse": ["join"]})
    assert await rollouts(world) == [("Done", None)]
    assert await current(world) == before
    assert not await world.complete(running)
    assert await world.drain() == []


async def test_what_has_served_with_data_of_its_own_keeps_them(world: World) -> None:
    """The wish comes too late: the document served before, and its data are there."""
    await serve(world)
    await world.apply("flights", *flights(1))
    await world.drain()
    await world.advance("flights")
    own = await current(world)
    await world.apply("flights", *flights())
    await world.apply("flights", *flights(1), rollout={"reuse": ["join"]})
    assert await current(world) == own
    # Another document with the same job as the first: F1 has served, so it does not come to stand for F2's data.
    await world.apply("flights", *flights(0, timeoutSeconds=9), rollout={"reuse": ["join"]})
    await world.advance("flights")
    assert await world.drain() == []
    assert await world.rows("SELECT * FROM same_data") == []


async def test_what_a_build_does_is_told_beside_what_serves(world: World) -> None:
    """Of jobs that are built anew only; what failed once the rollout has failed; nothing of it after a return."""
    await serve(world)
    await world.apply("flights", *flights(1, maxAttempts=1, scaling={"maxConcurrency": 3}))

    async def told() -> list[tuple[object, ...]]:
        report = await world.report("flights")
        assert [(job.waiting, job.running, job.failed) for job in report.jobs] == [(0, 0, 0)] * 5
        return [(b.name, b.waiting, b.running, b.failed, b.failed_key) for b in report.builds]

    assert await told() == [("join", 3, 0, 0, None)]
    one, two, _ = await world.claim(3)
    assert await told() == [("join", 0, 3, 0, None)]
    await world.complete(one)
    assert await told() == [("join", 0, 2, 0, None), ("rank", 1, 0, 0, None)]
    assert await world.fail(two)
    assert isinstance(await world.advance("flights"), Fail)
    assert ("join", 0, 1, 1, two.partitions[0]) in await told()
    await world.apply("flights", *flights())
    assert await told() == []
