"""Inputs that are read as a whole (`match: latest`): when a task waits for them, what it is given, what changes do."""

from __future__ import annotations

from typing import cast

import pytest

from headrace.state import units
from headrace.state.attempts import RunningPod
from headrace.state.database import Database
from tests.state.world import World, month_source, step


@pytest.fixture
def world(db: Database) -> World:
    return World(db)


def rates(*keys: str) -> dict[str, object]:
    """A source that runs in pods, and that others read as a whole."""
    source = cast("dict[str, object]", month_source(*keys)["source"])
    return {"name": "rates", "image": "i", "source": source, "scaling": {"maxConcurrency": 9}}


def prices(**given: object) -> dict[str, object]:
    """Reads a month, and all rates."""
    whole = {"from": {"job": "rates"}, "match": "latest", **given}
    return {"name": "prices", "image": "i", "inputs": [{"from": {"job": "month"}}, whole],
            "scaling": {"maxConcurrency": 9}}  # fmt: skip


async def begin(world: World, **given: object) -> None:
    await world.apply("shop", month_source("a", "b"), rates("x", "y"), prices(**given), step("report", "prices"))


async def claimed(world: World, job: str) -> list[RunningPod]:
    """What runs of a job after a claim, by key."""
    await world.claim()
    return sorted((p for p in await world.running() if p.job == job), key=lambda pod: pod.partitions)


async def make(world: World, *keys: str) -> None:
    """Make these partitions of the rates, be they there or not."""
    assert (
        await world.command("shop", "run", "rates " + " ".join(f"-p {key}" for key in keys), "-".join(keys)) is not None
    )
    for pod in await claimed(world, "rates"):
        assert await world.complete(pod)


def read(pod: RunningPod, name: str) -> list[object]:
    partitions = cast("list[dict[str, object]]", pod.inputs[name]["partitions"])
    return [partition["key"] for partition in partitions]


async def recorded(world: World, pod: RunningPod) -> list[tuple[object, ...]]:
    return await world.rows(
        "SELECT d.producer_job_name, i.input_partition_key FROM task_inputs i JOIN datasets d"
        " ON d.id = i.input_dataset_uuid WHERE i.task_id = %(task)s ORDER BY 1", task=pod.id,
    )  # fmt: skip


async def waiting(world: World, job: str) -> list[object]:
    rows = await world.rows(
        "SELECT t.unit_key FROM tasks t JOIN jobs j ON j.id = t.job_id WHERE t.status = 'Queued' AND j.name = %(job)s"
        " ORDER BY 1", job=job,
    )  # fmt: skip
    return [row[0] for row in rows]


async def test_a_task_waits_until_its_whole_input_has_anything(world: World) -> None:
    await begin(world)
    await world.run("shop", "month", "a", "b")
    assert await waiting(world, "prices") == ["a", "b"]
    assert await claimed(world, "prices") == []
    await make(world, "x")
    first, second = await claimed(world, "prices")
    assert read(first, "rates") == read(second, "rates") == ["x"]
    assert read(first, "month") == ["a"]
    assert await recorded(world, first) == [("month", "a"), ("rates", "*")]


async def test_a_task_waits_for_older_work_of_its_whole_input_and_not_for_newer(world: World) -> None:
    await begin(world)
    await make(world, "x")
    await world.command("shop", "run", "rates -p x -p y", "2")
    (x, y) = await claimed(world, "rates")
    await world.run("shop", "month", "a")
    assert await claimed(world, "prices") == []
    assert await world.complete(y)
    assert await claimed(world, "prices") == []
    assert await world.fail(x)  # it will be tried again
    assert await claimed(world, "prices") == []
    await world.command("shop", "cancel", "rates", "3")
    await world.command("shop", "run", "rates -p y", "4")
    (pod,) = await claimed(world, "prices")
    assert read(pod, "rates") == ["x", "y"]


@pytest.mark.parametrize(("on_change", "again"), [("stale", []), ("rerun", ["a", "b"])])
async def test_a_change_of_the_whole_runs_again_what_asked_for_it(
    world: World, on_change: str, again: list[str]
) -> None:
    await begin(world, onChange=on_change)
    await make(world, "x")
    await world.run("shop", "month", "a", "b")
    await world.drain()
    await make(world, "y")
    assert await waiting(world, "prices") == again
    done = await world.drain()
    assert [key for job, key in done if job == "prices"] == again
    assert await waiting(world, "prices") == []
    org = await world.org()
    async with world.db.transaction() as tx:
        assert await units.create_missing(tx, [(org.id, "shop")]) == 0


