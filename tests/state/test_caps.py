"""What a namespace's settings allow at once holds work back, and the status of the jobs that wait says so."""

from __future__ import annotations

import pytest

from headrace.errors import LostLeadership
from headrace.state import orgs
from headrace.state.database import Database
from headrace.status.parts import NotRunning, at_cap, may_be_full, why_not_running
from tests.state.world import World, month_source, step

WIDE = {"scaling": {"maxConcurrency": 4}}


@pytest.fixture
def world(db: Database) -> World:
    return World(db)


async def cap(world: World, settings: dict[str, object], epoch: int = 0) -> None:
    org = await world.org()
    async with world.db.transaction() as tx:
        await orgs.set_settings(tx, epoch, org, settings)


async def why(world: World, dag: str, job: str) -> str:
    """What its Job says that it waits for."""
    report = await world.report(dag)
    assert report.dag is not None
    (row,) = [row for row in report.jobs if row.name == job]
    return why_not_running(dag, report.dag, row, NotRunning())


async def test_the_cap_holds_over_all_dags_and_is_told_where_it_does(world: World) -> None:
    for dag in ("flights", "ships"):
        await world.apply(dag, month_source("a", "b", "c"), step("clean", "month", **WIDE))
        await world.run(dag, "month", "a", "b", "c")
    assert not may_be_full(await world.report("ships"))
    await cap(world, {"max_running_tasks": 4})
    assert may_be_full(await world.report("ships"))
    pods = await world.claim()
    assert len(pods) == 4
    short = [dag for dag in ("flights", "ships") if sum(pod.dag == dag for pod in pods) < 3]
    assert short != []
    for dag in short:
        assert await why(world, dag, "clean") == "the namespace runs 4 tasks, its maxRunningTasks"
    assert await world.complete(pods[0])
    assert [await why(world, dag, "clean") for dag in short] == [""] * len(short)
    # Raised, it lets the rest run; lowered, it ends nothing and begins nothing.
    await cap(world, {"max_running_tasks": 1})
    assert len(await world.claim()) == 3
    await cap(world, {})
    assert len(await world.claim()) == 5
    assert await why(world, short[0], "clean") == ""


async def test_what_reads_on_upstream_work_says_that_and_not_the_cap(world: World) -> None:
    await world.apply("flights", month_source("a"), step("clean", "month"), step("rank", "clean"))
    await world.run("flights", "month", "a")
    await world.drain()
    await cap(world, {"max_running_tasks": 1})
    await world.command("flights", "run", "clean -p a --downstream")
    await world.claim()
    assert await why(world, "flights", "rank") == "1 of 1 wait for work upstream"


async def test_settings_are_the_leader_s_and_the_same_again_writes_nothing(world: World) -> None:
    await cap(world, {"max_running_tasks": 4})
    before = await world.snapshot()
    await cap(world, {"max_running_tasks": 4})
    after = await world.snapshot()
    assert after["orgs"] == before["orgs"]
    with pytest.raises(LostLeadership):
        await cap(world, {}, epoch=7)


def test_at_cap() -> None:
    assert [at_cap(1, None), at_cap(1, 2), at_cap(1, 1)] == ["", "", "the namespace runs 1 task, its maxRunningTasks"]
