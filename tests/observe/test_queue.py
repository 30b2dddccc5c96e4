"""The reconcile queue: a key that asks to be looked at again is, without being counted as a failure."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator

from headrace.cluster.objects import Key
from headrace.queue import Queue

A, B = Key("air", "a"), Key("air", "b")


@contextlib.asynccontextmanager
async def running(queue: Queue) -> AsyncIterator[None]:
    task = asyncio.create_task(queue.run())
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def test_work_says_when_to_look_again() -> None:
    looks: list[float] = []
    done = asyncio.Event()

    async def work(_: Key) -> float | None:
        looks.append(time.monotonic())
        if len(looks) == 3:
            done.set()
        return [0.2, 0.1, None][len(looks) - 1]

    queue = Queue(work)
    queue.add(A)
    async with running(queue):
        await asyncio.wait_for(done.wait(), 10)
    assert len(looks) == 3
    assert looks[1] - looks[0] >= 0.2
    assert looks[2] - looks[1] >= 0.1


async def test_an_event_comes_before_the_time_that_was_asked_for() -> None:
    """A set that waits a minute for members is looked at as soon as one comes."""
    seen: list[Key] = []
    turns: asyncio.Queue[Key] = asyncio.Queue()

    async def work(key: Key) -> float | None:
        seen.append(key)
        turns.put_nowait(key)
        return 600.0 if key == A else None

    queue = Queue(work)
    async with running(queue):
        for key in (A, B, A):
            queue.add(key)
            assert await asyncio.wait_for(turns.get(), 10) == key
    assert seen == [A, B, A]
