"""Certificates, keys and kubeconfigs of one cluster.

Called by the native provider. The standard library makes no certificates, so openssl does. All of it is made in a
draft directory that is renamed when whole.
"""

from __future__ import annotations

import base64
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from harness import files
from harness.console import run
from harness.node.network import API_SERVICE

NODE = "node-1"
_DAYS = "3650"


@dataclass(frozen=True)
class Party:
    """Who a certificate is for: its file name, its subject, the names and addresses it serves under."""

    name: str
    subject: str
    serves: str = ""


def parties(address: str) -> tuple[Party, ...]:
    """Everyone who needs a certificate in a cluster whose node has `address`."""
    local = f"DNS:localhost,IP:127.0.0.1,IP:{address}"
    service = ",".join(
        f"DNS:kubernetes{rest}" for rest in ("", ".default", ".default.svc", ".default.svc.cluster.local")
    )
    return (
        Party("apiserver", "/CN=kube-apiserver", f"{local},{service},IP:{API_SERVICE}"),
        Party("admin", "/O=system:masters/CN=admin"),
        Party("kubelet-client", "/O=system:masters/CN=kube-apiserver-kubelet-client"),
        Party("controller-manager", "/CN=system:kube-controller-manager", local),
        Party("scheduler", "/CN=system:kube-scheduler", local),
        Party("proxy", "/CN=system:kube-proxy"),
        Party("kubelet", f"/O=system:nodes/CN=system:node:{NODE}", f"{local},DNS:{NODE}"),
    )


def ensure(state: Path, address: str) -> Path:
    """Directory of the cluster's certificates; made when absent."""
    home = state / "pki"
    if home.exists():
        return home
    draft = state / f"pki.draft-{os.getpid()}"
    for stale in state.glob("pki.draft-*"):
        shutil.rmtree(stale)
    draft.mkdir(mode=0o700, parents=True)
    _authority(draft)
    for party in parties(address):
        _issue(draft, party)
    for name in ("admin", "controller-manager", "scheduler", "proxy", "kubelet"):
        files.write_json(draft / f"{name}.kubeconfig", kubeconfig(draft, name, address, state.name), 0o600)
    run(["openssl", "genrsa", "-out", str(draft / "sa.key"), "2048"])
    run(["openssl", "rsa", "-in", str(draft / "sa.key"), "-pubout", "-out", str(draft / "sa.pub")])
    draft.rename(home)
    return home


def _authority(home: Path) -> None:
    key, crt = str(home / "ca.key"), str(home / "ca.crt")
    curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    run(
        [
            "openssl",
            "req",
            "-x509",
            *curve,
            "-days",
            _DAYS,
            "-subj",
            "/CN=headrace-cluster",
            "-keyout",
            key,
            "-out",
            crt,
        ]
    )


def _issue(home: Path, party: Party) -> None:
    key, request, crt = (str(home / f"{party.name}.{kind}") for kind in ("key", "csr", "crt"))
    curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    run(["openssl", "req", *curve, "-subj", party.subject, "-keyout", key, "-out", request])
    extensions = home / f"{party.name}.ext"
    extensions.write_text(
        "extendedKeyUsage=serverAuth,clientAuth\n" + (f"subjectAltName={party.serves}\n" if party.serves else "")
    )
    signer = ["-CA", str(home / "ca.crt"), "-CAkey", str(home / "ca.key"), "-CAcreateserial", "-days", _DAYS]
    run(["openssl", "x509", "-req", "-in", request, *signer, "-out", crt, "-extfile", str(extensions)])


def kubeconfig(home: Path, name: str, address: str, cluster: str) -> dict[str, object]:
    """A kubeconfig document with everything inside, so that it can be copied; kubectl reads JSON as YAML."""

    def embedded(file: str) -> str:
        return base64.b64encode((home / file).read_bytes()).decode()

    server = {"server": f"https://{address}:6443", "certificate-authority-data": embedded("ca.crt")}
    user = {"client-certificate-data": embedded(f"{name}.crt"), "client-key-data": embedded(f"{name}.key")}
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": cluster, "cluster": server}],
        "users": [{"name": name, "user": user}],
        "contexts": [{"name": cluster, "context": {"cluster": cluster, "user": name}}],
        "current-context": cluster,
    }
