"""Rollouts in real Postgres: what is built, when it serves, and what every way out of a rollout leaves behind."""

from __future__ import annotations

import pytest

from headrace.errors import TemporaryError
from headrace.plan.rollout import Fail, Hold, Stay, SwitchOver, Wait
from headrace.state.cutover import cut_over
from headrace.state.database import Database
from tests.state.world import World, month_source, step

KEYS = ("a", "b", "c")


@pytest.fixture
def world(db: Database) -> World:
    return World(db)


def flights(n: object = 0, *, rank: object = 0, **join: object) -> list[dict[str, object]]:
    """month -> clean -> join -> rank, and clean -> other; the config of join, and of rank."""
    return [
        month_source(*KEYS, "d"),
        step("clean", "month"),
        step("join", "clean", config={"n": n}, **join),
        step("rank", "join", config={"n": rank}),
        step("other", "clean"),
    ]


async def serve(world: World, *keys: str) -> None:
    """A first version with these partitions done."""
    await world.apply("flights", *flights())
    await world.run("flights", "month", *(keys or KEYS))
    await world.drain()


async def rollouts(world: World) -> list[tuple[object, ...]]:
    """State and cause of every rollout but the first, oldest first."""
    return (await world.rows("SELECT state, cause FROM rollouts ORDER BY seq"))[1:]


async def current(world: World, job: str = "join") -> list[tuple[object, ...]]:
    """The partitions of a job's output that serve, with where they are."""
    return await world.rows(
        "SELECT pv.partition_key, pv.location FROM dag_current_versions c JOIN dag_version_datasets v USING"
        " (dag_version_id) JOIN datasets d ON d.id = v.dataset_uuid JOIN partition_versions pv ON pv.dataset_version ="
        " v.dataset_version WHERE d.producer_job_name = %(job)s ORDER BY 1",
        job=job,
    )


async def keys(world: World, job: str = "join") -> str:
    """The partitions of a job's output that serve."""
    return "".join(str(key) for key, _ in await current(world, job))


async def test_only_what_changed_and_what_follows_is_built_and_then_it_serves(world: World) -> None:
    await serve(world)
    before, clean = await current(world), await current(world, "clean")
    plan = await world.apply("flights", *flights(1))
    assert (plan.explanation.tasks, plan.explanation.partitions, plan.explanation.swap) == (6, 6, "build first")
    assert await current(world) == before
    assert sorted(await world.drain()) == [(job, key) for job in ("join", "rank") for key in KEYS]
    assert await current(world) == before
    assert await world.advance("flights") == SwitchOver()
    assert await keys(world) == "abc"
    assert not set(await current(world)) & set(before)
    assert await current(world, "clean") == clean
    assert await rollouts(world) == [("Done", None)]
    assert await world.drain() == []


async def test_a_change_that_touches_no_data_serves_at_once(world: World) -> None:
    await serve(world)
    before = await current(world)
    await world.apply("flights", *flights(timeoutSeconds=7))
    assert await rollouts(world) == [("Done", None)]
    assert await current(world) == before
    assert await world.drain() == []


async def test_live_work_goes_on_while_a_version_is_built_and_nothing_is_lost(world: World) -> None:
    """Data that arrive meanwhile are processed by both versions; the new one serves when it has all of the old one."""
    await serve(world)
    await world.apply("flights", *flights(1))
    await world.run("flights", "month", "d")
    done = await world.drain()
    assert done.count(("clean", "d")) == 1
    assert done.count(("join", "d")) == done.count(("rank", "d")) == 2
    assert await keys(world) == "abcd"
    assert await world.advance("flights") == SwitchOver()
    assert await keys(world, "rank") == "abcd"


