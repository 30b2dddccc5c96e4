"""Finished tasks of long ago leave the table, but for those that something still refers to. `run.tidy` calls it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final
from uuid import UUID

from msgspec import Struct

from headrace.state.database import Transaction
from headrace.state.locks import fence

AT_ONCE: Final = 1000
"""Tasks that one look is about."""


class Place(Struct, frozen=True):
    """Where a look has come to, in the order of the tasks' ends."""

    at: datetime
    seq: int


BEGINNING: Final = Place(datetime(1, 1, 2, tzinfo=UTC), 0)


class Old(Struct, frozen=True, kw_only=True):
    """A task that ended long ago; `goes`: nothing needs it."""

    at: datetime
    seq: int
    id: UUID
    goes: bool


class _Days(Struct, frozen=True):
    days: int


async def look(tx: Transaction, after: Place, most: int = AT_ONCE) -> list[Old]:
    """The next tasks after a place that ended longer ago than the shortest retention of an org; nothing is changed."""
    shortest = await tx.row("shortest_retention", _Days)
    days = 30 if shortest is None else shortest.days
    return await tx.rows("look_at_old_tasks", Old, after=after.at, seq=after.seq, days=days, most=most)


async def delete(tx: Transaction, epoch: int, ids: Sequence[UUID]) -> int:
    """Delete these tasks, in the transaction that looked at them; how many."""
    await fence(tx, epoch)
    return await tx.execute("delete_old_tasks", ids=list(ids))
