"""Where Postgres stands in time, and whether it was restored from a backup since. Pure.

An incarnation is one history of the state without a step back. Within it the epoch rises with each leader, the mark
every few seconds in which something changed; the leader writes both on its Lease after they are in Postgres. So a
Postgres that says less than the Lease is an earlier state of itself, and one of another incarnation is another history.
"""

from __future__ import annotations

from typing import Final
from uuid import UUID

from msgspec import Struct

RESTORED: Final = "Postgres was restored to an earlier state, or is another one: a new incarnation must start"


class Standing(Struct, frozen=True, kw_only=True):
    """A moment of the state's history."""

    incarnation: UUID
    epoch: int
    mark: int


def restored(postgres: Standing, known: Standing | None) -> bool:
    """Whether Postgres is not as `known`, which was read before, or later; False when nothing is known."""
    if known is None:
        return False
    same = postgres.incarnation == known.incarnation
    return not same or postgres.epoch < known.epoch or postgres.mark < known.mark


def may_serve(postgres: Standing, known: Standing | None) -> bool:
    """Whether a gateway that has seen `known` may serve what Postgres says now: the same history, or a new incarnation.

    A new one begins above all epochs of the ones before; one that was restored says less.
    """
    if known is not None and postgres.incarnation != known.incarnation:
        return postgres.epoch > known.epoch
    return not restored(postgres, known)
