"""Follows a page of docs/ as a reader would: runs its boxes, in order, in one shell, and looks at what they show.

A box is a fenced block of `sh`; a block of `text` after it has lines that it shows, in their order, with `…` for what
differs from time to time. A page's other blocks (of YAML, of Python) are not run. No page of docs/ has blocks of
commands but boxes, and every page that has one is followed (`test_pages.py`).
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from textwrap import dedent

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
FIRST = ("guide", "troubleshooting")
"""Pages of a new user, one after the other."""
OTHERS = (
    "always-on", "cli", "columns", "events", "gateway", "gitops", "notify", "orgs", "reading", "retention",
    "task-in-any-image", "webhooks",
)  # fmt: skip
"""Pages that can be followed beside other tests, where the demo has run."""
ALONE = ("admission", "alerts", "install", "operations")
"""Pages of an administrator."""
_FENCE = re.compile(r"^( *)```(\w*)\n(.*?)^\1```$", re.M | re.S)
_MARK = "@@ box"


@dataclass(frozen=True)
class Box:
    """Commands of a page, the line they are at, and what they show."""

    line: int
    script: str
    shows: tuple[str, ...]


def boxes(page: str) -> list[Box]:
    """The boxes of a page's text."""
    return list(_boxes(page))


def _boxes(page: str) -> Iterator[Box]:
    blocks = list(_FENCE.finditer(page))
    for number, block in enumerate(blocks):
        if block[2] == "sh":
            after = blocks[number + 1] if number + 1 < len(blocks) else None
            told = after[3].splitlines() if after is not None and after[2] == "text" else []
            shows = tuple(line for line in told if line.strip())
            yield Box(page.count("\n", 0, block.start()) + 1, dedent(block[3]), shows)


def follow(page: Path, place: Path, env: Mapping[str, str], within: float = 1500.0, before: str = "") -> None:
    """Run every box, after a script that makes what the page takes to be there.

    AssertionError names the box that fails or does not show what it should.
    """
    found = boxes(page.read_text())
    assert found, f"{page.name} has no boxes"
    for name in ("harness", "deploy"):
        (place / name).symlink_to(ROOT / name)
    script = f"set -eo pipefail\n{before}\n" + "".join(
        f"printf '\\n{_MARK} {box.line}\\n'\n{box.script}" for box in found
    )
    said = place / "said"
    with said.open("w") as out:
        done = subprocess.Popen(
            ["bash", "-c", script], cwd=place, env={**os.environ, **env}, stdin=subprocess.DEVNULL,
            stdout=out, stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip
        try:
            ended = done.wait(within) == 0
        except subprocess.TimeoutExpired:
            os.killpg(done.pid, signal.SIGKILL)
            ended = False
    began, *told = re.split(rf"^{_MARK} \d+\n", said.read_text(), flags=re.M)
    assert told, f"{page.name}: what it takes to be there could not be made:\n{began[-3000:]}"
    for box, output in zip(found, told, strict=False):
        at = f"{page.name}, line {box.line}"
        assert ended or output is not told[-1], f"{at} failed:\n{output[-3000:]}"
        missing = missed(box.shows, output)
        assert missing is None, f"{at} does not show {missing!r}:\n{output[-3000:]}"
    assert ended, said.read_text()[-3000:]


def missed(shows: tuple[str, ...], output: str) -> str | None:
    """The first line that the output does not have after those before it; None when all are there."""
    lines = iter(output.splitlines())
    for shown in shows:
        pieces = (r"\s+".join(map(re.escape, piece.split())) for piece in shown.split("…"))
        pattern = re.compile(".*".join(pieces))
        if not any(pattern.search(line) for line in lines):
            return shown
    return None
