"""The next move of a rollout that is under way. Pure: facts in, a move out; `run.rollouts` gathers and carries out.

Building goes on until everything that the serving version has done is done in the new one. When little is left for a
while, live work of the jobs being replaced is held for a bounded time, so that a stream that never pauses cannot put
the cutover off for ever; if the time is up it has its turn for as long, and the build goes on.
"""

from __future__ import annotations

from typing import Final
from uuid import UUID

from msgspec import Struct

from headrace.api.words import counted

HOLD_SECONDS: Final = 60
ARM_SECONDS: Final = 10
_SMALL: Final = 4


class Underway(Struct, frozen=True, kw_only=True):
    """A rollout as Postgres has it. `held`: live work is held now; `armed`: it may be, when it no longer `rests`.

    `current`: the version that serves, which must still be `base`. `suspended`: its DAG, so that nothing is begun.
    """

    id: UUID
    version: UUID
    base: UUID
    current: UUID | None
    yaml_hash: str
    state: str
    strategy: str
    build_approved: bool
    cutover_approved: bool
    overdue: bool
    held: bool
    armed: bool
    rests: bool
    suspended: bool = False


class Left(Struct, frozen=True, kw_only=True):
    """What is left of the build: units open, units that failed for good with the first in words, tasks at once.

    `far`: a source that starts over has not come near to where the one that serves is.
    """

    open: int = 0
    failed: int = 0
    failure: str | None = None
    concurrency: int = 0
    far: bool = False


class Stay(Struct, frozen=True):
    """Nothing to do now."""


class Wait(Struct, frozen=True):
    """Everything is done; the cutover waits for a person."""


class Arm(Struct, frozen=True, kw_only=True):
    """Little is left: if that is still so after `seconds`, live work is to be held."""

    seconds: int


class Hold(Struct, frozen=True, kw_only=True):
    """Hold live work of the jobs being replaced."""

    seconds: int


class Fail(Struct, frozen=True, kw_only=True):
    """It failed, for this reason."""

    cause: str


class SwitchOver(Struct, frozen=True):
    """The new version becomes current."""


Move = Stay | Wait | Arm | Hold | Fail | SwitchOver


def is_small(left: Left) -> bool:
    """Whether what is left is done in about two rounds."""
    return left.open <= max(_SMALL, 2 * left.concurrency)


def next_move(rollout: Underway, left: Left) -> Move:
    """What to do now."""
    if rollout.current != rollout.base:
        return Fail(cause="another version became current meanwhile")
    if left.failed:
        more = f" ({left.failed} units failed)" if left.failed > 1 else ""
        return Fail(cause=f"job {left.failure}{more}")
    ready = rollout.build_approved and left.open == 0
    if ready and rollout.cutover_approved:
        return SwitchOver()
    if rollout.overdue and not (ready or rollout.state == "Ready"):
        return Fail(cause=f"its deadline is over: {_what_is_left(rollout, left)}")
    if ready:
        return Stay() if rollout.state == "Ready" else Wait()
    approved = rollout.build_approved and rollout.cutover_approved
    near = is_small(left) and not left.far
    if approved and near and not (rollout.held or rollout.rests or rollout.suspended):
        return Hold(seconds=HOLD_SECONDS) if rollout.armed else Arm(seconds=ARM_SECONDS)
    return Stay()


def _what_is_left(rollout: Underway, left: Left) -> str:
    if not rollout.build_approved:
        return "the build was never approved"
    return f"{counted(left.open, 'unit')} of the build not done"
