"""Long histories of updates: begun in chunks where they are known from the beginning, else with the whole."""

from __future__ import annotations

import pytest

from headrace.plan.rollout import Stay, SwitchOver
from headrace.state import units, updates
from headrace.state.database import Database
from tests.state.test_updates import add, blocks, cursor, done, events, of_job, replaces, told
from tests.state.world import World


@pytest.fixture
def world(db: Database) -> World:
    return World(db)


@pytest.fixture
def chunked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(updates, "CHUNK", 2)


async def many(world: World, *ranges: tuple[int | None, int]) -> None:
    """The source alone, with these updates."""
    await world.apply("chain", blocks())
    for after, to in ranges:
        await add(world, after, to)


@pytest.mark.usefixtures("chunked")
async def test_a_long_history_is_read_in_chunks_from_its_beginning(world: World) -> None:
    """Of a job that is built, at once and in any order; what comes meanwhile is one more."""
    await many(world, (None, 10), (10, 20), (20, 30), (30, 40), (40, 50))
    await world.apply("chain", blocks(), events())
    first, second, third = await of_job(world, "events")
    assert [told(pod) for pod in (first, second, third)] == [(None, 20), (20, 40), (40, 50)]
    assert [replaces(pod) for pod in (first, second, third)] == [None] * 3
    await add(world, 50, 60)
    await done(world, third)
    await done(world, first)
    assert await world.advance("chain") == Stay()
    await done(world, second)
    (last,) = await of_job(world, "events")
    assert told(last) == (50, 60)
    await done(world, last)
    assert await world.advance("chain") == SwitchOver()
    assert await cursor(world) == "60"
    assert await world.drain() == []
    places = await world.rows(
        "SELECT a.place FROM partition_parts a JOIN datasets d ON d.id = a.dataset_uuid"
        " WHERE d.producer_job_name = 'events' ORDER BY 1"
    )
    assert places == [(2,), (4,), (5,), (6,)]


@pytest.mark.usefixtures("chunked")
@pytest.mark.parametrize(
    "ranges",
    [
        pytest.param([(None, 10), (10, 20)], id="short"),
        pytest.param([(5, 10), (10, 20), (20, 30)], id="the beginning is not known"),
        pytest.param([(None, 10), (10, 20), (25, 30)], id="a gap"),
        pytest.param([(None, 10), (None, 20), (20, 30)], id="told again"),
    ],
)
async def test_the_whole_comes_first_where_it_is_short_or_not_known_from_the_beginning(
    world: World, ranges: list[tuple[int | None, int]]
) -> None:
    await many(world, *ranges)
    await world.apply("chain", blocks(), events())
    (pod,) = await of_job(world, "events")
    assert (told(pod), replaces(pod)) == (None, [{}])


@pytest.mark.usefixtures("chunked")
async def test_chunks_are_not_begun_over_what_is_there(world: World) -> None:
    """A job that has lost its place reads the whole, which replaces all."""
    await many(world, (None, 10), (10, 20), (20, 30))
    await world.apply("chain", blocks(), events())
    await done(world, *await of_job(world, "events"))
    await world.advance("chain")
    await world.rows("DELETE FROM dataset_cursors RETURNING 1")
    org = await world.org()
    async with world.db.transaction() as tx:
        assert await units.create_missing(tx, [(org.id, "chain")]) == 1
    (pod,) = await of_job(world, "events")
    assert (told(pod), replaces(pod)) == (None, [{}])
