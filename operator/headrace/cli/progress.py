"""A bar on standard error for what is waited for; a line for each change where that is no terminal."""

from __future__ import annotations

import sys
from types import TracebackType


class Progress:
    """So many things; `show` says how many are over, with words."""

    def __init__(self, total: int) -> None:
        from rich.console import Console  # noqa: PLC0415 - only those who wait need it
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn  # noqa: PLC0415
        from rich.progress import Progress as Bar  # noqa: PLC0415

        console = Console(stderr=True)
        self._terminal = console.is_terminal
        columns = (
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.description}", markup=False),
            TimeElapsedColumn(),
        )
        self._bar = Bar(*columns, console=console, transient=True, disable=not self._terminal)
        self._task = self._bar.add_task("", total=total)
        self._told = ""

    def show(self, over: int, words: str, total: int | None = None) -> None:
        """So many are over; of `total`, where more came to be known."""
        self._bar.update(self._task, completed=over, description=words, total=total)
        if not self._terminal and words != self._told:
            print(words, file=sys.stderr, flush=True)
        self._told = words

    def __enter__(self) -> Progress:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._bar.stop()
