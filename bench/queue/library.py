"""A worker process of the library, `headrace.worker`, at a gateway.

`library LOAD ADDRESS NAME drain`: until nothing waits. `stay`: until it is killed. `hold`: every task runs for ever.
"""

from __future__ import annotations

import json
import sys
import tempfile
import threading
import time
from pathlib import Path

from bench.queue.load import given
from headrace.worker import Task
from headrace.worker.gateway import Gateway
from headrace.worker.loop import Loop

_THREADS = 8


def main() -> None:
    """Work, and print how many seconds that took."""
    load, url, name, how = given(), sys.argv[2], sys.argv[3], sys.argv[4]

    def noop(_: Task) -> None:
        if how == "hold":
            threading.Event().wait()

    with tempfile.NamedTemporaryFile("w") as token:
        Path(token.name).write_text(name)
        threads = load.at_once if how == "hold" else _THREADS
        idle = 0.0 if how == "drain" else None
        loop = Loop(Gateway(url, Path(token.name)), noop, load.at_once, threads, idle, load.lease)
        began = time.perf_counter()
        loop.run()
        sys.stdout.write(json.dumps({"seconds": time.perf_counter() - began}) + "\n")


if __name__ == "__main__":
    main()
