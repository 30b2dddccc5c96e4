"""Units of work in Postgres: made where they should be and are not, tried again, taken up again.

Every statement is set-based; a unit that waits already is not made twice.
"""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from msgspec import Struct

from headrace.state import updates
from headrace.state.database import Busy, Transaction
from headrace.state.lineage import follow_lineage
from headrace.state.locks import fence, lock_dag_soon, try_lock_dag_shared


class _Dag(Struct, frozen=True):
    org_id: UUID
    dag: str


class _There(Struct, frozen=True):
    there: bool


class _Partition(Struct, frozen=True):
    dataset: UUID
    version: UUID
    key: str


async def create_missing(
    tx: Transaction, dags: Sequence[tuple[UUID, str]], *, backfill: bool = False, building: bool = False
) -> int:
    """Make the units that should be worked on and are not, of these DAGs (org, name); the number made.

    Those of versions being built are work of the build; with `backfill`, all are; with `building`, no others are made.
    Invalidations of what these DAGs make are over where all that read it are done with them. The caller holds the DAGs'
    locks, shared at least: a cutover in between would leave tasks of a former version.
    """
    orgs, names = [org for org, _ in dags], [dag for _, dag in dags]
    await tx.execute("adopt_cursors", org_ids=orgs, dags=names)
    await tx.execute("pass_updates", org_ids=orgs, dags=names)
    kinds = {"org_ids": orgs, "dags": names, "backfill": backfill, "building": building}
    made = await tx.execute("create_missing", **kinds)
    made += await updates.create_of(tx, dags, backfill=backfill, building=building)
    made += await tx.execute("create_always_on", org_ids=orgs, dags=names, building=building)
    await tx.execute("settle_invalidations", tasks=[], org_ids=orgs, dags=names)
    return made


async def create_for(tx: Transaction, keyed: Sequence[UUID], keys: Sequence[str], whole: Sequence[UUID]) -> None:
    """The same for what changed alone: these keys of the jobs `keyed`, all of the jobs `whole`."""
    if keyed:
        await tx.execute("lock_waiting", jobs=list(keyed), keys=list(keys))
        await tx.execute("create_missing_keys", jobs=list(keyed), keys=list(keys))
    if whole:
        await tx.execute("lock_waiting", jobs=list(whole), keys=None)
        await tx.execute("create_missing_jobs", jobs=list(whole))


async def create_source_tasks(
    tx: Transaction, job_id: UUID, keys: Sequence[str], *, again: bool = False, backfill: bool = False
) -> int:
    """Tasks of a source job for those `keys` that are not there (`again`: for all); the number made."""
    return await tx.execute("create_source_tasks", job_id=job_id, keys=list(keys), again=again, backfill=backfill)


async def consumers_told(tx: Transaction) -> list[tuple[UUID, str]]:
    """The DAGs (org, name) that are to look for work, since their inputs from other DAGs changed."""
    return [(row.org_id, row.dag) for row in await tx.rows("consumers_told", _Dag)]


async def look_for_work(tx: Transaction, epoch: int, org_id: UUID, dag: str) -> int | None:
    """A DAG whose inputs from other DAGs changed makes its units; how many. Its lock first, then the outbox.

    What it has made of partitions that are gone there is gone, too: under the exclusive lock, so that nothing is
    completed meanwhile; Busy when that is not to be had soon. None, at once, while it is being committed or cut over.
    It stays in the outbox then.
    """
    if await _has_vanished(tx, org_id, dag):
        await lock_dag_soon(tx, org_id, dag)
        await fence(tx, epoch)
        await _drop_vanished(tx, org_id, dag)
    else:
        if not await try_lock_dag_shared(tx, org_id, dag):
            return None
        await fence(tx, epoch)
    await tx.execute("consumer_looked", org_id=org_id, dag=dag)
    await follow_lineage(tx, org_id, dag)
    if await _has_vanished(tx, org_id, dag):
        raise Busy(f"DAG {dag}: partitions have gone meanwhile")
    return await create_missing(tx, [(org_id, dag)])


async def _has_vanished(tx: Transaction, org_id: UUID, dag: str) -> bool:
    found = await tx.row("has_vanished", _There, org_id=org_id, dag=dag)
    return found is not None and found.there


async def _drop_vanished(tx: Transaction, org_id: UUID, dag: str) -> None:
    """Drop what was made of partitions that are gone, level by level."""
    gone = await tx.rows("drop_vanished", _Partition, org_id=org_id, dag=dag, datasets=None, versions=None, keys=None)
    while gone:
        datasets, versions = [p.dataset for p in gone], [p.version for p in gone]
        await tx.execute("tell_dropped", datasets=datasets, versions=versions)
        gone = await tx.rows(
            "drop_vanished", _Partition, org_id=org_id, dag=dag, datasets=datasets, versions=versions,
            keys=[p.key for p in gone],
        )  # fmt: skip


async def drop_returned(tx: Transaction, base: UUID, version: UUID) -> None:
    """Drop what a version has that comes to serve in place of `base`, of partitions that went while it did not work.

    Under the DAG's exclusive lock, once it serves.
    """
    while gone := await tx.rows("drop_returned", _Partition, base=base, version=version):
        await tx.execute("tell_dropped", datasets=[p.dataset for p in gone], versions=[p.version for p in gone])


async def retry_failed(tx: Transaction, org_id: UUID, dag: str, job: str | None, task: UUID | None = None) -> int:
    """Queue again what failed for good in the current version, of one job, one task, or of all; how many units.

    Of what is named also what a person canceled. Under the DAG's lock.
    """
    return await tx.execute("retry_failed", org_id=org_id, dag=dag, job=job, task=task)


async def revive_absent(tx: Transaction, org_id: UUID, dag: str) -> int:
    """Queue again what the DAG's absence canceled; how many units. Under the DAG's lock."""
    return await tx.execute("revive_absent", org_id=org_id, dag=dag)
