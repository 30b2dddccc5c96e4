"""DAGs that read one another's datasets: by name, across cutovers, without locks across DAGs; and whose a name is."""

from __future__ import annotations

import pytest

from headrace.plan.rollout import SwitchOver
from headrace.state import names
from headrace.state.database import Database
from headrace.state.deletion import delete_dag
from headrace.state.names import TransferRefused
from tests.state.world import World, month_source, step

KEYS = ("a", "b")


@pytest.fixture
def world(db: Database) -> World:
    return World(db)


def makes(n: int = 0) -> list[dict[str, object]]:
    """month -> clean."""
    return [month_source(*KEYS, "c"), step("clean", "month", config={"n": n})]


def reads(dataset: str = "rows", name: str = "join") -> dict[str, object]:
    """A job that reads a dataset of another DAG."""
    return {"name": name, "image": "i", "inputs": [{"from": {"dataset": dataset}}]}


ROWS = [{"name": "rows", "from": {"job": "clean"}}]


async def both(world: World) -> None:
    """`flights` publishes rows, `report` reads them; all done."""
    await world.apply("flights", *makes(), publish=ROWS)
    await world.apply("report", reads(), publish=[{"name": "joined", "from": {"job": "join"}}])
    await world.run("flights", "month", *KEYS)
    await settle(world)


async def settle(world: World) -> list[tuple[str, str]]:
    """Run everything, DAG after DAG; what ran, in order."""
    ran = []
    while done := await world.drain():
        ran += done
        await world.look()
    return ran


async def test_a_reader_gets_what_arrives_and_what_arrives_again(world: World) -> None:
    await world.apply("flights", *makes(), publish=ROWS)
    await world.apply("report", reads())
    await world.run("flights", "month", *KEYS)
    assert await world.rows("SELECT count(*) FROM consumer_looks") == [(0,)]
    assert sorted(await settle(world)) == [("clean", "a"), ("clean", "b"), ("join", "a"), ("join", "b")]
    assert await world.rows("SELECT count(*) FROM consumer_looks") == [(0,)]


async def test_a_reader_follows_the_cutover_of_what_it_reads(world: World) -> None:
    """The producer's new version is read when it serves, not before; back again, the reader follows back."""
    await both(world)
    await world.apply("flights", *makes(1), publish=ROWS)
    assert sorted(await world.drain()) == [("clean", "a"), ("clean", "b")]
    await world.look()
    assert await world.drain() == []
    assert await world.advance("flights") == SwitchOver()
    await world.look()
    read = {pod.inputs["rows"]["version"] for pod in await world.claim()}
    serving = await world.rows("SELECT dataset_version::text FROM dag_current_versions JOIN dag_version_datasets USING"
                               " (dag_version_id) WHERE name = 'rows'")  # fmt: skip
    assert [(version,) for version in read] == serving
    await world.drain()
    await world.apply("flights", *makes(), publish=ROWS)
    await world.look()
    assert sorted(await settle(world)) == [("join", "a"), ("join", "b")]


async def test_what_is_read_by_name_must_be_there_first(world: World) -> None:
    plan = await world.apply("report", reads())
    assert plan.blocked is not None
    assert (plan.blocked.reason, plan.blocked.waits) == ("InputsMissing", True)
    assert await world.rows("SELECT count(*) FROM dag_versions") == [(0,)]
    await world.apply("flights", *makes(), publish=ROWS)
    assert (await world.apply("report", reads())).blocked is None


async def test_what_others_read_stays_published(world: World) -> None:
    await both(world)
    plan = await world.apply("flights", *makes())
    assert plan.blocked is not None
    assert (plan.blocked.reason, "rows (read by report/join)" in plan.blocked.message) == ("ConsumersExist", True)
    assert await world.rows("SELECT name FROM datasets WHERE producer_job_name = 'clean'") == [("rows",)]
    await world.apply("report", month_source("k"))
    assert (await world.apply("flights", *makes())).blocked is None
    assert await world.rows("SELECT name FROM datasets WHERE producer_job_name = 'clean'") == [("flights.clean.0",)]


async def test_a_reader_that_came_while_the_version_was_built_stops_its_cutover(world: World) -> None:
    await world.apply("flights", *makes(), publish=ROWS)
    await world.run("flights", "month", *KEYS)
    await world.drain()
    await world.apply("flights", *makes(1), publish=[])
    await world.apply("report", reads())
    await world.drain()
    move = await world.advance("flights")
    assert "rows (read by report/join)" in str(move)
    assert await world.rows("SELECT name FROM datasets WHERE producer_job_name = 'clean'") == [("rows",)]


async def test_dags_do_not_read_in_a_circle(world: World) -> None:
    await both(world)
    clean = {**step("clean", "month"), "inputs": [{"from": {"job": "month"}}, {"from": {"dataset": "joined"}}]}
    plan = await world.apply("flights", month_source(*KEYS), clean, publish=ROWS)
    assert plan.blocked is not None
    assert plan.blocked.reason == "CycleAcrossDAGs"
    # Reading it in a job that it is not made from is no circle.
    assert (await world.apply("flights", *makes(), reads("joined", "other"), publish=ROWS)).blocked is None


