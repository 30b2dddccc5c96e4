"""The generic process under every daemon of the node: start, log, identity, health with a deadline, stop.

Each daemon's own file (`etcd.py`, `kubelet.py`, …) returns one `Daemon`; the native provider runs them in order.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from harness.console import HarnessError
from harness.node import identity
from harness.node.identity import Identity
from harness.node.sandbox import Sandbox

# Daemons get a small environment of their own: a proxy meant for downloads must not stand between them.
ENVIRONMENT = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "HOME": "/root",
    "LC_ALL": "C.UTF-8",
}
_LOG_LIMIT = 64 * 1024 * 1024


@dataclass(frozen=True)
class Daemon:
    """One program of the node.

    `health` raises OSError or returns words when it is not well, None when it is; `prepare` writes what the program
    reads, just before each start.
    """

    name: str
    argv: tuple[str, ...]
    health: Callable[[], str | None]
    prepare: Callable[[], None] = lambda: None
    user: str | None = None
    env: Mapping[str, str] = field(default_factory=dict)
    stop_signal: signal.Signals = signal.SIGTERM
    grace: float = 10.0
    ready_within: float = 90.0


class Supervised:
    """A daemon of one cluster together with what was recorded of it."""

    def __init__(self, daemon: Daemon, state: Path, sandbox: Sandbox) -> None:
        self.daemon = daemon
        self._record = state / "run" / f"{daemon.name}.json"
        self.log = state / "log" / f"{daemon.name}.log"
        self._sandbox = sandbox

    @property
    def process(self) -> Identity | None:
        """The living process, if any."""
        found = identity.load(self._record)
        return found if found and found.alive() else None

    def start(self) -> bool:
        """Start the daemon unless it runs; True when it was started."""
        if self.process is not None:
            return False
        self.log.parent.mkdir(parents=True, exist_ok=True)
        if self.log.exists() and self.log.stat().st_size > _LOG_LIMIT:
            self.log.replace(self.log.with_suffix(".log.old"))
        self.daemon.prepare()
        env = {**ENVIRONMENT, **self.daemon.env}
        user = self.daemon.user
        self._sandbox.launch(self.daemon.argv, record=self._record, log=self.log, user=user, env=env)
        return True

    def sick(self) -> str | None:
        """Why the daemon is not well, in words; None when it is."""
        if self.process is None:
            return "not running"
        try:
            with self._sandbox.network():
                return self.daemon.health()
        except (OSError, HarnessError) as error:
            return str(error) or type(error).__name__

    def wait(self) -> None:
        """Wait until the daemon is well; an error that quotes its log when it ends or the deadline passes."""
        deadline = time.monotonic() + self.daemon.ready_within
        while (why := self.sick()) is not None:
            if self.process is None or time.monotonic() > deadline:
                raise HarnessError(f"{self.daemon.name} did not become healthy ({why}); {self._last_words()}")
            time.sleep(0.05)

    def stop(self) -> None:
        """End the daemon in order, then by force."""
        process = self.process
        if process is not None:
            process.stop(self.daemon.grace, self.daemon.stop_signal)

    def kill(self) -> int:
        """End the daemon with SIGKILL, for tests of faults; its pid."""
        process = self.process
        if process is None or not process.send(signal.SIGKILL):
            raise HarnessError(f"{self.daemon.name} is not running")
        process.gone(10)
        return process.pid

    def _last_words(self) -> str:
        if not self.log.exists():
            return f"it left no log at {self.log}"
        with self.log.open("rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - 1500))
            lines = file.read().decode(errors="replace").strip().splitlines()[-4:]
        return f"end of {self.log}: " + " | ".join(lines)
