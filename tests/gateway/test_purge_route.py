"""A purge as the gateway carries it out: shown, done, forgotten; and told to the operator, which notes the change."""

from __future__ import annotations

from datetime import UTC, datetime

import psycopg
import pytest

from headrace.api.purge import Purge
from headrace.api.runs import NotThere, NotUnderstood
from headrace.gateway.errors import RequestError
from headrace.gateway.purge_routes import Purges
from headrace.state.database import Busy, Database
from tests.state.kept import KEYS, NAMES, Kept, jobs
from tests.state.world import NAMESPACE_UID


async def uid(namespace: str) -> str | None:
    return NAMESPACE_UID if namespace == "air" else None


@pytest.fixture
async def world(db: Database) -> Kept:
    """Two versions have served, the first of them long ago."""
    world = Kept(db)
    await world.apply("d", *jobs(0), publish=NAMES)
    await world.run("d", "month", *KEYS)
    await world.drain()
    await world.deploy(1)
    await world.retain(1)
    await world.rows("UPDATE rollouts SET finished_at = finished_at - interval '2 days' RETURNING 1")
    return world


async def test_shown_done_and_forgotten(world: Kept) -> None:
    act = Purges(world.db, uid).act
    before = await world.snapshot()
    shown = await act("air", "d", Purge())
    assert ([g.dataset for g in shown.generations], shown.confirmed) == (["rows"], False)
    assert await world.snapshot() == before
    with psycopg.connect(world.db.url, autocommit=True) as listening:
        listening.execute("LISTEN headrace_touched")
        done = await act("air", "d", Purge(confirm=True))
        (told,) = listening.notifies(timeout=5, stop_after=1)
    assert told.payload == "air/d"
    assert [(g.location, g.retired is None) for g in done.generations] == [(shown.generations[0].location, False)]
    assert (await act("air", "d", Purge(forget=done.listed))).forgotten == 1
    assert (await act("air", "d", Purge(confirm=True))).generations == ()


async def test_what_cannot_be_is_told(world: Kept) -> None:
    act = Purges(world.db, uid).act
    with pytest.raises(NotThere):
        await act("air", "e", Purge())
    with pytest.raises(RequestError, match="has no DAG"):
        await act("sea", "d", Purge())
    with pytest.raises(NotUnderstood, match="10m at least"):
        await act("air", "d", Purge(confirm=True, older_than="1s"))
    with pytest.raises(NotUnderstood, match="either"):
        await act("air", "d", Purge(confirm=True, forget=datetime.now(UTC)))


async def test_it_waits_for_no_deployment(world: Kept) -> None:
    """And a dry run for none at all."""
    act, org = Purges(world.db, uid).act, await world.org()
    async with world.db.transaction() as tx:
        await tx.execute("lock_dag", org_id=org.id, dag="d")
        assert len((await act("air", "d", Purge())).generations) == 1
        with pytest.raises(Busy):
            await act("air", "d", Purge(confirm=True))
