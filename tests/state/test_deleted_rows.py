"""`deletionPolicy: Delete`: of a DAG that has had everything, not a row is left, and others keep theirs."""

from __future__ import annotations

from headrace.api.invalidations import Invalidation
from headrace.state import invalidations, orgs
from headrace.state.database import Database
from headrace.state.deletion import delete_dag
from tests.state.test_column_lineage import declares
from tests.state.test_updates import add, blocks, events, of_job
from tests.state.world import World, month_source, step

# What is no DAG's: who there is, what columns hashes stand for, which migrations ran, who leads.
KEPT = {"operator_epoch", "orgs", "schema_migrations", "schemas", "users"}


async def left(world: World) -> dict[str, int]:
    """How many rows each table has that should have none."""
    return {table: len(rows) for table, rows in (await world.snapshot()).items() if rows and table not in KEPT}


async def test_nothing_is_left(db: Database) -> None:
    world = World(db)
    async with db.transaction() as tx:
        await orgs.set_settings(tx, 0, await world.org(), {"notify": {"secret_name": "chat"}})
    publish = [{"name": "logs", "from": {"job": "events"}, "readRoles": ["a"]}]
    jobs = blocks(), events(lineage=[declares("log", ("blocks", "number"))]), step("sum", "events")
    await world.apply("chain", *jobs, publish=publish)
    await add(world, None, 10)
    (pod,) = await of_job(world, "events")
    assert await world.complete(pod)
    await add(world, 10, 20)
    org = await world.org()
    async with db.transaction() as tx:
        place = await invalidations.find(tx, org.id, "logs")
        await invalidations.invalidate(tx, org.id, "logs", place, Invalidation(partition="*"))
    # Another version is built, and one is given up.
    await world.apply("chain", *jobs, step("more", "sum"), publish=publish)
    await world.command("chain", "cancel", "--rollout")
    assert {"column_lineage", "data_invalidations", "dataset_cursors", "notices", "task_inputs"} <= (
        await left(world)
    ).keys()
    await world.leave("chain")
    async with db.transaction() as tx:
        assert await delete_dag(tx, org.id, "chain") == []
    assert await left(world) == {}


async def test_others_keep_theirs(db: Database) -> None:
    world = World(db)
    await world.apply("mine", month_source("a"), step("clean", "month"))
    await world.apply("other", month_source("a"), step("clean", "month"))
    before = {table: len(rows) for table, rows in (await world.snapshot()).items()}
    org = await world.org()
    await world.leave("mine")
    async with db.transaction() as tx:
        await delete_dag(tx, org.id, "mine")
    after = await world.snapshot()
    assert [row["name"] for row in after["dags"]] == ["other"]
    for table in ("jobs", "datasets", "dataset_versions", "dag_version_datasets", "dag_versions"):
        assert len(after[table]) == before[table] / 2, table
