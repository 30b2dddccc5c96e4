"""Source jobs: cron instants that are due, and the command to run one. The dispatcher and reconcile call it.

Everything is one transaction: the instants are marked as decided, or the request as handled, with the tasks they make.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import UUID

from headrace.compile.sources import listed_keys
from headrace.run.ticks import due, first_tick, upcoming
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
                if await sources.register(tx, source, first_tick(cron, source.now) if cron else None):
                    has_list = source.source.values is not None or source.source.range is not None
                    if has_list:
                        await tasks.create_source_tasks(tx, source.job_id, listed_keys(source.source))
            return True
        ticks = due(source.source, source.last_tick, source.now, GRACE)
        if ticks is None:
            return False
        async with self._db.transaction() as tx:
            await _hold(tx, source, epoch)
            if await sources.advance(tx, source, ticks.until):
                await tasks.create_source_tasks(tx, source.job_id, ticks.keys, again=True)
        return True


async def _hold(tx: Transaction, source: CronSource, epoch: int) -> None:
    await tasks.lock_dags_shared(tx, [(source.org_id, source.dag)])
    await tasks.fence(tx, epoch)


async def handle_run(tx: Transaction, org_id: UUID, dag: str, annotation: str) -> str | None:
    """Carry out `headrace.dev/run: "<request-id> <job>"` once; in words what came of it, None if it was handled before.

    The caller holds the DAG's lock.
    """
    request_id, _, argument = annotation.strip().partition(" ")
    argument = argument.strip()
    if not request_id or len(request_id) > 128:
        return None
    if await sources.command_outcome(tx, org_id, dag, "run", request_id) is not None:
        return None
    if not await sources.begin_command(tx, org_id, dag, "run", request_id, argument):
        return None
    source = await sources.current_source(tx, org_id, dag, argument)
    if source is None:
        outcome = f"refused: {argument!r} is no source job of the version that serves; write '<request-id> <job>'"
    else:
        keys = listed_keys(source.source) or ("*",)
        made = await tasks.create_source_tasks(tx, source.job_id, keys)
        outcome = f"made {made} of {len(keys)} tasks; the others are there or on their way"
    await sources.settle_command(tx, org_id, dag, "run", request_id, outcome)
    return outcome