async def test_a_moved_name_is_read_where_it_is_now(world: World) -> None:
    await both(world)
    plan = await world.apply("flights", *makes(), step("better", "month"),
                             publish=[{"name": "rows", "from": {"job": "better"}}])  # fmt: skip
    assert [(d.dataset, d.action, d.was) for d in plan.explanation.datasets if d.was] == [
        ("flights.clean.0", "reused", "rows")
    ]
    await world.drain()
    assert await world.advance("flights") == SwitchOver()
    await world.look()
    (pod,) = await world.claim()
    better = await world.rows("SELECT id::text FROM datasets WHERE producer_job_name = 'better'")
    assert (pod.job, [(pod.inputs["rows"]["dataset_uuid"],)]) == ("join", better)
    assert len(await settle(world)) == 2


async def transfer(world: World, name: str, to: str) -> str:
    """Transfer a name; whose it was."""
    org = await world.org()
    async with world.db.transaction() as tx:
        return await names.transfer(tx, org.id, name, to)


async def test_a_name_is_transferred_when_its_dag_publishes_it_no_more(world: World) -> None:
    await world.apply("flights", *makes(), publish=ROWS)
    with pytest.raises(TransferRefused, match="DAG flights publishes rows"):
        await transfer(world, "rows", "trains")
    await world.apply("flights", *makes())
    assert (await world.apply("trains", *makes(), publish=ROWS)).blocked is not None
    assert await transfer(world, "rows", "trains") == "flights"
    assert (await world.apply("trains", *makes(), publish=ROWS)).blocked is None
    plan = await world.apply("flights", *makes(), publish=ROWS)
    assert plan.blocked is not None
    assert plan.blocked.reason == "NameTaken"
    with pytest.raises(TransferRefused, match="is DAG trains's already"):
        await transfer(world, "rows", "trains")
    with pytest.raises(TransferRefused, match="no DAG of this namespace"):
        await transfer(world, "other", "trains")


async def test_a_dag_that_comes_back_after_its_name_was_transferred_is_told(world: World) -> None:
    await both(world)
    await world.leave("flights")
    await transfer(world, "rows", "trains")
    await world.apply("trains", *makes(), publish=ROWS)
    await world.run("trains", "month", "a")
    assert ("join", "a") in await settle(world)
    for _ in range(2):
        plan = await world.apply("flights", *makes(), publish=ROWS)
        assert plan.blocked is not None
        assert plan.blocked.reason == "NameTaken"


TABLES = ("dags", "dag_versions", "dag_current_versions", "jobs", "job_inputs", "datasets", "dataset_versions",
          "dag_version_datasets", "tasks", "task_inputs", "partition_versions", "unit_completions", "commands",
          "rollouts", "dataset_names", "same_data", "cron_ticks", "consumer_looks")  # fmt: skip


async def counts(world: World) -> dict[str, int]:
    """Rows by table."""
    found = {}
    for table in TABLES:
        ((found[table],),) = await world.rows(f"SELECT count(*) FROM {table}")
    return {table: int(str(number)) for table, number in found.items() if number}


async def delete(world: World, dag: str) -> list[str]:
    """The DAG's object said Delete and is deleted."""
    org = await world.org()
    await world.leave(dag)
    async with world.db.transaction() as tx:
        await tx.execute("lock_dag", org_id=org.id, dag=dag)
        return await delete_dag(tx, org.id, dag)


async def test_deletion_takes_every_row_of_the_dag_and_no_other(world: World) -> None:
    await world.apply("report", *makes(), step("send", "clean", outputs=0))
    await world.run("report", "month", *KEYS)
    await world.drain()
    others = await counts(world)
    before = await world.snapshot()
    total = {"name": "total", "image": "i", "inputs": [{"from": {"job": "clean"}, "match": "latest"}]}
    await world.apply("flights", *makes(), step("send", "clean", outputs=0), total, publish=ROWS)
    await world.run("flights", "month", *KEYS)
    await world.drain()
    await world.command("flights", "run", "month")
    await world.apply("flights", *makes(1), step("send", "clean", outputs=0), total, publish=ROWS)
    assert await delete(world, "flights") == []
    assert await counts(world) == others
    after = await world.snapshot()
    assert all(before[table] == after[table] for table in TABLES)
    assert (await world.apply("trains", *makes(), publish=ROWS)).blocked is None


async def test_deletion_spares_what_others_read(world: World) -> None:
    await both(world)
    assert await delete(world, "flights") == ["rows"]
    assert await world.rows("SELECT name FROM datasets WHERE producer_dag_name = 'flights'") == [("rows",)]
    assert await world.rows("SELECT count(*) FROM partition_versions p JOIN datasets d ON d.id = p.dataset_uuid"
                            " WHERE d.name = 'rows'") == [(2,)]  # fmt: skip
    await world.apply("report", {**reads(), "config": {"n": 1}})
    assert sorted(await world.drain()) == [("join", "a"), ("join", "b")]
    assert await world.advance("report") == SwitchOver()
    assert (await world.apply("trains", *makes(), publish=ROWS)).blocked is not None
    # The DAG made anew goes on from what was spared.
    await world.apply("flights", *makes(), publish=ROWS)
    assert await world.rows("SELECT count(*) FROM dag_current_versions WHERE dag_name = 'flights'") == [(1,)]


async def test_a_reader_is_told_that_its_publisher_is_gone_and_that_it_is_back(world: World) -> None:
    await both(world)
    assert (await world.report("report")).gone == ()
    await world.leave("flights")
    assert await world.rows("SELECT dag_name FROM consumer_looks") == [("report",)]
    await world.look()
    assert [(g.job, g.dataset, g.dag) for g in (await world.report("report")).gone] == [("join", "rows", "flights")]
    await world.apply("flights", *makes(), publish=ROWS)
    assert await world.rows("SELECT dag_name FROM consumer_looks") == [("report",)]
    assert (await world.report("report")).gone == ()
