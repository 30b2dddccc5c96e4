"""etcd: the API server's store, on the node's loopback only. Called by the native provider."""

from __future__ import annotations

from harness.node.daemon import Daemon
from harness.node.http import healthy
from harness.node.plan import Node


def daemon(node: Node) -> Daemon:
    """etcd without fsync: the data survives any process's death; only a crash of the machine may lose it."""
    client, peer = "http://127.0.0.1:2379", "http://127.0.0.1:2380"
    argv = (
        str(node.binaries["etcd"] / "server"),
        f"--data-dir={node.state / 'etcd'}",
        "--name=node",
        f"--listen-client-urls={client}",
        f"--advertise-client-urls={client}",
        f"--listen-peer-urls={peer}",
        f"--initial-advertise-peer-urls={peer}",
        f"--initial-cluster=node={peer}",
        "--unsafe-no-fsync",
        "--log-level=warn",
        "--auto-compaction-mode=periodic",
        "--auto-compaction-retention=30m",
    )
    return Daemon("etcd", argv, lambda: healthy(2379, "/health"))
