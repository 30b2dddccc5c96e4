"""The symptoms of docs/troubleshooting.md are those that the product tells, word for word."""

from __future__ import annotations

import re

import pytest

from tests.cluster.guided import DOCS, ROOT

SOURCE = "\n".join(file.read_text() for file in (ROOT / "operator" / "headrace").rglob("*.py"))
THEIRS = {"exit code 137", "OOMKilled", "Unschedulable"}
"""What Kubernetes says, and is told on as it is."""
TOLD = [
    word.split("=")[0] if word.endswith("=False") else word
    for line in (DOCS / "troubleshooting.md").read_text().split("## It was applied")[1].splitlines()
    if line.startswith("| ")
    for word in re.findall("`([^`]+)`", line.split(" | ")[0])
]


@pytest.mark.parametrize("word", sorted({*TOLD} - THEIRS))
def test_a_symptom_is_told_so(word: str) -> None:
    assert word.removesuffix(": -1") in SOURCE
