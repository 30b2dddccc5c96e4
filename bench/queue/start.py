"""Rows of starting: from the enqueue of a task until a warm worker has it, beside bare NOTIFY and as many commits."""

from __future__ import annotations

import asyncio
import contextlib
import queue
import statistics
import tempfile
import threading
import time
from collections.abc import AsyncIterator, Coroutine, Sequence
from pathlib import Path

import psycopg

from bench.queue import peers
from bench.queue.drain_sql import turn
from bench.queue.gateway import gateway
from bench.queue.ground import Ground, ground
from bench.queue.load import Load
from bench.table import Row
from harness.console import Progress
from headrace.state import units
from headrace.state.attempts import Completion
from headrace.state.database import Database
from headrace.state.listen import WORK, listen
from headrace.worker import Task
from headrace.worker.gateway import Gateway
from headrace.worker.loop import Loop

_WARM = 20
_QUEUE, _THROUGH = 1.5, 3.0


async def rows(server: str, samples: int, rate: float) -> list[Row]:
    """Idle, then while another DAG of the same Postgres takes half of the `rate` at which tasks are drained."""
    idle = await _measured(server, samples, "")
    async with ground(server, "ours_busy") as there:
        await there.worker("w")
        with peers.beside("busy", Load(there.db.url, 0), str(there.job), str(rate / 2)):
            return idle + await _measured(server, samples, f", under half load ({rate / 2:,.0f} tasks/s)")


async def _measured(server: str, samples: int, under: str) -> list[Row]:
    with Progress(f"enqueue to start{under}"):
        async with ground(server, "ours_start") as there:
            await there.worker("w")
            bare = await _bare(there.db.url, samples)
            at_queue = await _at_queue(there, samples)
            through = await _through(there, samples)
    return [
        row
        for how, seconds, goal in (("at the queue", at_queue, _QUEUE), ("through the gateway", through, _THROUGH))
        for row in _compared(f"enqueue to start {how}{under}", seconds, bare, goal)
    ]


def _compared(what: str, ours: Sequence[float], bare: Sequence[float], goal: float) -> list[Row]:
    found = []
    for name, place in (("p50", 49), ("p99", 98)):
        mine, floor = (statistics.quantiles(one, n=100)[place] for one in (ours, bare))
        note = f"floor: NOTIFY and two commits; goal {goal:g}: {'met' if mine <= goal * floor else 'missed'}"
        found.append(Row(f"{what}, {name}", f"{1000 * mine:.1f} ms", f"{1000 * floor:.1f} ms", mine / floor, note))
    return found


async def _bare(url: str, samples: int) -> list[float]:
    """One commits a row and NOTIFY; whoever hears of it commits a change of the row."""
    connect = psycopg.AsyncConnection.connect
    taken: list[float] = []
    async with await connect(url, autocommit=True) as hears, await connect(url) as sends, await connect(url) as takes:
        await sends.execute("CREATE TABLE IF NOT EXISTS bare (id int PRIMARY KEY, taken boolean)")
        await sends.execute("TRUNCATE bare")
        await sends.commit()
        await hears.execute("LISTEN bare")
        await hears.execute("LISTEN bare")
        heard = hears.notifies()
        for number in range(_WARM + samples):
            began = time.perf_counter()
            waiting = asyncio.ensure_future(anext(heard))
            await sends.execute("INSERT INTO bare VALUES (%s, false)", [number])
            await sends.execute("NOTIFY bare")
            await sends.commit()
            await waiting
            await takes.execute("UPDATE bare SET taken = true WHERE id = %s", [number])
            await takes.commit()
            taken.append(time.perf_counter() - began)
        # It keeps its connection to itself until then.
        await heard.aclose()
    return taken[_WARM:]


async def _at_queue(there: Ground, samples: int) -> list[float]:
    """The enqueue of a run, the shipped NOTIFY, a worker's claim by the calls of the gateway."""
    told = asyncio.Event()
    taken: list[float] = []
    async with (
        Database(there.db.url, connections=1) as work,
        _running(listen(there.db.url, lambda channel, _: told.set() if channel == WORK else None)),
    ):
        await there.ready(*(f"q{number}" for number in range(_WARM + samples)))
        for number in range(_WARM + samples):
            told.clear()
            began = time.perf_counter()
            await _enqueue(there, f"q{number}")
            done = await _claimed(work, told)
            taken.append(time.perf_counter() - began)
            await turn(work, 1, "w", done)
    return taken[_WARM:]


async def _claimed(work: Database, told: asyncio.Event) -> list[Completion]:
    # The first enqueue may be before it listens.
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(told.wait(), 1.0)
    return await turn(work, 1, "w", [])


async def _through(there: Ground, samples: int) -> list[float]:
    """The same enqueue; the library's worker waits at a gateway, and its function says when it began."""
    began: queue.SimpleQueue[float] = queue.SimpleQueue()
    taken: list[float] = []

    def function(_: Task) -> None:
        began.put(time.perf_counter())

    with gateway(there.db.url, Load("", 0).connections) as url, tempfile.NamedTemporaryFile("w") as token:
        token.write("w")
        token.flush()
        loop = Loop(Gateway(url, Path(token.name)), function, 1, 1, None, 60.0)
        thread = threading.Thread(target=loop.run, daemon=True)
        thread.start()
        await there.ready(*(f"g{number}" for number in range(_WARM + samples)))
        for number in range(_WARM + samples):
            enqueued = time.perf_counter()
            await _enqueue(there, f"g{number}")
            taken.append(await asyncio.to_thread(began.get) - enqueued)
            # It is told of, and waits again.
            while await there.count("Running"):  # noqa: ASYNC110
                await asyncio.sleep(0.01)
            await asyncio.sleep(0.02)
        loop.stop()
        await asyncio.to_thread(thread.join, 30)
    return taken[_WARM:]


async def _enqueue(there: Ground, key: str) -> None:
    async with there.db.transaction() as tx:
        await units.create_source_tasks(tx, there.job, [key])


@contextlib.asynccontextmanager
async def _running(coroutine: Coroutine[object, object, None]) -> AsyncIterator[None]:
    task = asyncio.create_task(coroutine)
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
