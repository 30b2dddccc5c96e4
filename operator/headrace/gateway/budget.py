"""How many bytes of bodies a gateway reads at once: half of the whole for one namespace's workers, or one person.

`app` asks for room before it reads: a gate counts requests, and one may be of a few bytes or of many megabytes.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class Budget:
    """`total` bytes, of which one caller has half at most."""

    def __init__(self, total: int) -> None:
        self._total = total
        self._each = total // 2
        self._used: Counter[str] = Counter()
        self._changed = asyncio.Condition()

    @asynccontextmanager
    async def room(self, caller: str, amount: int) -> AsyncIterator[None]:
        """Wait until so many bytes may be read for this caller, and keep them until the end of the block."""
        amount = min(amount, self._each)
        async with self._changed:
            await self._changed.wait_for(lambda: self._fits(caller, amount))
            self._used[caller] += amount
        try:
            yield
        finally:
            self._used[caller] -= amount
            if not self._used[caller]:
                del self._used[caller]
            async with self._changed:
                self._changed.notify_all()

    def _fits(self, caller: str, amount: int) -> bool:
        return self._used[caller] + amount <= self._each and self._used.total() + amount <= self._total
