"""The queue in real Postgres: how much of a job, an org, a kind of work runs at once, and in which order."""

from __future__ import annotations

import asyncio
from typing import cast

import psycopg
import pytest

from headrace.state import queue, units
from headrace.state.database import Database
from tests.state.world import World, month_source


@pytest.fixture
def world(db: Database) -> World:
    return World(db)


def load(most: int, **fields: object) -> dict[str, object]:
    """A manual source that runs in pods, so many at once."""
    source = cast("dict[str, object]", month_source("a")["source"])
    return {"name": "load", "image": "i", "source": source, "scaling": {"maxConcurrency": most, **fields}}


async def add(world: World, keys: str, *, low: bool = False, dag: str = "flights", job: str = "load") -> None:
    """Tasks of a source for these keys."""
    (found,) = await world.rows(
        "SELECT j.id FROM jobs j JOIN dag_current_versions c USING (dag_version_id) WHERE j.name = %(job)s AND"
        " j.dag_name = %(dag)s", job=job, dag=dag,
    )  # fmt: skip
    async with world.db.transaction() as tx:
        assert await units.create_source_tasks(tx, found[0], list(keys), backfill=low) == len(keys)  # type: ignore[arg-type]


async def running(world: World, job: str = "load") -> str:
    """The keys of the tasks of a job that run, in the order of their making."""
    return "".join(pod.partitions[0] for pod in await world.running() if pod.job == job)


async def take(world: World, most: int = 100) -> str:
    """The keys that a claim starts."""
    before = set(await running(world))
    return "".join(pod.partitions[0] for pod in await world.claim(most) if pod.partitions[0] not in before)


async def finish(world: World, *keys: str) -> None:
    """Complete the tasks of these keys."""
    for pod in await world.running():
        if pod.partitions[0] in keys:
            assert await world.complete(pod)


async def test_a_job_runs_no_more_at_once_than_it_may_the_oldest_first(world: World) -> None:
    await world.apply("flights", load(3))
    await add(world, "edcba")
    assert await take(world, 2) == "ed"
    assert await take(world) == "c"
    assert await take(world) == ""
    await finish(world, "d")
    assert await take(world) == "b"


async def test_claims_at_once_share_the_room(world: World) -> None:
    """Ten at the same time, over and over: each task once, and never more than the job has room for."""
    await world.apply("flights", load(7))
    await add(world, "abcdefghijklmnopqrstuvwxyz")
    org, done = await world.org(), ""

    async def one() -> None:
        async with world.db.transaction() as tx:
            await queue.claim(tx, 0, [org.id], 4)

    while len(done) < 26:
        await asyncio.gather(*(one() for _ in range(10)))
        now = await running(world)
        assert 0 < len(now) <= 7
        done += now
        await finish(world, *now)
    assert done == "abcdefghijklmnopqrstuvwxyz"


async def test_jobs_take_turns(world: World) -> None:
    """One with much to do does not keep another waiting."""
    await world.apply("flights", load(50))
    await world.apply("trains", load(50))
    await add(world, "abcdefgh")
    await add(world, "xy", dag="trains")
    assert sorted(await take(world, 4)) == ["a", "b", "x", "y"]


async def test_low_work_has_its_share_beside_live_work_and_all_that_is_left(world: World) -> None:
    await world.apply("flights", load(8))
    await add(world, "uvwxyz", low=True)
    await add(world, "abcdefghij")
    assert sorted(await take(world)) == sorted("uv" + "abcdef")
    await finish(world, "u", "a", "b")
    assert sorted(await take(world)) == sorted("w" + "gh")
    await finish(world, *"cdefgh")
    assert sorted(await take(world)) == sorted("ij" + "xyz")


async def test_a_job_that_runs_one_at_a_time_gives_low_work_every_fourth_turn(world: World) -> None:
    await world.apply("flights", load(1))
    await add(world, "yz", low=True)
    await add(world, "abcdefg")
    order = ""
    while key := await take(world):
        order += key
        await finish(world, key)
    assert order == "abcydefzg"


async def test_all_work_of_a_job_may_be_low(world: World) -> None:
    await world.apply("flights", load(2, mode="backfill"))
    await add(world, "ab")
    assert await world.rows("SELECT DISTINCT low, backfill FROM tasks") == [(True, False)]


async def test_an_org_runs_no_more_at_once_than_its_cap(world: World) -> None:
    """Live work of one job before low work of another, whatever their turns."""
    await world.apply("flights", load(8))
    await world.apply("trains", load(8))
    await world.rows("UPDATE orgs SET settings = '{\"max_running_tasks\": 3}' RETURNING 1")
    await add(world, "uvw", low=True)
    await add(world, "abcd", dag="trains")
    first = await take(world)
    assert len(first) == 3
    assert set(first) <= set("uabcd")
    assert await take(world) == ""
    await finish(world, first[0])
    assert len(await take(world)) == 1


async def test_a_suspended_dag_starts_nothing(world: World) -> None:
    await world.apply("flights", load(8))
    await add(world, "ab")
    await world.apply("flights", load(8), suspend=True)
    assert await take(world) == ""


async def test_whoever_waits_for_work_is_told_of_the_first_only(world: World, db: Database) -> None:
    await world.apply("flights", load(1))
    listener = await psycopg.AsyncConnection.connect(db.url, autocommit=True)
    await listener.execute("LISTEN headrace_work")

    async def told() -> int:
        return len([n async for n in listener.notifies(timeout=0.2)])

    await add(world, "a")
    assert await told() == 1
    await add(world, "bc")
    assert await told() == 0
    assert await take(world) == "a"
    await finish(world, "a")
    await take(world)
    await finish(world, "b")
    await take(world)
    await add(world, "d")
    assert await told() == 1
    await listener.close()


async def test_whoever_waits_for_work_is_told_of_what_is_tried_again(world: World, db: Database) -> None:
    await world.apply("flights", {**load(2), "maxAttempts": 3})
    await add(world, "ab")
    for pod in await world.claim():
        assert await world.fail(pod)
    listener = await psycopg.AsyncConnection.connect(db.url, autocommit=True)
    await listener.execute("LISTEN headrace_work")
    async with db.transaction() as tx:
        assert await queue.requeue_due(tx, 0) == 2
    assert len([n async for n in listener.notifies(timeout=0.2)]) == 1
    await listener.close()
