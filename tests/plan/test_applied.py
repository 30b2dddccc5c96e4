"""Plans carried out in Postgres: twice is once, names move, and what is refused changes nothing."""

from __future__ import annotations

import pytest

from headrace.plan.steps import Plan
from headrace.state.database import Database
from tests.state.world import World, month_source, step

CLEAN = step("clean", "month", outputs=2)


@pytest.fixture
def world(db: Database) -> World:
    return World(db)


def published(*pairs: tuple[str, int]) -> list[dict[str, object]]:
    """Outputs of `clean` under names."""
    return [{"name": name, "from": {"job": "clean", "output": output}} for name, output in pairs]


async def names(world: World) -> dict[object, object]:
    """The names of the outputs of `clean`."""
    query = "SELECT producer_output_index, name FROM datasets WHERE producer_job_name = 'clean' ORDER BY 1"
    return dict(await world.rows(query))  # type: ignore[arg-type]


def steps(plan: Plan) -> list[str]:
    """The kinds of a plan's steps."""
    return [type(s).__name__ for s in plan.steps]


@pytest.mark.parametrize("again", [
    pytest.param({}, id="as it was"),
    pytest.param({"publish": published(("rows", 0))}, id="with a name"),
    pytest.param({"suspend": True}, id="suspended"),
])  # fmt: skip
async def test_reconciling_twice_is_reconciling_once(world: World, again: dict[str, object]) -> None:
    """The second plan is empty and writes nothing, whatever the first one did."""
    await world.apply("flights", month_source("k"), CLEAN)
    await world.apply("flights", month_source("k"), CLEAN, **again)  # type: ignore[arg-type]
    before = await world.snapshot()
    assert (await world.apply("flights", month_source("k"), CLEAN, **again)).steps == ()  # type: ignore[arg-type]
    assert await world.snapshot() == before


async def test_two_outputs_trade_names_and_keep_their_data(world: World) -> None:
    await world.apply("flights", month_source("k"), CLEAN, publish=published(("rows", 0), ("bad", 1)))
    await world.run("flights", "month", "k")
    await world.drain()
    held = "SELECT dataset_uuid, dataset_version, partition_key, location FROM partition_versions ORDER BY 1"
    before = await world.rows(held)
    plan = await world.apply("flights", month_source("k"), CLEAN, publish=published(("bad", 0), ("rows", 1)))
    assert steps(plan) == ["AddVersion", "StartRollout"]
    assert await names(world) == {0: "bad", 1: "rows"}
    assert await world.rows(held) == before
    assert await world.drain() == []
    outputs = (
        "SELECT output_datasets FROM jobs j JOIN dag_current_versions c USING (dag_version_id) WHERE j.name = 'clean'"
    )
    assert await world.rows(outputs) == [(["bad", "rows"],)]


async def test_an_older_document_is_its_old_version_and_runs_nothing(world: World) -> None:
    """`git revert`: the same row serves again, with its names, and no task is made."""
    current = "SELECT dag_version_id FROM dag_current_versions"
    await world.apply("flights", month_source("k"), CLEAN, publish=published(("rows", 0)))
    await world.run("flights", "month", "k")
    await world.drain()
    first, tasks = await world.rows(current), await world.rows("SELECT count(*) FROM tasks")
    await world.apply("flights", month_source("k"), {**CLEAN, "timeoutSeconds": 5}, publish=published(("lines", 0)))
    assert await world.rows(current) != first
    plan = await world.apply("flights", month_source("k"), CLEAN, publish=published(("rows", 0)))
    assert steps(plan) == ["Cutover"]
    assert await world.rows(current) == first
    assert await names(world) == {0: "rows", 1: "flights.clean.1"}
    assert await world.rows("SELECT count(*) FROM dag_versions") == [(2,)]
    assert await world.rows("SELECT count(*) FROM tasks") == tasks


async def test_a_name_stays_with_its_dag_also_when_that_is_gone(world: World) -> None:
    await world.apply("flights", month_source("k"), CLEAN, publish=published(("rows", 0)))
    await world.rows("UPDATE dags SET absent_since = now() RETURNING 1")
    plan = await world.apply("trains", month_source("k"), CLEAN, publish=published(("rows", 1)))
    assert plan.blocked is not None
    assert (plan.blocked.reason, "rows (of DAG flights)" in plan.blocked.message) == ("NameTaken", True)
    assert await world.rows("SELECT DISTINCT dag_name FROM dag_versions") == [("flights",)]
    assert await names(world) == {0: "rows", 1: "flights.clean.1"}
