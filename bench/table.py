"""The rows of the table and how they are printed. Called by every measurement and by `__main__`."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from rich.console import Console
from rich.table import Table


@dataclass(frozen=True)
class Row:
    """One line: what was measured, its figure, the floor or goal beside it, and the ratio where there is one."""

    what: str
    figure: str
    floor: str
    ratio: float | None = None
    note: str = ""

    def document(self) -> dict[str, object]:
        """As JSON."""
        return asdict(self)


def compared(what: str, figures: Sequence[float], floors: Sequence[float], note: str = "") -> Row:
    """A row of two series in seconds: their medians, with the least and the most, and the ratio of the medians."""
    return Row(what, spread(figures), spread(floors), statistics.median(figures) / statistics.median(floors), note)


def spread(seconds: Sequence[float]) -> str:
    """`1.23 s (1.10 – 1.40)`: the median, the least, the most."""
    return f"{statistics.median(seconds):.2f} s ({min(seconds):.2f} – {max(seconds):.2f})"


def show(rows: Sequence[Row]) -> None:
    """Print the table."""
    table = Table(title="Headrace: median (least – most)")
    for name in ("what", "Headrace", "floor or goal", "ratio", "note"):
        table.add_column(name, justify="right" if name == "ratio" else "left")
    for row in rows:
        table.add_row(row.what, row.figure, row.floor, "" if row.ratio is None else f"{row.ratio:.2f}", row.note)
    Console(width=160).print(table)
