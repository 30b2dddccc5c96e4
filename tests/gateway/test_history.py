"""A DAG's versions as Postgres tells them."""

from __future__ import annotations

from headrace.api.history import History
from headrace.state.database import Database
from headrace.state.history import read_history, schema_version
from headrace.state.migrate import default_directory, read_migrations
from headrace.state.orgs import find_org
from tests.state.world import NAMESPACE_UID, World, month_source, step


async def history(world: World, dag: str = "flights") -> History | None:
    async with world.db.transaction() as tx:
        return await read_history(tx, await world.org(), dag)


async def test_versions_are_told_newest_first_with_the_one_that_serves(db: Database) -> None:
    world = World(db)
    assert await history(world) is None
    await world.apply("flights", month_source("1"), step("clean", "month"))
    only = await history(world)
    assert only is not None
    assert [(v.current, v.short) for v in only.versions] == [(True, only.versions[0].yaml_hash[3:13])]
    assert only.previous is None
    await world.apply("flights", month_source("1"), step("clean", "month"), step("more", "month"))
    both = await history(world)
    assert both is not None
    assert [v.current for v in both.versions] == [True, False]
    assert both.versions[1].yaml_hash == both.previous == only.versions[0].yaml_hash
    assert both.versions[0].served_since is not None
    await world.apply("flights", month_source("1"), step("clean", "month"))
    back = await history(world)
    assert back is not None
    assert [v.current for v in back.versions] == [False, True]
    assert back.previous == back.versions[0].yaml_hash
    assert await history(world, "other") is None


async def test_looking_makes_no_org_and_knows_the_schema(db: Database) -> None:
    async with db.transaction() as tx:
        assert await find_org(tx, NAMESPACE_UID) is None
        assert await schema_version(tx) == len(read_migrations(default_directory()))
    made = await World(db).org()
    async with db.transaction() as tx:
        assert await find_org(tx, NAMESPACE_UID) == made
