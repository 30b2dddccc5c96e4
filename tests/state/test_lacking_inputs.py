"""A task never begins without a partition that it reads, whatever asked for it; it waits, and says for what."""

from __future__ import annotations

import pytest

from headrace.state.database import Database
from headrace.state.why import read_unit
from tests.state.world import World, month_source, step


@pytest.fixture
def world(db: Database) -> World:
    return World(db)


async def waits_for(world: World, job: str, key: str) -> list[str]:
    org = await world.org()
    async with world.db.transaction() as tx:
        return [lacking.input for lacking in (await read_unit(tx, org.id, "flights", job, key)).lacking]


async def test_what_was_to_follow_waits_when_what_it_reads_is_canceled(world: World) -> None:
    left, right = step("left", "month", maxAttempts=1), step("right", "month")
    await world.apply("flights", month_source("a"), left, right, step("joined", "left", "right"))
    await world.run("flights", "month", "a")
    await world.command("flights", "cancel", "left", "1")
    await world.command("flights", "cancel", "right", "2")
    await world.command("flights", "run", "month -p a --downstream", "3")
    await world.dispatch()
    for pod in await world.claim():
        if pod.job == "left":
            assert await world.fail(pod)
        else:
            assert await world.complete(pod)
    await world.command("flights", "cancel", "left", "4")
    assert await world.drain() == []
    (row,) = [job for job in (await world.report("flights")).jobs if job.name == "joined"]
    assert (row.waiting, row.held, row.done) == (1, 1, 0)
    assert await waits_for(world, "joined", "a") == ["left"]
    await world.command("flights", "run", "left -p a", "5")
    assert await world.drain() == [("left", "a"), ("joined", "a")]


async def test_what_another_dag_does_not_have_any_more_is_not_read_as_nothing(world: World) -> None:
    """The task waits for its turn while the other DAG comes to serve a generation without the partition."""
    publish = [{"name": "months", "from": {"job": "load"}}]
    load = step("load", "month")
    await world.apply("bank", month_source("a", "b"), load, publish=publish)
    await world.run("bank", "month", "a", "b")
    await world.drain()
    reader = {"name": "read", "image": "i", "inputs": [{"from": {"dataset": "months"}}]}
    await world.apply("flights", reader)
    await world.look()
    await world.rows(
        "DELETE FROM partition_versions p USING datasets d WHERE d.id = p.dataset_uuid AND d.name = 'months'"
        " AND partition_key = 'b' RETURNING 1"
    )
    assert await world.drain() == [("read", "a")]
    assert await waits_for(world, "read", "b") == ["months"]
