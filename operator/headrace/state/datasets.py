"""Datasets as readers are answered: where the contents are, of one moment; the gateway asks.

Whoever may not read gets the rows of a dataset that is not there: none.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Final
from uuid import UUID

from msgspec import Struct

from headrace.api.datasets import ResolvedColumn
from headrace.state.database import Transaction
from headrace.state.locks import fence

MOST_PINS: Final = 16
"""Answers of more than a page that one user may be reading at a time."""


class Reader(Struct, frozen=True, kw_only=True):
    """Who reads, in which org, with which of its roles."""

    org_id: UUID
    user: str
    roles: Collection[str]


class Found(Struct, frozen=True, kw_only=True):
    """A dataset that may be read. `version` None: it was not there under the version that was asked for; `retired`: its
    contents there are no more. `pages` in all, those after the first under `pin`; `partitions` of the first, as JSON.
    """

    uuid: UUID | None
    name: str
    dag: str
    dag_version: str | None
    version: UUID | None
    location: str | None
    schema_hash: str | None
    columns: tuple[ResolvedColumn, ...] | None
    unique_key: tuple[str, ...] | None
    retired: bool
    pin: UUID
    count: int
    pages: int
    partitions: str
    at: datetime


class Page(Struct, frozen=True):
    """A page of a pin: partitions as JSON, and whether more follow."""

    partitions: str
    version: UUID
    more: bool


class _There(Struct, frozen=True):
    there: bool


async def resolve(tx: Transaction, reader: Reader, names: Sequence[str], at: str | None, most: int) -> list[Found]:
    """Those of these datasets that one may read, by name; `most` partitions of each, the others under its pin.

    `at`: the beginning of the hash of a version that has served; a dataset is there for each that begins so.
    """
    found = await tx.rows(
        "resolve_datasets", Found, org_id=reader.org_id, user=reader.user, roles=list(reader.roles), names=list(names),
        at=at, most=most,
    )  # fmt: skip
    if any(one.pages > 1 for one in found):
        await tx.execute("drop_pins", org_id=reader.org_id, user=reader.user, most=MOST_PINS)
    return found


async def page(tx: Transaction, reader: Reader, name: str, pin: UUID, number: int) -> Page | None:
    """A page of what this reader was answered; None when there is none, or not any more, or not for them."""
    return await tx.row(
        "read_page", Page, org_id=reader.org_id, user=reader.user, roles=list(reader.roles), name=name, pin=pin,
        page=number,
    )  # fmt: skip


async def forget_pins(tx: Transaction, epoch: int) -> None:
    """Answers of more than an hour ago are read no further."""
    old = await tx.row("old_pins", _There)
    if old is not None and old.there:
        await fence(tx, epoch)
        await tx.execute("delete_old_pins")
