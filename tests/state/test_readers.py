"""Readers that page through several datasets, through 1,000 cutovers and rollbacks with completions going on."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest

from headrace.errors import TemporaryError
from headrace.state import locks, runs, units
from headrace.state.database import Database
from tests.state.world import World, month_source, step

pytestmark = pytest.mark.long
KEYS = tuple(f"k{n}" for n in range(6))
CUTOVERS = 1000


@pytest.fixture
def world(db: Database) -> World:
    return World(db)


def flights(n: int) -> list[dict[str, object]]:
    """month -> clean -> join -> rank: three datasets that change together, and one that does not."""
    jobs = [step("clean", "month", config={"n": n}), step("join", "clean"), step("rank", "join", "clean")]
    return [month_source(*KEYS), *({**job, "scaling": {"maxConcurrency": 9}} for job in jobs), step("same", "month")]


# One statement, one snapshot: what a reader pins.
PIN = """
SELECT c.dag_version_id, d.producer_job_name, p.dataset_version, g.config_hash
FROM dag_current_versions c JOIN dag_version_datasets p USING (dag_version_id)
JOIN datasets d ON d.id = p.dataset_uuid JOIN dataset_versions g ON g.id = p.dataset_version
WHERE c.dag_name = 'flights' AND d.producer_job_name <> 'month'
"""
PAGE = """
SELECT partition_key, config_hash FROM partition_versions
WHERE dataset_version = %(version)s AND partition_key > %(after)s ORDER BY 1 LIMIT 2
"""


async def read(
    world: World, wanted: dict[object, dict[object, object]], seen: Counter[object], done: asyncio.Event
) -> None:
    """Pin, page through each dataset, compare; again and again."""
    while not done.is_set():
        pin = await world.rows(PIN)
        version = {row[0] for row in pin}
        assert len(version) == 1
        (serving,) = version
        assert {job: g for _, job, g, _ in pin} == wanted[serving], "a mixed pointer set"
        for _, job, generation, fingerprint in pin:
            keys: list[object] = []
            after: object = ""
            while page := await world.rows(PAGE, version=generation, after=after):
                assert {row[1] for row in page} == {fingerprint}, f"{job}: contents of another version"
                keys += [row[0] for row in page]
                after = keys[-1]
            assert keys == list(KEYS), f"{job}: a partition is missing"
        seen[serving] += 1


async def work(world: World, done: asyncio.Event) -> int:
    """New data for every key, again and again, and all that follows from them; how many completions were accepted."""
    accepted = number = 0
    org = await world.org()
    while not done.is_set():
        async with world.db.transaction() as tx:
            await locks.lock_dags_shared(tx, [(org.id, "flights")])
            source = await runs.runnable(tx, org.id, "flights", "month")
            assert source is not None
            await units.create_source_tasks(tx, source.job_id, [KEYS[number % len(KEYS)]], again=True)
        number += 1
        accepted += await run(world)
    return accepted


async def run(world: World) -> int:
    """One round of work; how many completions were accepted."""
    await again(world.dispatch)
    return await world.complete_all(await world.claim(50))


async def again(call: object) -> object:
    """What lost a race is tried again."""
    while True:
        try:
            return await call()  # type: ignore[operator]
        except TemporaryError:
            continue


async def test_a_thousand_cutovers_show_no_mixed_set_and_lose_no_unit(world: World) -> None:
    await world.apply("flights", *flights(0))
    await world.run("flights", "month", *KEYS)
    await world.drain()
    wanted: dict[object, dict[object, object]] = {}
    for n in (0, 1):
        await world.apply("flights", *flights(n))
        await world.drain()
        await world.advance("flights")
        pin = await world.rows(PIN)
        wanted[pin[0][0]] = {job: generation for _, job, generation, _ in pin}
    assert len(wanted) == 2
    done, seen = asyncio.Event(), Counter[object]()
    readers = [asyncio.create_task(read(world, wanted, seen, done)) for _ in range(3)]
    worker = asyncio.create_task(work(world, done))
    for number in range(CUTOVERS):
        await again(lambda number=number: world.apply("flights", *flights(number % 2)))
        for task in (*readers, worker):
            if task.done():
                task.result()
    done.set()
    await asyncio.gather(*readers)
    accepted = await worker
    assert min(seen.values()) > 20
    assert accepted > 200
    while await run(world):
        pass
    assert await world.rows("SELECT * FROM missing_units") == []
    assert await world.rows("SELECT status FROM tasks WHERE status NOT IN ('Completed', 'Canceled')") == []
    # Every partition that serves is of the newest one that it is made from.
    assert (
        await world.rows(
            "SELECT pv.partition_key FROM dag_current_versions c JOIN dag_version_datasets p USING (dag_version_id)"
            " JOIN partition_versions pv ON pv.dataset_version = p.dataset_version"
            " JOIN task_inputs i ON i.task_id = pv.task_id JOIN partition_versions s"
            " ON s.dataset_version = i.input_dataset_version AND s.partition_key = i.input_partition_key"
            " WHERE s.materialized_at <> i.input_version"
        )
        == []
    )
