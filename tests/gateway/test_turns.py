"""One person has half of a route's room, so that the others find some."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack

import pytest

from headrace.gateway.app import Turns


@pytest.mark.parametrize(("at_once", "each"), [(4, 2), (5, 2), (2, 1), (1, 1)])
async def test_half_of_the_room_for_one_person(at_once: int, each: int) -> None:
    turns = Turns(at_once)
    async with AsyncExitStack() as inside:
        for _ in range(each):
            await inside.enter_async_context(turns.of("ann"))
        assert turns.of("ann").locked()
        waits = asyncio.ensure_future(turns.of("ann").acquire())
        async with turns.of("bob"):
            assert not waits.done()
        await inside.aclose()
        assert await waits
        turns.of("ann").release()
    assert not turns.of("ann").locked()
