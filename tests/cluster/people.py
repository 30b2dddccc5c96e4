"""Service accounts as people, tokens of every kind, kubeconfigs, and the command line run as a program."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import yaml

from harness import places
from tests.cluster.kube import Namespace, kubectl

ROOT = Path(__file__).parents[2]


def account(ns: Namespace, name: str, *roles: str) -> str:
    """A service account that holds these ClusterRoles in its namespace; its user name."""
    ns.kubectl("create", "serviceaccount", name)
    for role in roles:
        ns.kubectl("create", "rolebinding", f"{name}-{role}", f"--clusterrole={role}",
                   f"--serviceaccount={ns.name}:{name}")  # fmt: skip
    return f"system:serviceaccount:{ns.name}:{name}"


def token(ns: Namespace, name: str, *arguments: str) -> str:
    """A token of a service account."""
    return ns.kubectl("create", "token", name, *arguments).strip()


def signed_anew(real: str, **changes: object) -> str:
    """A token as the API server made it with some claims changed, signed with the cluster's own key.

    It issues none that has expired: its shortest lives ten minutes. Only the native provider has the key at hand.
    """
    header, claims, _ = real.split(".")
    given = json.loads(base64.urlsafe_b64decode(claims + "=" * (-len(claims) % 4)))
    body = f"{header}.{_encoded(json.dumps(given | changes).encode())}"
    key = places.cluster(os.environ["HEADRACE_CLUSTER"]) / "pki" / "sa.key"
    sign = ["openssl", "dgst", "-sha256", "-sign", str(key)]
    signature = subprocess.run(sign, input=body.encode(), capture_output=True, check=True, timeout=30).stdout
    return f"{body}.{_encoded(signature)}"


def expired(real: str) -> str:
    """The token as it would be an hour after its end."""
    now = int(time.time())
    return signed_anew(real, iat=now - 7200, nbf=now - 7200, exp=now - 3600)


def _encoded(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()


def admin() -> dict[str, Any]:
    """The harness' kubeconfig, whose user has a client certificate."""
    found: dict[str, Any] = yaml.safe_load(kubectl("config", "view", "--raw", "--minify", "--flatten"))
    return found


def kubeconfig(path: Path, namespace: str, user: dict[str, object]) -> Path:
    """A kubeconfig of the cluster for another user."""
    whole = admin()
    whole["users"][0]["user"] = user
    whole["contexts"][0]["context"]["namespace"] = namespace
    path.write_text(yaml.safe_dump(whole))
    return path


def headrace(*arguments: str, stdin: str | None = None, **env: str) -> subprocess.CompletedProcess[str]:
    """Run the command line as a person would."""
    whole = {**os.environ, "PYTHONPATH": str(ROOT / "operator"), **env}
    argv = [sys.executable, "-m", "headrace", *arguments]
    return subprocess.run(argv, input=stdin, capture_output=True, text=True, check=False, env=whole, timeout=120)
