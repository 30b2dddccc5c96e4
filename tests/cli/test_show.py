"""Plans and histories as text, against recorded ones (tests/cli/shown); all of it within 80 columns.

`UPDATE_SHOWN=1` writes the records anew, to be looked at before they are committed.
"""

from __future__ import annotations

import os
import re
from datetime import UTC, datetime
from pathlib import Path

import pytest

from headrace.api.history import History, VersionEntry
from headrace.cli.history import show_history
from headrace.cli.show import changes_anything, show_plans
from headrace.cli.style import clean, paint, shorten, values
from headrace.plan.explanation import Consumer, DatasetChange, Explanation, FieldChange, JobChange

SHOWN = Path(__file__).parent / "shown"
OLD, NEW = "v1-" + "0123456789abcdef" * 4, "v1-" + "fedcba9876543210" * 4
REGISTRY = "registry.example.org/team/flights"


def plan(**fields: object) -> Explanation:
    return Explanation(**{"dag": "flights", "yaml_hash": NEW, "base_hash": OLD, **fields})  # type: ignore[arg-type]


CASES: dict[str, list[Explanation]] = {
    "no-changes": [plan(base_hash=NEW, unchanged=5)],
    "first-version": [
        plan(
            base_hash=None,
            swap="first version",
            jobs=(JobChange(job="month", change="added"), JobChange(job="clean", change="added")),
            datasets=(DatasetChange(dataset="flights_clean", job="clean", output=0, action="added"),),
            notes=("job clean: the image flights:demo has no digest, so its contents can change unseen",),
        )
    ],
    "swap-only": [
        plan(
            swap="swap only",
            unchanged=4,
            restorable=True,
            jobs=(
                JobChange(
                    job="clean",
                    change="changed",
                    fields=(
                        FieldChange(path="scaling.max_concurrency", old=4, new=12),
                        FieldChange(path="timeout_seconds", old=3600, new=60),
                    ),
                ),
            ),
        )
    ],
    "rebuild": [
        plan(
            swap="build first",
            unchanged=1,
            restorable=True,
            partitions=37,
            tasks=36,
            jobs=(
                JobChange(
                    job="clean",
                    change="changed",
                    rebuilds=True,
                    units=12,
                    fields=(
                        FieldChange(
                            path="pod.spec.containers[main].image",
                            old=f"{REGISTRY}@sha256:{'ab' * 32}",
                            new=f"{REGISTRY}@sha256:{'cd' * 32}",
                        ),
                        FieldChange(path="config.limit", new=20),
                        FieldChange(path="config.words", old=["a", "b"] * 40, new=""),
                        FieldChange(path="config.text", old="two\nlines", new="\x1b[31mred"),
                    ),
                ),
                JobChange(job="rank", change="downstream", because=("clean",), rebuilds=True, units=1),
                JobChange(job="top", change="downstream", because=("clean", "rank"), reuses=True),
                JobChange(job="extra_" + "x" * 40, change="added", rebuilds=True, units=1200),
                JobChange(job="old", change="removed"),
            ),
            datasets=(
                DatasetChange(dataset="flights_clean", job="clean", output=0, action="rebuilt", partitions=36),
                DatasetChange(dataset="carrier_rank", job="rank", output=0, action="rebuilt", partitions=1),
                DatasetChange(dataset="late", job="top", output=0, action="reused", was="flights.top.0"),
                DatasetChange(dataset="d_" + "y" * 60, job="old", output=0, action="removed"),
            ),
            consumers=(Consumer(dataset="flights_clean", dag="reports", job="daily"),),
            approval="it would run 36 tasks, and rollout.maxBuildTasks is 10",
        )
    ],
    "blocked-and-another": [
        plan(
            blocked="spec.publish: these dataset names belong to another DAG: flights_clean (of DAG other). Publish"
            " under other names.",
            jobs=(JobChange(job="clean", change="changed"),),
        ),
        plan(dag="weather", base_hash=NEW),
    ],
}


@pytest.mark.parametrize("name", CASES)
def test_plans_are_shown_as_recorded(name: str) -> None:
    recorded(name, show_plans(CASES[name]))


def test_a_history_is_shown_as_recorded() -> None:
    day = datetime(2026, 11, 24, 10, 23, 5, tzinfo=UTC)
    versions = (
        VersionEntry(yaml_hash=NEW, short=NEW[3:13], created_at=day, rollout="Building", cause="12 of 36 tasks left"),
        VersionEntry(yaml_hash=OLD, short=OLD[3:13], created_at=day, current=True, served_since=day, rollout="Done"),
        VersionEntry(yaml_hash="v1-" + "7" * 64, short="7" * 10, created_at=day, served_until=day, rollout="Done"),
    )
    recorded("history", show_history(History(dag="flights", versions=versions, previous="v1-" + "7" * 64)))


def recorded(name: str, text: str) -> None:
    """Compare with the record, and hold the width."""
    file = SHOWN / f"{name}.txt"
    if os.environ.get("UPDATE_SHOWN"):
        SHOWN.mkdir(exist_ok=True)
        file.write_text(text)
    assert text == file.read_text()
    assert [line for line in text.splitlines() if len(line) > 80] == []


def test_colours_change_nothing_but_colours() -> None:
    for one in CASES.values():
        assert re.sub(r"\x1b\[\d+m", "", show_plans(one, paint)) == show_plans(one)


def test_what_changes_anything() -> None:
    assert [changes_anything(plans[0]) for plans in CASES.values()] == [False, True, True, True, True]


def test_nothing_that_others_wrote_reaches_the_terminal_as_a_command() -> None:
    assert clean("a\x1b]0;title\x07\u202eb\tc\n") == "a\\x1b]0;title\\x07\\x202eb\tc\n"
    assert values({"k": "\x1b[2J"}, "\x1b", 40) == ('{"k": "\\u001b[2J"}', "\\x1b")


def test_long_values_keep_both_ends() -> None:
    assert shorten("x" * 5, 5) == "x" * 5
    assert shorten("registry.example.org/a/b:tag", 11) == "regis…b:tag"


def test_of_two_values_the_difference_is_seen() -> None:
    assert values("short", None, 80) == ("short", "none")
    assert values("", 20, 80) == ('""', "20")
    assert values("20", 20, 80) == ('"20"', "20")
    old, new = "a" * 300 + "1" + "b" * 300, "a" * 300 + "2" + "b" * 300
    shown = values(old, new, 60)
    assert "a1b" in shown[0]
    assert "a2b" in shown[1]
    assert max(map(len, shown)) <= 60
