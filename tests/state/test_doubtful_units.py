"""A look for missing work goes over all units at once: what stands for them is believed, and nothing escapes."""

from __future__ import annotations

import pytest

from headrace.state.database import Database
from tests.state.world import World, month_source, step

WHOLE = {"from": {"job": "rates"}, "match": "latest"}
SHOP = (
    month_source("a", "b"),
    {"name": "rates", "source": {"kind": "manual", "partitions": {"values": ["x", "y"]}}},
    step("clean", "month"),
    step("both", "month", "clean"),
    {"name": "prices", "image": "i", "inputs": [{"from": {"job": "month"}}, {**WHOLE, "onChange": "rerun"}]},
    {"name": "stale", "image": "i", "inputs": [{"from": {"job": "month"}}, WHOLE]},
    {"name": "total", "image": "i", "inputs": [WHOLE]},
    step("check", "both", outputs=0),
    step("send", "clean", outputs=0, sideEffects=True),
)


@pytest.fixture
def world(db: Database) -> World:
    return World(db)


async def doubtful(world: World) -> list[tuple[str, str]]:
    """Job and key of each unit in doubt."""
    found = await world.rows(
        "SELECT w.name, k.key FROM working_jobs w CROSS JOIN LATERAL doubtful_units(w.job_id) AS k (key)"
        " WHERE w.activation = 'reactive' ORDER BY 1, 2"
    )
    return [(str(job), str(key)) for job, key in found]


async def begin(world: World) -> None:
    await world.apply("shop", *SHOP)
    await world.run("shop", "rates", "x")
    await world.run("shop", "month", "a", "b")
    await world.drain()


async def test_nothing_that_is_done_is_looked_at_by_itself(world: World) -> None:
    await begin(world)
    assert await doubtful(world) == []


async def test_what_a_job_that_acts_on_the_world_passed_by_is_done(world: World) -> None:
    await world.apply("shop", *SHOP[:-1])
    await world.run("shop", "rates", "x")
    await world.run("shop", "month", "a", "b")
    await world.drain()
    await world.apply("shop", *SHOP)
    await world.advance("shop")
    assert await world.rows("SELECT count(*) FROM passed_inputs") == [(2,)]
    assert await doubtful(world) == []


async def test_a_key_that_not_every_input_has_is_no_unit(world: World) -> None:
    await begin(world)
    await world.rows("DELETE FROM partition_versions p USING datasets d WHERE d.id = p.dataset_uuid"
                     " AND d.producer_job_name = 'clean' AND p.partition_key = 'a' RETURNING 1")  # fmt: skip
    assert await doubtful(world) == [("clean", "a")]


@pytest.mark.parametrize(
    ("job", "key", "units"),
    [
        ("month", "a", [("both", "a"), ("clean", "a"), ("prices", "a"), ("stale", "a")]),
        ("rates", "x", [("prices", "a"), ("prices", "b"), ("total", "*")]),
    ],
)
async def test_what_changed_is_in_doubt(world: World, job: str, key: str, units: list[tuple[str, str]]) -> None:
    await begin(world)
    await world.rows(
        "WITH p AS (UPDATE partition_versions p SET materialized_at = clock_timestamp() FROM datasets d"
        " WHERE d.id = p.dataset_uuid AND d.producer_job_name = %(job)s AND p.partition_key = %(key)s RETURNING 1)"
        " UPDATE dataset_revisions r SET revision = clock_timestamp() FROM datasets d"
        " WHERE d.id = r.dataset_uuid AND d.producer_job_name = %(job)s RETURNING 1",
        job=job, key=key,
    )  # fmt: skip
    assert await doubtful(world) == units


async def test_what_nobody_can_vouch_for_is_in_doubt_and_not_made_again(world: World) -> None:
    await begin(world)
    await world.rows("UPDATE partition_versions SET made_from = NULL RETURNING 1")
    await world.rows("UPDATE unit_completions SET made_from = NULL RETURNING 1")
    assert len(await doubtful(world)) == 13
    assert await world.rows("SELECT * FROM missing_units") == []
