"""Throw-away Postgres servers for tests that need no cluster. Called by `tests/conftest.py` through `temporary()`."""

from __future__ import annotations

import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from harness.console import HarnessError
from harness.node.postgres_programs import as_account, binaries, initialise, make_database, own, ready


class Temporary:
    """A throw-away Postgres: `url` is its database `headrace`, owned by a role that may create others."""

    def __init__(self, directory: Path, *, fsync: bool) -> None:
        self._directory = directory
        self._durable = "on" if fsync else "off"
        self._password = secrets.token_hex(12)
        self._port = 0
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Address of the database `headrace`."""
        return f"postgresql://headrace:{self._password}@127.0.0.1:{self._port}/headrace"

    def start(self) -> None:
        """Start it, the first time on a free port, then again on the same one; returns when it takes connections."""
        for _ in range(1 if self._port else 5):
            # Another program may take a free port before Postgres does, hence the attempts.
            port = self._port or _free_port()
            if self._started(port):
                self._port = port
                make_database(self._directory, port, self._password)
                return
        raise HarnessError("a temporary Postgres did not start: " + (self._directory / "log").read_text()[-500:])

    def kill(self) -> None:
        """End it at once, as a crash would: nothing is flushed, no session is told. `start` brings it back."""
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(signal.SIGQUIT)
            self._process.wait(timeout=30)

    def _started(self, port: int) -> bool:
        settings = {
            "listen_addresses": "127.0.0.1",
            "port": port,
            "unix_socket_directories": self._directory,
            "fsync": self._durable,
            "synchronous_commit": self._durable,
            "full_page_writes": self._durable,
            "max_connections": 200,
        }
        argv = [str(binaries() / "postgres"), "-D", str(self._directory / "data")]
        argv += [f"--{name}={value}" for name, value in settings.items()]
        with (self._directory / "log").open("ab") as log:
            prefixed = as_account(argv, die_with_parent=True)
            self._process = subprocess.Popen(prefixed, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd="/")
        deadline = time.monotonic() + 30
        while self._process.poll() is None and time.monotonic() < deadline:
            if ready(self._directory, port):
                return True
            time.sleep(0.02)
        self._process.kill()
        self._process.wait()
        return False


@contextmanager
def temporary(*, fsync: bool = False) -> Iterator[Temporary]:
    """A Postgres on a free port of 127.0.0.1 that is gone after the block, and also when the caller is killed."""
    directory = Path(tempfile.mkdtemp(prefix="headrace-postgres-"))
    server = Temporary(directory, fsync=fsync)
    try:
        own(directory)
        initialise(directory / "data")
        server.start()
        yield server
    finally:
        server.kill()
        shutil.rmtree(directory, ignore_errors=True)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
