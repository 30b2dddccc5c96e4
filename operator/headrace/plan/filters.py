"""Filters of rows, and the partitions that may have such rows. Pure.

A filter is by column what its values may be: `{"block_number": {"gte": 995, "lte": 1005}}`. Of several columns all
hold.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from headrace.api.inputs import PartitionBy
from headrace.api.invalidations import Bound, Filter, Scalar
from headrace.compile.periods import add_months

# The smallest thing that a format tells apart, by its directives, decides how long a partition is.
_STEPS: Final = (
    ("f", timedelta(microseconds=1)), ("S", timedelta(seconds=1)), ("Ts", timedelta(seconds=1)),
    ("M", timedelta(minutes=1)), ("HI", timedelta(hours=1)), ("dj", timedelta(days=1)), ("mbB", 1), ("Yy", 12),
)  # fmt: skip


def affected(by: PartitionBy | None, rows: Filter, keys: Sequence[str]) -> tuple[list[str], str]:
    """Of these partitions those that may have such rows; and in words, why that is all of them, if it is."""
    if by is None:
        return list(keys), "partitionBy of the job that makes it does not say which partition has which rows"
    bound = rows.get(by.column)
    if bound is None:
        return list(keys), f"the filter says nothing of {by.column}, by which the dataset is partitioned"
    kept: list[str] = []
    for key in keys:
        try:
            ends = _ends(by, key)
        except (ValueError, OverflowError):
            kept.append(key)
            continue
        try:
            if _meets(bound, *ends):
                kept.append(key)
        except (TypeError, ValueError):
            return list(keys), f"the filter's {by.column} is not of the kind by which the dataset is partitioned"
    return kept, ""


Point = float | datetime


def _ends(by: PartitionBy, key: str) -> tuple[Point, Point]:
    """Where a partition begins, and where the next one does. ValueError: its name is none that partitionBy gives."""
    if by.every is not None:
        first = int(key)
        if str(first) != key or first % by.every:
            raise ValueError(key)
        return first, first + by.every
    pattern = by.format or ""
    start = datetime.strptime(key, pattern).replace(tzinfo=None)
    if start.strftime(pattern) != key:
        raise ValueError(key)
    directives = {pattern[place + 1] for place, one in enumerate(pattern[:-1]) if one == "%"}
    for letters, step in _STEPS:
        if directives & set(letters):
            return start, start + step if isinstance(step, timedelta) else add_months(start, step)
    raise ValueError(key)


def _meets(bound: Bound, first: Any, end: Any) -> bool:
    """Whether any value from `first` to before `end` is within; TypeError, ValueError for bounds of another kind."""

    def at(value: Scalar) -> Any:
        if isinstance(first, int):
            if isinstance(value, bool | str):
                raise TypeError(value)
            return value
        if not isinstance(value, str):
            raise TypeError(value)
        moment = datetime.fromisoformat(value)
        return moment if moment.tzinfo is None else moment.astimezone(UTC).replace(tzinfo=None)

    for equal in ((bound.eq,) if bound.eq is not None else None, bound.in_):
        if equal is not None and not any(first <= at(value) < end for value in equal):
            return False
    return (
        all(at(value) < end for value in (bound.gte, bound.gt) if value is not None)
        and (bound.lte is None or first <= at(bound.lte))
        and (bound.lt is None or first < at(bound.lt))
    )
