"""The queue's model, some hundred histories, in parts that can run side by side; `HEADRACE_HISTORIES` for more."""

from __future__ import annotations

import asyncio
import os

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from headrace.state import queries
from headrace.state.database import Database
from tests.state import queue_guards
from tests.state.queue_model import Queue

HISTORIES = int(os.environ.get("HEADRACE_HISTORIES", "500"))
PARTS = 4


def histories(url: str, count: int) -> None:
    """Run so many histories; AssertionError, with the shortest one found, for one that goes wrong."""

    async def opened() -> Database:
        return await Database(url).__aenter__()

    with asyncio.Runner() as runner:
        Queue.loop = runner.get_loop()
        Queue.db = runner.run(opened())
        try:
            run_state_machine_as_test(  # type: ignore[no-untyped-call]
                Queue,
                settings=settings(
                    max_examples=count, stateful_step_count=30, deadline=None, database=None,
                    suppress_health_check=list(HealthCheck), phases=[Phase.generate],
                ),
            )  # fmt: skip
        finally:
            runner.run(Queue.db.__aexit__())


@pytest.mark.parametrize("guard", queue_guards.GUARDS, ids=lambda guard: guard.name)
def test_the_guards_that_the_model_is_shown_to_miss_are_there(guard: queue_guards.Guard) -> None:
    """`python -m tests.state.queue_guards` takes each away, and takes minutes."""
    statements = queries._statements()
    assert all(text in statements[name] for name, text, _ in guard.texts)


@pytest.mark.long
@pytest.mark.parametrize("part", range(PARTS))
def test_no_history_loses_a_task_or_counts_a_completion_twice(url: str, part: int) -> None:
    histories(url, len(range(part, HISTORIES, PARTS)))
