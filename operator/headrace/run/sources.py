"""Cron sources: the instants that are due and the partitions that are listed. The dispatcher and reconcile call it.

Everything is one transaction: the instants are marked as decided with the tasks that they make.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import UUID

from headrace.compile.document import SourceDocument
from headrace.compile.sources import listed_keys
from headrace.compile.ticks import due, first_tick, upcoming
from headrace.errors import HeadraceError
from headrace.state import locks, sources, units
from headrace.state.database import Database, Transaction
from headrace.state.sources import CronSource

GRACE = timedelta(seconds=60)
"""An instant older than this was missed: the operator was down."""


class Cron:
    """When the next instant of any cron source is due; `look` runs what is due."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self._next: datetime | None = None
        self._changed = True

    def changed(self) -> None:
        """Sources may have come or changed: look at the next opportunity."""
        self._changed = True

    async def look(self, epoch: int) -> set[tuple[UUID, str]]:
        """Register new sources and run what is due; the DAGs (org, name) that got tasks.

        A DAG that is being cut over right now is left to the next look: nobody waits for it here.
        """
        if not self._changed and (self._next is None or datetime.now(UTC) < self._next):
            return set()
        self._changed = False
        try:
            return await self._look(epoch)
        except HeadraceError:
            self._changed = True  # whatever was not looked at is looked at again
            raise

    async def _look(self, epoch: int) -> set[tuple[UUID, str]]:
        async with self._db.transaction() as tx:
            found = await sources.cron_sources(tx)
        touched: set[tuple[UUID, str]] = set()
        for source in (s for s in found if _acts(s)):
            if await self._one(source, epoch):
                touched.add((source.org_id, source.dag))
            else:
                self._changed = True
        if touched:
            async with self._db.transaction() as tx:
                found = await sources.cron_sources(tx)
        coming = [upcoming(source.source, source.last_tick or source.now) for source in found]
        times = [at.astimezone(UTC) for at in coming if at is not None]
        # This process's clock only says when to look; what is due is decided by Postgres' time.
        self._next = min(times, default=None)
        return touched

    async def _one(self, seen: CronSource, epoch: int) -> bool:
        """Decide on one source, as it is under its DAG's lock; False if that is not to be had now."""
        async with self._db.transaction() as tx:
            if not await locks.try_lock_dag_shared(tx, seen.org_id, seen.dag):
                return False
            source = await sources.cron_source(tx, seen.identity)
            if source is None or not _acts(source):
                return True
            await locks.fence(tx, epoch)
            if source.last_tick is None:
                await _register(tx, source)
            else:
                await _tick(tx, source, source.last_tick)
        return True


def _acts(source: CronSource) -> bool:
    """Whether it is to be registered, or an instant is due."""
    return source.last_tick is None or due(source.source, source.last_tick, source.now, GRACE) is not None


async def _register(tx: Transaction, source: CronSource) -> None:
    cron = source.source.cron
    known = not await sources.register(tx, source, first_tick(cron, source.now) if cron else None)
    if not known and _lists(source.source):
        await units.create_source_tasks(tx, source.job_id, listed_keys(source.source))


async def _tick(tx: Transaction, source: CronSource, last_tick: datetime) -> None:
    ticks = due(source.source, last_tick, source.now, GRACE)
    if ticks is None or not await sources.advance(tx, source, ticks.until):
        return
    if _lists(source.source) and source.source.partition is None:
        # Without a pattern a tick is a run: it makes of the list what is not there.
        await units.create_source_tasks(tx, source.job_id, listed_keys(source.source))
    else:
        await units.create_source_tasks(tx, source.job_id, ticks.keys, again=True)


def _lists(source: SourceDocument) -> bool:
    return source.values is not None or source.range is not None


async def make_listed(tx: Transaction, org_id: UUID, dag: str) -> int:
    """A new version of a DAG may list more partitions: make those of its registered cron sources that are not there.

    The caller holds the DAG's lock.
    """
    made = 0
    for source in await sources.listed_sources(tx, org_id, dag):
        made += await units.create_source_tasks(tx, source.job_id, listed_keys(source.source))
    return made
