"""Postgres: the cluster's own, inside its sandbox, and throw-away ones for tests that need no cluster.

Called by the native provider, and by `tests/conftest.py` through `temporary()`. Postgres refuses to run as root, so
as root it runs as the account that Debian's package makes.
"""

from __future__ import annotations

import os
import pwd
import re
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from harness import files, packages
from harness.console import HarnessError, run
from harness.node.daemon import Daemon
from harness.node.plan import Node

OLDEST = 15
_KEEP_CLUSTERLESS = Path("/etc/postgresql-common/createcluster.d/headrace.conf")


def binaries() -> Path:
    """Directory of Postgres's programs: 15 where there is one, else the newest after it; installs Debian's if none."""
    found = _installed()
    if found is None:
        # Debian's package would otherwise start a server of its own on port 5432.
        if os.geteuid() == 0:
            files.write(_KEEP_CLUSTERLESS, "create_main_cluster = false\n")
        packages.install([f"postgresql-{OLDEST}"])
        found = _installed()
    if found is None:
        raise HarnessError(f"Postgres {OLDEST} is missing on this machine")
    return found


def _installed() -> Path | None:
    versions = {
        int(one.parent.name): one for one in Path("/usr/lib/postgresql").glob("[0-9]*/bin") if (one / "initdb").exists()
    }
    suitable = sorted(version for version in versions if version >= OLDEST)
    if suitable:
        return versions[suitable[0]]
    program = shutil.which("postgres")
    if program is None:
        return None
    told = re.search(r"(\d+)", run([program, "--version"]).stdout)
    home = Path(program).resolve().parent
    return home if told and int(told[1]) >= OLDEST and (home / "initdb").exists() else None


def account() -> str | None:
    """The account Postgres runs as: None for the caller's own, when that is not root."""
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        try:
            pwd.getpwnam(name)
        except KeyError:
            continue
        return name
    raise HarnessError("Postgres needs an account that is not root: there is neither `postgres` nor `nobody`")


def _as_account(argv: Sequence[str], *, die_with_parent: bool = False) -> list[str]:
    user = account()
    prefix = ["--pdeathsig", "QUIT"] if die_with_parent else []
    if user is not None:
        group = pwd.getpwnam(user).pw_gid
        prefix = ["--reuid", user, "--regid", str(group), "--init-groups", *prefix]
    return ["setpriv", *prefix, "--", *argv] if prefix else list(argv)


def _own(path: Path) -> None:
    path.mkdir(parents=True, exist_ok=True, mode=0o700)
    user = account()
    if user is not None:
        shutil.chown(path, user, pwd.getpwnam(user).pw_gid)
    path.chmod(0o700)


def _initialise(home: Path) -> None:
    """Make a data directory at `home`, whole or not at all: a half-made one lacks the marker and is made again."""
    marker = home / "headrace.complete"
    if marker.exists():
        return
    shutil.rmtree(home, ignore_errors=True)
    _own(home)
    options = ["--auth-local=peer", "--auth-host=scram-sha-256", "--encoding=UTF8", "--locale=C.UTF-8", "--no-sync"]
    run(_as_account([str(binaries() / "initdb"), "-D", str(home), "--username=postgres", *options]), cwd=Path("/"))
    files.write(marker, "")


def daemon(node: Node) -> Daemon:
    """The cluster's Postgres, on the node's address; its password is made at the first `up`."""
    home, sockets = node.state / "postgres", node.state / "postgres-socket"
    _initialise(home)
    _own(sockets)
    sockets.chmod(0o755)
    access = "local all postgres peer\nlocal all headrace scram-sha-256\nhost all headrace 0.0.0.0/0 scram-sha-256\n"
    files.write(home / "pg_hba.conf", access)
    if (user := account()) is not None:
        shutil.chown(home / "pg_hba.conf", user)
    settings = {
        "listen_addresses": node.link.node,
        "unix_socket_directories": str(sockets),
        "max_connections": "200",
        "shared_buffers": "256MB",
        "logging_collector": "off",
    }
    argv = (str(binaries() / "postgres"), "-D", str(home), *(f"--{key}={value}" for key, value in settings.items()))
    ready = [str(binaries() / "pg_isready"), "-q", "-h", str(sockets)]

    def health() -> str | None:
        code = subprocess.run(ready, check=False, capture_output=True, timeout=10).returncode
        return None if code == 0 else "it does not take connections yet"

    # A fast shutdown: sessions are ended, data is written.
    return Daemon("postgres", argv, health, user=user, stop_signal=signal.SIGINT, grace=30)


