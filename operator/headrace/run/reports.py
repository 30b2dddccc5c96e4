"""What a task says of what it made: the same document in a termination message, at the gateway, and from workers. Pure.

A report is text of the user's: it is bounded, typed, and of its keys only the task's own count.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Annotated, Final, NamedTuple

import msgspec
from msgspec import Meta, Raw, Struct, field

from headrace.api.base import Column, Output, PartitionKey
from headrace.api.names import INPUT_PATTERN
from headrace.compile.document import ColumnDocument
from headrace.plan.cursors import CursorType, Range, before, canonical
from headrace.state.attempts import Told, ToldPartition
from headrace.state.lineage import MadeFrom
from headrace.state.notes import joined, not_known, not_made

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
    type: Annotated[str, Meta(min_length=1, max_length=4096)]
    nullable: bool = True
    output: Output = 0


class TaskReport(Struct, frozen=True):
    """What a task says it made; `cursor` is understood by `cursors`, `lineage` by `lineage_of`."""

    partitions: Annotated[tuple[ReportedPartition, ...], Meta(max_length=10_000)] = ()
    columns: Annotated[tuple[ReportedColumn, ...], Meta(max_length=10_000)] = ()
    # Not made into objects, whatever their size.
    cursor: Raw = field(default_factory=Raw)
    lineage: Raw = field(default_factory=Raw)


_MOST_PAIRS: Final = 10_000
_PARTS: Final = {"partitions": ReportedPartition, "columns": ReportedColumn}


class _Cursor(Struct, frozen=True, rename={"from_": "from"}):
    column: Column
    type: CursorType
    to: int | str
    from_: int | str | None = None
    output: Output = 0


def cursors(said: Raw) -> tuple[dict[int, Range], str]:
    """The ranges of rows that a report's `cursor` tells of, one or a list, by output; and in words, what is wrong.

    It then counts for nothing: nobody knows which rows are new.
    """
    if not bytes(said):
        return {}, ""
    try:
        found = msgspec.json.decode(said, type=_Cursor | tuple[_Cursor, ...] | None) or ()
        listed = (found,) if isinstance(found, _Cursor) else found
        return {one.output: _range(one) for one in listed}, ""
    except (ValueError, RecursionError) as error:
        return {}, f"its cursor was not understood and counts for nothing: {error}"


def _range(said: _Cursor) -> Range:
    to = canonical(said.type, said.to)
    begin = None if said.from_ is None else canonical(said.type, said.from_)
    if before(said.type, to, begin):
        raise ValueError(f"its end {said.to} lies before its beginning {said.from_}")
    return Range(said.column, said.type, begin, to)


class _Source(Struct, frozen=True):
    input: Annotated[str, Meta(pattern=INPUT_PATTERN, max_length=128)]
    column: Column


class _Lineage(Struct, frozen=True, rename={"from_": "from"}):
    column: Column
    from_: Annotated[tuple[_Source, ...], Meta(max_length=256)]
    output: Output = 0


def lineage_of(said: Raw) -> tuple[tuple[MadeFrom, ...], str]:
    """What a report's `lineage` tells of columns, each column of an input apart; and in words, what is wrong.

    It then counts for nothing.
    """
    if not bytes(said):
        return (), ""
    try:
        found = msgspec.json.decode(said, type=tuple[_Lineage, ...] | None) or ()
    except (ValueError, RecursionError) as error:
        return (), f"its lineage was not understood and counts for nothing: {error}"
    pairs = {
        (one.output, _kept(one.column), source.input, _kept(source.column)) for one in found for source in one.from_
    }
    if len(pairs) > _MOST_PAIRS:
        return (), f"its lineage tells of more than {_MOST_PAIRS} pairs of columns and counts for nothing"
    return tuple(MadeFrom(*pair) for pair in sorted(pairs)), ""


def _kept(text: str) -> str:
    """As Postgres keeps it, which has no NUL."""
    return text.replace("\0", "?")


class Reading(NamedTuple):
    """A report as far as it is understood; `note`: what of it is not, in words."""

    report: TaskReport
    note: str = ""


def read(content: bytes | bytearray | str) -> Reading:
    """What a report says; fields that there are not are left out, and named. DecodeError, RecursionError."""
    report = msgspec.json.decode(content, type=TaskReport)
    whole = msgspec.json.decode(content, type=dict[str, Raw])
    unknown = [name for name in whole if name not in TaskReport.__struct_fields__]
    for part, shape in _PARTS.items():
        entries = msgspec.json.decode(whole[part], type=list[dict[str, Raw]]) if part in whole else []
        names = dict.fromkeys(name for entry in entries for name in entry)
        unknown += [f"{part}[].{name}" for name in names if name not in shape.__struct_fields__]
    return Reading(report, not_known(unknown))


def columns_of(reported: Iterable[ReportedColumn]) -> dict[int, tuple[ColumnDocument, ...]]:
    """By output, the columns that were reported of it, in their order."""
    found: dict[int, list[ColumnDocument]] = {}
    for column in reported:
        name, type_ = _kept(column.name), _kept(column.type)
        found.setdefault(column.output, []).append(ColumnDocument(name, type_, column.nullable))
    return {output: tuple(listed) for output, listed in found.items()}


def told(reading: Reading, keys: Collection[str], outputs: int) -> Told:
    """What counts of a report of a task of these keys and so many outputs; the last word on a partition does."""
    said, columns = {(p.output, p.key): p for p in reading.report.partitions}, columns_of(reading.report.columns)
    ranges, wrong = cursors(reading.report.cursor)
    lineage, more = lineage_of(reading.report.lineage)
    own = [p for p in said.values() if p.key in keys and p.output < outputs]
    return Told(
        partitions=tuple(ToldPartition(output=p.output, key=p.key, rows=p.rows, bytes=p.bytes) for p in own),
        columns={output: listed for output, listed in columns.items() if output < outputs},
        cursors={output: range_ for output, range_ in ranges.items() if output < outputs},
        lineage=tuple(one for one in lineage if one.output < outputs),
        note=joined(reading.note, not_made(said, columns, keys, outputs), wrong, more),
    )
