"""From an applied DAG to materialised partitions, over real Postgres: the slice's promises, one test each."""

from __future__ import annotations

import asyncio

import pytest

from headrace.errors import LostLeadership
from headrace.state import units
from headrace.state.database import Database
from tests.state.world import World, month_source, step

FLIGHTS = (
    month_source("2013-01", "2013-02"),
    step("clean", "month", scaling={"maxConcurrency": 2}),
    step("weather", "month"),
    step("join", "clean", "weather"),
    step("rank", "join", outputs=2),
)


@pytest.fixture
def world(db: Database) -> World:
    return World(db)


async def test_first_version_becomes_current_with_all_its_rows(world: World) -> None:
    plan = await world.apply("flights", *FLIGHTS, publish=[{"name": "flights_clean", "from": {"job": "clean"}}])
    assert [type(s).__name__ for s in plan.steps] == ["MarkPresent", "ClaimNames", "AddVersion", "Cutover"]
    assert await world.rows(
        "SELECT d.name FROM dag_current_versions c JOIN dag_version_datasets USING (dag_version_id)"
        " JOIN datasets d ON d.id = dataset_uuid ORDER BY 1"
    ) == [("flights.join.0",), ("flights.month.0",), ("flights.rank.0",), ("flights.rank.1",), ("flights.weather.0",),
          ("flights_clean",)]  # fmt: skip
    assert await world.rows(
        "SELECT name, input_datasets, output_datasets FROM jobs WHERE name IN ('join', 'rank')"
    ) == [
        ("join", ["flights_clean", "flights.weather.0"], ["flights.join.0"]),
        ("rank", ["flights.join.0"], ["flights.rank.0", "flights.rank.1"]),
    ]
    (location,) = (await world.rows(
        "SELECT storage_location = 'file:///data/air/flights_clean/' || v.id FROM dataset_versions v"
        " JOIN datasets d ON d.id = dataset_uuid WHERE d.name = 'flights_clean'"
    ))[0]  # fmt: skip
    assert location


async def test_applying_the_same_again_writes_nothing(world: World) -> None:
    await world.apply("flights", *FLIGHTS)
    before = await world.snapshot()
    plan = await world.apply("flights", *reversed(FLIGHTS))
    assert plan.steps == ()
    assert await world.snapshot() == before


async def test_tasks_run_in_the_order_of_their_data(world: World) -> None:
    await world.apply("flights", *FLIGHTS)
    assert await world.run("flights", "month", "2013-01", "2013-02") == 2
    done = await world.drain()
    assert len(done) == len(set(done)) == 8
    for key in ("2013-01", "2013-02"):
        order = [job for job, k in done if k == key]
        assert order.index("join") > max(order.index("clean"), order.index("weather"))
        assert order[-1] == "rank"
    assert await world.rows("SELECT status, count(*) FROM tasks GROUP BY 1") == [("Completed", 10)]
    assert await world.rows("SELECT count(*) FROM partition_versions") == [(12,)]
    inputs = "SELECT count(*) FROM task_inputs i JOIN tasks t ON t.id = i.task_id JOIN jobs j ON j.id = t.job_id"
    assert await world.rows(f"{inputs} WHERE j.name = 'join'") == [(4,)]


async def test_a_run_makes_only_what_is_not_there(world: World) -> None:
    await world.apply("flights", *FLIGHTS)
    await world.run("flights", "month", "2013-01")
    await world.drain()
    assert await world.run("flights", "month", "2013-01", "2013-02") == 1
    assert {key for _, key in await world.drain()} == {"2013-02"}


async def test_concurrency_is_never_exceeded(world: World) -> None:
    await world.apply("flights", *FLIGHTS)
    await world.run("flights", "month", *(f"2013-{m:02}" for m in range(1, 7)))
    pods = await world.claim()
    assert sorted(p.job for p in pods) == ["clean", "clean", "weather"]
    assert await world.claim() == pods