def prepare(node: Node) -> None:
    """Make the role and the database of the operator, unless they are there."""
    psql = [str(binaries() / "psql"), "-qX", "-v", "ON_ERROR_STOP=1", "-h", str(node.state / "postgres-socket")]
    _psql_as_superuser(psql, node.password)


def _psql_as_superuser(psql: Sequence[str], password: str) -> None:
    # The password goes by standard input: an argument could be read by any account of the machine.
    script = rf"""
        SELECT 'CREATE ROLE headrace LOGIN CREATEDB' WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'headrace')
        \gexec
        ALTER ROLE headrace PASSWORD '{password}';
        SELECT 'CREATE DATABASE headrace OWNER headrace'
        WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = 'headrace')
        \gexec
    """
    run(_as_account([*psql, "-U", "postgres", "-d", "postgres"]), stdin=script, cwd=Path("/"))


@dataclass(frozen=True)
class Temporary:
    """A throw-away Postgres: `url` is its database `headrace`, owned by a role that may create others."""

    url: str
    process: subprocess.Popen[bytes]
    directory: Path

    def kill(self) -> None:
        """End it at once, as a crash would; `restart` brings it back with its data."""
        self.process.send_signal(signal.SIGQUIT)
        self.process.wait(timeout=30)


@contextmanager
def temporary(*, fsync: bool = False) -> Iterator[Temporary]:
    """A Postgres on a free port of 127.0.0.1 that is gone after the block, and also when the caller is killed."""
    directory = Path(tempfile.mkdtemp(prefix="headrace-postgres-"))
    process: subprocess.Popen[bytes] | None = None
    try:
        _own(directory)
        home = directory / "data"
        _initialise(home)
        password = secrets.token_hex(12)
        process, port = _started(directory, home, fsync=fsync)
        _psql_as_superuser(
            [str(binaries() / "psql"), "-qX", "-v", "ON_ERROR_STOP=1", "-h", str(directory), "-p", str(port)], password
        )
        yield Temporary(f"postgresql://headrace:{password}@127.0.0.1:{port}/headrace", process, directory)
    finally:
        if process is not None and process.poll() is None:
            process.send_signal(signal.SIGQUIT)
            process.wait(timeout=30)
        shutil.rmtree(directory, ignore_errors=True)


def _started(directory: Path, home: Path, *, fsync: bool) -> tuple[subprocess.Popen[bytes], int]:
    """Start Postgres on a free port; another program may take the port in between, so a few are tried."""
    for _ in range(5):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = int(probe.getsockname()[1])
        durable = "on" if fsync else "off"
        settings = (
            "listen_addresses=127.0.0.1",
            f"port={port}",
            f"unix_socket_directories={directory}",
            f"fsync={durable}",
            f"synchronous_commit={durable}",
            f"full_page_writes={durable}",
            "max_connections=200",
        )
        argv = [str(binaries() / "postgres"), "-D", str(home), *(f"--{one}" for one in settings)]
        with (directory / "log").open("ab") as log:
            process = subprocess.Popen(
                _as_account(argv, die_with_parent=True), stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd="/"
            )
        ready = [str(binaries() / "pg_isready"), "-q", "-h", str(directory), "-p", str(port)]
        deadline = time.monotonic() + 30
        while process.poll() is None and time.monotonic() < deadline:
            if subprocess.run(ready, check=False).returncode == 0:
                return process, port
            time.sleep(0.02)
        process.kill()
        process.wait()
    raise HarnessError("a temporary Postgres did not start: " + (directory / "log").read_text()[-500:])
