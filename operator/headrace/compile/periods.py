"""Lists of partition keys from ranges. Pure; compile checks with it and the sources list with it.

`every` is a whole number of `s m h d w mo y`; both ends are included. Times here are wall-clock times without a zone:
a partition is a name, not an instant.
"""

from __future__ import annotations

import calendar
import re
from collections.abc import Iterator
from datetime import datetime

from headrace.api.duration import Every, parse_every
from headrace.api.names import PARTITION_KEY_RE

MAX_KEYS = 100_000


def parse_point(text: str, pattern: str) -> datetime:
    """A range's end: written in the range's own format, or as an ISO date or time. ValueError says what is wrong."""
    try:
        return datetime.strptime(text, pattern).replace(tzinfo=None)
    except (ValueError, re.error):  # the second for a directive that is there twice
        pass
    try:
        return datetime.fromisoformat(text).replace(tzinfo=None)
    except ValueError:
        raise ValueError(f"{text!r} is neither in the format {pattern!r} nor an ISO date") from None


def add_months(start: datetime, months: int) -> datetime:
    """`start` moved by whole months, the day held within the month it lands in. OverflowError beyond year 9999."""
    index = start.year * 12 + start.month - 1 + months
    year, month = divmod(index, 12)
    if not 1 <= year <= 9999:
        raise OverflowError("beyond the years 1 to 9999")
    return start.replace(year=year, month=month + 1, day=min(start.day, calendar.monthrange(year, month + 1)[1]))


def range_keys(start: str, end: str, every: str, pattern: str) -> tuple[str, ...]:
    """The keys from `start` to `end`, both included; ValueError if it is bad, empty, too long or repeats a key."""
    step = parse_every(every)
    first, last = parse_point(start, pattern), parse_point(end, pattern)
    if first > last:
        raise ValueError(f"the range is empty: it starts at {start} and ends at {end}")
    keys: list[str] = []
    for point in _points(first, last, step):
        if len(keys) == MAX_KEYS:
            raise ValueError(f"the range has more than {MAX_KEYS} keys: take a larger `every` or a shorter range")
        key = point.strftime(pattern)
        if PARTITION_KEY_RE.match(key) is None:
            raise ValueError(f"the format {pattern!r} gives {key!r}, which is no partition key")
        keys.append(key)
    if len(set(keys)) != len(keys):
        raise ValueError(f"the format {pattern!r} gives one key twice: it must tell every {every} apart")
    return tuple(keys)


def _points(first: datetime, last: datetime, step: Every) -> Iterator[datetime]:
    index = 0
    while True:
        try:
            point = add_months(first, step.months * index) + step.fixed * index
        except OverflowError:
            return
        if point > last:
            return
        yield point
        index += 1
