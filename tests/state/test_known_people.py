"""Who came to the gateway, as what, who is in an org, and who is forgotten; on real Postgres."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from headrace.api.people import Binding, Members
from headrace.cli.connection import Connection
from headrace.cli.kubeconfig import Access
from headrace.cluster.client import Client
from headrace.errors import LostLeadership, TemporaryError
from headrace.gateway.identity import Person
from headrace.gateway.people import People
from headrace.gateway.rights import Rights
from headrace.state import people, roles
from headrace.state.database import Database
from headrace.state.orgs import Org
from tests.state.world import World

OTHER = "6c1d5f0e-0000-4000-8000-000000000002"
ANN = "ann@example.org"
LATER = "UPDATE users SET seen_at = seen_at - make_interval(days => %(days)s) RETURNING 1"


@pytest.fixture
def world(db: Database) -> World:
    return World(db)


async def record(world: World, user: str, role: str, org: Org | None = None) -> None:
    org = org or await world.org()
    async with world.db.transaction() as tx:
        await people.record(tx, org.id, user, role)


async def find(world: World, user: str) -> people.Known | None:
    async with world.db.transaction() as tx:
        return await people.find(tx, user)


async def members(world: World, org: Org | None = None) -> Members:
    org = org or await world.org()
    async with world.db.transaction() as tx:
        return await people.members(tx, org.slug, org)


async def mirror(world: World, org: Org, *bindings: Binding) -> None:
    async with world.db.transaction() as tx:
        await roles.mirror(tx, org, bindings)


async def forget(world: World, epoch: int = 0) -> list[object]:
    """Those who are left."""
    async with world.db.transaction() as tx:
        await people.forget(tx, epoch)
    return [name for (name,) in await world.rows("SELECT external_id FROM users ORDER BY 1")]


async def test_who_comes_is_of_the_org_where_they_came_first_with_the_role_there(world: World) -> None:
    org, other = await world.org(), await world.org("sea", OTHER)
    assert await find(world, ANN) is None
    await record(world, ANN, "writer")
    assert await find(world, ANN) == people.Known(org_id=org.id, role="writer", due=False, came=True)
    await record(world, ANN, "admin", other)
    assert await find(world, ANN) == people.Known(org_id=org.id, role="writer", due=False, came=True)
    await record(world, ANN, "reader")
    assert await find(world, ANN) == people.Known(org_id=org.id, role="reader", due=False, came=True)
    await world.rows(LATER, days=2)
    assert await find(world, ANN) == people.Known(org_id=org.id, role="reader", due=True, came=True)
    await record(world, ANN, "reader")
    assert await find(world, ANN) == people.Known(org_id=org.id, role="reader", due=False, came=True)
    assert await world.rows("SELECT email FROM users") == [(ANN,)]


async def test_members_are_those_of_the_org_and_whom_its_roles_name(world: World) -> None:
    org, other = await world.org(), await world.org("sea", OTHER)
    await record(world, ANN, "admin")
    await record(world, "guest", "reader", other)
    await record(world, "stranger", "reader", other)
    finance = Binding(slug="finance", name="Money", users=("guest", "bot"), groups=("h", "g"))
    await mirror(world, org, finance, Binding(slug="empty"), Binding(slug="more", users=("bot",)))
    await mirror(world, other, Binding(slug="sea", users=(ANN,)))
    found = await members(world)
    assert (found.namespace, found.more) == ("air", False)
    shown = {m.user: (m.email, m.role, [r.slug for r in m.roles], m.seen is not None) for m in found.members}
    assert shown == {
        ANN: (ANN, "admin", [], True),
        "bot": (None, "reader", ["finance", "more"], False),
        "guest": (None, None, ["finance"], False),  # of another org: what they are there is not told here
    }
    assert [(r.slug, r.name, r.groups) for r in found.roles] == [
        ("empty", "empty", ()), ("finance", "Money", ("g", "h")), ("more", "more", ()),
    ]  # fmt: skip
    assert [m.user for m in (await members(world, other)).members] == [ANN, "guest", "stranger"]


async def test_who_is_named_somewhere_before_they_come_is_of_where_they_come(world: World) -> None:
    org, other = await world.org(), await world.org("sea", OTHER)
    await mirror(world, other, Binding(slug="sea", users=(ANN,)))
    assert await find(world, ANN) == people.Known(org_id=other.id, role="reader", due=True, came=False)
    await record(world, ANN, "admin")
    assert await find(world, ANN) == people.Known(org_id=org.id, role="admin", due=False, came=True)


async def test_who_has_not_come_for_long_and_has_no_role_is_forgotten(world: World) -> None:
    org = await world.org()
    for user in (ANN, "bob", "eve"):
        await record(world, user, "reader")
    await mirror(world, org, Binding(slug="finance", users=("bob", "bot")))
    await world.rows(LATER, days=91)
    await record(world, "eve", "reader")
    assert await forget(world) == ["bob", "bot", "eve"]
    await mirror(world, org)
    assert await forget(world) == ["eve"]


async def test_forgetting_is_the_leader_s_and_nothing_where_nobody_is_old(world: World) -> None:
    await record(world, ANN, "reader")
    before = await world.snapshot()
    assert await forget(world, epoch=7) == [ANN]
    assert await world.snapshot() == before
    await world.rows(LATER, days=91)
    with pytest.raises(LostLeadership):
        await forget(world, epoch=7)


async def test_with_the_cluster_away_no_role_is_fresh_and_who_came_fails_nobody(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    client = Client(await Connection.open(Access(server="http://127.0.0.1:1", namespace="n", token="t")))
    org, now = await world.org(), [0.0]
    found = People(client, world.db, Rights(client), lambda: now[0])
    with pytest.raises(TemporaryError, match="API server"):
        await found.fresh("air", org)
    # What was read lately is taken as it is, and no longer.
    found._read.put(("air", org.id), 1.0, 60)
    for now[0] in (1.0, 3.0):
        await found.fresh("air", org)
    now[0] = 3.1
    with pytest.raises(TemporaryError, match="API server"):
        await found.fresh("air", org)
    found.came(Person(ANN), "air")
    found.came(Person(ANN), "air")
    assert found._came.qsize() == 1
    running: asyncio.Task[Any] = asyncio.create_task(found.run())
    while "could not be noted" not in caplog.text:  # noqa: ASYNC110 - a log tells nobody
        await asyncio.sleep(0.01)
    assert not running.done()
    running.cancel()
    for number in range(1000):
        found.came(Person(f"user-{number}"), "air")
    await client.close()
