"""The recorded objects (tests/gitops/objects): `python -m tests.gitops.recorded` writes them anew."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from tests.gitops.states import State, states

OBJECTS = Path(__file__).parent / "objects"


def written() -> dict[str, str]:
    """File name -> text."""
    return {f"{name}.yaml": _text(state) for name, state in states().items()}


def read() -> dict[str, dict[str, Any]]:
    """Name -> object."""
    return {path.stem: yaml.safe_load(path.read_text()) for path in sorted(OBJECTS.glob("*.yaml"))}


def _text(state: State) -> str:
    return yaml.safe_dump(state.object, sort_keys=False, width=120, allow_unicode=True)


if __name__ == "__main__":
    for old in OBJECTS.glob("*.yaml"):
        old.unlink()
    for name, text in written().items():
        (OBJECTS / name).write_text(text)
