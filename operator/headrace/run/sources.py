"""Cron sources: the instants that are due and the partitions that are listed. The dispatcher and reconcile call it.

Everything is one transaction: the instants are marked as decided with the tasks that they make.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import UUID

from headrace.compile.document import SourceDocument
from headrace.compile.sources import listed_keys
from headrace.compile.ticks import due, first_tick, upcoming
from headrace.state import sources, tasks
from headrace.state.database import Database, Transaction
from headrace.state.sources import CronSource

GRACE = timedelta(seconds=60)
"""An instant older than this was missed: the operator was down."""


class Cron:
    """When the next instant of any cron source is due; `look` runs what is due."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self._next: datetime | None = datetime.min.replace(tzinfo=UTC)

    def changed(self) -> None:
        """Sources may have come or changed: look at the next opportunity."""
        self._next = datetime.min.replace(tzinfo=UTC)

    async def look(self, epoch: int) -> set[tuple[UUID, str]]:
        """Register new sources and run what is due; the DAGs (org, name) that got tasks."""
        if self._next is None or datetime.now(UTC) < self._next:
            return set()
        async with self._db.transaction() as tx:
            found = await sources.cron_sources(tx)
        touched: set[tuple[UUID, str]] = set()
        coming: list[datetime] = []
        for source in found:
            if await self._one(source, epoch):
                touched.add((source.org_id, source.dag))
        if touched:
            async with self._db.transaction() as tx:
                found = await sources.cron_sources(tx)
        for source in found:
            after = source.last_tick or source.now
            coming += [at for at in (upcoming(source.source, after),) if at is not None]
        # This process's clock only says when to look; what is due is decided by Postgres' time.
        self._next = min(coming).astimezone(UTC) if coming else None
        return touched

    async def _one(self, source: CronSource, epoch: int) -> bool:
        if source.last_tick is None:
            async with self._db.transaction() as tx:
                await _hold(tx, source, epoch)
                cron = source.source.cron
                known = not await sources.register(tx, source, first_tick(cron, source.now) if cron else None)
                if not known and _lists(source.source):
                    await tasks.create_source_tasks(tx, source.job_id, listed_keys(source.source))
            return True
        ticks = due(source.source, source.last_tick, source.now, GRACE)
        if ticks is None:
            return False
        async with self._db.transaction() as tx:
            await _hold(tx, source, epoch)
            if await sources.advance(tx, source, ticks.until):
                if _lists(source.source) and source.source.partition is None:
                    # Without a pattern a tick is a run: it makes of the list what is not there.
                    await tasks.create_source_tasks(tx, source.job_id, listed_keys(source.source))
                else:
                    await tasks.create_source_tasks(tx, source.job_id, ticks.keys, again=True)
        return True


def _lists(source: SourceDocument) -> bool:
    return source.values is not None or source.range is not None


async def _hold(tx: Transaction, source: CronSource, epoch: int) -> None:
    await tasks.lock_dags_shared(tx, [(source.org_id, source.dag)])
    await tasks.fence(tx, epoch)


async def make_listed(tx: Transaction, org_id: UUID, dag: str) -> int:
    """A new version of a DAG may list more partitions: make those of its registered cron sources that are not there.

    The caller holds the DAG's lock.
    """
    made = 0
    for source in await sources.listed_sources(tx, org_id, dag):
        made += await tasks.create_source_tasks(tx, source.job_id, listed_keys(source.source))
    return made
