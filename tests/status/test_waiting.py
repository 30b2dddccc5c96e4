"""What is told of a DAG whose members are awaited, and until when."""

from __future__ import annotations

from typing import Any

import pytest

from headrace.compile.members import Members, Waiting
from headrace.status.waiting import awaited, is_news
from tests.status.rows import body

MISSING = Waiting("MembersMissing", "a is missing", Members())
SETTLES = Waiting("Settling", "changed just now", Members(), 0.5)


def stalled(generation: int, reason: str = "MembersMissing") -> Any:
    condition = {"type": "Stalled", "status": "True", "reason": reason}
    return {"observedGeneration": generation, "conditions": [condition]}


@pytest.mark.parametrize(
    ("found", "waited", "before", "waiting", "again"),
    [
        pytest.param(MISSING, 0.0, None, True, 60.0, id="at first"),
        pytest.param(MISSING, 59.0, None, True, 1.0, id="nearly"),
        pytest.param(MISSING, 60.0, None, False, None, id="for a minute"),
        pytest.param(MISSING, 0.0, stalled(3), False, None, id="an operator that begins"),
        pytest.param(MISSING, 0.0, stalled(2), True, 60.0, id="a newer spec"),
        pytest.param(MISSING, 0.0, stalled(3, "InvalidSpec"), True, 60.0, id="stalled by something else"),
        pytest.param(SETTLES, 0.0, None, True, 0.5, id="settling"),
        pytest.param(SETTLES, 70.0, None, True, 0.5, id="settling at last"),
    ],
)
def test_a_wait_is_stalled_after_a_minute(
    found: Waiting, waited: float, before: Any, waiting: bool, again: float | None
) -> None:
    wait = awaited(body(before), 3, found, waited, 60.0)
    outcome = wait.outcome
    assert (outcome.waiting, wait.again) == (waiting, again)
    assert wait.members == (found is MISSING)
    assert (outcome.reason, outcome.message, outcome.yaml_hash) == (found.reason, found.message, None)


@pytest.mark.parametrize(
    ("waited", "since_change", "members", "again"),
    [(0.0, 0.0, False, 5.0), (30.0, 4.0, False, 1.0), (59.0, 2.0, False, 1.0), (59.0, 5.0, True, 1.0),
     (70.0, 1.0, False, 4.0), (70.0, 5.0, True, None)],
)  # fmt: skip
def test_members_are_told_once_no_more_objects_come(
    waited: float, since_change: float, members: bool, again: float | None
) -> None:
    wait = awaited(body(), 3, MISSING, waited, since_change)
    assert (wait.members, wait.again) == (members, again)


@pytest.mark.parametrize(
    ("found", "observed", "known", "news"),
    [
        pytest.param(SETTLES, 3, False, False, id="a start"),
        pytest.param(SETTLES, 3, True, True, id="a member changed"),
        pytest.param(SETTLES, 2, False, True, id="a spec that was never handled"),
        pytest.param(MISSING, 3, False, True, id="a member is missing"),
    ],
)
def test_letting_sets_settle_at_a_start_is_no_news(found: Waiting, observed: int, known: bool, news: bool) -> None:
    assert is_news(body({"observedGeneration": observed}), 3, found, known=known) == news
