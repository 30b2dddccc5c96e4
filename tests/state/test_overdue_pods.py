"""Attempts whose time is up by their claim: what never started is lost and says why, what started late goes on."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import cast

import msgspec
import pytest

from headrace.cluster.client import Client
from headrace.cluster.pods import Pod, Pods
from headrace.run.dispatch import Dispatcher
from headrace.run.marks import Marks
from headrace.run.workers import Workers
from headrace.state import attempts
from headrace.state.attempts import RunningPod
from headrace.state.database import Database
from tests.state.world import World, month_source, step

NO_NODE = {"conditions": [{"type": "PodScheduled", "status": "False", "reason": "Unschedulable",
                           "message": "0/1 nodes are available: 1 Insufficient memory."}]}  # fmt: skip
RUNS = {"containerStatuses": [{"name": "main", "state": {"running": {}}}]}


@pytest.fixture
async def world(db: Database) -> World:
    return World(db)


async def begin(world: World) -> RunningPod:
    """An attempt whose claim was longer ago than its timeout of 5 minutes."""
    await world.apply("flights", month_source("a"), step("clean", "month", timeoutSeconds=300, maxAttempts=1))
    await world.run("flights", "month", "a")
    (task,) = await world.claim()
    await world.rows("UPDATE tasks SET started_at = started_at - interval '362 seconds' RETURNING 1")
    return task


def seen(task: RunningPod, minutes: float | None, status: dict[str, object]) -> Pod:
    """Its pod; its node began with it so many minutes ago."""
    began = {} if minutes is None else {"startTime": datetime.now(UTC) - timedelta(minutes=minutes)}
    return msgspec.convert(
        {"metadata": {"name": task.pod_name, "namespace": "air"}, "spec": {"activeDeadlineSeconds": 300},
         "status": {"phase": "Pending", **began, **status}}, Pod,
    )  # fmt: skip


async def look(world: World, task: RunningPod, pod: Pod | None, *, gone: bool = False) -> tuple[object, ...]:
    """The operator renews what lives and looks at what is late; what became of the task."""
    pods, place = Pods(cast("Client", None), lambda: None, lambda _: None), ("air", task.pod_name)
    pods.listed.add("air")
    if pod is not None:
        (pods.gone if gone else pods.seen)[place] = pod
    workers = Workers(world.db, pods, 0, 0.0, "http://gateway")
    operator = Dispatcher(world.db, pods, 0, 0.0, lambda *_: None, workers, "http://gateway", cast("Marks", None))
    await operator._renew({place})
    ((status, losses, again, reason),) = await world.rows(
        "SELECT status, losses, next_retry_at IS NOT NULL, error_message FROM tasks WHERE id = %(id)s", id=task.id
    )
    return status, losses, again, reason


async def test_a_pod_that_no_node_takes_costs_a_loss_and_says_why(world: World) -> None:
    task = await begin(world)
    reason = "it never started: Unschedulable: 0/1 nodes are available: 1 Insufficient memory."
    assert await look(world, task, seen(task, None, NO_NODE)) == ("Failed", 1, True, reason)


async def test_a_pod_that_started_late_has_its_whole_time(world: World) -> None:
    task = await begin(world)
    assert await look(world, task, seen(task, 5.9, RUNS)) == ("Running", 0, False, None)
    late = "timeout: it was not over a minute after its timeoutSeconds"
    assert await look(world, task, seen(task, 6.1, RUNS)) == ("Failed", 0, False, late)


async def test_a_pod_that_is_just_gone_says_its_end_itself(world: World) -> None:
    task = await begin(world)
    assert await look(world, task, seen(task, 6.1, RUNS), gone=True) == ("Running", 0, False, None)
    gone = "the pod is gone, and nobody saw how it ended"
    assert await look(world, task, None) == ("Failed", 1, True, gone)


async def test_an_attempt_whose_pod_lives_keeps_its_lease(world: World) -> None:
    await world.apply("flights", month_source("a"), step("clean", "month"))
    await world.run("flights", "month", "a")
    (task,) = await world.claim()
    await world.rows("UPDATE tasks SET lease_expires_at = now() - interval '1 second' RETURNING 1")
    async with world.db.transaction() as tx:
        assert [one.id for one in await attempts.expired(tx)] == [task.id]
        assert await attempts.renew(tx, 0, [attempts.PodName(name=task.pod_name, namespace=task.org)]) == 1
        assert await attempts.expired(tx) == []
