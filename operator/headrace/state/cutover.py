"""The cutover: one version of a DAG becomes current in place of another, in the transaction of whoever calls it.

`versions` calls it for first versions and rollbacks, `run.rollouts` when a build is done. Pointers, names, cursors and
unfinished work switch together, under the DAG's exclusive lock, which completions take shared.
"""

from __future__ import annotations

from uuid import UUID

from msgspec import Struct

from headrace.errors import TemporaryError
from headrace.state.catch_up import catch_up_sources
from headrace.state.database import Transaction
from headrace.state.lineage import switch_lineage
from headrace.state.units import create_missing, drop_returned


class _Id(Struct, frozen=True):
    id: UUID


class _Version(Struct, frozen=True):
    dag_version_id: UUID


async def follow_whole(tx: Transaction, org_id: UUID, dag: str) -> None:
    """From now on completions say when they change what others read as a whole, and number the updates that are read
    one by one: of what this DAG makes, or reads.

    Not between a completion and its commit, which would then be in no revision.
    """
    datasets = [row.id for row in await tx.rows("newly_whole", _Id, org_id=org_id, dag=dag)]
    if datasets:
        await tx.execute("lock_whole", datasets=datasets)
        await tx.execute("follow_whole", datasets=datasets)
        await tx.execute("follow_updates", datasets=datasets)
    await tx.execute("raise_counters")
    await tx.execute("end_rebound")


async def cut_over(tx: Transaction, org_id: UUID, dag: str, base: UUID | None, version: UUID) -> None:
    """`version` becomes current, if `base` still is (compare-and-swap). TemporaryError when another one is by now."""
    if not await tx.rows("cut_over", _Version, org_id=org_id, dag=dag, version=version, base=base):
        raise TemporaryError(f"DAG {dag}: another version became current meanwhile")
    if base is not None:
        await tx.execute("restart_ticks", base=base, version=version)
        await tx.execute("move_tasks", base=base, version=version)
        await tx.execute("move_cursors", base=base, version=version)
        if await tx.execute("cancel_replaced", base=base):
            await tx.execute("requeue_sources", base=base, version=version)
        await tx.execute("keep_units", base=base, version=version)
        await catch_up_sources(tx, base, version, serves=True)
        await tx.execute("requeue_events", base=base, version=version)
        await tx.execute("pass_keys", base=base, version=version)
    if await tx.execute("switch_names", org_id=org_id, dag=dag, version=version):
        await tx.execute("rebind_inputs", org_id=org_id, dag=dag)
        await follow_whole(tx, org_id, dag)
    if base is not None:
        await drop_returned(tx, base, version)
    await switch_lineage(tx, org_id, dag)
    await tx.execute("pass_by", base=base, version=version)
    await tx.execute("tell_readers", org_id=org_id, dag=dag)
    await create_missing(tx, [(org_id, dag)], backfill=base is not None)
