"""A gateway process on a free port of 127.0.0.1: the application and routes of `headrace gateway`, over Postgres.

Only who asks is told by the token instead of the API server (`Named`): measured are HTTP and SQL.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from aiohttp import web

from bench.queue.ground import NAMESPACE
from harness.console import HarnessError
from headrace.cli.connection import Connection
from headrace.cli.kubeconfig import Access
from headrace.cluster.client import Client
from headrace.compiler import collect_seldom
from headrace.gateway.app import application
from headrace.gateway.identity import Identities, PodIdentity
from headrace.gateway.rights import Rights
from headrace.gateway.wake import Waker
from headrace.gateway.work import Work
from headrace.gateway.worker_routes import worker_routes
from headrace.state.database import Database


class Named(Identities):
    """A token is a pod's name."""

    async def pod(self, header: str | None) -> PodIdentity:
        name = (header or "").removeprefix("Bearer ")
        return PodIdentity(NAMESPACE, name, f"uid-{name}")


@contextmanager
def gateway(url: str, connections: int) -> Iterator[str]:
    """Its address; it is gone after the block."""
    argv = [sys.executable, "-m", "bench.queue.gateway", url, str(connections)]
    process = subprocess.Popen(argv, stdout=subprocess.PIPE, stdin=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        if not line:
            raise HarnessError("the gateway to measure with did not start")
        yield str(json.loads(line)["url"])
    finally:
        process.kill()
        process.wait()


async def _serve(url: str, connections: int) -> None:
    collect_seldom()
    client = Client(await Connection.open(Access(server="http://127.0.0.1:1", namespace="n", token="t")))
    async with Database(url, connections=connections) as db:
        waker = Waker(db)

        async def ready() -> str | None:
            return None

        app = application(worker_routes(Work(db, waker).services), Named(client), Rights(client), ready)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        port = runner.addresses[0][1]
        sys.stdout.write(json.dumps({"url": f"http://127.0.0.1:{port}"}) + "\n")
        sys.stdout.flush()
        await waker.run()


if __name__ == "__main__":
    asyncio.run(_serve(sys.argv[1], int(sys.argv[2])))
