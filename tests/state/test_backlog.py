"""What the metrics tell of the queue: kinds and ages, without a write, and no more looked at than is to be."""

from __future__ import annotations

from headrace.state.backlog import Backlog, backlog
from headrace.state.database import Database
from tests.state.world import World, month_source, step


async def counted(db: Database, most: int = 100) -> dict[str, Backlog]:
    async with db.transaction() as tx:
        return {row.kind: row for row in await backlog(tx, most)}


async def test_kinds_and_ages(db: Database) -> None:
    world = World(db)
    assert {row.tasks for row in (await counted(db)).values()} == {0}
    await world.apply("flights", month_source("a", "b", "c"), step("clean", "month", maxAttempts=2))
    await world.run("flights", "month", "a", "b", "c")
    await world.rows("UPDATE tasks SET created_at = now() - interval '1 hour' WHERE unit_key = 'b' RETURNING 1")
    found = await counted(db)
    assert found["live"].tasks == 3
    assert found["running"].tasks == found["low"].tasks == 0
    (pod, *_) = await world.claim(1)
    await world.rows("UPDATE tasks SET low = true WHERE unit_key = 'b' AND status = 'Queued' RETURNING 1")
    found = await counted(db)
    assert {kind: row.tasks for kind, row in found.items()} == {
        "live": 1, "low": 1, "retry": 0, "running": 1, "building": 0, "ready": 0,
    }  # fmt: skip
    assert 3600 <= found["low"].oldest < 3700
    assert await world.fail(pod, backoff=60)
    assert (await counted(db))["retry"].tasks == 1


async def test_what_is_looked_at_is_bounded(db: Database) -> None:
    world = World(db)
    keys = [f"k{n}" for n in range(30)]
    await world.apply("flights", month_source(*keys), step("clean", "month"))
    await world.run("flights", "month", *keys)
    assert (await counted(db))["live"].tasks == 30
    assert (await counted(db, most=7))["live"].tasks == 7
