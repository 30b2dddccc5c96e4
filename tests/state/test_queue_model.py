"""The queue's model, some hundred histories, in parts that can run side by side; `HEADRACE_HISTORIES` for more."""

from __future__ import annotations

import asyncio
import os

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from headrace.state.database import Database
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


@pytest.mark.long
@pytest.mark.parametrize("part", range(PARTS))
def test_no_history_loses_a_task_or_counts_a_completion_twice(url: str, part: int) -> None:
    histories(url, len(range(part, HISTORIES, PARTS)))
