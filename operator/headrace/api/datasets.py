"""What readers are told of datasets: where their contents are, and what columns are made from. The gateway sends it.

The command line shows lineage; programs read the rest.
"""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

import msgspec
from msgspec import Struct


class ResolvedColumn(Struct, frozen=True, omit_defaults=True):
    """A column, its type as in SQL."""

    name: str
    type: str
    nullable: bool = True


class ResolvedDataset(Struct, frozen=True, kw_only=True):
    """A dataset as it was at one moment.

    `dag_version`: the hash of the DAG's version; `version`: of its contents, all of which are below `location`.
    `columns`: as they were reported last; null: never. `unique_key`: rows of later parts of a partition take the place
    of earlier ones with the same; null: partitions have no parts. `partitions`, each with `key`, `location`,
    `materialized_at`, `rows`, `bytes`, and `parts` in their order, where it has these: `count` of them in all, `next`:
    the path of those that follow, which are of the same moment, for an hour.
    """

    name: str
    uuid: UUID
    dag: str
    dag_version: str
    version: UUID
    location: str
    schema_hash: str | None
    columns: tuple[ResolvedColumn, ...] | None
    unique_key: tuple[str, ...] | None
    count: int
    partitions: msgspec.Raw
    next: str | None = None


class Resolution(Struct, frozen=True, kw_only=True):
    """Datasets as they were at one moment, all of them at the same."""

    at: datetime
    datasets: tuple[ResolvedDataset, ...]


class PartitionsPage(Struct, frozen=True, kw_only=True):
    """More partitions of a dataset, as they were when it was asked for; `next`: the path of those that follow."""

    name: str
    version: UUID
    partitions: msgspec.Raw
    next: str | None = None


class ColumnEdge(Struct, frozen=True, kw_only=True):
    """A column and one that it is made from, by the job `dag`/`job`; `declared`: by its author, else a task said so."""

    dataset: str
    column: str
    from_dataset: str
    from_column: str
    dag: str
    job: str
    declared: bool


class ColumnLineage(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a column, or every column of a dataset, is made from and what is made from it, at any distance.

    Each edge once. `cut`: there are more of them than are told.
    """

    dataset: str
    column: str | None = None
    upstream: tuple[ColumnEdge, ...] = ()
    downstream: tuple[ColumnEdge, ...] = ()
    cut: bool = False
