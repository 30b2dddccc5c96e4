"""The cluster's Postgres, on the node's address, with a password of its own. Called by the native provider."""

from __future__ import annotations

import shutil
import signal

from harness import files
from harness.node import postgres_programs as postgres
from harness.node.daemon import Daemon
from harness.node.plan import Node

_PORT = 5432
_ACCESS = """\
local all postgres peer
local all headrace scram-sha-256
host all headrace 0.0.0.0/0 scram-sha-256
"""


def daemon(node: Node) -> Daemon:
    """Postgres with its defaults of durability; the data outlives any kill."""
    home, sockets = node.state / "postgres", node.state / "postgres-socket"
    argv = (
        str(postgres.binaries() / "postgres"),
        *("-D", str(home)),
        f"--listen_addresses={node.link.node}",
        f"--port={_PORT}",
        f"--unix_socket_directories={sockets}",
        "--max_connections=200",
        "--shared_buffers=256MB",
    )

    def health() -> str | None:
        return None if postgres.ready(sockets, _PORT) else "it does not take connections yet"

    def prepare() -> None:
        postgres.initialise(home)
        postgres.own(sockets)
        sockets.chmod(0o755)
        files.write(home / "pg_hba.conf", _ACCESS)
        if (user := postgres.account()) is not None:
            shutil.chown(home / "pg_hba.conf", user)

    # SIGINT is the fast shutdown: sessions are ended, data is written.
    return Daemon("postgres", argv, health, prepare, user=postgres.account(), stop_signal=signal.SIGINT, grace=30)


def prepare(node: Node) -> None:
    """Make the role and the database of the operator, unless they are there."""
    postgres.make_database(node.state / "postgres-socket", _PORT, node.password)
