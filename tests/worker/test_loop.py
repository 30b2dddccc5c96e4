"""The library against a real gateway over real Postgres: functions, commands, leases, ends; who asks is given."""

from __future__ import annotations

import asyncio
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from aiohttp.test_utils import TestServer

from headrace.cli.connection import Connection
from headrace.cli.kubeconfig import Access
from headrace.cluster.client import Client
from headrace.gateway.app import application
from headrace.gateway.attempt_routes import Attempts, attempt_routes
from headrace.gateway.event_routes import Events, event_routes
from headrace.gateway.identity import Identities, PodIdentity
from headrace.gateway.rights import Rights
from headrace.gateway.worker_routes import worker_routes
from headrace.state.database import Database
from headrace.worker import Task
from headrace.worker.command import how, run
from headrace.worker.gateway import Gateway
from headrace.worker.loop import Function, Loop
from tests.state.test_worker_calls import Workshop, states


class Known(Identities):
    """Whoever sends a pod's name as the token is that pod; that tokens are proven is shown on a cluster."""

    async def pod(self, header: str | None) -> PodIdentity:
        name = (header or "").removeprefix("Bearer ")
        return PodIdentity("air", name, f"uid-{name}")


class Bench(Workshop):
    """A workshop with a gateway that listens at `url`."""

    url = ""
    place: Path

    async def loop(self, function: Function, name: str = "w", **more: float | int | None) -> Loop:
        """A worker of `clean` that is known, not running yet."""
        await self.worker(name)
        token = self.place / name
        token.write_text(name)
        given = {"batch": 2, "threads": 2, "idle": 0.2, "lease": 60.0, **more}
        return Loop(Gateway(self.url, token), function, **given)  # type: ignore[arg-type]


@pytest.fixture
async def bench(db: Database, tmp_path: Path) -> AsyncIterator[Bench]:
    made = Bench(db)
    made.place = tmp_path
    client = Client(await Connection.open(Access(server="http://127.0.0.1:1", namespace="n", token="t")))

    async def ready() -> str | None:
        return None

    table = worker_routes(made.gateway) + attempt_routes(Attempts(db).services)
    table += event_routes(Events(db, made.waker).accept)
    app = application(table, Known(client), Rights(client), ready)
    wakes = asyncio.create_task(made.waker.run())
    async with TestServer(app) as server:
        made.url = str(server.make_url("/")).rstrip("/")
        yield made
    wakes.cancel()
    await client.close()


async def until(fact: Callable[[], bool]) -> None:
    """What threads do is seen by looking."""
    async with asyncio.timeout(10):
        while not fact():  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def become(bench: Bench, *wanted: tuple[str, str, int]) -> None:
    """The tasks come to be in these states."""
    async with asyncio.timeout(10):
        while await states(bench) != list(wanted):  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def test_a_worker_does_what_there_is_and_ends_when_idle(bench: Bench) -> None:
    await bench.begin("a", "b", "c")
    seen: list[str] = []

    def function(task: Task) -> None:
        seen.append(task.key)
        assert task.inputs["month"].partitions[0].key == task.key
        assert task.outputs[0].location.startswith("file:///data/air/")
        task.made(rows=5)

    began = time.monotonic()
    await asyncio.to_thread((await bench.loop(function)).run)
    assert sorted(seen) == ["a", "b", "c"]
    assert time.monotonic() - began < 5.0
    assert await states(bench) == [("a", "Completed", 1), ("b", "Completed", 1), ("c", "Completed", 1)]
    assert await bench.rows("SELECT DISTINCT row_count FROM partition_versions WHERE row_count IS NOT NULL") == [(5,)]
    assert await bench.rows("SELECT count(*) FROM workers WHERE retired_at IS NULL") == [(0,)]


