"""Memo: a unit whose output was made by the same job from exactly the same inputs is done without running."""

from __future__ import annotations

import pytest

from headrace.state.database import Database
from tests.state.world import World, month_source, step


@pytest.fixture
def world(db: Database) -> World:
    return World(db)


async def begin(world: World, **fields: object) -> None:
    """Everything is made once."""
    await world.apply("flights", month_source("a", "b"), step("clean", "month", **fields))
    await world.run("flights", "month", "a", "b")
    assert len(await world.drain()) == 2


async def again(world: World) -> None:
    """As if a cause that is older than what was made had come late."""
    await world.rows(
        "INSERT INTO tasks (job_id, partitions, job_identity, fingerprint, unit_key)"
        " SELECT DISTINCT ON (unit_key) job_id, partitions, job_identity, t.fingerprint, unit_key FROM tasks t"
        " JOIN jobs j ON j.id = t.job_id WHERE j.name = 'clean' RETURNING 1"
    )


async def states(world: World) -> list[tuple[object, ...]]:
    """Of the newest task of each unit of `clean`: state, attempts, whether it says why."""
    return await world.rows(
        "SELECT DISTINCT ON (unit_key) unit_key, status, attempts, error_message IS NOT NULL FROM tasks t"
        " JOIN jobs j ON j.id = t.job_id WHERE j.name = 'clean' ORDER BY unit_key, seq DESC"
    )


@pytest.mark.parametrize("outputs", [1, 0])
async def test_what_is_made_from_the_same_is_not_made_again(world: World, outputs: int) -> None:
    await begin(world, outputs=outputs)
    await again(world)
    before = await world.rows("SELECT * FROM partition_versions ORDER BY 1, 2, 3")
    assert await world.claim() == []
    assert await states(world) == [("a", "Completed", 0, True), ("b", "Completed", 0, True)]
    assert await world.rows("SELECT * FROM partition_versions ORDER BY 1, 2, 3") == before
    assert await world.rows("SELECT 1 FROM missing_units") == []


async def test_what_one_input_has_changed_for_is_made_again(world: World) -> None:
    await begin(world)
    await again(world)
    await world.rows(
        "UPDATE partition_versions p SET materialized_at = now() FROM datasets d WHERE d.id = p.dataset_uuid"
        " AND d.producer_job_name = 'month' AND partition_key = 'b' RETURNING 1"
    )
    assert await world.drain() == [("clean", "b")]
    assert await states(world) == [("a", "Completed", 0, True), ("b", "Completed", 1, False)]


async def test_what_a_person_asks_for_is_run(world: World) -> None:
    await begin(world)
    await again(world)
    await world.command("flights", "run", "clean -p a")
    assert await world.drain() == [("clean", "a")]


async def test_what_is_made_takes_no_room_from_what_is_not(world: World) -> None:
    """One at a time, and a worker that asks for one."""
    await begin(world)
    await again(world)
    await world.apply("flights", month_source("a", "b", "c"), step("clean", "month"))
    await world.run("flights", "month", "c")
    assert [pod.partitions for pod in await world.claim(1)] == [["c"]]


async def test_a_version_that_serves_again_runs_nothing_that_it_has_made(world: World) -> None:
    await begin(world)
    await world.apply("flights", month_source("a", "b"), step("clean", "month", config={"n": 1}))
    await world.drain()
    await world.advance("flights")
    await world.apply("flights", month_source("a", "b"), step("clean", "month"))
    await again(world)
    assert await world.drain() == []
