"""Objects of a cluster as they change, through kubectl, which every provider has.

Called by the demo.
"""

from __future__ import annotations

import json
import os
import queue
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import IO, Any

from harness.console import HarnessError
from harness.deployment import program

Object = dict[str, Any]
_NOTHING, _PIPE = subprocess.DEVNULL, subprocess.PIPE


def objects(text: str) -> tuple[list[Object], str]:
    """The whole JSON objects at the beginning of a stream, and what is left of it."""
    decoder = json.JSONDecoder()
    found: list[Object] = []
    rest = text.lstrip()
    while rest:
        try:
            value, end = decoder.raw_decode(rest)
        except json.JSONDecodeError:
            break
        found.append(value)
        rest = rest[end:].lstrip()
    return found, rest


def watch(env: Mapping[str, str], namespace: str, kinds: Sequence[str], within: float) -> Iterator[Object]:
    """Objects of several kinds, first as they are, then at each change, until the caller stops asking.

    Raises HarnessError when `within` seconds have passed; a watch that the server ends is taken up again.
    """
    changes: queue.Queue[Object] = queue.Queue()
    stop = threading.Event()
    running: dict[str, subprocess.Popen[str]] = {}
    threads = [threading.Thread(target=_follow, args=(env, namespace, kind, changes, stop, running)) for kind in kinds]
    for thread in threads:
        thread.start()
    deadline = time.monotonic() + within
    try:
        while (left := deadline - time.monotonic()) > 0:
            try:
                yield changes.get(timeout=min(left, 1))
            except queue.Empty:
                continue
        raise HarnessError(f"not done within {within:.0f} s")
    finally:
        stop.set()
        for process in list(running.values()):
            process.terminate()
        for thread in threads:
            thread.join()


def _follow(
    env: Mapping[str, str],
    namespace: str,
    kind: str,
    changes: queue.Queue[Object],
    stop: threading.Event,
    running: dict[str, subprocess.Popen[str]],
) -> None:
    while not stop.is_set():
        argv = [program(env), "-n", namespace, "get", kind, "--watch", "-o", "json"]
        whole = {**os.environ, **env}
        with subprocess.Popen(argv, env=whole, text=True, stdin=_NOTHING, stdout=_PIPE, stderr=_NOTHING) as process:
            running[kind] = process
            if stop.is_set():
                process.terminate()
            assert process.stdout is not None
            _read(process.stdout, changes)
        stop.wait(0.5)


def _read(stream: IO[str], changes: queue.Queue[Object]) -> None:
    rest = ""
    for line in stream:
        rest += line
        # kubectl indents, so only a line that closes an object can complete one.
        if line.startswith("}"):
            found, rest = objects(rest)
            for one in found:
                changes.put(one)
