"""Outputs of attempts that nothing points to: on record from when that began, listed a day later, never one in use."""

from __future__ import annotations

from datetime import timedelta

import pytest

from headrace.state.attempts import RunningPod
from headrace.state.database import Database
from tests.state.kept import KEYS, NAMES, Kept, jobs
from tests.state.live import LIVE, PARTS, Chain, upto
from tests.state.test_updates import add, begun, done, of_job

DAY = timedelta(days=1)


@pytest.fixture
def world(db: Database) -> Kept:
    return Kept(db)


def place(pod: RunningPod) -> str:
    """The location of the first output of an attempt."""
    return str(pod.outputs[0]["partitions"][0]["location"])  # type: ignore[index]


async def begin(world: Kept) -> None:
    await world.apply("d", *jobs(0), publish=NAMES)
    await world.run("d", "month", "a")


async def later(world: Kept, hours: int = 25) -> None:
    """So long after."""
    await world.rows(
        "UPDATE superseded_outputs SET superseded_at = superseded_at - make_interval(hours => %(h)s) RETURNING 1",
        h=hours,
    )


async def superseded(world: Kept) -> list[str]:
    """What a purge lists of the day before."""
    return [s.location for s in (await world.would(older_than=DAY)).superseded]


POINTED = """
SELECT s.location FROM superseded_outputs s
WHERE EXISTS (SELECT 1 FROM partition_versions v WHERE v.location = s.location)
  OR EXISTS (SELECT 1 FROM partition_parts a WHERE a.location = s.location)
"""


async def test_of_an_attempt_that_failed_and_of_one_that_was_canceled(world: Kept) -> None:
    await begin(world)
    (first,) = await world.claim()
    await world.fail(first)
    (second,) = await world.claim()
    await world.command("d", "cancel", "clean")
    assert first.id == second.id
    await later(world)
    assert await superseded(world) == [place(first), place(second)]


async def test_of_what_was_made_again_and_not_of_what_is_there(world: Kept) -> None:
    await begin(world)
    (first,) = await world.claim()
    assert await world.complete(first)
    await world.drain()
    assert await superseded(world) == []
    await world.run("d", "month", "a")
    await world.command("d", "run", "clean -p a")
    (again,) = [pod for pod in await world.claim() if pod.job == "clean"]
    assert await world.complete(again)
    assert await superseded(world) == []  # not for a day
    await later(world)
    assert await superseded(world) == [place(first)]
    assert await world.rows(POINTED) == []


async def test_not_what_an_attempt_reads_that_began_before(world: Kept) -> None:
    await begin(world)
    (first,) = await world.claim()
    assert await world.complete(first)
    (reader,) = await world.claim()
    assert reader.job == "join"
    await world.command("d", "run", "clean -p a")
    (again,) = [pod for pod in await world.claim() if pod.job == "clean"]
    assert await world.complete(again)
    await later(world)
    await world.rows(
        "UPDATE tasks SET started_at = started_at - interval '26 hours' WHERE status = 'Running' RETURNING 1"
    )
    assert await superseded(world) == []
    assert await world.complete(reader)
    assert await superseded(world) == [place(first)]


async def test_of_parts_that_were_replaced(world: Kept) -> None:
    log = {"name": "log", "image": "i", "source": {"kind": "manual"}, "updateStrategy": "append", "uniqueKey": ["id"]}
    whole = {"name": "all", "image": "i", "inputs": [{"from": {"job": "log"}}], "updateStrategy": "append",
             "uniqueKey": ["id"]}  # fmt: skip
    await world.apply("d", log, whole)
    made: list[RunningPod] = []
    for _ in range(2):
        await world.run("d", "log", "*")
        while pods := await world.claim():
            for pod in pods:
                assert await world.complete(pod)
                made.append(pod)
    assert [pod.job for pod in made] == ["log", "all", "log", "all"]
    await later(world)
    assert await superseded(world) == [
        place(made[1])
    ]  # `all` was made anew as a whole; parts of `log` stay beside each other
    assert await world.rows(POINTED) == []


