"""What a leader knows of where Postgres stands: a mark every few seconds in which something changed. `operate` runs it.

Postgres first, then the Lease, with its next renewal. Nothing is written while nothing changes: a Postgres of an hour
ago in which nothing has happened since is the same one.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Final

from headrace.errors import PermanentError, TemporaryError
from headrace.plan.standing import Standing
from headrace.state import leader
from headrace.state.database import Database, Transaction

logger = logging.getLogger(__name__)

EVERY: Final = 3.0


class Marks:
    """`known`: where Postgres stands at least; `written` is told of each new mark once that is committed."""

    def __init__(self, db: Database, known: Standing, written: Callable[[Standing], None]) -> None:
        self.known = known
        self._db = db
        self._written = written
        self._stirred = False

    def stir(self) -> None:
        """Something has changed, or may change at any time since something runs."""
        self._stirred = True

    async def confirm(self, tx: Transaction) -> None:
        """Whatever this transaction reads is not of a backup; LostLeadership otherwise."""
        await leader.confirm(tx, self.known)

    async def run(self) -> None:
        """For ever; LostLeadership when Postgres does not stand where it did."""
        while True:
            await asyncio.sleep(EVERY)
            if not self._stirred:
                continue
            self._stirred = False
            try:
                async with self._db.transaction() as tx:
                    raised = await leader.raise_mark(tx, self.known)
            except (TemporaryError, PermanentError) as error:
                self._stirred = True
                logger.warning("mark: %s", error)
                continue
            self.known = raised
            self._written(raised)
