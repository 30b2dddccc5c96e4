"""The measurements of deploys run, without a cluster, and tell what they are for; their figures are for people."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

from bench.shape import edited, layered

COMMAND = Path(__file__).parents[2] / "bench" / "run"


def test_a_shape_has_its_jobs_and_edges_between_neighbouring_layers() -> None:
    shape = layered(1000)
    assert len({node.name for node in shape}) == 1000
    assert [node.name for node in shape if not node.reads] == [f"source-{number}" for number in range(4)]
    place = {node.name: max(0, (index - 4) // 100 + 1) for index, node in enumerate(shape)}
    assert all(place[node.name] - place[read] == 1 for node in shape[4:] for read in node.reads)
    assert {len(node.reads) for node in shape[4:]} == {1, 2, 3}
    assert layered(1000) == shape
    assert [(a.name, b.edits) for a, b in zip(shape, edited(shape, leaf=True, edits=2), strict=True) if a != b] == [
        ("job-00999", 2)
    ]


def test_deploys_are_measured() -> None:
    few = ("deploy", "--jobs", "10", "20", "--deploys", "1", "--no-peer", "--json")
    done = subprocess.run([COMMAND, *few], capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    rows = {row["what"]: row for row in json.loads(done.stdout)}
    sizes = ("10 jobs", "20 jobs", "20 jobs, 3 partitions of each dataset", "growth from 10 to 20 jobs")
    changes = ("new", "unchanged", "a leaf edited", "a root edited")
    measured = {f"{size}: {change}" for size in sizes for change in changes}
    assert set(rows) == measured | {f"{size}: peak of memory" for size in sizes[:3]}
    assert all(rows[f"{size}: unchanged"]["note"] == "met" for size in sizes[:3])
