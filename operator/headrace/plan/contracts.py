"""Contracts of columns: what breaks one, and what of a change breaks those who read. Pure.

Types are compared as SQL's: in any case and spelling, and what standard SQL has several names for is one. More columns
than the contract has break nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Final, Literal

from msgspec import Struct

from headrace.compile.document import ColumnDocument
from headrace.compile.hashes import digest

_TOLD: Final = 8
_SPACE: Final = re.compile(r"\s+")
_ALIKE: Final = {
    alias: names[0]
    for names in (
        ("bigint", "int8"), ("integer", "int", "int4"), ("smallint", "int2"), ("double precision", "float8", "double"),
        ("real", "float4"), ("numeric", "decimal", "dec"), ("boolean", "bool"), ("character varying", "varchar"),
        ("character", "char"), ("timestamp", "timestamp without time zone"), ("time", "time without time zone"),
        ("timestamp with time zone", "timestamptz"), ("time with time zone", "timetz"),
    )
    for alias in names
}  # fmt: skip
_PARAMETERS: Final = re.compile(r"\((.*?)\)")

Breach = Literal["removed", "type", "nullable"]


class ColumnBreak(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A column that is not as those who read rely on it: it is `removed`, of another `type`, or `nullable` now."""

    column: str
    change: Breach
    old: str
    new: str | None = None


def schema_hash(columns: Iterable[ColumnDocument]) -> str:
    """The hash of columns as they were reported: of their order, names, types and nullability."""
    return digest("schema", [[c.name, c.type, c.nullable] for c in columns])


def breaks(old: Sequence[ColumnDocument], new: Sequence[ColumnDocument]) -> Iterator[ColumnBreak]:
    """What of `old`, by name, `new` does not keep."""
    there = {column.name: column for column in new}
    for column in sorted(old, key=lambda c: c.name):
        now = there.get(column.name)
        if now is None:
            yield ColumnBreak(column=column.name, change="removed", old=_written(column))
        elif _normal(now.type) != _normal(column.type):
            yield ColumnBreak(column=column.name, change="type", old=column.type, new=now.type)
        elif now.nullable and not column.nullable:
            yield ColumnBreak(column=column.name, change="nullable", old=_written(column), new=_written(now))


def difference(contract: Sequence[ColumnDocument], reported: Sequence[ColumnDocument]) -> str:
    """In words, what of a contract the columns that a task reported do not keep; empty when they keep all of it."""
    if not contract:
        return ""
    if not reported:
        return "the task reported no columns"
    found = [_told(one) for one in breaks(contract, reported)]
    more = f", and {len(found) - _TOLD} more" if len(found) > _TOLD else ""
    return ", ".join(found[:_TOLD]) + more


def _told(one: ColumnBreak) -> str:
    match one.change:
        case "removed":
            return f"{_printed(one.column)} {one.old} is not there"
        case "type":
            return f"{_printed(one.column)} is {_printed(one.new or '')}, not {one.old}"
        case _:
            return f"{_printed(one.column)} may be null"


def _written(column: ColumnDocument) -> str:
    return column.type if column.nullable else f"{column.type} not null"


def _printed(text: str) -> str:
    """Text of a task's: bounded, and nothing that does not print."""
    return "".join(c if c.isprintable() else "?" for c in text)[:64]


def _normal(written: str) -> str:
    text = _SPACE.sub(" ", written.strip().lower())
    found = _PARAMETERS.search(text)
    bare = _SPACE.sub(" ", _PARAMETERS.sub(" ", text, count=1)).strip()
    parameters = found[1].replace(" ", "") if found else ""
    name = _ALIKE.get(bare, bare)
    return f"{name}({parameters})" if parameters else name
