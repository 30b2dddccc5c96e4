"""Purges in Postgres: generations that nothing refers to are retired, and what may be deleted is listed.

The gateway calls it. It holds the DAG's exclusive lock, as does whatever gives a version its data or has one serve.
What others have read of the pointers without it, as claims do, may be as old as their transactions: hence the age.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from msgspec import Struct

from headrace.api.history import short_hash
from headrace.api.purge import MOST_LISTED, Purged, PurgedGeneration, SupersededOutput
from headrace.state.database import Transaction
from headrace.state.locks import fence, lock_dag_soon

AT_ONCE: Final = 1000
"""Rows of each table that one transaction deletes."""


class _Generation(Struct, frozen=True, kw_only=True):
    id: UUID
    dataset: str
    location: str
    partitions: int
    rows: int | None
    bytes: int | None
    versions: list[str]
    retired: datetime | None = None

    @property
    def told(self) -> PurgedGeneration:
        return PurgedGeneration(
            dataset=self.dataset, location=self.location, versions=tuple(short_hash(v) for v in self.versions),
            partitions=self.partitions, rows=self.rows, bytes=self.bytes, retired=self.retired,
        )  # fmt: skip


class _Superseded(SupersededOutput, frozen=True, kw_only=True):
    id: UUID

    @property
    def told(self) -> SupersededOutput:
        return SupersededOutput(
            dataset=self.dataset, partition=self.partition, location=self.location, superseded=self.superseded
        )


class _Kept(Struct, frozen=True):
    reason: str
    generations: int


class _Now(Struct, frozen=True):
    now: datetime


class _Full(Struct, frozen=True):
    id: UUID
    dataset: UUID


async def look(tx: Transaction, org_id: UUID, dag: str, older_than: timedelta, most: int = MOST_LISTED) -> Purged:
    """What a purge would retire, and what there is to delete; nothing is changed, and no lock is needed."""
    would = await _to_retire(tx, org_id, dag, older_than)
    retired, superseded = await _listed(tx, org_id, dag, older_than, most)
    return await _told(tx, org_id, dag, older_than, most, [*would, *retired], superseded, confirmed=False)


async def purge(tx: Transaction, org_id: UUID, dag: str, older_than: timedelta, most: int = MOST_LISTED) -> Purged:
    """Retire what nothing refers to; what there is to delete now. Busy when the DAG's lock is not to be had soon."""
    await lock_dag_soon(tx, org_id, dag)
    gone = await _to_retire(tx, org_id, dag, older_than)
    if gone:
        ids = [g.id for g in gone]
        await tx.execute(
            "retire", ids=ids, partitions=[g.partitions for g in gone], rows=[g.rows for g in gone],
            bytes=[g.bytes for g in gone],
        )  # fmt: skip
        await tx.execute("drop_cursors_of_retired", ids=ids)
    retired, superseded = await _listed(tx, org_id, dag, older_than, most)
    listed, outputs = retired[:most], superseded[:most]
    if listed or outputs:
        await tx.execute(
            "mark_listed", generations=[g.id for g in listed], versions=[s.id for s in outputs],
            locations=[s.location for s in outputs],
        )  # fmt: skip
    return await _told(tx, org_id, dag, older_than, most, retired, superseded, confirmed=True)


async def forget(tx: Transaction, org_id: UUID, dag: str, upto: datetime) -> Purged:
    """What purges listed up to then is deleted: it is not listed any more. Busy as above."""
    await lock_dag_soon(tx, org_id, dag)
    gone = await tx.execute("forget_retired", org_id=org_id, dag=dag, upto=upto)
    gone += await tx.execute("forget_superseded", org_id=org_id, dag=dag, upto=upto)
    await tx.execute("drop_forgotten")
    return Purged(dag=dag, confirmed=True, listed=await _now(tx), forgotten=gone)


async def sweep(tx: Transaction, epoch: int) -> bool:
    """Delete some of the rows that describe a retired generation; whether there may be more. Idle: no write."""
    found = await tx.row("full_generation", _Full)
    if found is None:
        return False
    await fence(tx, epoch)
    of = {"dataset": found.dataset, "id": found.id, "most": AT_ONCE}
    gone = 0
    for step in ("empty_parts", "empty_updates", "empty_invalidations", "empty_cursors", "empty_superseded"):
        gone += await tx.execute(step, **of)
    if gone < AT_ONCE:
        gone += await tx.execute("empty_partitions", **of)
    if gone == 0:
        await tx.execute("empty_revision", dataset=found.dataset, id=found.id)
        await tx.execute("is_emptied", id=found.id)
        await tx.execute("drop_forgotten")
    return True


async def forget_told(tx: Transaction, version: UUID) -> None:
    """Sources of a version that is given its data anew begin anew, too. In the transaction that gives it the data."""
    await tx.execute("forget_told", version=version)


async def _to_retire(tx: Transaction, org_id: UUID, dag: str, older_than: timedelta) -> list[_Generation]:
    return await tx.rows(
        "generations_to_retire", _Generation, org_id=org_id, dag=dag, older_than=older_than.total_seconds()
    )


async def _listed(
    tx: Transaction, org_id: UUID, dag: str, older_than: timedelta, most: int
) -> tuple[list[_Generation], list[_Superseded]]:
    """What is retired, and what is superseded: one more of each than a list has, where there are more."""
    place = {"org_id": org_id, "dag": dag, "most": most + 1}
    retired = await tx.rows("retired", _Generation, **place)
    return retired, await tx.rows("superseded", _Superseded, **place, older_than=older_than.total_seconds())


async def _told(
    tx: Transaction,
    org_id: UUID,
    dag: str,
    older_than: timedelta,
    most: int,
    generations: Sequence[_Generation],
    superseded: Sequence[_Superseded],
    *,
    confirmed: bool,
) -> Purged:
    kept = await tx.rows("count_kept", _Kept, org_id=org_id, dag=dag, older_than=older_than.total_seconds())
    gone = {g.id for g in generations if g.retired is None}
    return Purged(
        dag=dag,
        confirmed=confirmed,
        listed=await _now(tx),
        generations=tuple(g.told for g in generations[:most]),
        superseded=tuple(s.told for s in superseded[:most] if s.id not in gone),
        kept={row.reason: row.generations for row in kept},
        more=len(generations) > most or len(superseded) > most,
    )


async def _now(tx: Transaction) -> datetime:
    found = await tx.row("transaction_time", _Now)
    assert found is not None  # noqa: S101 - a SELECT without FROM has a row
    return found.now
