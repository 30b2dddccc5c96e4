"""Looks for work that should be there and is not: of every DAG from time to time, and of those that were told to."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from typing import Final, TypeVar
from uuid import UUID

from headrace.errors import HeadraceError, LostLeadership
from headrace.state import locks, units, versions
from headrace.state.database import Busy, Database

logger = logging.getLogger(__name__)

T = TypeVar("T")
_BATCH: Final = 200


async def missing_work(db: Database, epoch: int) -> int:
    """The periodic pass: every unit that should exist and does not; the number made. Set-based, under shared locks."""
    made = 0
    async with db.transaction() as tx:
        present = [(d.org_id, d.name) for d in await versions.present_dags(tx)]
    for batch in batches(present):
        async with db.transaction() as tx:
            await locks.lock_dags_shared(tx, batch)
            more = await units.create_missing(tx, batch)
            if more:
                await locks.fence(tx, epoch)
            made += more
    return made


async def look_for_work(db: Database, epoch: int) -> AsyncIterator[tuple[UUID, str, int]]:
    """DAGs whose inputs from other DAGs changed make their units: each (org, name) that looked, and how many."""
    async with db.transaction() as tx:
        told = await units.consumers_told(tx)
    for org_id, dag in told:
        try:
            async with db.transaction() as tx:
                made = await units.look_for_work(tx, epoch, org_id, dag)
        except LostLeadership:
            raise
        except Busy:
            continue
        except HeadraceError as error:
            # One that cannot look holds no other up; it stays in the outbox.
            logger.warning("DAG %s of org %s cannot look for work: %s", dag, org_id, error)
            continue
        if made is not None:
            yield org_id, dag, made


def batches(items: list[T]) -> list[list[T]]:
    """The same, at most so many at a time as one transaction takes on."""
    return [items[start : start + _BATCH] for start in range(0, len(items), _BATCH)]
