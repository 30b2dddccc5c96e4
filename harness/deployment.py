"""Operator and gateway put into a cluster: images built and loaded, its Secret, its manifests, its rollout awaited.

Called by the checks and by the demo. Each step looks at what is there, so a second run changes nothing.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from harness import places
from harness.console import HarnessError, Progress, run
from harness.images import build
from harness.providers.provider import Provider

NAMESPACE = "headrace-system"
DEPLOYMENTS = ("headrace-operator", "headrace-gateway")
SECRET = "headrace-postgres"
OVERLAY = places.ROOT / "deploy" / "overlays" / "demo"


def environment(provider: Provider) -> dict[str, str]:
    """The provider's environment with references to the caller's own resolved, as a shell would."""
    found = provider.env()
    if "PATH" in found:
        found["PATH"] = found["PATH"].replace("$PATH", os.environ.get("PATH", ""))
    return {name: value.replace(f"${{{name}:-}}", os.environ.get(name, "")) for name, value in found.items()}


def load_images(provider: Provider) -> None:
    """Build the images and give them to the cluster."""
    for image in (build.OPERATOR, build.FLIGHTS):
        provider.load_image(build.ensure(image))


def install(env: Mapping[str, str]) -> None:
    """Apply the manifests and wait until operator and gateway are ready; the former's init container migrates."""
    url = env.get("HEADRACE_DATABASE_URL")
    if not url:
        raise HarnessError("HEADRACE_DATABASE_URL is not set: the operator needs a Postgres that pods can reach")
    with Progress("operator"):
        _apply(env, (places.ROOT / "deploy" / "base" / "namespace.yaml").read_text())
        secret = {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": SECRET, "namespace": NAMESPACE},
            "stringData": {"url": url},
        }
        # By standard input: an argument can be read by any account of the machine.
        _apply(env, json.dumps(secret))
        _apply(env, json.dumps({"apiVersion": "v1", "kind": "List", "items": _manifests(env)}))
        for deployment in DEPLOYMENTS:
            _rolled_out(env, deployment)


def _apply(env: Mapping[str, str], documents: str) -> None:
    kubectl(env, "apply", "--server-side", "--force-conflicts", "-f", "-", stdin=documents)


def _manifests(env: Mapping[str, str]) -> list[dict[str, Any]]:
    """The overlay's objects; the image's key on the pods makes them follow the code, whose tag stays the same."""
    objects = [one for one in yaml.safe_load_all(kubectl(env, "kustomize", str(OVERLAY))) if one]
    for one in objects:
        if one["kind"] == "Deployment":
            annotations = one["spec"]["template"]["metadata"].setdefault("annotations", {})
            annotations["headrace.dev/image-key"] = build.key(build.OPERATOR)
    return objects


def _rolled_out(env: Mapping[str, str], deployment: str) -> None:
    try:
        kubectl(env, "-n", NAMESPACE, "rollout", "status", f"deployment/{deployment}", "--timeout=180s")
    except HarnessError as error:
        which = ["-n", NAMESPACE, "logs", f"deployment/{deployment}", "--all-containers", "--tail=15"]
        logs = kubectl(env, *which, check=False)
        raise HarnessError(f"{deployment} did not become ready: {error}\n{logs}") from error


def kubectl(env: Mapping[str, str], *arguments: str, stdin: str | None = None, check: bool = True) -> str:
    """Run kubectl against the cluster of `env`; its standard output."""
    return run([program(env), *arguments], stdin=stdin, env=env, check=check, timeout=600).stdout


def program(env: Mapping[str, str]) -> str:
    """Path of kubectl; looked up here, since a child's PATH plays no part in finding the child."""
    for directory in env.get("PATH", os.environ.get("PATH", "")).split(os.pathsep):
        if (Path(directory) / "kubectl").exists():
            return str(Path(directory) / "kubectl")
    raise HarnessError("kubectl is missing on this machine")