async def test_what_arrives_again_while_it_is_built_is_built_again(world: World) -> None:
    await serve(world)
    await world.apply("flights", *flights(1))
    await world.drain()
    ((source,),) = await world.rows("SELECT id FROM jobs WHERE name = 'month' ORDER BY created_at LIMIT 1")
    await rematerialise(world, source, "a")
    assert await world.advance("flights") == SwitchOver()  # the serving version has not done it again either
    left = await world.rows("SELECT unit_key FROM tasks WHERE status = 'Queued'")
    assert left == [("a",)]
    assert sorted(await world.drain()) == [("clean", "a"), ("join", "a"), ("other", "a"), ("rank", "a")]


async def rematerialise(world: World, source: object, key: str) -> None:
    """A source's partition is made again, as a forced run would."""
    from headrace.state import tasks  # noqa: PLC0415

    async with world.db.transaction() as tx:
        await tasks.create_source_tasks(tx, source, [key], again=True)  # type: ignore[arg-type]
    await world.dispatch()


async def test_the_pointers_swap_first_on_a_rollback_and_only_what_is_stale_is_done_after(world: World) -> None:
    await serve(world)
    before = await current(world)
    await world.apply("flights", *flights(1))
    await world.drain()
    await world.advance("flights")
    await world.run("flights", "month", "d")
    await world.drain()
    plan = await world.apply("flights", *flights())
    assert (plan.explanation.swap, plan.explanation.restorable) == ("swap only", True)
    assert await current(world) == before
    assert sorted(await world.drain()) == [("join", "d"), ("rank", "d")]
    assert await keys(world) == "abcd"


async def test_a_newer_document_takes_over_what_it_has_in_common(world: World) -> None:
    """join is the same in both: its finished units stay, its queued ones go over; rank's are given up."""
    await serve(world)
    await world.apply("flights", *flights(1, rank=1))
    for pod in await world.claim():
        assert await world.complete(pod)
    (running,) = [pod for pod in await world.claim() if pod.job == "join"]
    await world.apply("flights", *flights(1, rank=2))
    assert await rollouts(world) == [("Superseded", "a newer document took its place"), ("Building", None)]
    assert await world.complete(running)
    done = await world.drain()
    assert [job for job, _ in done].count("join") == 1
    assert [job for job, _ in done].count("rank") == 3
    assert await world.advance("flights") == SwitchOver()
    assert await keys(world, "rank") == "abc"


async def test_going_back_while_it_is_built_gives_the_build_up(world: World) -> None:
    await serve(world)
    before = await current(world)
    await world.apply("flights", *flights(1))
    (running,) = await world.claim()
    await world.apply("flights", *flights())
    assert await rollouts(world) == [("Superseded", "a newer document took its place")]
    assert await world.rows("SELECT DISTINCT status, canceled_by FROM tasks WHERE status <> 'Completed'") == [
        ("Canceled", "rollout")
    ]
    assert not await world.complete(running)
    assert await world.drain() == []
    assert await current(world) == before
    await world.apply("flights", *flights(1))
    assert len(await world.drain()) == 6


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
    assert await world.advance("flights") == Fail(cause="its deadline is over: 3 units of the build were not done")
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


async def test_a_source_of_a_version_that_does_not_serve_makes_nothing(world: World) -> None:
    await serve(world)
    ((former,),) = await world.rows("SELECT id FROM jobs WHERE name = 'month'")
    await world.apply("flights", *flights(timeoutSeconds=7))
    await rematerialise(world, former, "a")
    assert await world.drain() == []
    assert await world.rows("SELECT 1 FROM tasks WHERE status = 'Queued'") == []


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


async def all_claims(world: World) -> list:  # type: ignore[type-arg]
    """Everything that runs until nothing is left."""
    found = []
    while pods := await world.claim():
        for pod in pods:
            assert await world.complete(pod)
        found += pods
    return found


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


