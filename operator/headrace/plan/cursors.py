"""Cursors: how far the rows of a dataset go, in a column that only grows; their values and the order of these. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Final, Literal

from msgspec import Struct

CursorType = Literal["bigint", "timestamp", "text"]
_MOST: Final = 1024
_BIGINT: Final = 2**63


class Range(Struct, frozen=True):
    """The rows of an update: those after `from_value` (None: from the beginning) up to and with `to_value`.

    Values as `canonical` makes them.
    """

    column: str
    type: CursorType
    from_value: str | None
    to_value: str


class Reach(Struct, frozen=True):
    """How far has been read without a gap (`value`, None: not at all), and what was read `ahead` of a gap."""

    value: str | None = None
    ahead: tuple[Range, ...] = ()


def canonical(kind: CursorType, value: object) -> str:
    """The text of a cursor's value, the same for the same value; ValueError in words when it is none of its type."""
    match kind, value:
        case _, bool():
            pass
        case "bigint", int() | str():
            number = int(value)
            if not -_BIGINT <= number < _BIGINT:
                raise ValueError(f"{value} is beyond a bigint")
            return str(number)
        case "timestamp", str():
            when = datetime.fromisoformat(value)
            moment = when.replace(tzinfo=UTC) if when.tzinfo is None else when.astimezone(UTC)
            return moment.replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"
        case "text", str():
            if len(value) > _MOST or "\0" in value:
                raise ValueError(f"a cursor of type text has at most {_MOST} characters, none of them NUL")
            return value
        case _:
            pass
    raise ValueError(f"{value!r} is no {kind}")


def before(kind: CursorType, a: str | None, b: str | None) -> bool:
    """Whether `a` lies before `b`: numbers by value, timestamps in time, text in C order; None before everything."""
    if b is None:
        return False
    if a is None:
        return True
    return int(a) < int(b) if kind == "bigint" else a.encode() < b.encode()


def advance(reach: Reach, done: Iterable[Range]) -> Reach:
    """How far has been read once these ranges are, too: never less far than before."""
    value, ahead = reach.value, [*reach.ahead, *done]
    while True:
        open_ = [r for r in ahead if before(r.type, value, r.to_value)]
        reached = [r for r in open_ if not before(r.type, value, r.from_value)]
        if not reached:
            return Reach(value, tuple(open_))
        for found in reached:
            if before(found.type, value, found.to_value):
                value = found.to_value
        ahead = open_


def joined(ranges: Sequence[Range | None]) -> int:
    """How many of the first ranges are one: each begins where the one before ends. None: a range that nobody knows."""
    count = 0
    for last, following in zip((None, *ranges), ranges, strict=False):
        if count and (
            last is None or following is None or (last.column, last.type, last.to_value)
            != (following.column, following.type, following.from_value)
        ):  # fmt: skip
            break
        count += 1
    return count
