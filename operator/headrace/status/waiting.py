"""How long a DAG may wait for its members before it is stalled. Pure; reconcile calls it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from headrace.compile.members import Body, Waiting
from headrace.status.conditions import observed_generation, told
from headrace.status.dag import Outcome

MISSING_SECONDS: Final = 60.0
ARRIVING_SECONDS: Final = 5.0
"""While objects still come in, thousands of members are not told of each step: theirs is to be in a version soon."""


@dataclass(frozen=True)
class Wait:
    """What to tell of a wait, whether to the members too, and in how many seconds to look again, if at all."""

    outcome: Outcome
    members: bool
    again: float | None


def awaited(body: Body, generation: int, found: Waiting, waited: float, since_change: float) -> Wait:
    """For a DAG whose set is not complete since `waited` seconds, and has not changed for `since_change`.

    What is Stalled in `body` for this generation stays so: an operator that begins anew has not seen the wait.
    """
    outcome = Outcome(reason=found.reason, message=found.message, waiting=True)
    if found.reason == "Settling":
        return Wait(outcome, False, found.look_again_after)
    outcome, left = still_waits(body, generation, outcome, waited)
    arriving = ARRIVING_SECONDS - since_change
    looks = [after for after in (left, arriving if arriving > 0 else None) if after is not None]
    return Wait(outcome, arriving <= 0, min(looks, default=None))


def still_waits(body: Body, generation: int, outcome: Outcome, waited: float) -> tuple[Outcome, float | None]:
    """An outcome that waits since `waited` seconds, or is stalled by now; and in how many to look again, if at all."""
    left = MISSING_SECONDS - waited
    was_stalled = observed_generation(body) == generation and told(body, "Stalled") == outcome.reason
    waiting = left > 0 and not was_stalled
    return replace(outcome, waiting=waiting), left if waiting else None


def is_news(body: Body, generation: int, found: Waiting, *, known: bool) -> bool:
    """Whether the wait is to be told. `known`: something was compiled before in this process.

    An operator that begins lets every set settle: what is told of this generation then holds a second longer.
    """
    return known or found.reason != "Settling" or observed_generation(body) != generation
