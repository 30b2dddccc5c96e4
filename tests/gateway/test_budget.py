"""Bytes that are read at once: one caller has half, and what is given back is another's."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack

from headrace.gateway.budget import Budget


async def test_one_caller_has_half_and_who_waits_goes_on_as_room_comes() -> None:
    budget = Budget(100)
    order: list[str] = []

    async def read(caller: str, amount: int, end: asyncio.Event) -> None:
        async with budget.room(caller, amount):
            order.append(f"{caller}{amount}")
            await end.wait()

    first, other = asyncio.Event(), asyncio.Event()
    async with asyncio.TaskGroup() as group:
        group.create_task(read("ann", 50, first))
        group.create_task(read("ann", 1, first))
        group.create_task(read("bob", 30, other))
        group.create_task(read("cat", 25, other))
        for _ in range(100):  # nothing here waits for anything but its turn
            await asyncio.sleep(0)
        assert order == ["ann50", "bob30"]  # ann has her half, and for cat there are 20
        first.set()
        other.set()
    assert sorted(order) == ["ann1", "ann50", "bob30", "cat25"]


async def test_more_than_half_waits_for_all_of_it_and_no_longer() -> None:
    budget = Budget(100)
    async with AsyncExitStack() as held, asyncio.timeout(5):
        await held.enter_async_context(budget.room("ann", 1000))
        await held.enter_async_context(budget.room("bob", 50))
    async with asyncio.timeout(5), budget.room("ann", 50), budget.room("bob", 50):
        pass


async def test_who_gives_up_waiting_leaves_no_trace() -> None:
    budget = Budget(100)
    async with budget.room("ann", 50):
        waits = asyncio.ensure_future(budget.room("ann", 10).__aenter__())
        await asyncio.sleep(0)
        waits.cancel()
        await asyncio.gather(waits, return_exceptions=True)
    async with asyncio.timeout(5), budget.room("ann", 50), budget.room("bob", 50):
        pass
