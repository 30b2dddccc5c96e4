"""Invalidations that people ask for: how they are written, and what is answered.

The same on the command line (`headrace invalidate`) and, as JSON, at the gateway.
"""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Sequence
from typing import Annotated, Final, Literal, get_args

from msgspec import Meta, Struct, field

from headrace.api.base import Column, PartitionKey
from headrace.api.runs import NotUnderstood

Reason = Literal["reorg", "correction", "manual", "schema_change"]
Scalar = Annotated[str, Meta(max_length=1024)] | int | float | bool
MOST_VALUES: Final = 1000


class Bound(Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """What a column's value may be; of several bounds all hold."""

    gte: Scalar | None = None
    gt: Scalar | None = None
    lte: Scalar | None = None
    lt: Scalar | None = None
    eq: Scalar | None = None
    in_: Annotated[tuple[Scalar, ...], Meta(min_length=1, max_length=MOST_VALUES)] | None = field(
        default=None, name="in"
    )


Filter = dict[str, Bound]


class Invalidation(Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """What of a dataset is wrong: a partition, or rows (`filter`), of one partition or of all.

    `source_event`: what said so, kept with it.
    """

    partition: PartitionKey | None = None
    filter: Annotated[dict[Column, Bound], Meta(min_length=1, max_length=16)] | None = None
    reason: Reason = "manual"
    source_event: dict[str, object] | None = None


class InvalidatedConsumer(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A job that reads it: how many of its units are made again; `widened`: why its tasks are not given the filter."""

    dag: str
    job: str
    units: int
    widened: str = ""


class Invalidated(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What came of it: how many partitions of the version that serves are wrong, of those that there are; the jobs that
    read it; `widened`: why these are all of its partitions.
    """

    dataset: str
    partitions: int
    of: int
    consumers: tuple[InvalidatedConsumer, ...] = ()
    widened: str = ""


_TERM: Final = re.compile(r"^\s*([A-Za-z_][A-Za-z0-9_]*)\s*(>=|<=|!=|==|=|>|<|\bin\b)\s*(.+?)\s*$")
_BOUNDS: Final = {">=": "gte", ">": "gt", "<=": "lte", "<": "lt", "=": "eq", "==": "eq"}


def checked(wanted: Invalidation) -> Invalidation:
    """The same, if it can be; NotUnderstood."""
    if wanted.partition is None and wanted.filter is None:
        raise NotUnderstood("say what is wrong: a partition, or rows")
    empty = [column for column, bound in (wanted.filter or {}).items() if bound == Bound()]
    if empty:
        raise NotUnderstood(f"the filter says nothing of {', '.join(empty)}: give gte, gt, lte, lt, eq or in")
    return wanted


def filter_of(terms: Sequence[str]) -> Filter:
    """The filter that terms such as `block_number>=995` make together; NotUnderstood."""
    found: dict[str, dict[str, object]] = {}
    for term in terms:
        match = _TERM.match(term)
        if match is None or match[2] == "!=":
            raise NotUnderstood(f"{term!r} is no filter: write COLUMN>=VALUE, with one of >= > <= < = in")
        column, sign, value = match.groups()
        name = "in" if sign == "in" else _BOUNDS[sign]
        if name in found.setdefault(column, {}):
            raise NotUnderstood(f"{column} has two bounds of one kind: leave one out")
        found[column][name] = [_value(one) for one in value.split(",")] if sign == "in" else _value(value)
    return {column: Bound(**{"in_" if n == "in" else n: tuple(v) if n == "in" else v  # type: ignore[arg-type]
                             for n, v in bounds.items()}) for column, bounds in found.items()}  # fmt: skip


def _value(text: str) -> object:
    """A number or a truth where it is written like one, else text, in quotes or not."""
    try:
        value = json.loads(text)
    except ValueError:
        return text.strip().strip("'")
    return value if isinstance(value, str | int | float | bool) else text


def add_invalidate_options(parser: argparse.ArgumentParser) -> None:
    """What says which part of a dataset is wrong."""
    parser.add_argument("--partition", "-p", metavar="KEY", help="this partition")
    parser.add_argument(
        "--where", action="append", default=[], metavar="TERM",
        help="rows, such as 'block_number>=995'; with >= > <= < = or 'in A,B'; repeatable, and then all hold",
    )  # fmt: skip
    parser.add_argument("--reason", choices=get_args(Reason), default="manual", help="default: manual")


def invalidation_of(arguments: argparse.Namespace) -> Invalidation:
    """What the command line asks for; NotUnderstood."""
    return checked(
        Invalidation(partition=arguments.partition, filter=filter_of(arguments.where) or None, reason=arguments.reason)
    )
