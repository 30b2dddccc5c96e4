"""Rollouts in real Postgres: what is built, when it serves, and what a cutover or its undoing leaves behind."""

from __future__ import annotations

import msgspec
import pytest

from headrace.api.dag import DagSpec
from headrace.compile.dag import compile_dag
from headrace.errors import TemporaryError
from headrace.plan.rollout import Fail, Hold, Stay, SwitchOver
from headrace.run.commit import commands_only
from headrace.state import units
from headrace.state.cutover import cut_over
from headrace.state.database import Database
from headrace.state.report import read_report
from tests.state.flights import KEYS, all_claims, current, flights, keys, rollouts, serve
from tests.state.world import World, step


@pytest.fixture
def world(db: Database) -> World:
    return World(db)


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

    async with world.db.transaction() as tx:
        await units.create_source_tasks(tx, source, [key], again=True)  # type: ignore[arg-type]
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


async def test_a_source_of_a_version_that_does_not_serve_makes_nothing(world: World) -> None:
    await serve(world)
    ((former,),) = await world.rows("SELECT id FROM jobs WHERE name = 'month'")
    await world.apply("flights", *flights(timeoutSeconds=7))
    await rematerialise(world, former, "a")
    assert await world.drain() == []
    assert await world.rows("SELECT 1 FROM tasks WHERE status = 'Queued'") == []


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


async def test_partitions_that_are_made_again_in_both_are_not_taken_from_readers(world: World) -> None:
    """All data came again before anything was built: open in both versions, and the new one has nothing yet."""
    await serve(world)
    await world.apply("flights", *flights(1))
    ((source,),) = await world.rows("SELECT id FROM jobs WHERE name = 'month' ORDER BY created_at LIMIT 1")
    for key in KEYS:
        await rematerialise(world, source, key)
    while pods := [pod for pod in await world.claim() if pod.job == "clean"]:
        await world.complete_all(pods)
    assert await world.advance("flights") == Stay()
    assert await keys(world, "rank") == "abc"
    await world.drain()
    assert await world.advance("flights") == SwitchOver()
    assert await keys(world, "rank") == "abc"


async def test_a_partition_that_serves_is_not_lost_since_both_versions_fail_to_make_it_again(world: World) -> None:
    await world.apply("flights", *flights(maxAttempts=1))
    await world.run("flights", "month", *KEYS)
    await world.drain()
    ((source,),) = await world.rows("SELECT id FROM jobs WHERE name = 'month'")
    await rematerialise(world, source, "b")
    for n in (0, 1):
        await world.apply("flights", *flights(n, maxAttempts=1))
        while pods := await world.claim():
            for pod in pods:
                assert await (world.fail(pod) if (pod.job, pod.partitions) == ("join", ["b"]) else world.complete(pod))
    assert await world.advance("flights") == Fail(cause="job join, partition b: it broke")
    assert await keys(world) == "abc"


async def test_a_build_of_a_suspended_dag_holds_nothing_and_one_that_fails_for_now_says_why(world: World) -> None:
    await serve(world)
    await world.apply("flights", *flights(1))
    (pod,) = await world.claim()
    await world.fail(pod, backoff=60.0)
    org = await world.org()
    async with world.db.transaction() as tx:
        report = await read_report(tx, org.id, "flights")
    assert report.rollout is not None
    assert report.rollout.trouble == "join, partition a: it broke"
    await world.apply("flights", *flights(1), suspend=True)
    await world.rows("UPDATE rollouts SET next_hold_at = now() WHERE state = 'Building' RETURNING 1")
    assert await world.advance("flights") == Stay()
    await world.apply("flights", *flights(1))
    assert await world.rows("SELECT held_until > now() FROM rollouts WHERE state = 'Building'") == [(True,)]


async def test_an_approval_that_comes_with_the_first_objects_of_a_set_holds_when_the_set_is_there(world: World) -> None:
    await serve(world)
    manual = {"strategy": "Manual"}
    wanted = compile_dag("flights", msgspec.convert({"jobs": flights(1)}, DagSpec)).yaml_hash
    approve = {"headrace.dev/approve": f"1 {wanted}"}
    async with world.db.transaction() as tx:
        assert await commands_only(tx, 0, await world.org(), "flights", approve, coming=True) == {}
    await world.apply("flights", *flights(1), rollout=manual, annotations=approve)
    await world.drain()
    assert await world.advance("flights") == SwitchOver()


async def test_a_name_that_moves_to_another_job_loses_no_partition(world: World) -> None:
    """What arrives while the new job is built is there under the name before the new version serves."""

    async def under_the_name() -> str:
        return "".join(str(key) for (key,) in await world.rows(
            "SELECT pv.partition_key FROM dag_current_versions c JOIN dag_version_datasets v USING (dag_version_id)"
            " JOIN partition_versions pv USING (dataset_uuid, dataset_version) WHERE v.name = 'x' ORDER BY 1"
        ))  # fmt: skip

    def publish(job: str) -> list[dict[str, object]]:
        return [{"name": "x", "from": {"job": job}}]

    await world.apply("flights", *flights(), publish=publish("rank"))
    await world.run("flights", "month", *KEYS)
    await world.drain()
    jobs = [job for job in flights() if job["name"] != "rank"]
    await world.apply("flights", *jobs, step("rank2", "join", scaling={"maxConcurrency": 9}), publish=publish("rank2"))
    await world.run("flights", "month", "d")
    while others := [pod for pod in await world.claim() if (pod.job, *pod.partitions) != ("rank2", "d")]:
        for pod in others:
            assert await world.complete(pod)
    assert await under_the_name() == "abcd"
    assert not isinstance(await world.advance("flights"), SwitchOver)
    for pod in await world.running():
        assert await world.complete(pod)
    assert await world.advance("flights") == SwitchOver()
    assert await under_the_name() == "abcd"


async def test_what_is_made_anew_says_for_which_version(world: World) -> None:
    await serve(world)
    assert {row.rebuilding for row in (await world.report("flights")).datasets} == {None}
    await world.apply("flights", *flights(1))
    report = await world.report("flights")
    assert report.rollout is not None
    made = {row.job: row.rebuilding for row in report.datasets}
    assert made == {"month": None, "clean": None, "other": None, "join": report.rollout.yaml_hash,
                    "rank": report.rollout.yaml_hash}  # fmt: skip
    await world.drain()
    await world.advance("flights")
    assert {row.rebuilding for row in (await world.report("flights")).datasets} == {None}
