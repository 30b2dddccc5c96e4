"""The controller manager and the scheduler: the two that only watch the API server. Called by the native provider."""

from __future__ import annotations

from harness.node.daemon import Daemon
from harness.node.http import healthy
from harness.node.plan import Node


def _common(node: Node, name: str) -> tuple[str, ...]:
    config = node.pki / f"{name}.kubeconfig"
    return (
        str(node.binaries["kube"] / f"kube-{name}"),
        f"--kubeconfig={config}",
        f"--authentication-kubeconfig={config}",
        f"--authorization-kubeconfig={config}",
        "--bind-address=127.0.0.1",
        f"--tls-cert-file={node.pki / f'{name}.crt'}",
        f"--tls-private-key-file={node.pki / f'{name}.key'}",
        "--leader-elect=false",
        "--kube-api-qps=300",
        "--kube-api-burst=600",
        "--profiling=false",
    )


def manager(node: Node) -> Daemon:
    """The controller manager; volumes are bound every few seconds, since the pool of volumes is static."""
    argv = (
        *_common(node, "controller-manager"),
        "--use-service-account-credentials",
        f"--root-ca-file={node.pki / 'ca.crt'}",
        f"--service-account-private-key-file={node.pki / 'sa.key'}",
        f"--cluster-signing-cert-file={node.pki / 'ca.crt'}",
        f"--cluster-signing-key-file={node.pki / 'ca.key'}",
        "--pvclaimbinder-sync-period=5s",
    )
    return Daemon("controller-manager", argv, lambda: healthy(10257, "/healthz", tls=True))


def scheduler(node: Node) -> Daemon:
    """The scheduler."""
    return Daemon("scheduler", _common(node, "scheduler"), lambda: healthy(10259, "/healthz", tls=True))
