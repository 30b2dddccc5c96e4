"""The Kubernetes events that the operator sends about the three objects: their reasons are stable, and these are all.

`status.events` finds what is to be told, `cluster.events` sends it; docs/events.md is compared with the table here.
"""

from __future__ import annotations

from typing import Final, Literal, NamedTuple

from msgspec import Struct

from headrace.api.names import DAG, DATASET, GROUP, JOB

Weight = Literal["Normal", "Warning"]

CONTROLLER: Final = f"{GROUP}/operator"
"""Who sends them, as they say in reportingController."""
NOTE_MAX: Final = 1000
"""Bytes of a note; the API server takes 1,024."""


class Event(Struct, frozen=True, kw_only=True):
    """What happened to an object, once; `action`: what was being done; `note`: for people, at most NOTE_MAX bytes."""

    type: Weight
    reason: str
    action: str
    note: str


class Kind(NamedTuple):
    """What an event of one reason is: its type, what was being done, and on which kinds of objects it can be."""

    type: Weight
    action: str
    on: tuple[str, ...]


REASONS: Final = {
    "VersionServes": Kind("Normal", "CutOver", (DAG,)),
    "RolledBack": Kind("Normal", "CutOver", (DAG,)),
    "RolloutStarted": Kind("Normal", "RollOut", (DAG,)),
    "RolloutResumed": Kind("Normal", "RollOut", (DAG,)),
    "AwaitingApproval": Kind("Normal", "RollOut", (DAG,)),
    "RolloutSuperseded": Kind("Normal", "RollOut", (DAG,)),
    "RolloutCanceled": Kind("Normal", "RollOut", (DAG,)),
    "RolloutFailed": Kind("Warning", "RollOut", (DAG,)),
    "InvalidSpec": Kind("Warning", "Register", (DAG, JOB, DATASET)),
    "MembersMissing": Kind("Warning", "Register", (DAG,)),
    "RevisionsDiffer": Kind("Warning", "Register", (DAG,)),
    "InputsMissing": Kind("Warning", "Register", (DAG,)),
    "NameTaken": Kind("Warning", "Register", (DAG,)),
    "ConsumersExist": Kind("Warning", "Register", (DAG,)),
    "CycleAcrossDAGs": Kind("Warning", "Register", (DAG,)),
    "PodRefused": Kind("Warning", "Register", (DAG,)),
    "NotATenant": Kind("Warning", "Register", (DAG,)),
    "TasksFailed": Kind("Warning", "Run", (DAG, JOB)),
    "CommandRefused": Kind("Warning", "Command", (DAG,)),
    "Late": Kind("Warning", "Refresh", (DATASET,)),
    "Recovered": Kind("Normal", "Watch", (DAG, JOB, DATASET)),
}
"""Where a condition tells the same its reason is this one."""


def event(reason: str, note: str) -> Event:
    """An event of one of REASONS; what has none there is the reason of something that is wrong with an object."""
    kind = REASONS.get(reason) or Kind("Warning", "Register", ())
    return Event(type=kind.type, reason=reason, action=kind.action, note=note)
