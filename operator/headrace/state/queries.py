"""SQL by name: every statement lives in `sql/*.sql`, and Python holds none.

A file is a run of statements, each under a line `-- name: what_it_does` and a comment of its purpose. Parameters are
psycopg's named ones, `%(org_id)s`.
"""

from __future__ import annotations

import re
from functools import cache
from importlib.resources import files
from typing import LiteralString

_NAME = re.compile(r"^-- name: ([a-z_]+)$", re.MULTILINE)


@cache
def _statements() -> dict[str, LiteralString]:
    found: dict[str, LiteralString] = {}
    for file in sorted(files(__package__).joinpath("sql").iterdir(), key=lambda f: f.name):
        parts = _NAME.split(file.read_text())
        for name, body in zip(parts[1::2], parts[2::2], strict=True):
            if name in found:
                raise ValueError(f"{file.name}: the statement {name} is defined twice")
            found[name] = body.strip()
    return found


def sql(name: str) -> LiteralString:
    """The statement called `name`; KeyError if there is none. The files are part of the package, hence literal."""
    return _statements()[name]