async def hold(world: World) -> None:
    """Little has been left for a while: live work of the replaced jobs is held."""
    assert await world.rows("SELECT next_hold_at > now() FROM rollouts WHERE state = 'Building'") == [(True,)]
    assert await world.advance("flights") == Stay()
    await world.rows("UPDATE rollouts SET next_hold_at = now() WHERE state = 'Building' RETURNING 1")
    assert await world.advance("flights") == Hold(seconds=60)


async def test_live_work_of_replaced_jobs_is_held_for_the_last_round_only(world: World) -> None:
    await serve(world)
    await world.apply("flights", *flights(1))
    await hold(world)
    await world.run("flights", "month", "d")
    ran = [(pod.job, pod.config.get("n"), pod.partitions[0]) for pod in await all_claims(world)]
    assert ("join", 0, "d") not in ran
    assert ("join", 1, "d") in ran
    assert ("other", None, "d") in ran
    await world.rows("UPDATE rollouts SET held_until = now() WHERE state = 'Building' RETURNING 1")
    assert [(pod.job, pod.config.get("n")) for pod in await all_claims(world)] == [("join", 0), ("rank", 0)]
    assert await world.advance("flights") == SwitchOver()
    assert await keys(world) == "abcd"


async def test_a_unit_that_is_held_at_the_cutover_is_the_new_jobs(world: World) -> None:
    await serve(world)
    await world.apply("flights", *flights(1))
    await hold(world)
    await world.run("flights", "month", "d")
    await all_claims(world)
    assert await world.advance("flights") == SwitchOver()
    assert await world.rows("SELECT status, canceled_by, unit_key FROM tasks WHERE status <> 'Completed'") == [
        ("Canceled", "cutover", "d")
    ]
    assert await keys(world, "rank") == "abcd"
    assert await world.drain() == []


async def test_an_added_job_is_built_over_what_is_there(world: World) -> None:
    await serve(world)
    await world.apply("flights", *flights(), step("extra", "rank", "other"), step("more", "extra"))
    assert sorted(await world.drain()) == [(job, key) for job in ("extra", "more") for key in KEYS]
    assert await world.advance("flights") == SwitchOver()
    assert await keys(world, "more") == "abc"


async def test_live_work_of_an_added_job_does_not_keep_it_from_serving(world: World) -> None:
    """Data that never cease to arrive leave one unit open at any time; what was there at the start is what counts."""
    await serve(world)
    await world.apply("flights", *flights(), step("extra", "other", scaling={"maxConcurrency": 9}))
    await world.run("flights", "month", "d")
    while pods := [pod for pod in await world.claim() if (pod.job, pod.partitions) != ("extra", ["d"])]:
        await world.complete_all(pods)
    assert await world.advance("flights") == SwitchOver()
    assert await keys(world, "extra") == "abc"
    assert [(pod.job, pod.partitions) for pod in await world.claim()] == [("extra", ["d"])]
    await world.drain()
    assert await keys(world, "extra") == "abcd"


async def test_a_removed_job_goes_without_a_build(world: World) -> None:
    await serve(world)
    before = await current(world)
    plan = await world.apply("flights", *flights()[:3])
    assert sorted(j.job for j in plan.explanation.jobs if j.change == "removed") == ["other", "rank"]
    assert await rollouts(world) == [("Done", None)]
    assert await current(world) == before
    assert await current(world, "rank") == []
    await world.apply("flights", *flights())
    assert await keys(world, "rank") == "abc"
    assert await world.drain() == []


async def test_a_changed_source_is_built_over_the_partitions_that_it_had(world: World) -> None:
    await world.apply("flights", *loading(0))
    await world.run("flights", "load", "a", "b")
    await world.drain()
    plan = await world.apply("flights", *loading(1))
    assert plan.explanation.tasks == 4
    assert sorted(await world.drain()) == [("clean", "a"), ("clean", "b"), ("load", "a"), ("load", "b")]
    # A run of the serving version, meanwhile, is caught up with.
    await world.run("flights", "load", "c")
    await world.drain()
    assert await world.advance("flights") == Stay()
    assert sorted(await world.drain()) == [("clean", "c"), ("load", "c")]
    assert await world.advance("flights") == SwitchOver()
    assert await keys(world, "clean") == "abc"
    await world.apply("flights", *loading(0))
    assert await world.drain() == []


