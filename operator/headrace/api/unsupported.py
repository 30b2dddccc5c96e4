"""Fields that this release does not act on yet: one row each, refused with a message, never silently ignored.

The rows become CEL rules in the CRDs (`crd`) and are checked by the operator itself (`unsupported`, called by
`parse`). The change that brings a behaviour deletes its rows; the fields' own types and rules are in place already.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from headrace.api.base import Strict, attributes, walk
from headrace.api.dataset import DatasetFields


@dataclass(frozen=True, slots=True)
class Row:
    """One refusal: in every `owner` of an object, its `field` (JSON name), and what the user is told."""

    owner: type[Strict]
    field: str
    message: str

    def refuses(self, value: Strict) -> bool:
        """Whether this row refuses `value`: its field is given. Never when it is no `owner`."""
        return isinstance(value, self.owner) and getattr(value, attributes(self.owner)[self.field]) is not None

    def cel(self) -> str:
        """The same as a CEL expression over the owner, true when the object is accepted."""
        return f"!has(self.{self.field})"


def _given(owner: type[Strict], *fields: str) -> Iterator[Row]:
    for field in fields:
        yield Row(owner, field, f"{field} is not supported yet in this release: leave it out")


UNSUPPORTED: Final[tuple[Row, ...]] = (*_given(DatasetFields, "freshness"),)


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