async def test_what_runs_while_the_whole_changes_is_run_again(world: World) -> None:
    await begin(world, onChange="rerun")
    await make(world, "x")
    await world.run("shop", "month", "a")
    (pod,) = await claimed(world, "prices")
    await make(world, "y")
    assert await waiting(world, "prices") == ["a"]
    assert await world.complete(pod)
    (pod,) = await claimed(world, "prices")
    assert read(pod, "rates") == ["x", "y"]


async def test_a_change_that_nobody_told_of_is_found(world: World) -> None:
    """As if the completion that changed it had not seen the unit."""
    await begin(world, onChange="rerun")
    await make(world, "x")
    await world.run("shop", "month", "a", "b")
    await world.drain()
    await make(world, "y")
    await world.rows("DELETE FROM tasks WHERE status = 'Queued' RETURNING id")
    org = await world.org()
    async with world.db.transaction() as tx:
        assert await units.create_missing(tx, [(org.id, "shop")]) == 2


async def test_a_sole_input_read_as_a_whole_sets_its_job_off(world: World) -> None:
    total = {"name": "total", "image": "i", "inputs": [{"from": {"job": "rates"}, "match": "latest"}]}
    await world.apply("shop", rates("x", "y"), total, step("report", "total"))
    await world.command("shop", "run", "rates -p x -p y")
    (x, y) = await claimed(world, "rates")
    assert await world.complete(x)
    assert await waiting(world, "total") == ["*"]
    assert await claimed(world, "total") == []  # y was before it
    assert await world.complete(y)
    (pod,) = await claimed(world, "total")
    assert (pod.partitions, read(pod, "rates")) == (["*"], ["x", "y"])
    assert await recorded(world, pod) == [("rates", "*")]
    assert await world.complete(pod)
    assert await waiting(world, "report") == ["*"]
    await world.drain()
    await make(world, "x")
    assert await waiting(world, "total") == ["*"]


async def test_work_below_a_whole_waits_for_what_is_older_above_it(world: World) -> None:
    """`both` reads a total, whose key is another than that of the work which it comes from."""
    total = {"name": "total", "image": "i", "inputs": [{"from": {"job": "rates"}, "match": "latest"}]}
    other = {"name": "other", "image": "i", "source": {"kind": "manual"}}
    await world.apply("shop", rates("x"), other, total, step("both", "total", "other"))
    await world.command("shop", "run", "rates -p x")
    await world.command("shop", "run", "other", "2")
    await world.drain()
    await world.command("shop", "run", "rates -p x", "3")
    await world.command("shop", "run", "other", "4")
    (pod,) = await claimed(world, "other")
    assert await world.complete(pod)
    assert await waiting(world, "both") == ["*"]
    assert await claimed(world, "both") == []
    await world.drain()
    assert await world.rows(
        "SELECT i.input_version = p.materialized_at FROM datasets d JOIN partition_versions p ON p.dataset_uuid = d.id"
        " JOIN task_inputs i ON i.input_dataset_uuid = d.id JOIN tasks t ON t.id = i.task_id"
        " WHERE d.producer_job_name = 'total' ORDER BY t.seq DESC LIMIT 1"
    ) == [(True,)]  # fmt: skip


async def test_the_whole_of_another_dag_is_followed_from_the_first_reader_on(world: World) -> None:
    """Of a dataset that was there before anybody read it so."""
    publish = [{"name": "all_rates", "from": {"job": "rates"}}]
    await world.apply("bank", rates("x", "y"), publish=publish)
    await world.command("bank", "run", "rates -p x")
    await world.drain()
    whole = {"from": {"dataset": "all_rates"}, "match": "latest", "onChange": "rerun"}
    await world.apply(
        "shop", month_source("a"), {"name": "prices", "image": "i", "inputs": [{"from": {"job": "month"}}, whole]}
    )
    await world.run("shop", "month", "a")
    assert await world.drain() == [("prices", "a")]
    await world.look()
    assert await waiting(world, "prices") == []
    await world.command("bank", "run", "rates -p y", "2")
    await world.drain()
    await world.look()
    assert await waiting(world, "prices") == ["a"]
    (pod,) = await claimed(world, "prices")
    assert read(pod, "all_rates") == ["x", "y"]


