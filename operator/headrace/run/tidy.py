"""What is no longer needed goes, a little at a time: rows of retired generations, and old tasks. operate calls it.

A look writes nothing where it finds nothing. It goes through the finished tasks in the order of their end and stops
where they are not old yet; most of those that stay are pointed to, so it begins again from the first only once a day.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

from headrace.state import old_tasks, purge
from headrace.state.database import Database
from headrace.state.old_tasks import AT_ONCE, BEGINNING

_LOOKS: Final = 50
"""Transactions of each kind in one pass: the next one goes on."""
_ROUND: Final = 24 * 3600.0


class Tidy:
    """Remembers how far it has looked."""

    def __init__(self, db: Database, clock: Callable[[], float] = time.monotonic) -> None:
        self._db = db
        self._clock = clock
        self._place = BEGINNING
        self._began = clock()

    async def run(self, epoch: int, looks: int = _LOOKS) -> int:
        """One pass; how many tasks went."""
        for _ in range(looks):
            async with self._db.transaction() as tx:
                if not await purge.sweep(tx, epoch):
                    break
        if self._clock() - self._began >= _ROUND:
            self._place, self._began = BEGINNING, self._clock()
        gone = 0
        for _ in range(looks):
            async with self._db.transaction() as tx:
                found = await old_tasks.look(tx, self._place)
                ids = [task.id for task in found if task.goes]
                if ids:
                    gone += await old_tasks.delete(tx, epoch, ids)
            if found:
                self._place = old_tasks.Place(found[-1].at, found[-1].seq)
            if len(found) < AT_ONCE:
                break
        return gone
