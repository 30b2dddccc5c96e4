"""The two kinds of lock that writes of the run plane hold: the operator's epoch, and a DAG's lock.

A DAG's lock is taken exclusively by whatever moves its versions, shared by completions and by whoever makes its units:
none of them works for a version that no longer serves.
"""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from msgspec import Struct

from headrace.errors import LostLeadership
from headrace.state.database import Transaction


class _Held(Struct, frozen=True):
    held: bool


class _Epoch(Struct, frozen=True):
    epoch: int


async def fence(tx: Transaction, epoch: int) -> None:
    """Hold the epoch until the transaction ends; LostLeadership if another operator leads by now."""
    if not await tx.rows("fence", _Epoch, epoch=epoch):
        raise LostLeadership(f"epoch {epoch} is over: another operator leads")


async def lock_dags_shared(tx: Transaction, dags: Sequence[tuple[UUID, str]]) -> None:
    """Keep these DAGs (org, name) from being cut over until the transaction ends."""
    await tx.execute("lock_dag_shared", org_ids=[org for org, _ in dags], dags=[dag for _, dag in dags])


async def lock_dag_soon(tx: Transaction, org_id: UUID, dag: str) -> None:
    """The DAG's lock, exclusively, until the transaction ends. Busy when a lock is not to be had soon."""
    await tx.execute("wait_briefly")
    await tx.execute("lock_dag", org_id=org_id, dag=dag)


async def lock_dag_shared_soon(tx: Transaction, org_id: UUID, dag: str) -> None:
    """Keep a DAG from being cut over until the transaction ends. Busy when that is not to be had soon."""
    await tx.execute("wait_briefly")
    await lock_dags_shared(tx, [(org_id, dag)])


async def try_lock_dag_shared(tx: Transaction, org_id: UUID, dag: str) -> bool:
    """Keep a DAG from being cut over until the transaction ends; False, at once, while it is being cut over."""
    found = await tx.row("try_lock_dag_shared", _Held, org_id=org_id, dag=dag)
    return found is not None and found.held