async def test_one_completion_is_accepted_whoever_asks_again(world: World) -> None:
    await world.apply("flights", *FLIGHTS)
    await world.run("flights", "month", "2013-01")
    pod = next(p for p in await world.claim() if p.job == "clean")
    assert await world.complete(pod, rows=5)
    before = await world.snapshot()
    assert not await world.complete(pod, rows=7)
    assert not await world.fail(pod)
    assert await world.snapshot() == before


async def test_a_superseded_attempt_changes_nothing(world: World) -> None:
    await world.apply("flights", *FLIGHTS)
    await world.run("flights", "month", "2013-01")
    first = next(p for p in await world.claim() if p.job == "clean")
    assert await world.fail(first, lost=True)
    await world.rows("UPDATE tasks SET next_retry_at = now() WHERE next_retry_at IS NOT NULL RETURNING 1")
    second = next(p for p in await world.claim() if p.job == "clean")
    assert (second.id, second.attempt) == (first.id, 2)
    assert second.outputs[0]["partitions"] != first.outputs[0]["partitions"]
    assert not await world.complete(first)
    assert await world.complete(second)
    (location,) = (await world.rows("SELECT location FROM partition_versions WHERE location IS NOT NULL"))[0]
    assert f"/{first.id}-2-" in str(location)


async def test_attempts_end_and_losses_have_their_own_budget(world: World) -> None:
    await world.apply("flights", month_source("a"), step("clean", "month", maxAttempts=2))
    await world.run("flights", "month", "a")
    for lost in (True, True, True, False, False):
        (pod,) = await world.claim()
        assert await world.fail(pod, lost=lost)
        await world.rows("UPDATE tasks SET next_retry_at = now() WHERE next_retry_at IS NOT NULL RETURNING 1")
    assert await world.claim() == []
    assert await world.rows(
        "SELECT status, attempts, losses, next_retry_at FROM tasks WHERE status <> 'Completed'"
    ) == [("Failed", 5, 3, None)]
    org = await world.org()
    async with world.db.transaction() as tx:  # a final failure is decided: the pass leaves it
        assert await units.create_missing(tx, [(org.id, "flights")]) == 0


async def test_two_inputs_completing_at_once_make_one_task(world: World) -> None:
    keys = [f"k{n}" for n in range(30)]
    jobs = (month_source(*keys), step("a", "month", scaling={"maxConcurrency": 100}),
            step("b", "month", scaling={"maxConcurrency": 100}), step("join", "a", "b"))  # fmt: skip
    await world.apply("flights", *jobs)
    await world.run("flights", "month", *keys)
    pods = await world.claim()
    assert len(pods) == 60
    assert all(await asyncio.gather(*(world.complete(pod) for pod in pods)))
    made = "SELECT count(*), count(DISTINCT unit_key) FROM tasks t JOIN jobs j ON j.id = t.job_id WHERE j.name = 'join'"
    assert await world.rows(made) == [(30, 30)]


async def test_a_unit_waits_for_older_upstream_work_of_its_key(world: World) -> None:
    jobs = (month_source("k"), step("a", "month"), step("b", "month"), step("join", "a", "b"))
    await world.apply("flights", *jobs)
    await world.run("flights", "month", "k")
    await world.drain()
    await again(world, "month", "k")
    a, b = sorted(await world.claim(), key=lambda p: p.job)
    assert await world.complete(a)
    assert [p.job for p in await world.claim()] == ["b"]  # join has a task, and waits for b
    assert await world.complete(b)
    assert [p.job for p in await world.claim()] == ["join"]


async def again(world: World, job: str, key: str) -> None:
    """Run a trigger once more for a key that is there."""
    ((job_id,),) = await world.rows("SELECT id FROM jobs WHERE name = %(job)s", job=job)
    async with world.db.transaction() as tx:
        await units.create_source_tasks(tx, job_id, [key], again=True)  # type: ignore[arg-type]
    await world.dispatch()


