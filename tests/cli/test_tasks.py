"""Tasks, logs and reasons as text: on lines that can be read and copied, and saying what is not there."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import msgspec
import pytest

from headrace.api.runs import Blocker, TaskEntry, Why
from headrace.api.runs import Tasks as Listed
from headrace.cli.tasks import Pod, entry_line, gone, not_started, show_task, show_tasks
from headrace.cli.why import show_why, with_pods

NOW = datetime(2026, 1, 5, 12, 0, 0, tzinfo=UTC)
LONG = "Traceback (most recent call last):\n" + "  File 'x-y.py'\n" * 300 + "OSError: the disk is full"


def task(**fields: Any) -> TaskEntry:
    base: dict[str, Any] = {"id": UUID(int=5), "dag": "flights", "job": "load", "partition": "a", "state": "Failed",
                            "attempts": 1, "created": NOW - timedelta(minutes=3)}  # fmt: skip
    return TaskEntry(**(base | fields))


def test_a_long_reason_has_both_ends_on_lines_of_the_terminal() -> None:
    for text in (
        show_tasks(Listed(dag="flights", tasks=(task(message=LONG),)), now=NOW),
        entry_line(task(message=LONG)),
        show_why(Why(dag="flights", job="load", state="Failing", words=(f"1 failed for good, last a: {LONG}",))),
        show_why(Why(dag="flights", job="load", partition="a", state="Queued", waits_for=(
            Blocker(job="day", partition="a", state="Failed", message=LONG),))),
    ):  # fmt: skip
        assert "Traceback (most" in text
        assert text.rstrip().endswith("the disk is full")
        assert len(text.splitlines()) < 10
        assert max(len(line) for line in text.splitlines()[1:]) <= 100


def test_names_are_not_broken_where_they_have_a_hyphen() -> None:
    name = "flights-load-3f0e1c9a-0000-4000-8000-000000000001-1"
    shown = show_why(Why(dag="f", job="j", state="Running", words=(f"{'x ' * 20}it runs in pod {name}",)))
    assert name in shown
    assert max(map(len, shown.splitlines())) <= 80


def test_a_task_is_shown_with_its_parameters_as_they_are_written() -> None:
    shown = show_task(task(params={"limit": 7, "all": True}))
    assert 'params:    {"all":true,"limit":7}\n' in shown
    assert "superseded" not in shown


def test_what_a_newer_task_decides_is_marked() -> None:
    old = task(superseded=True, message="exit code 1")
    assert "superseded: a newer task of this partition decides" in show_task(old)
    assert show_tasks(Listed(dag="flights", tasks=(old,)), now=NOW).splitlines()[2].strip().startswith("superseded")


@pytest.mark.parametrize(("status", "words"), [
    ({}, ""),
    ({"conditions": [{"type": "PodScheduled", "status": "True"}]}, ""),
    ({"conditions": [{"type": "PodScheduled", "status": "False", "reason": "Unschedulable",
                      "message": "0/1 nodes: no memory"}]}, ": Unschedulable: 0/1 nodes: no memory"),
    ({"containerStatuses": [{"state": {"waiting": {"reason": "ContainerCreating"}}}]}, ": ContainerCreating"),
    ({"initContainerStatuses": [{"state": {"waiting": {"reason": "ErrImagePull", "message": "no such tag"}}}],
      "containerStatuses": [{"state": {"waiting": {"reason": "PodInitializing"}}}]}, ": ErrImagePull: no such tag"),
    ({"initContainerStatuses": [{"state": {"running": {}}}],
      "containerStatuses": [{"state": {"waiting": {"reason": "PodInitializing"}}}]}, ""),
])  # fmt: skip
def test_a_pod_without_a_log_says_why_it_has_not_started(status: dict[str, object], words: str) -> None:
    pod = msgspec.convert({"metadata": {"name": "p"}, "status": status}, Pod)
    assert not_started("p", pod) == f"pod p has not started{words}"
    assert not_started("p", None) == "pod p has not started"


def test_a_pod_that_is_gone_says_why() -> None:
    assert "pods of completed tasks are removed" in gone(task(state="Completed", worker="p"))
    assert gone(task(worker="p", message="exit code 1")) == "pod p is gone; it ended with: exit code 1"
    assert gone(task(worker="p")) == "pod p is gone"


def test_what_a_status_says_of_pods_is_told_once() -> None:
    words = ("nothing waits: 0 units done", "1 failed for good, last a: exit code 1 and more")
    assert with_pods("1 failed for good, last a: exit code 1", words) == words
    assert with_pods("pod p: Unschedulable", words) == ("pod p: Unschedulable", *words)
    assert with_pods(None, words) == words
    waits = ("it waits for its turn",)
    assert with_pods("no worker: m", waits, "its job: ") == ("its job: no worker: m", *waits)
    assert with_pods("runs 1 at once, 1 waits", ("the job runs 1 at once, 1 waits",)) == (
        "the job runs 1 at once, 1 waits",
    )
