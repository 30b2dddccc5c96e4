"""What columns are made from: told by tasks, and as it holds for the version that serves.

`attempts` and `events` report it, `cutover` switches it, `units` follows it where an input is another dataset by now;
the gateway reads it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final
from uuid import UUID

from msgspec import Struct

from headrace.api.datasets import ColumnEdge, ColumnLineage
from headrace.state.database import Transaction, jsonb

MOST_EDGES: Final = 5000
"""Of each way, what is told at once."""


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
    await tx.execute("switch_lineage", org_id=org_id, dag=dag)


class _There(Struct, frozen=True):
    there: bool


async def follow_lineage(tx: Transaction, org_id: UUID, dag: str) -> None:
    """The same where an input of another DAG is another dataset than it was."""
    found = await tx.row("lineage_strays", _There, org_id=org_id, dag=dag)
    if found is not None and found.there:
        await switch_lineage(tx, org_id, dag)


class _Dataset(Struct, frozen=True):
    id: UUID


class _Edge(Struct, frozen=True):
    up: bool
    dataset: str
    column: str
    from_dataset: str
    from_column: str
    dag: str
    job: str
    declared: bool


async def read_lineage(tx: Transaction, org_id: UUID, dataset: str, column: str | None) -> ColumnLineage | None:
    """What a column of a dataset, or each of them, is made from and what is made from it; None: no such dataset."""
    found = await tx.row("find_dataset", _Dataset, org_id=org_id, name=dataset)
    if found is None:
        return None
    rows = await tx.rows("walk_lineage", _Edge, dataset=found.id, column=column, most=MOST_EDGES + 1)
    edges = {up: [row for row in rows if row.up is up] for up in (True, False)}
    told = {
        up: tuple(
            ColumnEdge(dataset=e.dataset, column=e.column, from_dataset=e.from_dataset, from_column=e.from_column,
                       dag=e.dag, job=e.job, declared=e.declared)
            for e in listed[:MOST_EDGES]
        )
        for up, listed in edges.items()
    }  # fmt: skip
    cut = any(len(listed) > MOST_EDGES for listed in edges.values())
    return ColumnLineage(dataset=dataset, column=column, upstream=told[True], downstream=told[False], cut=cut)
