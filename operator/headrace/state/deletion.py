"""`deletionPolicy: Delete`: the rows of a DAG go, but for what other DAGs read. reconcile calls it, from the finalizer.

Absence alone never deletes a row: only an object that said Delete, and that a user then deleted.
"""

from __future__ import annotations

from uuid import UUID

from msgspec import Struct

from headrace.state.database import Transaction


class _Spared(Struct, frozen=True):
    dataset_uuid: UUID
    name: str


_STEPS = (
    "delete_looks", "delete_lineage", "delete_reported", "delete_cursors", "delete_invalidations", "delete_rollouts",
    "delete_same_data", "delete_commands", "delete_ticks", "delete_event_keys", "delete_events", "delete_troubles",
    "delete_turns", "delete_units", "delete_passed", "delete_passed_keys", "delete_tasks", "delete_notices",
    "delete_inputs", "delete_jobs", "delete_pointers", "delete_current", "delete_versions", "bury_version",
    "delete_partitions", "delete_revisions", "delete_updates", "delete_generations", "delete_datasets",
    "delete_names", "delete_dag",
)  # fmt: skip
"""In the order in which rows refer to one another."""


async def delete_dag(tx: Transaction, org_id: UUID, dag: str) -> list[str]:
    """Delete every row of a DAG that is gone; the names of the datasets that others read, which stay as they serve.

    The caller holds the DAG's lock. A second time deletes nothing more.
    """
    await tx.execute("lock_org", org_id=org_id)
    spared = await tx.rows("spared_datasets", _Spared, org_id=org_id, dag=dag)
    for step in _STEPS:
        await tx.execute(step, org_id=org_id, dag=dag, spared=[row.dataset_uuid for row in spared])
    return [row.name for row in spared]
