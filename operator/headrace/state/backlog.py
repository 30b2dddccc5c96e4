"""How much waits and runs, for the metrics of the leader: one read of bounded cost, which writes nothing."""

from __future__ import annotations

from typing import Final

from msgspec import Struct

from headrace.state.database import Transaction

MOST: Final = 10_000
"""Tasks of a kind that are counted: more are told as so many."""


class Backlog(Struct, frozen=True):
    """Of a kind (live, low, retry, running; of rollouts building, ready) how many, and for how many seconds the oldest
    waits.
    """

    kind: str
    tasks: int
    oldest: float


async def backlog(tx: Transaction, most: int = MOST) -> list[Backlog]:
    """Every kind, also those that have none."""
    return await tx.rows("backlog", Backlog, most=most)
