"""Words that all who write for people use."""

from __future__ import annotations


def counted(number: int, what: str) -> str:
    """`1 task`, `2 tasks`, `1,000 tasks`."""
    return f"{number:,} {what}{'' if number == 1 else 's'}"
