"""Whether a dataset is fresh: when it stops to be, in which words, and when that is to be looked at again."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from headrace.compile.publishing import freshness
from headrace.status.datasets import Upkeep, dataset_status, stale_in
from tests.status.rows import NOW, body, condition_of, dag, dataset, written

HOUR = timedelta(hours=1)
FLIGHTS: dict[str, Any] = {"metadata": {"name": "flights"}, "spec": {"publish": [
    {"name": "rows", "from": {"job": "clean"}, "freshness": "26h"}, {"name": "other", "from": {"job": "clean"}},
    {"name": "bad", "from": {"job": "clean"}, "freshness": "soon"},
]}}  # fmt: skip


def told(upkeep: Upkeep, **row: object) -> Any:
    return written(dataset_status(body(), 1, "flights", dag(), dataset(**row), upkeep))


@pytest.mark.parametrize(
    ("age", "truth", "reason"),
    [(timedelta(0), "True", "Updated"), (HOUR, "True", "Updated"), (HOUR + timedelta(microseconds=1), "False", "Late"),
     (None, "False", "NothingMade")],
)  # fmt: skip
def test_it_is_fresh_as_long_as_its_last_update_is_no_older(age: timedelta | None, truth: str, reason: str) -> None:
    made = told(Upkeep(HOUR), updated=None if age is None else NOW - age)
    fresh = condition_of(made, "Fresh")
    assert (fresh["status"], fresh["reason"]) == (truth, reason)


def test_why_it_is_late_is_in_its_jobs_words_and_in_the_column() -> None:
    made = told(Upkeep(HOUR, "retries at 12:03:00 UTC after: no disk"), updated=NOW - 2 * HOUR)
    message = condition_of(made, "Fresh")["message"]
    last = "last updated 2026-01-05 10:00:00 UTC, freshness 1h"
    assert message == f"{last}; job flights/clean: retries at 12:03:00 UTC after: no disk"
    assert made["waitingFor"] == message
    idle = condition_of(told(Upkeep(26 * HOUR)), "Fresh")["message"]
    assert idle.startswith("nothing of it is made yet; job flights/clean: it has nothing to do")


def test_without_a_word_on_freshness_there_is_no_such_condition() -> None:
    assert [c["type"] for c in told(Upkeep(), updated=NOW)["conditions"]] == ["Ready"]


def test_the_version_that_it_is_made_anew_for_is_told() -> None:
    made = told(Upkeep(), updated=NOW, rebuilding="v1-" + "cd" * 32)
    assert made["rebuilding"] in made["waitingFor"]


def test_it_is_looked_at_again_when_the_first_is_late() -> None:
    rows = [dataset("a", updated=NOW), dataset("b", updated=NOW - HOUR), dataset("c"), dataset("d", updated=NOW)]
    due = {"a": 2 * HOUR, "b": 1.5 * HOUR, "c": HOUR}
    assert stale_in(rows, due, NOW) == 1800
    assert stale_in(rows, {"b": HOUR / 2, "c": HOUR}, NOW) is None


def test_how_old_is_said_in_the_object_and_not_by_others() -> None:
    assert freshness(FLIGHTS, {}) == {"rows": timedelta(hours=26)}
    spec = {"from": {"dag": "flights", "job": "clean"}, "freshness": "1m"}
    objects = {"rows": {"spec": spec}, "day-rows": {"spec": spec}}
    assert freshness(FLIGHTS, objects) == {"rows": timedelta(hours=26), "day_rows": timedelta(minutes=1)}
