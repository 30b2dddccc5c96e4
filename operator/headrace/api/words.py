"""Words that all who write for people use."""

from __future__ import annotations


def counted(number: int, what: str) -> str:
    """`1 task`, `2 tasks`, `1,000 tasks`."""
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def it_runs(tasks: int) -> str:
    """That a job runs."""
    return f"it runs: {counted(tasks, 'task')}"


def nothing_waits(done: int, what: str = "unit") -> str:
    """That a job has nothing to do."""
    return f"nothing waits: {counted(done, what)} done"
