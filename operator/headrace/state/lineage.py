"""What columns are made from: told by tasks, and as it holds for the version that serves.

`attempts` and `events` report it, `cutover` switches it, `units` follows it where an input is another dataset by now.
"""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from msgspec import Struct

from headrace.state.database import Transaction, jsonb


class MadeFrom(Struct, frozen=True):
    """A column of an output, and one of an input, by the task's name for it, that it is made from."""

    output: int
    column: str
    input: str
    input_column: str


async def report_lineage(tx: Transaction, told: Sequence[tuple[UUID, Sequence[MadeFrom]]]) -> None:
    """Keep what tasks say; of jobs of the version that serves it holds from now on. The DAG's lock is held, shared."""
    pairs = jsonb([{"task": task, "lineage": lineage} for task, lineage in told])
    if await tx.execute("keep_lineage", told=pairs):
        await tx.execute("add_lineage", tasks=[task for task, _ in told])


async def switch_lineage(tx: Transaction, org_id: UUID, dag: str) -> None:
    """From now on that of the version of the DAG that serves holds, and of no other; writes only what differs."""
    await tx.execute("drop_lineage", org_id=org_id, dag=dag)
    await tx.execute("set_lineage", org_id=org_id, dag=dag)
