"""Tasks as text: what has something to say says it below its line."""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import UUID

import pytest

from headrace.api.runs import TaskEntry, Tasks
from headrace.cli.tasks import show_tasks

NOW = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(("state", "told"), [("Completed", True), ("Failed", True), ("Queued", False)])
def test_a_task_that_is_over_tells_its_message(state: str, *, told: bool) -> None:
    task = TaskEntry(
        id=UUID(int=1), dag="d", job="j", partition="a", state=state, attempts=1, created=NOW, message="words"
    )
    lines = show_tasks(Tasks(dag="d", tasks=(task,)), now=NOW).splitlines()
    assert lines[2:] == (["    words"] if told else [])