@pytest.mark.parametrize("first", ["slow", "whole"])
async def test_of_parts_that_came_too_late(world: Kept, first: str) -> None:
    """Every location that was given out is pointed to, or superseded, and none is both."""
    await begun(world)
    await add(world, 10, 20)
    (slow,) = await of_job(world, "events")
    await world.command("chain", "run", "events -p *", "anew")
    (whole,) = [pod for pod in await of_job(world, "events") if pod.id != slow.id]
    for pod in (slow, whole) if first == "slow" else (whole, slow):
        await done(world, pod)
    await later(world)
    gone = {s.location for s in (await world.would("chain", DAY)).superseded}
    there = {str(location) for (location,) in await world.rows("SELECT location FROM partition_parts")}
    given = await world.rows("SELECT outputs #>> '{0,partitions,0,location}' FROM tasks")
    assert place(slow) in gone
    assert place(whole) in there
    assert gone | there == {str(location) for (location,) in given}
    assert not gone & there


async def test_of_partitions_that_are_gone(world: Kept) -> None:
    """What another DAG made of a partition that its input does not have any more."""
    await world.apply("d", *jobs(0), publish=NAMES)
    await world.run("d", "month", *KEYS)
    await world.drain()
    reads = {"name": "sum", "image": "i", "inputs": [{"from": {"dataset": "rows"}}], "scaling": {"maxConcurrency": 2}}
    await world.apply("e", reads)
    await world.look()
    pods = await world.claim()
    assert [(pod.dag, pod.partitions) for pod in pods] == [("e", ["a"]), ("e", ["b"])]
    await world.complete_all(pods)
    gone = await world.rows("DELETE FROM partition_versions v USING datasets d WHERE d.id = v.dataset_uuid"
                            " AND d.name = 'rows' AND v.partition_key = 'b' RETURNING 1")  # fmt: skip
    assert len(gone) == 1
    await world.rows("INSERT INTO consumer_looks (org_id, dag_name) SELECT id, 'e' FROM orgs RETURNING 1")
    await world.look()
    assert await world.rows("SELECT location FROM superseded_outputs") == [(place(pods[1]),)]


async def test_nothing_of_a_source_that_runs_on_and_on_as_a_whole(db: Database) -> None:
    """What its events made lies below the location of an attempt that is over."""
    chain = Chain(db)
    await chain.apply("d", {**LIVE, **PARTS})
    first = await chain.source()
    await chain.tell(first, upto(1))
    await chain.fail(first)
    await chain.waits()
    second = await chain.source()
    await chain.tell(second, upto(2, 1))
    assert await chain.rows("SELECT location FROM superseded_outputs") == []
    assert len(await chain.rows("SELECT location FROM partition_parts")) == 2


async def test_it_stays_listed_until_it_is_forgotten(world: Kept) -> None:
    await begin(world)
    (first,) = await world.claim()
    await world.fail(first)
    await later(world)
    listed = await world.purge(older_than=DAY)
    assert [s.location for s in listed.superseded] == [place(first)]
    (second,) = await world.claim()
    await world.fail(second)
    await later(world)
    assert (await world.forget(listed)).forgotten == 1
    assert await superseded(world) == [place(second)]


async def test_of_a_retired_generation_its_own_location_is_enough(world: Kept) -> None:
    await begin(world)
    (first,) = await world.claim()
    await world.fail(first)
    await world.drain()
    await world.deploy(1)
    await world.retain(1)
    await later(world)
    told = await world.would()
    assert ([g.dataset for g in told.generations], told.superseded) == (["rows"], ())
    assert place(first).startswith(told.generations[0].location)
    assert (await world.purge()).superseded == ()


async def test_a_completion_and_a_first_pointer_write_no_record(world: Kept) -> None:
    await begin(world)
    assert len(await world.drain()) == 2
    assert await world.rows("SELECT 1 FROM superseded_outputs") == []
