"""Who waits for work, and how they are woken: by NOTIFY at once, by a look every second in any case.

One look for all that wait, however many: an idle worker costs its connection and nothing else. The other way, what
workers did is told to the operator, many at once.
"""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final
from uuid import UUID

from headrace.errors import HeadraceError
from headrace.state import queue
from headrace.state.database import Database
from headrace.state.listen import WORK, listen

logger = logging.getLogger(__name__)

_LOOK: Final = 1.0
_TELL: Final = 0.2


class Waker:
    """The waiting claims of one gateway."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self._waiting: dict[UUID, set[asyncio.Future[None]]] = defaultdict(set)
        self._touched: set[str] = set()
        self._tell = asyncio.Event()
        self.draining = False

    @contextmanager
    def waits(self, identity: UUID) -> Iterator[asyncio.Future[None]]:
        """A future that is done once the job may have work; registered before the caller looks, so none is missed."""
        told: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting[identity].add(told)
        try:
            yield told
        finally:
            self._waiting[identity].discard(told)
            if not self._waiting[identity]:
                del self._waiting[identity]

    def drain(self) -> None:
        """This gateway ends: nobody waits here any longer."""
        self.draining = True
        for identity in list(self._waiting):
            self._wake(identity)

    def touch(self, namespace: str, dag: str) -> None:
        """Something of the DAG was claimed or has ended: the operator is told soon."""
        self._touched.add(f"{namespace}/{dag}")
        self._tell.set()

    async def run(self) -> None:
        """Wake and tell for ever."""
        async with asyncio.TaskGroup() as group:
            group.create_task(listen(self._db.url, self._told))
            group.create_task(self._look())
            group.create_task(self._tell_operator())

    def _told(self, channel: str, payload: str) -> None:
        if channel == WORK:
            self._wake(UUID(payload))

    def _wake(self, identity: UUID) -> None:
        for told in self._waiting.get(identity, ()):
            if not told.done():
                told.set_result(None)

    async def _look(self) -> None:
        while True:
            await asyncio.sleep(_LOOK)
            if not self._waiting:
                continue
            try:
                async with self._db.transaction() as tx:
                    found = await queue.waiting_among(tx, list(self._waiting))
            except HeadraceError as error:
                logger.warning("looking for work: %s", error)
                continue
            for identity in found:
                self._wake(identity)

    async def _tell_operator(self) -> None:
        while True:
            await self._tell.wait()
            self._tell.clear()
            dags, self._touched = sorted(self._touched), set()
            try:
                async with self._db.transaction() as tx:
                    await queue.tell_touched(tx, dags)
            except HeadraceError as error:
                logger.warning("telling the operator: %s", error)
            await asyncio.sleep(_TELL)
