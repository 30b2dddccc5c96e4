"""Databases that fail as real ones do: a process killed before or after a COMMIT, and transactions stopped half-way."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Literal, TypeVar

from headrace.state.database import Database, Transaction

T = TypeVar("T")
When = Literal["before", "after"]


class Killed(BaseException):
    """The process is gone: nothing after this runs, whatever would catch an error."""


class Killing(Database):
    """Kills its process at the transaction number `at` (from 1): `before` its COMMIT, or right `after` it, so that
    nobody hears the answer."""

    at: int = 0
    when: When = "before"
    count: int = 0

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Transaction]:
        """As ever, but for one."""
        self.count += 1
        mine = self.count == self.at
        async with super().transaction() as tx:
            yield tx
            if mine and self.when == "before":
                raise Killed
        if mine:
            raise Killed


class Stepping(Transaction):
    """Stops before its statement number `at` (from 1) until it is let go; told `reached` when it is there."""

    def __init__(self, inner: Transaction, at: int) -> None:
        super().__init__(inner._connection)
        self._at = at
        self._count = 0
        self.reached = asyncio.Event()
        self.go = asyncio.Event()

    async def _step(self) -> None:
        self._count += 1
        if self._count == self._at:
            self.reached.set()
            await self.go.wait()

    async def rows(self, name: str, shape: type[T], /, **parameters: object) -> list[T]:
        """A statement."""
        await self._step()
        return await super().rows(name, shape, **parameters)

    async def execute(self, name: str, /, **parameters: object) -> int:
        """A statement."""
        await self._step()
        return await super().execute(name, **parameters)


async def interleave(
    db: Database,
    first: Callable[[Transaction], Awaitable[object]],
    second: Callable[[], Awaitable[object]],
    at: int,
) -> bool:
    """Run `first` up to its statement number `at`, then `second` until it is done or waits for a lock, then the rest.

    False when `first` has fewer statements: all orders were tried.
    """
    stepping: Stepping | None = None
    ready = asyncio.Event()

    async def run_first() -> None:
        nonlocal stepping
        async with db.transaction() as tx:
            stepping = Stepping(tx, at)
            ready.set()
            await first(stepping)

    one = asyncio.create_task(run_first())
    await ready.wait()
    assert stepping is not None
    reached = asyncio.create_task(stepping.reached.wait())
    await asyncio.wait([one, reached], return_when=asyncio.FIRST_COMPLETED)
    if not stepping.reached.is_set():
        reached.cancel()
        await one
        await second()
        return False
    other = asyncio.ensure_future(second())
    while not other.done() and not await _waits(db):  # noqa: ASYNC110 - nothing tells that a lock is waited for
        await asyncio.sleep(0.002)
    stepping.go.set()
    await asyncio.gather(one, other)
    return True


async def _waits(db: Database) -> bool:
    async with db._pool.connection() as connection:
        found = await connection.execute(b"SELECT 1 FROM pg_locks WHERE NOT granted LIMIT 1")
        return await found.fetchone() is not None
