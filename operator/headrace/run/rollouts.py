"""Moves rollouts on: catches up what a build lacks, cuts over when nothing is left. commit and the dispatcher call it.

Level-triggered like the rest of `run`: each look compares what is done in the two versions, under the DAG's exclusive
lock, and makes the next move in the same transaction. A look that is lost to a crash is made again by the next.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable
from typing import assert_never
from uuid import UUID

from headrace.errors import HeadraceError, LostLeadership
from headrace.plan.obstacles import told
from headrace.plan.rollout import Arm, Fail, Hold, Left, Move, Stay, SwitchOver, Underway, Wait, is_small, next_move
from headrace.plan.steps import EndRollout
from headrace.run.sources import make_listed
from headrace.state import locks, rollouts, units
from headrace.state.catch_up import catch_up_sources
from headrace.state.cutover import cut_over
from headrace.state.database import Busy, Database, Transaction
from headrace.state.rollouts import DueRollout

logger = logging.getLogger(__name__)

_LONGEST = 10.0
"""A rollout is looked at again after so many seconds, whatever was missed."""
_SHORTEST = 0.3
_SHARE = 9.0
"""After a look so many times its length is left to others."""


async def advance(tx: Transaction, epoch: int, org_id: UUID, dag: str) -> Move:
    """Make the next move of the DAG's rollout, if one is under way. The caller holds the DAG's lock, exclusively."""
    found = await rollouts.under_way(tx, org_id, dag)
    if found is None:
        return Stay()
    left = await _left(tx, epoch, org_id, dag, found)
    move = next_move(found, left)
    if not isinstance(move, Stay):
        await locks.fence(tx, epoch)
    match move:
        case Stay():
            pass
        case Wait():
            await rollouts.become_ready(tx, found.id)
        case Arm():
            await rollouts.arm(tx, found.id, move.seconds)
        case Hold():
            await rollouts.hold(tx, found.id, move.seconds)
        case Fail():
            await rollouts.end(tx, org_id, dag, EndRollout(id=found.id, state="Failed", cause=move.cause))
        case SwitchOver():
            return await _switch_over(tx, org_id, dag, found)
        case _:
            assert_never(move)
    return move


async def _left(tx: Transaction, epoch: int, org_id: UUID, dag: str, found: Underway) -> Left:
    """What is left; units that the build lacks are made first, once little else is left."""
    if not found.build_approved:
        return Left()
    left = await rollouts.left(tx, org_id, dag, found.base)
    if left.failed or not is_small(left):
        return left
    made = await units.create_missing(tx, [(org_id, dag)], building=True)
    made += await catch_up_sources(tx, found.base, found.version)
    if not made:
        return left
    await locks.fence(tx, epoch)
    return await rollouts.left(tx, org_id, dag, found.base)


async def _switch_over(tx: Transaction, org_id: UUID, dag: str, found: Underway) -> Move:
    """Cut over, if nothing has come in the way since the plan was made."""
    await tx.execute("lock_org", org_id=org_id)
    in_the_way = await rollouts.obstacles(tx, org_id, dag, found.version)
    if in_the_way:
        move = Fail(cause=told(dag, in_the_way))
        await rollouts.end(tx, org_id, dag, EndRollout(id=found.id, state="Failed", cause=move.cause))
        return move
    await rollouts.done(tx, found.id)
    await cut_over(tx, org_id, dag, found.base, found.version)
    await make_listed(tx, org_id, dag)
    return SwitchOver()


class Rollouts:
    """Which rollouts to look at: those whose DAGs were touched, and those whose time has come."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self._touched: set[tuple[UUID, str]] = set()
        self._looked: dict[tuple[UUID, str], float] = {}
        self._pauses: dict[tuple[UUID, str], float] = {}

    def touch(self, dags: Iterable[tuple[UUID, str]]) -> None:
        """Work of these DAGs (org, name) has ended or failed."""
        self._touched.update(dags)

    async def look(self, epoch: int) -> list[DueRollout]:
        """Move on what can be moved; the rollouts that did."""
        async with self._db.transaction() as tx:
            found = await rollouts.all_under_way(tx)
        moved: list[DueRollout] = []
        for rollout in found:
            place = (rollout.org_id, rollout.dag)
            ago = time.monotonic() - self._looked.get(place, 0.0)
            due = rollout.due_in is not None and -ago < rollout.due_in <= 0
            if ago < self._pauses.get(place, 0.0) or (place not in self._touched and not due and ago < _LONGEST):
                continue
            began = time.monotonic()
            try:
                async with self._db.transaction() as tx:
                    await locks.lock_dag_soon(tx, rollout.org_id, rollout.dag)
                    self._touched.discard(place)
                    if not isinstance(await advance(tx, epoch, *place), Stay):
                        moved.append(rollout)
            except LostLeadership:
                raise
            except Busy:
                # A long commit of one DAG keeps no other waiting: it is looked at in the next turn.
                self._touched.add(place)
                continue
            except HeadraceError as error:
                # One that cannot move holds no other up; it is looked at again.
                logger.warning("the rollout of DAG %s/%s: %s", rollout.namespace, rollout.dag, error)
            # A look keeps completions waiting: one that takes long is made seldom.
            self._looked[place] = time.monotonic()
            self._pauses[place] = max(_SHARE * (self._looked[place] - began), _SHORTEST)
        known = {(rollout.org_id, rollout.dag) for rollout in found}
        self._touched &= known
        self._looked = {place: at for place, at in self._looked.items() if place in known}
        self._pauses = {place: pause for place, pause in self._pauses.items() if place in known}
        return moved