async def test_a_filter_is_handed_on_and_filters_no_trigger(world: World) -> None:
    await begin(world, where={"currency": ["USD", "EUR", "USD"], "active": True}, onChange="rerun")
    await make(world, "x")
    await world.run("shop", "month", "a")
    (pod,) = await claimed(world, "prices")
    assert pod.inputs["rates"]["where"] == {"currency": ["EUR", "USD"], "active": True}
    assert pod.inputs["month"]["where"] is None


async def test_what_is_stale_is_counted_and_made_anew_by_a_run(world: World) -> None:
    await begin(world)
    await make(world, "x")
    await world.run("shop", "month", "a", "b")
    await world.drain()
    assert await stale(world) == 0
    await make(world, "y")
    assert await stale(world) == 2
    await world.command("shop", "run", "prices -p a", "again")
    await world.drain()
    assert await stale(world) == 1


async def stale(world: World) -> int:
    report = await world.report("shop")
    return next(job.stale for job in report.jobs if job.name == "prices")


async def test_a_job_says_which_whole_input_has_nothing_yet(world: World) -> None:
    await begin(world)
    await world.run("shop", "month", "a")
    (row,) = [job for job in (await world.report("shop")).jobs if job.name == "prices"]
    assert (row.waiting, row.held, row.unmade) == (1, 1, ["rates"])


async def test_a_run_with_all_below_it_goes_through_wholes_that_set_a_job_off(world: World) -> None:
    total = {"name": "total", "image": "i", "inputs": [{"from": {"job": "prices"}, "match": "latest"}]}
    beside = {"name": "beside", "image": "i", "inputs": [
        {"from": {"job": "month"}}, {"from": {"job": "total"}, "match": "latest"}]}  # fmt: skip
    await world.apply("shop", month_source("a", "b"), rates("x"), prices(), total, step("report", "total"), beside)
    await make(world, "x")
    await world.run("shop", "month", "a", "b")
    await world.drain()
    await world.command("shop", "run", "prices -p a --downstream", "again")
    assert await waiting(world, "prices") == ["a"]
    assert await waiting(world, "total") == await waiting(world, "report") == ["*"]
    assert await waiting(world, "beside") == []


async def test_a_plan_counts_the_units_of_jobs_that_read_wholes(world: World) -> None:
    total = {"name": "total", "image": "i", "inputs": [{"from": {"job": "prices"}, "match": "latest"}]}
    jobs = [month_source("a", "b"), rates("x"), total, step("report", "total")]
    await world.apply("shop", *jobs, prices())
    await make(world, "x")
    await world.run("shop", "month", "a", "b")
    await world.drain()
    plan = await world.apply("shop", *jobs, {**prices(), "image": "j"})
    assert (plan.explanation.tasks, plan.explanation.swap) == (4, "build first")


async def test_a_task_that_is_done_does_not_keep_a_long_list_of_what_it_read(world: World) -> None:
    """Which version that was is recorded; the list would be in every task."""
    keys = [f"key-{number:04}" for number in range(500)]
    source = {**rates(*keys), "scaling": {"maxConcurrency": 500}}
    await world.apply("shop", month_source("a"), source, prices())
    await world.run("shop", "rates", *keys)
    assert await world.complete_all(await world.claim(500)) == 500
    await world.run("shop", "month", "a")
    (pod,) = await claimed(world, "prices")
    assert len(read(pod, "rates")) == 500
    assert await world.complete(pod)
    kept = "SELECT input_versions #> '{rates,partitions}', input_versions #>> '{rates,dataset}' FROM tasks"
    assert await world.rows(f"{kept} WHERE id = %(id)s", id=pod.id) == [(None, "shop.rates.0")]
    assert await recorded(world, pod) == [("month", "a"), ("rates", "*")]


async def test_what_a_task_has_read_is_what_its_last_attempt_has(world: World) -> None:
    await begin(world)
    await make(world, "x")
    await world.run("shop", "month", "a")
    (pod,) = await claimed(world, "prices")
    assert await world.fail(pod, backoff=100.0)
    await make(world, "y")
    await world.rows("UPDATE tasks SET next_retry_at = now() WHERE next_retry_at IS NOT NULL RETURNING 1")
    (pod,) = await claimed(world, "prices")
    assert (pod.attempt, read(pod, "rates")) == (2, ["x", "y"])
    assert await world.complete(pod)
    assert await stale(world) == 0
