"""Files that are either whole or absent, and locks that end with their holder: what makes interruption harmless.

Called wherever the harness records something or makes something slow.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from harness.console import say


def write(path: Path, content: str | bytes, mode: int = 0o644) -> None:
    """Write a file in one step: a reader, or a run after a crash, sees the old content or the new, never a part."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    data = content.encode() if isinstance(content, str) else content
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
    draft.chmod(mode)
    draft.replace(path)


def write_json(path: Path, value: object, mode: int = 0o644) -> None:
    """Write a JSON document in one step."""
    write(path, json.dumps(value, indent=1, sort_keys=True) + "\n", mode)


def read_json(path: Path) -> dict[str, Any] | None:
    """Read a JSON object; None when the file is absent or damaged, which callers treat alike: make it anew."""
    try:
        value = json.loads(path.read_text())
    except (FileNotFoundError, NotADirectoryError, json.JSONDecodeError):
        return None
    return value if isinstance(value, dict) else None


@contextmanager
def locked(path: Path, waiting_for: str) -> Iterator[int]:
    """Hold an exclusive lock on `path`; says so once when another run holds it. Yields the descriptor of the lock."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say(f"waiting for another run: {waiting_for}")
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield descriptor
    finally:
        os.close(descriptor)


def digest(parts: Iterable[bytes]) -> str:
    """Key of a content: the first 16 hex digits of the SHA-256 of the parts put together."""
    sha = hashlib.sha256()
    for part in parts:
        sha.update(part)
    return sha.hexdigest()[:16]