async def test_a_worker_goes_on_with_what_comes_with_its_answers(bench: Bench) -> None:
    await bench.begin("a", "b", "c", "d")
    loop = await bench.loop(lambda _: None, batch=1, threads=1)
    asked: list[str] = []
    once = loop._gateway._once

    def counted(what: str, body: object, seconds: float) -> tuple[int, object]:
        asked.append(what)
        return once(what, body, seconds)

    loop._gateway._once = counted  # type: ignore[method-assign]
    await asyncio.wait_for(asyncio.to_thread(loop.run), 10)
    assert [state for _, state, _ in await states(bench)] == ["Completed"] * 4
    assert asked[:5] == ["claim", *["complete"] * 4]


async def test_what_an_answer_had_that_was_lost_is_recalled(bench: Bench) -> None:
    """Of the claim and of the completions that claim: each answer is lost once, after the gateway has done its part."""
    await bench.begin("a", "b", "c", "d")
    ran: list[str] = []
    loop = await bench.loop(lambda task: ran.append(task.key), batch=2, threads=2)
    lost: list[str] = []
    once = loop._gateway._once

    def losing(what: str, body: object, seconds: float) -> tuple[int, object]:
        answer = once(what, body, seconds)
        if what in ("claim", "complete") and lost.count(what) < 1:
            lost.append(what)
            raise ConnectionResetError("the answer is lost")
        return answer

    loop._gateway._once = losing  # type: ignore[method-assign]
    await asyncio.wait_for(asyncio.to_thread(loop.run), 20)
    assert sorted(lost) == ["claim", "complete"]
    assert sorted(ran) == ["a", "b", "c", "d"]
    assert [one[1:] for one in await states(bench)] == [("Completed", 1)] * 4


async def test_a_worker_idles_from_the_end_of_what_it_did(bench: Bench) -> None:
    """However long that took: then it waits for work as long as if it had done nothing."""
    await bench.begin("a")
    loop = await bench.loop(lambda _: time.sleep(1.2), batch=1, threads=1, idle=1.0)
    waits: list[float] = []
    claim = loop._gateway.claim

    def waiting(most: int, wait: float) -> Mapping[str, Any]:
        waits.append(wait)
        return claim(most, wait)

    loop._gateway.claim = waiting  # type: ignore[method-assign]
    await asyncio.wait_for(asyncio.to_thread(loop.run), 10)
    assert waits[1] > 0.5


async def test_a_worker_that_is_to_stay_asks_again_when_it_was_idle_again(bench: Bench) -> None:
    """It waits for work meanwhile, and takes it at once."""
    await bench.begin(idleTimeout="never")
    ran: list[float] = []
    loop = await bench.loop(lambda _: ran.append(time.monotonic()), batch=1, threads=1, idle=0.5)
    asked: list[tuple[str, float]] = []
    once = loop._gateway._once

    def noted(what: str, body: object, seconds: float) -> tuple[int, object]:
        asked.append((what, time.monotonic()))
        return once(what, body, seconds)

    loop._gateway._once = noted  # type: ignore[method-assign]
    running = asyncio.create_task(asyncio.to_thread(loop.run))
    await until(lambda: [what for what, _ in asked].count("leave") == 3)
    made = time.monotonic()
    await bench.run("flights", "month", "a")
    await until(lambda: bool(ran))
    assert ran[0] - made < 1.0
    loop.stop()
    await asyncio.wait_for(running, 5)
    leaves = [at for what, at in asked if what == "leave"]
    assert all(later - earlier >= 0.5 for earlier, later in pairwise(leaves))
    # A claim that waits, one at its end, and the question.
    assert [what for what, _ in asked].count("claim") <= 2 * len(leaves) + 3


async def test_a_worker_that_waits_is_given_work_at_once(bench: Bench) -> None:
    await bench.begin()
    ran: list[float] = []
    loop = await bench.loop(lambda _: ran.append(time.monotonic()), idle=None)
    running = asyncio.create_task(asyncio.to_thread(loop.run))
    await asyncio.sleep(0)
    for key in "ab":
        made = time.monotonic()
        await bench.run("flights", "month", key)
        count = len(ran)
        await until(lambda count=count: len(ran) > count)  # type: ignore[misc]
        assert ran[-1] - made < 1.0
    loop.stop()
    await asyncio.wait_for(running, 5)


