"""An operator that is killed at one write to the API server: before it, or after it, when the answer is lost.

`python -m tests.cluster.faulty WHEN METHOD PATTERN`: everything is the operator's own code but the last word of the way
to the API server. Without arguments it is not killed.
"""

from __future__ import annotations

import asyncio
import os
import re
import signal
import sys
from collections.abc import Awaitable, Callable
from typing import Any

from headrace.cluster.client import Client
from headrace.operate import operate
from headrace.settings import Settings


def arm(when: str, method: str, pattern: str) -> None:
    """Have this process killed at the first write of `method` to a path like `pattern`."""
    send: Callable[..., Awaitable[bytes | None]] = Client._send

    async def killed(self: Client, given: str, path: str, *rest: Any, **more: Any) -> bytes | None:
        hit = given == method and re.search(pattern, path) is not None
        if hit and when == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        answer = await send(self, given, path, *rest, **more)
        if hit:
            os.kill(os.getpid(), signal.SIGKILL)
        return answer

    Client._send = killed  # type: ignore[method-assign]


if __name__ == "__main__":
    if sys.argv[1:]:
        arm(*sys.argv[1:])
    asyncio.run(operate(Settings.from_environment()))
