"""The reconcile queue: keys of DAGs, each once, never two workers at one key, with backoff for those that failed."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable

from headrace import metrics
from headrace.cluster.objects import Key
from headrace.errors import LostLeadership, PermanentError, TemporaryError

logger = logging.getLogger(__name__)

_COALESCE = 0.3
_FIRST_BACKOFF = 0.5
_LONGEST_BACKOFF = 60.0


class Queue:
    """Keys waiting for `work`; adding one that waits already makes it due sooner, if anything.

    `work` gives after how many seconds to look again, if at all.
    """

    def __init__(self, work: Callable[[Key], Awaitable[float | None]], workers: int = 8) -> None:
        self._work = work
        self._slots = asyncio.Semaphore(workers)
        self._due: dict[Key, float] = {}
        self._busy: set[Key] = set()
        self._failures: dict[Key, int] = {}
        self._changed = asyncio.Event()
        self.last_look = time.monotonic()
        metrics.RECONCILE_QUEUE.set_function(lambda: len(self._due))

    def add(self, key: Key) -> None:
        """Look at `key` soon."""
        self._put(key, 0.0)

    def add_later(self, key: Key) -> None:
        """Look at `key` in a moment, together with what changes until then: for status."""
        self._put(key, _COALESCE)

    async def run(self) -> None:
        """Work for ever. What one key fails with delays that key alone."""
        async with asyncio.TaskGroup() as group:
            while True:
                self.last_look = now = time.monotonic()
                self._changed.clear()
                ready = [key for key, due in self._due.items() if due <= now and key not in self._busy]
                for key in sorted(ready, key=self._due.__getitem__):
                    await self._slots.acquire()
                    self._due.pop(key, None)
                    self._busy.add(key)
                    group.create_task(self._one(key))
                waits = [due - time.monotonic() for key, due in self._due.items() if key not in self._busy]
                try:
                    await asyncio.wait_for(self._changed.wait(), max(0.0, min(waits, default=30.0)))
                except TimeoutError:
                    continue

    def _put(self, key: Key, delay: float) -> None:
        due = time.monotonic() + delay
        if due < self._due.get(key, float("inf")):
            self._due[key] = due
            self._changed.set()

    async def _one(self, key: Key) -> None:
        result, began = "success", time.perf_counter()
        try:
            again = await self._work(key)
            self._failures.pop(key, None)
            if again is not None:
                self._put(key, again)
        except LostLeadership:
            raise
        except TemporaryError as error:
            result = "temporary"
            failures = self._failures[key] = self._failures.get(key, 0) + 1
            delay = min(_LONGEST_BACKOFF, _FIRST_BACKOFF * 2 ** (failures - 1))
            logger.warning("DAG %s/%s: %s; again in %.1f s", key.namespace, key.name, error, delay)
            self._put(key, delay)
        except PermanentError as error:
            result = "permanent"
            # Nobody's change may tell us when it is mended, so it is looked at again, seldom.
            logger.warning("DAG %s/%s: %s; again in %.0f s", key.namespace, key.name, error, _LONGEST_BACKOFF)
            self._put(key, _LONGEST_BACKOFF)
        except Exception:
            result = "defect"
            # A defect that one object sets off must not stop the others: it is told in full and tried again seldom.
            logger.exception("DAG %s/%s: a defect; again in %.0f s", key.namespace, key.name, _LONGEST_BACKOFF)
            self._put(key, _LONGEST_BACKOFF)
        finally:
            metrics.RECONCILES.labels(result).inc()
            metrics.RECONCILE.observe(time.perf_counter() - began)
            self._busy.discard(key)
            self._slots.release()
            self._changed.set()
