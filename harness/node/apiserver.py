"""The API server: default admission (PodSecurity included), RBAC, an audit log of every request.

Called by the native provider. The audit log is what the benchmarks count requests from.
"""

from __future__ import annotations

from harness import files
from harness.node.daemon import Daemon
from harness.node.http import healthy
from harness.node.network import SERVICES
from harness.node.plan import Node

AUDIT = {
    "apiVersion": "audit.k8s.io/v1",
    "kind": "Policy",
    "omitStages": ["RequestReceived"],
    "rules": [{"level": "Metadata"}],
}


def daemon(node: Node) -> Daemon:
    """The API server on the node's address; its data is in etcd, so it can be killed at any time."""
    pki = node.pki
    policy = node.state / "config" / "audit-policy.json"
    argv = (
        str(node.binaries["kube"] / "kube-apiserver"),
        "--etcd-servers=http://127.0.0.1:2379",
        "--bind-address=0.0.0.0",
        "--secure-port=6443",
        f"--advertise-address={node.link.node}",
        "--endpoint-reconciler-type=lease",
        f"--service-cluster-ip-range={SERVICES}",
        f"--client-ca-file={pki / 'ca.crt'}",
        f"--tls-cert-file={pki / 'apiserver.crt'}",
        f"--tls-private-key-file={pki / 'apiserver.key'}",
        "--service-account-issuer=https://kubernetes.default.svc.cluster.local",
        f"--service-account-key-file={pki / 'sa.pub'}",
        f"--service-account-signing-key-file={pki / 'sa.key'}",
        "--authorization-mode=Node,RBAC",
        "--enable-admission-plugins=NodeRestriction",
        "--allow-privileged",
        f"--kubelet-client-certificate={pki / 'kubelet-client.crt'}",
        f"--kubelet-client-key={pki / 'kubelet-client.key'}",
        f"--kubelet-certificate-authority={pki / 'ca.crt'}",
        "--kubelet-preferred-address-types=InternalIP",
        f"--audit-policy-file={policy}",
        f"--audit-log-path={node.state / 'audit' / 'audit.log'}",
        "--audit-log-maxsize=200",
        "--audit-log-maxbackup=2",
        "--profiling=false",
    )

    def prepare() -> None:
        files.write_json(policy, AUDIT)
        (node.state / "audit").mkdir(parents=True, exist_ok=True)

    return Daemon("apiserver", argv, lambda: healthy(6443, "/readyz", tls=True), prepare)