def loading(n: int) -> list[dict[str, object]]:
    """load -> clean; load is a source in pods, and what changes."""
    source = {"name": "load", "image": "i", "source": month_source(*KEYS)["source"], "config": {"n": n}}
    return [source, step("clean", "load")]


async def test_what_a_replaced_source_has_done_or_still_has_to_do_is_the_new_ones_work(world: World) -> None:
    """At a swap: key b arrived since and is done, key c is queued; the version that returns has neither."""
    await world.apply("flights", *loading(0))
    await world.run("flights", "load", "a")
    await world.drain()
    await world.apply("flights", *loading(1))
    await world.drain()
    await world.advance("flights")
    await world.run("flights", "load", "b")
    await world.drain()
    await world.run("flights", "load", "c")
    await world.apply("flights", *loading(0))
    assert sorted(await world.drain()) == [(job, key) for job in ("clean", "load") for key in ("b", "c")]
    assert await keys(world, "clean") == "abc"
    await world.apply("flights", *loading(1))
    assert sorted(await world.drain()) == [("clean", "c"), ("load", "c")]


async def test_the_same_twice_writes_nothing_while_a_version_is_built(world: World) -> None:
    await serve(world)
    await world.apply("flights", *flights(1), rollout={"strategy": "Manual", "deadlineSeconds": 99})
    await world.drain()
    await world.advance("flights")
    before = await world.snapshot()
    await world.apply("flights", *flights(1), rollout={"strategy": "Manual", "deadlineSeconds": 99})
    assert await world.snapshot() == before


async def test_a_deleted_dag_ends_its_rollout_and_begins_it_anew_on_its_return(world: World) -> None:
    await serve(world)
    await world.apply("flights", *flights(1))
    await world.claim()
    assert await world.leave("flights")
    assert await rollouts(world) == [("Canceled", "the DAG was deleted")]
    assert await world.claim() == []
    await world.apply("flights", *flights(1))
    assert await rollouts(world) == [("Canceled", "the DAG was deleted"), ("Building", None)]
    assert len(await world.drain()) == 6
    assert await world.advance("flights") == SwitchOver()


async def test_work_of_unchanged_jobs_goes_on_over_a_cutover(world: World) -> None:
    """The attempt that runs keeps its token and is accepted; what waits keeps its place."""
    await world.apply("flights", *flights())
    await world.run("flights", "month", *KEYS)
    (running,) = await world.claim()
    assert (running.job, running.partitions) == ("clean", ["a"])
    unfinished = "SELECT id, seq, unit_key FROM tasks WHERE status IN ('Queued', 'Running') ORDER BY seq"
    before = await world.rows(unfinished)
    await world.apply("flights", *flights(1))
    assert await rollouts(world) == [("Done", None)]
    assert await world.rows(unfinished) == before
    assert await world.complete(running)
    done = await world.drain()
    assert ("clean", "a") not in done
    assert len(done) == len(set(done)) == 11
    assert await keys(world, "rank") == "abc"


async def test_a_cutover_is_made_only_from_the_version_that_it_was_planned_for(world: World) -> None:
    await serve(world)
    before = await current(world)
    ((first,),) = await world.rows("SELECT id FROM dag_versions")
    await world.apply("flights", *flights(1))
    org = await world.org()
    ((second,),) = await world.rows("SELECT id FROM dag_versions WHERE id <> %(first)s", first=first)
    for base in (None, second):
        with pytest.raises(TemporaryError, match="another version became current meanwhile"):
            async with world.db.transaction() as tx:
                await cut_over(tx, org.id, "flights", base, second)  # type: ignore[arg-type]
    assert await current(world) == before