async def test_a_new_cause_joins_the_waiting_unit_and_its_claim_sees_it(world: World) -> None:
    await world.apply("flights", month_source("x", "k"), step("a", "month"), step("b", "a"))
    for key in ("x", "k"):  # b is busy with x, so k waits
        await world.run("flights", "month", key)
        await world.complete(next(p for p in await world.claim() if p.job == "a"))
        busy = next(p for p in await world.claim() if p.job == "b")
    await again(world, "month", "k")
    second = next(p for p in await world.claim() if p.job == "a")
    await world.complete(second)
    await world.complete(busy)
    (pod,) = await world.claim()
    assert (pod.job, pod.partitions) == ("b", ["k"])
    assert str(second.id) in str(pod.inputs["a"]["partitions"])
    assert await world.complete(pod)
    assert await world.claim() == []


async def test_a_cause_that_comes_while_the_unit_runs_makes_it_run_again(world: World) -> None:
    await world.apply("flights", month_source("k"), step("a", "month"), step("b", "a"))
    await world.run("flights", "month", "k")
    await world.complete((await world.claim())[0])
    (first,) = await world.claim()
    await again(world, "month", "k")
    second = next(p for p in await world.claim() if p.job == "a")
    await world.complete(second)
    assert await world.claim() == [first]  # its twin waits: one of a unit at a time
    assert await world.complete(first)
    (twin,) = await world.claim()
    assert str(second.id) in str(twin.inputs["a"]["partitions"])


async def test_a_running_unit_that_fails_joins_its_waiting_twin(world: World) -> None:
    await world.apply("flights", month_source("k"), step("a", "month"))
    await world.run("flights", "month", "k")
    (first,) = await world.claim()
    await again(world, "month", "k")
    assert await world.fail(first)
    status = (
        "SELECT t.status, t.canceled_by FROM tasks t JOIN jobs j ON j.id = t.job_id WHERE j.name = 'a' ORDER BY t.seq"
    )
    assert await world.rows(status) == [("Canceled", "join"), ("Queued", None)]


async def test_suspended_dags_claim_nothing_and_queue_on(world: World) -> None:
    await world.apply("flights", *FLIGHTS)
    await world.run("flights", "month", "2013-01")
    await world.apply("flights", *FLIGHTS, suspend=True)
    assert await world.claim() == []
    await world.apply("flights", *FLIGHTS)
    assert len(await world.claim()) == 2


async def test_absence_stops_work_and_deletes_nothing(world: World) -> None:
    await world.apply("flights", *FLIGHTS)
    await world.run("flights", "month", "2013-01")
    pods = await world.claim()
    counts = {table: len(rows) for table, rows in (await world.snapshot()).items()}
    assert await world.leave("flights")
    counts["superseded_outputs"] += len(pods)  # what they may have written
    assert {table: len(rows) for table, rows in (await world.snapshot()).items()} == counts
    assert not await world.complete(pods[0])
    before = await world.snapshot()
    assert not await world.leave("flights")
    assert await world.snapshot() == before
    await world.apply("flights", *FLIGHTS)  # it comes back: so do the units that were canceled
    assert len(await world.drain()) == 4


async def test_an_older_epoch_claims_nothing(world: World) -> None:
    await world.apply("flights", *FLIGHTS)
    await world.run("flights", "month", "2013-01")
    await world.rows("UPDATE operator_epoch SET epoch = 7 RETURNING 1")
    before = await world.snapshot()
    with pytest.raises(LostLeadership):
        await world.claim()
    assert await world.snapshot() == before


async def test_a_claim_with_nothing_to_run_writes_nothing(world: World) -> None:
    """No transaction of it has an id. Postgres' own housekeeping has one now and then, not each time."""
    await world.apply("flights", *FLIGHTS)
    snapshots = []
    for _ in range(5):
        before = await world.rows("SELECT pg_current_snapshot()::text")
        await world.claim()
        await world.dispatch()
        snapshots.append((before, await world.rows("SELECT pg_current_snapshot()::text")))
    assert any(before == after for before, after in snapshots), snapshots
