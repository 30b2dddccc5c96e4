"""Gateways that are told to stop: what waits is answered, what was begun is finished, nothing of a worker's is lost."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import aiohttp
import psycopg
import pytest

from tests.cluster.kube import Namespace, dag, kubectl, shell, trigger, until
from tests.cluster.people import token
from tests.cluster.test_workers import tasks, worker

pytestmark = pytest.mark.alone
ROOT = Path(__file__).parents[2]
SYSTEM = ("-n", "headrace-system")
GATEWAY = "deployment/headrace-gateway"
DRAIN = 20.0


class Local:
    """A gateway's process on this machine, on the cluster's Postgres and API server."""

    def __init__(self, session: aiohttp.ClientSession, process: subprocess.Popen[bytes], url: str) -> None:
        self.session = session
        self.process = process
        self.url = url
        self.last = False

    async def ask(self, path: str, bearer: str = "", body: object = None) -> tuple[int, Any, float]:
        """Status, answer, and when it came. Once told to stop, each answer is the last on its connection."""
        headers = {"Authorization": f"Bearer {bearer}"}
        method = "GET" if body is None else "POST"
        async with self.session.request(method, f"{self.url}{path}", json=body, headers=headers) as answer:
            text = await answer.text()
            self.last = answer.headers.get("Connection") == "close"
            return answer.status, json.loads(text) if bearer else text, time.monotonic()

    async def unready(self) -> None:
        """Wait until it says so, while it still takes connections."""
        async with asyncio.timeout(2):
            while (await self.ask("/readyz"))[:2] != (503, "shutting down"):  # noqa: ASYNC110
                await asyncio.sleep(0.02)


@asynccontextmanager
async def local() -> AsyncIterator[Local]:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    env = os.environ | {"HEADRACE_LISTEN_PORT": str(port), "PYTHONPATH": str(ROOT / "operator"),
                        "HEADRACE_DRAIN_SECONDS": str(DRAIN), "HEADRACE_UNREADY_SECONDS": "2"}  # fmt: skip
    process = await asyncio.to_thread(subprocess.Popen, [sys.executable, "-m", "headrace", "gateway"], env=env)
    try:
        async with aiohttp.ClientSession() as session:
            made = Local(session, process, f"http://127.0.0.1:{port}")
            async with asyncio.timeout(30):
                while True:
                    try:
                        if (await made.ask("/readyz"))[0] == 200:
                            break
                    except aiohttp.ClientConnectionError:
                        assert process.poll() is None
                    await asyncio.sleep(0.1)
            yield made
    finally:
        process.kill()
        await asyncio.to_thread(process.wait, 10)


def a_worker(ns: Namespace) -> str:
    """The token of a worker that does nothing by itself: the test is the worker."""
    warm = {**shell("work", "sleep 600", "key"), "idleTimeout": "5m", "scaling": {"maxConcurrency": 1, "batch": 2}}
    ns.apply(dag("air", trigger("a"), warm))
    ns.wait("air", "Serving")
    ns.run("air", "key")
    (pod,) = until("a worker is there", lambda: ns.items("pod"))
    bound = ("--audience=headrace.dev/worker", "--bound-object-kind=Pod")
    return token(ns, "default", *bound, f"--bound-object-name={pod['metadata']['name']}")


@contextmanager
def held_up(task: str) -> Iterator[Callable[[], None]]:
    """Whoever wants to end the task waits for its row; calling what is given lets them go on."""
    with psycopg.connect(os.environ["HEADRACE_DATABASE_URL"]) as connection:
        connection.execute("SELECT 1 FROM tasks WHERE id = %s FOR UPDATE", [task])
        yield connection.rollback


async def test_a_gateway_that_is_told_to_stop_answers_who_waits_and_finishes_what_it_does(ns: Namespace) -> None:
    bearer = await asyncio.to_thread(a_worker, ns)
    async with local() as gateway:
        status, claimed, _ = await gateway.ask("/v1/worker/claim", bearer, {"most": 1, "wait": 10})
        assert (status, gateway.last) == (200, False)
        (task,) = claimed["tasks"]
        held = {key: task[key] for key in ("id", "attempt", "token")}
        with held_up(task["id"]) as let_go:
            waiting = asyncio.create_task(gateway.ask("/v1/worker/claim", bearer, {"most": 1, "wait": 20}))
            ending = asyncio.create_task(gateway.ask("/v1/worker/complete", bearer, {"tasks": [held]}))
            done, _ = await asyncio.wait({waiting, ending}, timeout=1.5)
            assert not done
            told = time.monotonic()
            gateway.process.send_signal(signal.SIGTERM)
            status, answer, at = await waiting
            assert (status, answer["tasks"], answer["retire"]) == (200, [], False)
            assert at - told < 1.0
            assert gateway.last
            await gateway.unready()
            # Whoever has not noticed yet is served: at once what is there, else within a moment.
            status, answer, at = await gateway.ask("/v1/worker/claim", bearer, {"most": 1, "wait": 20})
            assert (status, answer["tasks"]) == (200, [])
            async with asyncio.timeout(5):
                while True:
                    try:
                        await gateway.ask("/readyz")
                    except aiohttp.ClientConnectionError:
                        break
                    await asyncio.sleep(0.05)
            assert not ending.done()
            let_go()
            status, answer, _ = await ending
            assert (status, answer["accepted"], answer["stale"]) == (200, [task["id"]], [])
        assert await asyncio.to_thread(gateway.process.wait, DRAIN) == 0
        assert time.monotonic() - told < DRAIN
    assert tasks(ns)[0][0] == "Completed"


@pytest.fixture
def two() -> Iterator[None]:
    """The cluster's gateway with two replicas."""
    kubectl(*SYSTEM, "scale", GATEWAY, "--replicas=2")
    kubectl(*SYSTEM, "rollout", "status", GATEWAY, "--timeout=120s")
    try:
        yield
    finally:
        kubectl(*SYSTEM, "scale", GATEWAY, "--replicas=1")
        until("one is left", lambda: len(gateways()) == 1, 90)


def gateways() -> list[str]:
    """The names of the gateway's pods, those that end included."""
    return kubectl(*SYSTEM, "get", "pod", "-l", "app.kubernetes.io/name=headrace-gateway", "-o", "name").split()


def test_a_rolling_restart_of_the_gateway_costs_no_task(ns: Namespace, two: None) -> None:
    keys = [f"k{number:03}" for number in range(400)]
    job = worker("time.sleep(0.5)", maxAttempts=1, scaling={"maxConcurrency": 8, "batch": 2})
    ns.apply(dag("warm", trigger(*keys), job))
    ns.wait("warm", "Serving")
    ns.run("warm", "key")
    until("work is done", lambda: sum(one[0] == "Completed" for one in tasks(ns)) > 10, 60)
    before = set(gateways())
    kubectl(*SYSTEM, "rollout", "restart", GATEWAY)
    kubectl(*SYSTEM, "rollout", "status", GATEWAY, "--timeout=180s")
    until("the old ones are gone", lambda: not before & set(gateways()), 90)
    # Else it would have shown nothing.
    assert sum(one[0] == "Running" for one in tasks(ns)) > 0
    ns.wait("warm", "UpToDate", within=120)
    found = tasks(ns)
    assert [one[:3] for one in found] == [("Completed", 1, 0)] * len(keys)
