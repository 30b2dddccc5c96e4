"""The measurements of the queue run, without a cluster, and tell what they are for; their figures are for people."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

COMMAND = Path(__file__).parents[2] / "bench" / "run"


@pytest.mark.long
def test_the_queue_is_measured() -> None:
    few = ("queue", "--tasks", "400", "--no-peer", "--json")
    done = subprocess.run([COMMAND, *few], capture_output=True, text=True, check=False, timeout=240)
    assert done.returncode == 0, done.stderr
    rows = {row["what"]: row for row in json.loads(done.stdout)}
    started = [what for what in rows if what.startswith("enqueue to start")]
    assert set(rows) - set(started) == {
        "drain by SQL", "drain through the gateway",
        "enqueue of 400 in one transaction beside COPY", "kill -9 of a worker with 200 leases, until all are run again",
    }  # fmt: skip
    assert len(started) == 8
    assert all(row["ratio"] > 0 for row in rows.values())
