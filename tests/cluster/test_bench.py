"""The measurements run and tell what they are for; their figures are for people."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

COMMAND = Path(__file__).parents[2] / "bench" / "run"


def test_every_row_is_measured() -> None:
    few = ("one", "many", "apply", "idle", "--rounds", "1", "--at-once", "4", "--repeat", "1", "--idle", "3", "--json")
    cluster = ("--name", os.environ["HEADRACE_CLUSTER"])
    done = subprocess.run([COMMAND, *few, *cluster], capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr
    rows = json.loads(done.stdout)
    compared = {row["what"]: row for row in rows if row["ratio"] is not None}
    assert set(compared) == {"one task at a time", "4 tasks at once", "apply to first pod"}
    assert all(0.5 < row["ratio"] < 50 for row in compared.values())
    assert {row["what"] for row in rows if row["ratio"] is None} == {
        "idle: API writes but the Lease", "idle: Postgres transactions that write",
        "idle: API reads a minute", "idle: Postgres reads a minute",
    }  # fmt: skip
