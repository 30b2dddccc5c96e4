"""Takes every statement away that writes one of the sixteen tables, one at a time, and shows the test that misses it.

    PYTHONPATH=operator:. python -m tests.state.table_writers [WORD ...]    # those whose names have one of the words

A line for each statement, with the tables that it writes (docs/tables.md says what these are for). It ends with 1 when
one is not missed. What a test sees is what users do: tasks, plans, histories, statuses, what readers are answered.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from headrace.state import queries
from tests.state.test_schema import seed

ROOT: Final = Path(__file__).parents[2]
WITHOUT: Final = "HEADRACE_WITHOUT"
_WRITES: Final = re.compile(r"(?:INSERT INTO|UPDATE|DELETE FROM)\s+(\w+)")

MISSED: Final[Mapping[str, str]] = {}
"""Statement to the file of tests that misses it, below tests/state."""


def writers() -> dict[str, tuple[str, ...]]:
    """Every statement that writes any of the sixteen tables, with these."""
    tables = set(seed())
    found = {name: tuple(sorted(tables & set(_WRITES.findall(text)))) for name, text in queries._statements().items()}
    return {name: written for name, written in found.items() if written}


def missed(statement: str, file: str) -> str | None:
    """The first test of a file that fails without a statement; None when all of them pass."""
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", f"tests/state/{file}"]
    environment = {**os.environ, WITHOUT: statement}
    try:
        done = subprocess.run(
            command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=180
        )
    except subprocess.TimeoutExpired:
        return "it never ends"
    if done.returncode == 0:
        return None
    failed = re.search(r"^(?:FAILED|ERROR) \S+::(\S+)", done.stdout, re.MULTILINE)
    assert failed, done.stdout[-2000:] + done.stderr[-2000:]
    return failed[1]


def main() -> int:
    """All of them."""
    chosen = [name for name in writers() if not sys.argv[1:] or any(word in name for word in sys.argv[1:])]
    every = True
    for name in sorted(chosen, key=lambda one: (writers()[one], one)):
        test = missed(name, MISSED[name])
        every &= test is not None
        how = "NOT MISSED" if test is None else f"missed by {MISSED[name]}: {test}"
        sys.stdout.write(f"{', '.join(writers()[name])}: {name}: {how}\n")
        sys.stdout.flush()
    return 0 if every else 1


if __name__ == "__main__":
    sys.exit(main())
