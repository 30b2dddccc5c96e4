"""What is counted of tasks and rollouts: once, by who commits it, and not before it is committed."""

from __future__ import annotations

import pytest
from prometheus_client import CollectorRegistry

from headrace import metrics
from headrace.plan.rollout import Fail, SwitchOver
from headrace.run.attempts import failure
from headrace.run.verdict import Broken
from headrace.state import attempts
from headrace.state.attempts import RunningPod
from headrace.state.backlog import backlog
from headrace.state.database import Database, Transaction
from tests.state.faults import Killed, Killing
from tests.state.flights import flights, serve
from tests.state.world import World, month_source, step

Numbers = dict[str, float]


def numbers(registry: CollectorRegistry = metrics.COMMON) -> Numbers:
    """Of attempts, rollouts and tasks, counts alone."""
    return {
        "/".join([sample.name, *sample.labels.values()]): sample.value
        for family in registry.collect()
        for sample in family.samples
        if sample.name.startswith(("headrace_attempts", "headrace_rollout", "headrace_task_"))
        and sample.name.endswith(("_total", "_count"))
    }


@pytest.fixture
def world(db: Database) -> World:
    return World(db)


def since(before: Numbers) -> Numbers:
    """What has come since."""
    return {name: more for name, value in numbers().items() if (more := value - before.get(name, 0.0))}


async def test_attempts_by_outcome(world: World) -> None:
    await world.apply("flights", month_source("a"), step("clean", "month", maxAttempts=2))
    await world.run("flights", "month", "a")
    before = numbers()
    (pod,) = await world.claim()
    assert since(before) == {"headrace_task_waiting_seconds_count": 1}
    assert await world.fail(pod, lost=True)
    assert await world.fail((await world.claim())[0])
    (pod,) = await world.claim()
    async with world.db.transaction() as tx:
        await attempts.fail(tx, 0, [failure(pod.as_attempt, Broken("full", lost=False), postponed=True)], 0.0)
    assert not await world.fail(pod)
    await world.rows("UPDATE tasks SET next_retry_at = now() WHERE next_retry_at IS NOT NULL RETURNING 1")
    assert await world.fail((await world.claim())[0])
    assert since(before) == {
        "headrace_task_waiting_seconds_count": 1, "headrace_attempts_total/lost": 1,
        "headrace_attempts_total/retried": 1, "headrace_attempts_total/postponed": 1,
        "headrace_attempts_total/failed": 1,
    }  # fmt: skip
    await world.run("flights", "month", "a")
    before = numbers()
    await world.command("flights", "retry", "")
    await world.drain()
    assert since(before) == {"headrace_attempts_total/completed": 1, "headrace_task_running_seconds_count": 1}


async def fail_in(killing: Killing, pod: RunningPod) -> None:
    killing.at = 1
    async with killing, killing.transaction() as tx:
        assert await attempts.fail(tx, 0, [failure(pod.as_attempt, Broken("no", lost=False))], 0.0)


async def test_what_is_not_committed_is_not_counted(world: World) -> None:
    await world.apply("flights", month_source("a"), step("clean", "month"))
    await world.run("flights", "month", "a")
    (pod,) = await world.claim()
    before = numbers()
    with pytest.raises(Killed):
        await fail_in(Killing(world.db.url, connections=1), pod)
    assert since(before) == {}


async def test_rollouts_by_how_they_end(world: World) -> None:
    await serve(world)
    before = numbers()
    await world.apply("flights", *flights(1))
    async with world.db.transaction() as tx:
        assert {row.kind: row.tasks for row in await backlog(tx) if row.kind in {"building", "ready"}} == {
            "building": 1, "ready": 0,
        }  # fmt: skip
    await world.apply("flights", *flights(2))
    await world.drain()
    assert await world.advance("flights") == SwitchOver()
    await world.apply("flights", *flights(3, maxAttempts=1))
    (pod,) = await world.claim()
    assert await world.fail(pod)
    assert isinstance(await world.advance("flights"), Fail)
    await world.apply("flights", *flights())
    found = {name: value for name, value in since(before).items() if "rollout" in name}
    assert found == {
        "headrace_rollouts_total/superseded": 2, "headrace_rollouts_total/done": 2,
        "headrace_rollouts_total/failed": 1, "headrace_rollout_duration_seconds_count": 1,
    }  # fmt: skip


async def test_what_a_part_that_was_undone_would_have_counted_is_not(world: World) -> None:
    told: list[str] = []

    async def part(tx: Transaction) -> None:
        async with tx.savepoint():
            tx.after(lambda: told.append("part"))
            raise ValueError("undone")

    async with world.db.transaction() as tx:
        tx.after(lambda: told.append("whole"))
        with pytest.raises(ValueError, match="undone"):
            await part(tx)
    assert told == ["whole"]
