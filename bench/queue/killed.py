"""The row of dying: a worker process that holds 200 leases is killed, and all it held is run by another."""

from __future__ import annotations

import asyncio
import time

from bench.queue import peers
from bench.queue.gateway import gateway
from bench.queue.ground import Ground, ground
from bench.queue.load import Load
from bench.table import Row
from harness.console import Progress
from headrace.run.attempts import failure
from headrace.run.verdict import Broken
from headrace.state import attempts, queue, workers

HELD = 200
_LEASE = 5
_BACKOFF = 10.0
_TURN = 1.0


async def row(server: str) -> Row:
    """Without a cluster nobody sees the pod end: its leases run out, and the operator's turns find that."""
    with Progress(f"kill -9 with {HELD} leases"):
        async with ground(server, "ours_killed", lease=_LEASE, batch=HELD) as there:
            load = Load(there.db.url, HELD, at_once=HELD, lease=float(_LEASE))
            for name in ("first", "second"):
                await there.worker(name)
            with gateway(load.url, load.connections) as url:
                await there.enqueue(HELD)
                with peers.beside("library", load, url, "first", "hold") as first:
                    await _until(there, "Running")
                    with peers.beside("library", load, url, "second", "stay"):
                        reaps = asyncio.create_task(_reap(there))
                        began = time.perf_counter()
                        first.kill()
                        await _until(there, "Completed")
                        seconds = time.perf_counter() - began
                        reaps.cancel()
    met = "met" if seconds <= _LEASE + 1 else "missed"
    what = f"kill -9 of a worker with {HELD} leases, until all are run again"
    return Row(what, f"{seconds:.1f} s", f"lease {_LEASE} s", seconds / _LEASE, f"goal lease + 1 s: {met}")


async def _until(there: Ground, status: str) -> None:
    async with asyncio.timeout(60):
        while await there.count(status) < HELD:  # noqa: ASYNC110
            await asyncio.sleep(0.02)


async def _reap(there: Ground) -> None:
    """What the operator's turns do about workers that do not renew, as often."""
    while True:
        async with there.db.transaction() as tx:
            expired = await attempts.expired(tx, workers=True)
        if expired:
            async with there.db.transaction() as tx:
                await workers.retire(tx, 0, expired)
                lost = [failure(one, Broken("it was not renewed", lost=True)) for one in expired]
                await attempts.fail(tx, 0, lost, _BACKOFF)
            async with there.db.transaction() as tx:
                await queue.requeue_due(tx, 0)
        await asyncio.sleep(_TURN)
