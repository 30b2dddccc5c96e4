"""Source jobs in Postgres: cron instants and commands to run. `run.sources` decides, this keeps.

A cron source's ticks are advanced by compare-and-swap in the transaction that makes their tasks: one task for each
instant, whatever crashes. A command is recorded in the transaction that carries it out: once, whoever repeats it.
"""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from msgspec import Struct

from headrace.compile.document import SourceDocument
from headrace.state.database import Transaction


class CronSource(Struct, frozen=True, kw_only=True):
    """A cron source of a current version; `last_tick` is None until it is registered; `now` is Postgres' time."""

    job_id: UUID
    org_id: UUID
    dag: str
    job: str
    identity: UUID
    source: SourceDocument
    last_tick: datetime | None
    now: datetime


class CurrentSource(Struct, frozen=True, kw_only=True):
    """A source job of a current version."""

    job_id: UUID
    source: SourceDocument


class _Outcome(Struct, frozen=True):
    outcome: str


async def cron_sources(tx: Transaction) -> list[CronSource]:
    """Every cron source of a current version whose DAG is there."""
    return await tx.rows("cron_sources", CronSource, identity=None)


async def cron_source(tx: Transaction, identity: UUID) -> CronSource | None:
    """One of them, by its job's identity; None if it is none any more."""
    return await tx.row("cron_sources", CronSource, identity=identity)


async def register(tx: Transaction, source: CronSource, start: datetime | None) -> bool:
    """Begin to tick after `start` (None: now); False if the source is registered already."""
    return bool(await tx.execute("register_tick", identity=source.identity, **{"from": start}))


async def advance(tx: Transaction, source: CronSource, to: datetime) -> bool:
    """Mark the instants up to `to` as decided; False if another process did it first."""
    changed = await tx.execute("advance_tick", identity=source.identity, to=to, **{"from": source.last_tick})
    return bool(changed)


async def listed_sources(tx: Transaction, org_id: UUID, dag: str) -> list[CurrentSource]:
    """The cron sources of the current version that list partitions and were registered before."""
    return await tx.rows("listed_sources", CurrentSource, org_id=org_id, dag=dag)


async def command_outcome(tx: Transaction, org_id: UUID, dag: str, command: str, request_id: str) -> str | None:
    """What came of a request; None if it was never seen."""
    row = await tx.row("find_command", _Outcome, org_id=org_id, dag=dag, command=command, request_id=request_id)
    return row.outcome if row else None


async def begin_command(tx: Transaction, org_id: UUID, dag: str, command: str, request_id: str, argument: str) -> bool:
    """Take a request on; False if it was taken on before."""
    return bool(
        await tx.execute(
            "record_command", org_id=org_id, dag=dag, command=command, request_id=request_id, argument=argument
        )
    )


async def settle_command(tx: Transaction, org_id: UUID, dag: str, command: str, request_id: str, outcome: str) -> None:
    """Note what came of a request, in words."""
    await tx.execute("settle_command", org_id=org_id, dag=dag, command=command, request_id=request_id, outcome=outcome)