async def test_what_raises_fails_with_its_reason_and_the_worker_goes_on(bench: Bench) -> None:
    await bench.begin("a", "b", maxAttempts=1)

    def function(task: Task) -> None:
        if task.key == "a":
            raise ValueError("no such thing")

    await asyncio.to_thread((await bench.loop(function)).run)
    assert await states(bench) == [("a", "Failed", 1), ("b", "Completed", 1)]
    ((told,),) = await bench.rows("SELECT error_message FROM tasks WHERE status = 'Failed'")
    first, second, third, *_ = str(told).splitlines()
    assert (first, second) == ("ValueError: no such thing", "Traceback (most recent call last):")
    assert third.strip().startswith(f'File "{__file__}", line ')
    assert str(told).count("no such thing") == 2  # once more in the line of code that raised it


async def test_an_odd_report_costs_its_own_task_alone(bench: Bench) -> None:
    """And so does a function that wants to end the process, or raises more words than a reason has room for."""
    await bench.begin("a", "b", "c", "d", maxAttempts=1)

    def function(task: Task) -> None:
        if task.key == "a":
            task.made(rows=-1)
        if task.key == "b":
            task.made(rows=object())  # type: ignore[arg-type]
        if task.key == "c":
            sys.exit("x" * 100_000)

    await asyncio.wait_for(asyncio.to_thread((await bench.loop(function, batch=4, threads=1)).run), 30)
    found = {key: state for key, state, _ in await states(bench)}
    assert found == {"a": "Failed", "b": "Failed", "c": "Failed", "d": "Completed"}
    told = await bench.rows("SELECT unit_key, left(error_message, 22) FROM tasks WHERE status = 'Failed' ORDER BY 1")
    assert told == [("a", "its report is refused:"), ("b", "its report is refused:"), ("c", "SystemExit: xxxxxxxxxx")]


async def test_a_worker_that_is_told_to_stop_gives_back_what_it_has_not_begun(bench: Bench) -> None:
    await bench.begin("a", "b")
    begun, go_on = threading.Event(), threading.Event()

    def function(_: Task) -> None:
        begun.set()
        assert go_on.wait(10)

    loop = await bench.loop(function, threads=1, idle=None)
    running = asyncio.create_task(asyncio.to_thread(loop.run))
    await until(begun.is_set)
    await become(bench, ("a", "Running", 1), ("b", "Running", 1))
    loop.stop()
    await become(bench, ("a", "Running", 1), ("b", "Queued", 1))
    go_on.set()
    await asyncio.wait_for(running, 10)
    assert await states(bench) == [("a", "Completed", 1), ("b", "Queued", 1)]


async def test_a_task_that_is_lost_is_told_so(bench: Bench) -> None:
    """Its lease was taken away: the function learns it, and what it says counts for nothing."""
    await bench.begin("a")
    told: list[bool] = []

    def function(task: Task) -> None:
        while not task.lost:
            time.sleep(0.01)
        told.append(True)

    loop = await bench.loop(function, lease=0.3, idle=None)
    running = asyncio.create_task(asyncio.to_thread(loop.run))
    await become(bench, ("a", "Running", 1))
    await bench.rows("UPDATE tasks SET status = 'Canceled', canceled_by = 'user', completed_at = now()"
                     " WHERE status = 'Running' RETURNING 1")  # fmt: skip
    await until(lambda: bool(told))
    loop.stop()
    await asyncio.wait_for(running, 10)
    assert await states(bench) == [("a", "Canceled", 1)]


