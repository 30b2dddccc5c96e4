"""The steps of a plan: what `state.apply` executes, in order, deciding nothing."""

from __future__ import annotations

from typing import Literal
from uuid import UUID

from msgspec import Struct

from headrace.compile.document import Compiled
from headrace.plan.explanation import Explanation

RolloutEnd = Literal["Superseded", "Failed", "Canceled"]
Strategy = Literal["WhenReady", "Manual"]


class MarkPresent(Struct, frozen=True, kw_only=True):
    """The DAG's object is there: its uid and whether it is suspended; it `returns` if it was absent."""

    object_uid: str
    suspended: bool
    returns: bool = False


class SameData(Struct, frozen=True, kw_only=True):
    """A fingerprint of a job that stands for the data of another one, by `rollout.reuse`."""

    job: str
    fingerprint: str
    same_as: str


class ClaimNames(Struct, frozen=True, kw_only=True):
    """Published names that become this DAG's."""

    names: tuple[str, ...]


class AddVersion(Struct, frozen=True, kw_only=True):
    """A document seen for the first time: its version, jobs, datasets, dataset versions and pointer set."""

    compiled: Compiled
    same_data: tuple[SameData, ...] = ()


class Repoint(Struct, frozen=True, kw_only=True):
    """A version that does not serve gets other dataset versions: others are reused, or its own were retired."""

    compiled: Compiled
    same_data: tuple[SameData, ...] = ()


class EndRollout(Struct, frozen=True, kw_only=True):
    """A rollout is over; its unfinished work ends, but for what the version of `keep` has too.

    `stopped`: a person gave it up, and it is not begun again by itself.
    """

    id: UUID
    state: RolloutEnd
    cause: str | None = None
    keep: str | None = None
    stopped: bool = False


class StartRollout(Struct, frozen=True, kw_only=True):
    """The version of `yaml_hash` is built beside `base`; `deadline` in seconds from now."""

    base: UUID
    yaml_hash: str
    strategy: Strategy
    explanation: Explanation
    build_approved: bool
    cutover_approved: bool
    deadline: int | None


class AdjustRollout(Struct, frozen=True, kw_only=True):
    """The settings of the rollout under way changed."""

    id: UUID
    strategy: Strategy
    build_approved: bool
    deadline: int | None


class Cutover(Struct, frozen=True, kw_only=True):
    """The version of `yaml_hash` becomes current at once, if `base` still is: work of unchanged jobs moves over."""

    base: UUID | None
    yaml_hash: str
    strategy: Strategy
    explanation: Explanation


Step = MarkPresent | ClaimNames | AddVersion | Repoint | EndRollout | StartRollout | AdjustRollout | Cutover


class Blocked(Struct, frozen=True, kw_only=True):
    """Why a document cannot become a version now: a stable reason and, for people, the cause and the way out.

    `waits`: it is not wrong, but something it needs is not there yet.
    """

    reason: str
    message: str
    waits: bool = False


class Plan(Struct, frozen=True, kw_only=True):
    """Steps in order, none when there is nothing to do. `registered`: with them the wanted document is a version.

    `blocked`: why it does not come to serve; the steps are then what can be done in spite of that.
    """

    steps: tuple[Step, ...]
    explanation: Explanation
    registered: bool
    blocked: Blocked | None = None
