"""What a task says of what it made: the same document in a termination message, at the gateway, and from workers. Pure.

A report is text of the user's: it is bounded, typed, and of its keys only the task's own count.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Annotated

from msgspec import Meta, Raw, Struct, field

from headrace.api.base import Column, Output, PartitionKey
from headrace.compile.hashes import digest
from headrace.state.attempts import Told, ToldPartition

# Counts that Postgres can keep and add up.
Count = Annotated[int, Meta(ge=0, le=10**15)]


class ReportedPartition(Struct, frozen=True):
    """How much an attempt made of a partition of an output."""

    key: PartitionKey
    rows: Count | None = None
    bytes: Count | None = None
    output: Output = 0


class ReportedColumn(Struct, frozen=True):
    """A column of what an attempt made, its type as in SQL."""

    name: Column
    type: Annotated[str, Meta(min_length=1, max_length=64)]
    nullable: bool = True
    output: Output = 0


class TaskReport(Struct, frozen=True):
    """What a task says it made. `cursor` and `lineage` are taken and not used yet."""

    partitions: Annotated[tuple[ReportedPartition, ...], Meta(max_length=10_000)] = ()
    columns: Annotated[tuple[ReportedColumn, ...], Meta(max_length=10_000)] = ()
    # Not made into objects, whatever their size.
    cursor: Raw = field(default_factory=Raw)
    lineage: Raw = field(default_factory=Raw)


def schema_hashes(columns: Iterable[ReportedColumn]) -> dict[int, str]:
    """By output, the hash of the columns that were reported of it: of their order, names, types and nullability."""
    found: dict[int, list[object]] = {}
    for column in columns:
        found.setdefault(column.output, []).append([column.name, column.type, column.nullable])
    return {output: digest("schema", listed) for output, listed in found.items()}


def told(report: TaskReport, keys: Collection[str]) -> Told:
    """What counts of a report of a task of these keys; the last word on a partition does."""
    own = {(p.output, p.key): p for p in report.partitions if p.key in keys}
    return Told(
        partitions=tuple(ToldPartition(output=p.output, key=p.key, rows=p.rows, bytes=p.bytes) for p in own.values()),
        schemas=schema_hashes(report.columns),
    )
