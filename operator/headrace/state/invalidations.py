"""Invalidations in Postgres: what of a dataset is wrong, and who that reads it has made its own anew since."""

from __future__ import annotations

from typing import Literal
from uuid import UUID

from msgspec import Struct

from headrace.api.inputs import PartitionBy
from headrace.api.invalidations import Invalidated, InvalidatedConsumer, Invalidation, checked
from headrace.api.runs import NothingToDo, NotThere
from headrace.plan.filters import affected
from headrace.state import updates
from headrace.state.database import Transaction, jsonb
from headrace.state.units import create_for

_WIDENED = "what it makes does not have the filter's columns, so that each of its partitions is made again as a whole"


class Place(Struct, frozen=True):
    """A dataset, the DAG that makes it, and how its rows come to partitions."""

    dataset: UUID
    dag: str
    partition_by: PartitionBy | None


class _Key(Struct, frozen=True):
    key: str
    serves: bool


class _Consumer(Struct, frozen=True):
    id: UUID
    dag: str
    job: str
    building: bool
    own: bool
    how: Literal["keys", "stale", "rerun", "update"]
    units: int
    adds: bool
    mapped: bool


async def find(tx: Transaction, org_id: UUID, name: str) -> Place:
    """The dataset of this name; NotThere."""
    found = await tx.row("invalidated_dataset", Place, org_id=org_id, name=name)
    if found is None:
        raise NotThere(f"there is no dataset {name} in this namespace")
    return found


async def invalidate(tx: Transaction, org_id: UUID, name: str, place: Place, wanted: Invalidation) -> Invalidated:
    """What is made from these partitions or rows of a dataset is made again, in all DAGs, now and in versions to come.

    The caller holds the lock of the DAG that makes it, shared at least. NotUnderstood, NothingToDo.
    """
    wanted = checked(wanted)
    there = await tx.rows("keys_of_dataset", _Key, dataset=place.dataset)
    keys, widened = [row.key for row in there], ""
    if wanted.partition is not None:
        keys = [key for key in keys if key == wanted.partition]
        if not keys:
            raise NothingToDo(f"dataset {name} has no partition {wanted.partition}")
    elif wanted.filter is not None and keys != ["*"]:
        keys, widened = affected(place.partition_by, wanted.filter, keys)
    if not keys:
        raise NothingToDo(f"dataset {name} has no partition that may have such rows")
    filter_ = jsonb(wanted.filter) if wanted.filter else None
    await tx.execute(
        "invalidate", dataset=place.dataset, keys=keys, key=wanted.partition, filter=filter_, reason=wanted.reason,
        event=jsonb(wanted.source_event) if wanted.source_event else None,
    )  # fmt: skip
    consumers = await tx.rows("invalidated_consumers", _Consumer, dataset=place.dataset, keys=keys, filter=filter_)
    own = [row for row in consumers if row.own]
    await create_for(
        tx, [row.id for row in own if row.how == "keys"], keys, [row.id for row in own if row.how == "rerun"]
    )
    await updates.create(tx, [row.id for row in own if row.how in ("rerun", "update")])
    await tx.execute("tell_of_invalidation", dataset=place.dataset)
    await tx.execute("settle_invalidations", tasks=[], org_ids=[org_id], dags=[place.dag])
    serving = {row.key for row in there if row.serves}
    return Invalidated(
        dataset=name,
        partitions=len(serving.intersection(keys)),
        of=len(serving),
        consumers=tuple(_told(row, wanted) for row in consumers if not row.building),
        widened=widened if len(keys) > 1 else "",
    )


def _told(row: _Consumer, wanted: Invalidation) -> InvalidatedConsumer:
    wide = wanted.filter is not None and row.how in ("keys", "update") and row.adds and not row.mapped
    return InvalidatedConsumer(dag=row.dag, job=row.job, units=row.units, widened=_WIDENED if wide else "")
