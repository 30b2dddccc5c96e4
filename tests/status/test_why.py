"""Why a job does not run, told from real Postgres: the cause that is nearest, and what is waited for."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from headrace.api.runs import Blocker, Lack, Run, Why
from headrace.run.requests import run_job
from headrace.state.database import Database
from headrace.state.report import read_report
from headrace.state.runs import list_tasks
from headrace.state.why import Lacking, read_unit
from headrace.status.why import explain_why
from tests.state.world import World, month_source, step


@pytest.fixture
def world(db: Database) -> World:
    return World(db)


async def why(world: World, job: str, partition: str | None = None) -> Why:
    """The answer of the gateway."""
    org = await world.org()
    async with world.db.transaction() as tx:
        report, unit = await read_report(tx, org.id, "flights"), await read_unit(tx, org.id, "flights", job, partition)
    told = explain_why(report, "flights", job, partition, unit)
    assert told is not None
    return told


def load(*keys: str, **fields: object) -> dict[str, object]:
    return {"name": "load", "image": "i", "source": month_source(*keys)["source"], **fields}


async def test_a_source_that_was_never_run_says_how(world: World) -> None:
    await world.apply("flights", load("a"), step("clean", "load"))
    told = await why(world, "load")
    assert told.state == "Idle"
    assert "headrace run flights/load" in told.words[0]
    told = await why(world, "clean", "a")
    way = "headrace run flights/load -p a makes it"
    assert (told.state, told.words) == ("Absent", (f"its input load (flights.load.0) has no partition a: {way}",))


async def test_what_reads_of_a_source_that_was_never_run_leads_there(world: World) -> None:
    await world.apply("flights", load("a"), step("clean", "load"), step("rank", "clean"))
    told = await why(world, "rank")
    assert told.words[0] == "nothing waits: 0 units done"
    assert told.words[1].startswith("it reads what comes of load, and of that no run yet: headrace run flights/load,")
    told = await why(world, "rank", "a")
    assert "headrace why flights/clean -p a says why" in told.words[0]
    assert told.lacks == (Lack(dataset="flights.clean.0", dag="flights", job="clean", partition="a"),)
    await world.command("flights", "run", "load")
    assert (await why(world, "rank")).words == ("nothing waits: 0 units done",)
    await world.drain()
    assert (await why(world, "rank")).words == ("nothing waits: 1 unit done",)
    assert (await why(world, "rank", "a")).lacks == ()


async def test_a_canceled_task_is_told(world: World) -> None:
    await world.apply("flights", load("a"))
    await world.command("flights", "run", "load")
    await world.command("flights", "cancel", "load")
    told = (await why(world, "load")).words[1]
    assert told.startswith("its last task, of partition a, was canceled (canceled by annotation): headrace retry ")


async def test_what_is_full_suspended_or_tried_again_is_told(world: World) -> None:
    await world.apply("flights", load("a", "b"))
    await world.command("flights", "run", "load")
    assert (await why(world, "load", "a")).words == ("it waits for its turn",)
    (pod,) = await world.claim()
    assert (await why(world, "load")).words[0].startswith("runs 1 at once, its scaling.maxConcurrency; 1 more wait")
    assert (await why(world, "load", "a")).words == (f"it runs in pod {pod.pod_name}",)
    waits = "the job runs 1 at once, its scaling.maxConcurrency; 1 more wait"
    assert (await why(world, "load", "b")).words == (waits,)
    assert await world.fail(pod, backoff=10_000.0)
    assert "after: it broke" in (await why(world, "load", "a")).words[0]
    await world.apply("flights", load("a", "b"), suspend=True)
    assert (await why(world, "load")).words[0] == "the DAG is suspended: set spec.suspend to false"
    assert (await why(world, "load", "b")).words[0] == "the DAG is suspended: set spec.suspend to false"


async def test_the_namespaces_cap_is_told(world: World) -> None:
    await world.apply("flights", load("a", "b", scaling={"maxConcurrency": 4}))
    await world.rows("UPDATE orgs SET settings = '{\"max_running_tasks\": 1}' RETURNING 1")
    await world.command("flights", "run", "load")
    await world.claim()
    assert "the namespace runs 1 task, its maxRunningTasks" in (await why(world, "load")).words


async def test_what_is_waited_for_upstream_is_named(world: World) -> None:
    await world.apply("flights", load("a", maxAttempts=1), step("clean", "load"), step("rank", "clean"))
    await world.command("flights", "run", "load")
    await world.drain()
    await world.command("flights", "run", "load -p a --downstream", "2")
    (pod,) = await world.claim()
    assert await world.fail(pod)
    told = await why(world, "rank", "a")
    assert told.state == "Queued"
    assert told.words[0] == "it waits for 2 other tasks"
    assert [(b.job, b.state, b.message) for b in told.waits_for] == [
        ("load", "Failed", "it broke"), ("clean", "Queued", None)
    ]  # fmt: skip
    assert "headrace retry" in (await why(world, "load", "a")).words[0]
    assert (await why(world, "clean")).words[0] == "1 of 1 wait for work upstream"
    await world.command("flights", "cancel", "load", "3")
    await world.drain()
    done = await why(world, "rank", "a")
    assert (done.state, done.words[0].startswith("it was made last at ")) == ("Completed", True)


async def test_a_run_of_the_same_partition_that_comes_first_is_named(world: World) -> None:
    await world.apply("flights", load("a", paramsSchema={"type": "object"}, scaling={"maxConcurrency": 4}))
    org = await world.org()
    async with world.db.transaction() as tx:
        for params in ({"n": 1}, {"n": 2}):
            run = Run(partitions=("a",), params=params)
            await run_job(tx, org.id, "flights", "load", run, "alice", {"type": "object"})
    await world.claim()
    told = await why(world, "load", "a")
    assert told.words[0].startswith("it runs in pod ") or told.words[0] == "it waits for 1 other task"
    async with world.db.transaction() as tx:
        waiting = await list_tasks(tx, org.id, "flights", 10, states=["Queued"])
        blockers = await tx.rows("why_blockers", Blocker, task=waiting[0].id)
    assert [(b.job, b.partition, b.state) for b in blockers] == [("load", "a", "Running")]


async def test_no_such_job(world: World) -> None:
    await world.apply("flights", load("a"))
    org = await world.org()
    async with world.db.transaction() as tx:
        report, unit = await read_report(tx, org.id, "flights"), await read_unit(tx, org.id, "flights", "x", None)
    assert explain_why(report, "flights", "x", None, unit) is None


async def test_what_is_over_lacks_nothing(world: World) -> None:
    """Its inputs may have gone since: that is no cause of anything."""
    await world.apply("flights", load("a"), step("clean", "load"))
    await world.command("flights", "run", "load")
    await world.drain()
    org = await world.org()
    async with world.db.transaction() as tx:
        report, unit = await read_report(tx, org.id, "flights"), await read_unit(tx, org.id, "flights", "clean", "a")
    gone = replace(unit, lacking=(Lacking("load", "flights.load.0", dag="flights", job="load"),))
    told = explain_why(report, "flights", "clean", "a", gone)
    assert (told is not None and told.state, told and told.lacks) == ("Completed", ())
