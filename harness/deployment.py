"""The operator put into a cluster: images built and loaded, its Secret, its manifests, its rollout awaited.

Called by the checks and by the demo. Each step looks at what is there, so a second run changes nothing.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path

from harness import places
from harness.console import HarnessError, Progress, run
from harness.images import build
from harness.providers.provider import Provider

NAMESPACE = "headrace-system"
DEPLOYMENT = "headrace-operator"
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
    """Apply the operator's manifests and wait until it is ready; its init container migrates the database."""
    url = env.get("HEADRACE_DATABASE_URL")
    if not url:
        raise HarnessError("HEADRACE_DATABASE_URL is not set: the operator needs a Postgres that pods can reach")
    with Progress("operator"):
        kubectl(env, "apply", "-f", str(places.ROOT / "deploy" / "base" / "namespace.yaml"))
        secret = {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": SECRET, "namespace": NAMESPACE},
            "stringData": {"url": url},
        }
        # By standard input: an argument can be read by any account of the machine.
        kubectl(env, "apply", "--server-side", "--force-conflicts", "-f", "-", stdin=json.dumps(secret))
        kubectl(env, "apply", "-k", str(OVERLAY))
        # The tag stays the same when the code changes; the key in an annotation makes the pods follow.
        template = {"metadata": {"annotations": {"headrace.dev/image-key": build.key(build.OPERATOR)}}}
        patch = json.dumps({"spec": {"template": template}})
        kubectl(env, "-n", NAMESPACE, "patch", "deployment", DEPLOYMENT, "-p", patch)
        _rolled_out(env)


def _rolled_out(env: Mapping[str, str]) -> None:
    try:
        kubectl(env, "-n", NAMESPACE, "rollout", "status", f"deployment/{DEPLOYMENT}", "--timeout=180s")
    except HarnessError as error:
        which = ["-n", NAMESPACE, "logs", f"deployment/{DEPLOYMENT}", "--all-containers", "--tail=15"]
        logs = kubectl(env, *which, check=False)
        raise HarnessError(f"the operator did not become ready: {error}\n{logs}") from error


def kubectl(env: Mapping[str, str], *arguments: str, stdin: str | None = None, check: bool = True) -> str:
    """Run kubectl against the cluster of `env`; its standard output."""
    return run([program(env), *arguments], stdin=stdin, env=env, check=check, timeout=600).stdout


def program(env: Mapping[str, str]) -> str:
    """Path of kubectl; looked up here, since a child's PATH plays no part in finding the child."""
    for directory in env.get("PATH", os.environ.get("PATH", "")).split(os.pathsep):
        if (Path(directory) / "kubectl").exists():
            return str(Path(directory) / "kubectl")
    raise HarnessError("kubectl is missing on this machine")
