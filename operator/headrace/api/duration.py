"""Durations as objects write them: a whole number and one unit, such as `90s`, `5m`, `26h`, `7d`, `6w`.

Steps of ranges also know months and years (`1mo`, `1y`). Called by `compile`, and wherever a duration of an
object becomes a number. The patterns bound the digits so that nothing overflows a date: the longest
duration is 9999w, about 190 years.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

_FIXED: Final = r"[1-9][0-9]{0,6}s|[1-9][0-9]{0,5}m|[1-9][0-9]{0,4}h|[1-9][0-9]{0,3}[dw]"
DURATION_PATTERN: Final = rf"^({_FIXED})\Z"
EVERY_PATTERN: Final = rf"^({_FIXED}|[1-9][0-9]{{0,2}}(mo|y))\Z"
IDLE_TIMEOUT_PATTERN: Final = rf"^(0|never|{_FIXED})\Z"

_DURATION_RE: Final = re.compile(DURATION_PATTERN)
_EVERY_RE: Final = re.compile(EVERY_PATTERN)
_UNITS: Final = {
    "s": timedelta(seconds=1),
    "m": timedelta(minutes=1),
    "h": timedelta(hours=1),
    "d": timedelta(days=1),
    "w": timedelta(weeks=1),
}


@dataclass(frozen=True, slots=True)
class Every:
    """A step of a range: calendar months, or a fixed length; exactly one of them is not zero."""

    months: int = 0
    fixed: timedelta = timedelta(0)


def parse_duration(text: str) -> timedelta:
    """Length of `5m`, `26h`, `6w`…; ValueError with the accepted form when `text` is none."""
    if not _DURATION_RE.match(text):
        raise ValueError(f"{text!r} is no duration: write a whole number and one of s m h d w, such as 5m")
    return int(text[:-1]) * _UNITS[text[-1]]


def parse_every(text: str) -> Every:
    """Step of a range: as `parse_duration`, and `1mo`, `1y` in calendar months; ValueError otherwise."""
    if not _EVERY_RE.match(text):
        raise ValueError(f"{text!r} is no step: write a whole number and one of s m h d w mo y, such as 1mo")
    if text.endswith("mo"):
        return Every(months=int(text[:-2]))
    if text.endswith("y"):
        return Every(months=12 * int(text[:-1]))
    return Every(fixed=parse_duration(text))


def parse_idle_timeout(text: str) -> timedelta | None:
    """How long a worker may idle: `0` is zero (a pod per attempt, no worker), `never` is None (no limit)."""
    if text == "0":
        return timedelta(0)
    return None if text == "never" else parse_duration(text)
