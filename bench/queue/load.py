"""What every queue is measured with: how many tasks, over how many connections, how many at a time.

Standard library only: the peers' processes, in environments of their own, import it too.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass


@dataclass(frozen=True)
class Load:
    """`batch`: tasks taken and ended in one go, where a queue can; `at_once`: tasks that a worker holds at most."""

    url: str
    tasks: int
    connections: int = 4
    batch: int = 200
    at_once: int = 800
    lease: float = 60.0

    def text(self) -> str:
        """As an argument of a process."""
        return json.dumps(asdict(self))


def given() -> Load:
    """What this process is to do: its first argument."""
    return Load(**json.loads(sys.argv[1]))


async def told(drain: Callable[[], Awaitable[object]]) -> None:
    """Run `drain` and print how many seconds it took."""
    began = time.perf_counter()
    await drain()
    sys.stdout.write(json.dumps({"seconds": time.perf_counter() - began}) + "\n")
