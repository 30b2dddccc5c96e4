"""How text looks: colours where a terminal takes them, signs that would steer it made visible, long values short.

Pure but for `colours`, which looks at the terminal.
"""

from __future__ import annotations

import json
import os
import re
import sys
import textwrap
from collections.abc import Callable, Sequence
from typing import Final

WIDTH: Final = 80

_CODES: Final = {"green": "32", "yellow": "33", "red": "31", "dim": "2", "bold": "1"}
_CONTROL: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")
_HEX: Final = re.compile(r"[0-9a-f]{24,}")

Paint = Callable[[str, str], str]
"""Text and colour to the text as it is written."""


def colours() -> bool:
    """Whether standard output is a terminal that takes colours, and nobody has said no (https://no-color.org)."""
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def paint(text: str, colour: str) -> str:
    """`text` in a colour of the terminal."""
    return f"\x1b[{_CODES[colour]}m{text}\x1b[0m" if text else text


def plain(text: str, _: str) -> str:
    """`text` as it is."""
    return text


def clean(text: str) -> str:
    """`text` without what a terminal would obey: what is shown was written by others."""
    return _CONTROL.sub(lambda found: f"\\x{ord(found[0]):02x}", text)


def shorten(text: str, most: int) -> str:
    """At most `most` characters, the middle left out: both ends of an image or a path say something."""
    if len(text) <= most:
        return text
    tail = (most - 1) // 2
    return text[: most - 1 - tail] + "…" + text[len(text) - tail :]


def wrapped(text: str, first: str, then: str | None = None) -> list[str]:
    """A reason on a few lines of WIDTH, its middle left out if it is long; words are kept whole, to be copied."""
    told = shorten(clean(" ".join(text.split())), 5 * WIDTH)
    return textwrap.wrap(
        told, WIDTH, initial_indent=first, subsequent_indent=first if then is None else then, break_long_words=False,
        break_on_hyphens=False,
    ) or [first]  # fmt: skip


def values(old: object, new: object, most: int) -> tuple[str, str]:
    """Two JSON values that differ, each on one line of at most `most` characters, so that it is seen where they do."""
    one, other = _text(old), _text(new)
    if one == other:  # `20` and 20
        one, other = (json.dumps(given, ensure_ascii=False) for given in (old, new))
    if max(len(one), len(other)) <= most:
        return one, other
    short = [_HEX.sub(lambda found: found[0][:10] + "…", text) for text in (one, other)]
    shown = [shorten(text, most) for text in short]
    if shown[0] == shown[1]:
        alike = next((at for at, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), 0)
        begin = max(0, alike - most // 3)
        shown = [("…" if begin else "") + text[begin : begin + most - 2] for text in (one, other)]
        shown = [line + ("…" if begin + most - 2 < len(t) else "") for line, t in zip(shown, (one, other), strict=True)]
    return shown[0], shown[1]


def _text(given: object) -> str:
    if given is None:
        return "none"
    text = given if isinstance(given, str) and given else json.dumps(given, ensure_ascii=False, separators=(", ", ": "))
    return clean(text.replace("\n", "⏎"))


def table(rows: Sequence[Sequence[str]], indent: str = "  ") -> list[str]:
    """Rows in columns; a cell too long for its column, which is at most 32 wide, goes on on a line of its own."""
    widths = [
        max((len(row[column]) for row in rows if len(row[column]) <= 32), default=0) for column in range(len(rows[0]))
    ]
    lines: list[str] = []
    for row in rows:
        line = indent
        for cell, width in zip(row[:-1], widths[:-1], strict=True):
            line += f"{cell:{width}}  "
            if len(cell) > width:
                lines.append(line.rstrip())
                line = indent + " " * (width + 2)
        lines.append((line + row[-1]).rstrip())
    return lines
