"""Fields that this release does not act on yet: one row each, refused with a message, never silently ignored.

The rows become CEL rules in the CRDs (`crd`) and are checked by the operator itself (`unsupported`, called by
`parse`). The change that brings a behaviour deletes its rows; the fields' own types and rules are in place already.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, TypeAlias

from headrace.api.base import Strict, attributes, walk
from headrace.api.dataset import DatasetFields
from headrace.api.job import JobFields

Value: TypeAlias = str | int | bool


@dataclass(frozen=True, slots=True)
class Given:
    """Refused when the field is given at all."""


@dataclass(frozen=True, slots=True)
class Is:
    """Refused when the field has this value."""

    value: Value


Refusal: TypeAlias = Given | Is


@dataclass(frozen=True, slots=True)
class Row:
    """One refusal: in every `owner` of an object, its `field` (JSON name), when, and what the user is told."""

    owner: type[Strict]
    field: str
    when: Refusal
    message: str

    def refuses(self, value: Strict) -> bool:
        """Whether this row refuses `value`; never when it is no `owner`."""
        if not isinstance(value, self.owner):
            return False
        given = getattr(value, attributes(self.owner)[self.field])
        match self.when:
            case Given():
                return given is not None
            case Is(refused):
                return bool(given == refused)

    def cel(self) -> str:
        """The same as a CEL expression over the owner, true when the object is accepted."""
        match self.when:
            case Given():
                return f"!has(self.{self.field})"
            case Is(refused):
                return f"!has(self.{self.field}) || self.{self.field} != {_literal(refused)}"


def _literal(value: Value) -> str:
    return f"'{value}'" if isinstance(value, str) else str(value).lower()


def _given(owner: type[Strict], *fields: str) -> Iterator[Row]:
    for field in fields:
        yield Row(owner, field, Given(), f"{field} is not supported yet in this release: leave it out")


UNSUPPORTED: Final[tuple[Row, ...]] = (
    *_given(JobFields, "lineage"),
    *_given(DatasetFields, "readRoles", "columns", "retention", "freshness"),
)


def unsupported(spec: Strict) -> list[tuple[str, str]]:
    """(path, message) of every field of a DAG's, Job's or Dataset's `spec` that this release refuses."""
    return [
        (f"{path}.{row.field}", row.message)
        for path, value in walk(spec, "spec")
        for row in _rows_of(type(value))
        if row.refuses(value)
    ]


@functools.cache
def _rows_of(owner: type[Strict]) -> tuple[Row, ...]:
    return tuple(row for row in UNSUPPORTED if issubclass(owner, row.owner))
