"""How long a DAG may wait for its members before it is stalled. Pure; reconcile calls it."""

from __future__ import annotations

from typing import Final

from headrace.compile.members import Body, Waiting
from headrace.status.conditions import observed_generation, told
from headrace.status.dag import Outcome

MISSING_SECONDS: Final = 60.0


def awaited(body: Body, generation: int, found: Waiting, waited: float) -> tuple[Outcome, float | None]:
    """The outcome for a DAG whose set is not complete since `waited` seconds, and in how many to look again, if at all.

    What is Stalled in `body` for this generation stays so: an operator that begins anew has not seen the wait.
    """
    left = MISSING_SECONDS - waited
    was_stalled = observed_generation(body) == generation and told(body, "Stalled") == found.reason
    waiting = found.reason == "Settling" or (left > 0 and not was_stalled)
    again = found.look_again_after if found.look_again_after is not None else left if waiting else None
    return Outcome(reason=found.reason, message=found.message, waiting=waiting), again


def is_news(body: Body, generation: int, found: Waiting, *, known: bool) -> bool:
    """Whether the wait is to be told. `known`: something was compiled before in this process.

    An operator that begins lets every set settle: what is told of this generation then holds a second longer.
    """
    return known or found.reason != "Settling" or observed_generation(body) != generation
