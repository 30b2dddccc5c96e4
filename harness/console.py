"""How the harness talks: one-line errors, progress that is a moving line on a terminal and sparse lines elsewhere.

Called by all parts of the harness. Standard library only, since it also runs before the virtual environment exists.
"""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType


class HarnessError(Exception):
    """Something a person can act on; shown as one line, without a traceback."""


def say(text: str) -> None:
    """Print one line of progress to standard error: standard output is for what other programs read."""
    print(text, file=sys.stderr, flush=True)


def run(
    argv: Sequence[str],
    *,
    check: bool = True,
    stdin: str | None = None,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    timeout: float | None = None,
) -> subprocess.CompletedProcess[str]:
    """Run a command quietly; a failure becomes a HarnessError with the command and the end of what it said."""
    try:
        done = subprocess.run(
            argv,
            check=False,
            text=True,
            capture_output=True,
            input=stdin,
            stdin=None if stdin is not None else subprocess.DEVNULL,
            env=None if env is None else {**os.environ, **env},
            cwd=cwd,
            timeout=timeout,
        )
    except FileNotFoundError as missing:
        raise HarnessError(f"{argv[0]} is missing on this machine") from missing
    except subprocess.TimeoutExpired as late:
        raise HarnessError(f"`{shlex.join(argv[:4])} …` did not end within {timeout:.0f} s") from late
    if check and done.returncode != 0:
        said = (done.stderr or done.stdout).strip()[-2000:]
        raise HarnessError(f"`{shlex.join(argv[:6])}` ended with {done.returncode}: {said}")
    return done


class Progress:
    """A line that tells what is going on and for how long, redrawn by a thread until the block ends."""

    def __init__(self, what: str, detail: Callable[[], str] = lambda: "") -> None:
        self._what = what
        self._detail = detail
        self._started = time.monotonic()
        self._stop = threading.Event()
        self._tty = sys.stderr.isatty()
        self._thread = threading.Thread(target=self._draw, daemon=True)

    def __enter__(self) -> Progress:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()
        say(self._line("done" if kind is None else "failed"))

    def _line(self, state: str = "") -> str:
        parts = [elapsed(time.monotonic() - self._started), state or self._detail()]
        line = f"{self._what}: " + ", ".join(part for part in parts if part)
        return f"\r\x1b[K{line}" if self._tty else line

    def _draw(self) -> None:
        while not self._stop.wait(0.5 if self._tty else 20):
            print(self._line(), end="" if self._tty else "\n", file=sys.stderr, flush=True)


def elapsed(seconds: float) -> str:
    """Seconds as people read them: `0.4s`, `12s`, `3m05s`."""
    if seconds < 10:
        return f"{seconds:.1f}s"
    if seconds < 60:
        return f"{seconds:.0f}s"
    return f"{int(seconds) // 60}m{int(seconds) % 60:02d}s"