async def test_a_worker_whose_renewals_are_not_answered_goes_by_its_own_clock(bench: Bench) -> None:
    """The gateway takes the call and does not come back, since Postgres does not: after the lease it is given up."""
    await bench.begin("a")
    told: list[float] = []

    def function(task: Task) -> None:
        while not task.lost:
            time.sleep(0.01)
        told.append(time.monotonic())

    loop = await bench.loop(function, lease=0.9, idle=None)
    running = asyncio.create_task(asyncio.to_thread(loop.run))
    await become(bench, ("a", "Running", 1))
    async with bench.db._pool.connection() as connection, connection.transaction():
        await connection.execute(b"SELECT 1 FROM tasks WHERE status = 'Running' FOR UPDATE")
        began = time.monotonic()
        await until(lambda: bool(told))
    assert told[0] - began < 3.0
    loop.stop()
    await asyncio.wait_for(running, 10)


async def test_a_task_beyond_its_time_fails(bench: Bench) -> None:
    await bench.begin("a", timeoutSeconds=1, maxAttempts=1)

    def function(task: Task) -> None:
        while not task.lost:
            time.sleep(0.01)
        task.check()

    loop = await bench.loop(function, lease=0.3)
    await asyncio.wait_for(asyncio.to_thread(loop.run), 20)
    ((state, words),) = await bench.rows(
        "SELECT status, error_message FROM tasks WHERE attempts > 0 AND worker_id = 'w'"
    )
    assert (state, words) == ("Failed", "timeout: it ran longer than timeoutSeconds (1)")


async def test_a_command_is_a_task_s_process(bench: Bench) -> None:
    await bench.begin("a", "b", maxAttempts=1)
    script = (
        "import json, os, sys\n"
        "task = json.load(open(os.environ['HEADRACE_TASK_FILE']))\n"
        "assert task == json.loads(os.environ['HEADRACE_TASK'])\n"
        "key = task['partitions'][0]\n"
        "if key == 'b': sys.exit('no ' + key)\n"
        "json.dump({'partitions': [{'key': key, 'rows': 9}]}, open(os.environ['HEADRACE_REPORT_FILE'], 'w'))\n"
    )
    await asyncio.to_thread((await bench.loop(lambda task: run(task, [sys.executable, "-c", script]))).run)
    assert await states(bench) == [("a", "Completed", 1), ("b", "Failed", 1)]
    assert await bench.rows("SELECT row_count FROM partition_versions WHERE row_count IS NOT NULL") == [(9,)]
    ((told,),) = await bench.rows("SELECT error_message FROM tasks WHERE status = 'Failed'")
    assert told == "exit code 1: no b"


@pytest.mark.parametrize(("code", "words"), [
    (1, "exit code 1"), (128, "exit code 128"), (255, "exit code 255"), (143, "exit code 143 (SIGTERM)"),
    (-9, "killed by signal 9 (SIGKILL, was it out of memory?)"), (-11, "killed by signal 11 (SIGSEGV)"),
    (137, "exit code 137 (SIGKILL, was it out of memory?)"),
])  # fmt: skip
def test_a_signal_is_told_by_its_name(code: int, words: str) -> None:
    assert how(code) == words


async def test_a_gateway_that_is_away_for_a_while_costs_nothing(bench: Bench) -> None:
    """Results that cannot be told are told later: the same call, answered as at first."""
    await bench.begin("a")
    loop = await bench.loop(lambda _: None)
    gateway, refusals = loop._gateway, [3]
    once = gateway._once

    def away(what: str, body: object, seconds: float) -> tuple[int, object]:
        status, answer = once(what, body, seconds)
        if what == "complete" and refusals[0]:
            refusals[0] -= 1  # it was accepted, and the answer is lost
            raise ConnectionResetError
        return status, answer

    gateway._once = away  # type: ignore[method-assign]
    await asyncio.wait_for(asyncio.to_thread(loop.run), 20)
    assert refusals == [0]
    assert await states(bench) == [("a", "Completed", 1)]
