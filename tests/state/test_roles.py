"""Roles mirrored into real Postgres: who has which, what comes and goes, and that the same again writes nothing.

A user may be named in several orgs, and one that was at the gateway stays.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest

from headrace.api.people import Binding
from headrace.state import roles
from headrace.state.database import Conflict, Database, Transaction
from headrace.state.orgs import Org
from tests.state.faults import interleave
from tests.state.world import World

OTHER = "6c1d5f0e-0000-4000-8000-000000000002"
ANN, BOT = "ann@example.org", "system:serviceaccount:air:bot"


@pytest.fixture
def world(db: Database) -> World:
    return World(db)


async def mirror(world: World, *bindings: Binding, org: Org | None = None) -> bool:
    """Mirror what a namespace has."""
    org = org or await world.org()
    async with world.db.transaction() as tx:
        await roles.lock_roles(tx, org)
        return await roles.mirror(tx, org, bindings)


async def have(world: World, user: str, *groups: str, org: Org | None = None) -> list[str]:
    """The roles of somebody."""
    org = org or await world.org()
    async with world.db.transaction() as tx:
        return sorted(await roles.roles_of(tx, org.id, user, groups))


async def users(world: World) -> list[object]:
    """Everybody who is known."""
    return [name for (name,) in await world.rows("SELECT external_id FROM users ORDER BY 1")]


def finance(*people: str, groups: tuple[str, ...] = (), slug: str = "finance", name: str | None = None) -> Binding:
    return Binding(slug=slug, name=name, users=people, groups=groups)


async def test_members_and_groups_have_the_role_and_nobody_else(world: World) -> None:
    assert await mirror(world, finance(ANN, BOT, groups=("oidc:finance",)), finance(ANN, slug="sales"))
    assert await have(world, ANN) == ["finance", "sales"]
    assert await have(world, BOT) == ["finance"]
    assert await have(world, "bob", "oidc:finance", "other") == ["finance"]
    assert await have(world, "bob", "other") == []
    assert await have(world, "oidc:finance") == []
    assert await world.rows("SELECT external_id, email, role, seen_at FROM users ORDER BY 1") == [
        (ANN, ANN, "reader", None), (BOT, None, "reader", None),
    ]  # fmt: skip


async def test_several_bindings_of_a_role_add_up_and_the_first_name_counts(world: World) -> None:
    await mirror(world, finance(ANN), finance(BOT, name="The money"), finance(groups=("g",), name="Other"))
    assert (await have(world, ANN), await have(world, BOT), await have(world, "x", "g")) == (["finance"],) * 3
    assert await world.rows("SELECT slug, name FROM org_roles") == [("finance", "The money")]
    assert await mirror(world, finance(ANN))
    assert await world.rows("SELECT slug, name FROM org_roles") == [("finance", "finance")]
    assert (await have(world, ANN), await have(world, BOT), await have(world, "x", "g")) == (["finance"], [], [])


async def test_what_no_binding_gives_any_more_is_gone_and_so_is_who_never_came(world: World) -> None:
    await mirror(world, finance(ANN, BOT, groups=("g",)), finance("bob", slug="sales"))
    await world.rows("UPDATE users SET seen_at = now() WHERE external_id = %(ann)s RETURNING 1", ann=ANN)
    assert await mirror(world, finance("bob", slug="sales"))
    assert (await have(world, ANN), await have(world, "x", "g"), await have(world, "bob")) == ([], [], ["sales"])
    assert await users(world) == [ANN, "bob"]
    assert await mirror(world)
    assert await users(world) == [ANN]
    assert await world.rows("SELECT 1 FROM org_roles") == await world.rows("SELECT 1 FROM org_role_groups") == []


async def test_the_same_again_writes_nothing(world: World) -> None:
    bindings = [finance(ANN, BOT, groups=("g", "h"), name="Money"), finance(slug="empty")]
    assert await mirror(world, *bindings)
    before = await world.snapshot()
    assert not await mirror(world, *reversed(bindings))
    assert not await mirror(world, *bindings, *bindings)
    assert await world.snapshot() == before


@pytest.mark.parametrize("changed", [
    finance(ANN, name="n"), finance(ANN, BOT), finance(BOT), finance(ANN, groups=("g",)), finance(ANN, slug="x"), None,
])  # fmt: skip
async def test_every_difference_is_seen(world: World, changed: Binding | None) -> None:
    await mirror(world, finance(ANN))
    assert await mirror(world, *([changed] if changed else []))
    assert not await mirror(world, *([changed] if changed else []))


async def test_each_org_has_its_own_and_a_user_of_two_stays(world: World) -> None:
    other = await world.org("sea", OTHER)
    await mirror(world, finance(ANN, BOT))
    await mirror(world, finance(ANN, groups=("g",)), org=other)
    assert await mirror(world)
    assert (await have(world, ANN), await have(world, ANN, org=other)) == ([], ["finance"])
    assert (await have(world, "x", "g"), await have(world, "x", "g", org=other)) == ([], ["finance"])
    assert await users(world) == [ANN]
    assert await mirror(world, org=other)
    assert await users(world) == []


async def test_a_label_that_can_be_no_role_is_refused_by_the_schema(world: World) -> None:
    with pytest.raises(Conflict) as caught:
        await mirror(world, finance(ANN, slug="Not One"))
    assert caught.value.constraint == "org_roles_slug_check"


@pytest.mark.parametrize("first", ["drops", "names"])
async def test_a_user_that_one_org_drops_while_another_names_it_keeps_the_role(world: World, first: str) -> None:
    """In every order of their steps."""
    one, other = await world.org(), await world.org("sea", OTHER)

    def act(org: Org, *bindings: Binding) -> Callable[[Transaction], Awaitable[object]]:
        async def look(tx: Transaction) -> None:
            await roles.lock_roles(tx, org)
            await roles.mirror(tx, org, bindings)

        return look

    drop, name = act(one), act(other, finance(ANN))
    acts = (drop, name) if first == "drops" else (name, drop)

    async def second() -> None:
        async with world.db.transaction() as tx:
            await acts[1](tx)

    at, more = 1, True
    while more:
        await mirror(world, org=other)
        await mirror(world, finance(ANN))
        more = await interleave(world.db, acts[0], second, at)
        assert await have(world, ANN, org=other) == ["finance"], at
        assert await have(world, ANN) == []
        at += 1
    assert at > 8


async def test_an_older_reading_never_comes_after_a_newer_one(world: World) -> None:
    """Both read the cluster under the lock: here a list, which ends up empty."""
    org = await world.org()
    there: list[Binding] = []

    async def look(tx: Transaction) -> None:
        await roles.lock_roles(tx, org)
        found = list(there)
        await roles.mirror(tx, org, found)

    async def look_later() -> None:
        there.clear()
        async with world.db.transaction() as tx:
            await look(tx)

    at, more = 1, True
    while more:
        await mirror(world)
        there[:] = [finance(ANN)]
        more = await interleave(world.db, look, look_later, at)
        assert await have(world, ANN) == [], at
        at += 1
    assert at > 8
