"""The measurements of a DAG with many partitions run, and tell what they are for; their figures are for people."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

COMMAND = Path(__file__).parents[2] / "bench" / "run"


def test_a_grown_dag_is_measured() -> None:
    few = ("grown", "--grown-jobs", "10", "--partitions", "20", "--json")
    done = subprocess.run([COMMAND, *few], capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    rows = json.loads(done.stdout)
    assert [row["what"].partition(": ")[2] for row in rows] == [
        "a completion, to the tasks that follow", "a look for missing work", "the plan of an edit",
        "a partition is invalidated"]  # fmt: skip
    assert rows[3]["note"].endswith(" units of those that read it")
