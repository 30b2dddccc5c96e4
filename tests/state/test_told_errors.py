"""What Postgres refuses is told without the values of the row: its DETAIL has all of them, a job's config too."""

from __future__ import annotations

import logging

import pytest

from headrace.state.database import Conflict, Database
from tests.state.world import World, month_source, step

CANARY = "canary-0b7c"


async def test_a_row_that_is_refused_is_not_told(db: Database, caplog: pytest.LogCaptureFixture) -> None:
    world = World(db)
    await world.apply("air", month_source("a"), step("work", "month", config={"password": CANARY}))
    with pytest.raises(Conflict) as refused:
        async with db.transaction() as tx:
            await tx._connection.execute("UPDATE jobs SET config_hash = NULL WHERE name = 'work'")
    with caplog.at_level(logging.DEBUG):
        logging.getLogger("test").error("told", exc_info=refused.value)
    assert "null value in column" in str(refused.value)
    assert "null value in column" in caplog.text
    assert CANARY not in caplog.text


async def test_what_a_rollout_keeps_of_its_plan_has_no_values(db: Database) -> None:
    world = World(db)
    for number in (1, 2):
        await world.apply("air", month_source("a"), step("work", "month", config={"password": f"{CANARY}-{number}"}))
        await world.drain()
    plans = await world.rows("SELECT plan::text FROM rollouts ORDER BY created_at")
    assert "config.password" in str(plans)
    assert CANARY not in str(plans)
