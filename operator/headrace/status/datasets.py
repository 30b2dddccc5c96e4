"""The status of a dataset from its row, and whether it is fresh. Pure; parts calls it for each object."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Final, NamedTuple

from headrace.api.history import short_hash
from headrace.api.status import Condition, DatasetStatus
from headrace.state.report import DagRow, DatasetRow
from headrace.status.conditions import condition, dated, whole_seconds, words

_UNITS: Final = (("d", 86400), ("h", 3600), ("m", 60), ("s", 1))


class Upkeep(NamedTuple):
    """How old the last update may be, None: as old as it likes; and in words why its job does not make one now."""

    freshness: timedelta | None = None
    why: str = ""


def dataset_status(
    body: Mapping[str, object], generation: int, dag: str, serving: DagRow, row: DatasetRow, upkeep: Upkeep
) -> DatasetStatus:
    """What a dataset holds."""
    conditions = [condition("Ready", True, "InServingVersion")]
    if upkeep.freshness is not None:
        conditions.append(_fresh(dag, row, upkeep.freshness, upkeep.why, serving.now))
    anew = f"is made anew for version {short_hash(row.rebuilding)} of the DAG" if row.rebuilding else ""
    return DatasetStatus(
        observed_generation=generation,
        conditions=dated(conditions, body, generation, serving.now),
        name=row.name,
        dag=dag,
        job=row.job,
        output=row.output,
        version=str(row.version),
        rebuilding=short_hash(row.rebuilding) if row.rebuilding else None,
        waiting_for="; ".join(part for part in (_late(conditions), anew) if part) or None,
        location=row.location,
        partitions=row.partitions,
        rows=row.rows,
        bytes=row.bytes,
        last_updated=whole_seconds(row.updated),
        consumers=row.consumers[:64] or None,
    )


def stale_in(rows: Iterable[DatasetRow], freshness: Mapping[str, timedelta], now: datetime) -> float | None:
    """After how many seconds the first of the datasets that are fresh is so no more without an update; None if none."""
    left = [
        (row.updated + freshness[row.name] - now).total_seconds()
        for row in rows
        if row.updated is not None and row.name in freshness
    ]
    return min((seconds for seconds in left if seconds >= 0), default=None)


def _fresh(dag: str, row: DatasetRow, freshness: timedelta, why: str, now: datetime) -> Condition:
    """Told by times, not by ages, so that it is written once and not every second."""
    if row.updated is not None and now <= row.updated + freshness:
        return condition("Fresh", True, "Updated")
    cause = why or "it has nothing to do: what it reads, or what sets it off, has not changed"
    because = f"job {dag}/{row.job}: {words(cause, 500)}"
    if row.updated is None:
        return condition("Fresh", False, "NothingMade", f"nothing of it is made yet; {because}")
    last = f"last updated {row.updated:%Y-%m-%d %H:%M:%S} UTC, freshness {_short(freshness)}"
    return condition("Fresh", False, "Late", f"{last}; {because}")


def _late(conditions: Iterable[Condition]) -> str:
    return next((c.message for c in conditions if (c.type, c.status) == ("Fresh", "False")), "")


def _short(length: timedelta) -> str:
    """As objects write it, in the greatest unit that it is whole in."""
    seconds = int(length.total_seconds())
    unit, size = next(each for each in _UNITS if seconds % each[1] == 0)
    return f"{seconds // size}{unit}"
