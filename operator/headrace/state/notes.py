"""What is wrong with a report, in words: the last message of a task that is done all the same. Pure.

`attempts` and `run.reports` make them. Names in them are text of the user's: bounded, and nothing that does not print.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import Final

_MOST: Final = 8
_LONGEST: Final = 64


def not_known(fields: Sequence[str]) -> str:
    """That a report has these fields, which mean nothing; empty for none."""
    return f"its report has fields that are not known and count for nothing: {_listed(fields)}" if fields else ""


def not_made(named: Iterable[tuple[int, str]], columns: Iterable[int], keys: Collection[str], outputs: int) -> str:
    """That a report names partitions, by output and key, or columns, by output, which a task of these keys and so many
    outputs does not make; empty if it does not.
    """
    strange = [f"{key} of output {output}" for output, key in named if key not in keys or not output < outputs]
    strange += [f"columns of output {output}" for output in columns if not output < outputs]
    if not strange:
        return ""
    return f"its report names what the task does not make, which counts for nothing: {_listed(strange)}"


def joined(*notes: str | None) -> str:
    """All that is to be said."""
    return "; ".join(note for note in notes if note)


def _listed(names: Sequence[str]) -> str:
    printed = ["".join(c if c.isprintable() else "?" for c in name)[:_LONGEST] for name in names[:_MOST]]
    more = len(names) - len(printed)
    return ", ".join(printed) + (f" and {more} more" if more else "")
