"""The measurements run and tell what they are for; their figures are for people."""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections import Counter
from pathlib import Path

import pytest

COMMAND = Path(__file__).parents[2] / "bench" / "run"
ROWS = ("one", "many", "apply", "pods", "warm", "idle", "starts")
FEW = {"--rounds": 3, "--at-once": 4, "--repeat": 1, "--pods": 32, "--slots": 8, "--warm-tasks": 100, "--idle": 3,
       "--idle-dags": 3, "--idle-jobs": 3, "--dags": 20}  # fmt: skip
STARTS = ("on first sight", "again")


@pytest.mark.alone
def test_every_row_is_measured() -> None:
    few = [str(word) for option in FEW.items() for word in option]
    argv = [COMMAND, *ROWS, *few, "--json", "--name", os.environ["HEADRACE_CLUSTER"]]
    done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=800)
    assert done.returncode == 0, done.stderr
    rows = json.loads(done.stdout)
    compared = [row for row in rows if row["ratio"] is not None]
    warm = "tasks a second on 4 warm workers"
    # Each beside two floors, or two peers.
    assert Counter(row["what"] for row in compared) == {
        "one task at a time": 2, "4 tasks at once": 2, "apply to first pod": 2, "32 task pods, 8 at once": 2, warm: 1,
        **{f"start with 20 DAGs, {when}: {what}": 1 for when in STARTS for what in ("all looked at", "memory")},
    }  # fmt: skip
    for row in compared:
        # A worker is there for many more tasks a second than pods; of the others a floor or a peer is never far off.
        assert row["ratio"] > 1 if row["what"] == warm else 0.5 < row["ratio"] < 50, row
    told = {row["what"]: row for row in rows if row["ratio"] is None}
    assert set(told) == {
        "what we add to a bare pod's start", "first task on a worker from zero, over a bare pod, p50",
        "idle worker ends, late by at most", "idle: API writes but the Lease", "idle: Postgres transactions that write",
        "idle: API reads a minute", "idle: Postgres reads a minute",
        *(f"start with 20 DAGs, {when}: API writes" for when in STARTS),
    }  # fmt: skip
    # Of what was there before nothing is written again.
    assert told["start with 20 DAGs, again: API writes"]["figure"] == "0"
    added = told["what we add to a bare pod's start"]
    assert re.fullmatch(r"-?\d+ ms", added["figure"])
    assert re.search(r"goal 25 ms: (met|missed)$", added["note"])
