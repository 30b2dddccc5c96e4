"""What a bare cluster lacks to be usable: rights for kube-proxy, DNS, the default StorageClass and its volumes.

Called by the native provider once the API server answers.
"""

from __future__ import annotations

import time
from pathlib import Path

from harness import files, places
from harness.console import HarnessError, run
from harness.images import archive
from harness.node import containerd, volumes
from harness.node.http import Api
from harness.node.pki import NODE
from harness.node.plan import Node

COREDNS = "docker.io/local/coredns:1"
_MANIFEST = places.ROOT / "harness" / "node" / "addons.yaml"


def load_images(node: Node) -> None:
    """Give containerd the two images that the node itself needs."""
    sleeper = archive_of("pause", containerd.PAUSE, "/bin/busybox", "busybox", ["sleep", "2147483647"])
    dns = archive_of("coredns", COREDNS, str(node.binaries["coredns"] / "coredns"), "coredns", [])
    for one in (sleeper, dns):
        containerd.load(node.state, one)


def archive_of(label: str, tag: str, program: str, name: str, command: list[str]) -> Path:
    """Archive of an image that is one program, from the cache; keyed by the program's size and time of change."""
    source = Path(program)
    status = source.stat()
    key = files.digest([f"{tag} {source.resolve()} {status.st_size} {status.st_mtime_ns} {name} {command}".encode()])
    target = places.cache() / "images" / f"{label}-{key}.tar"
    if not target.exists():
        archive.single_program(target, tag, source, name, command)
    return target


def applied(node: Node) -> bool:
    """Whether the cluster has the add-ons as they are now."""
    marker = node.state / "config" / "addons.key"
    return marker.exists() and marker.read_text() == _key()


def _key() -> str:
    return files.digest([_MANIFEST.read_bytes()])


def apply(node: Node, api: Api) -> None:
    """Apply the add-ons' manifest when it or the cluster is new, and see to the volumes."""
    if not applied(node):
        kubectl = [str(node.binaries["kube"] / "kubectl"), f"--kubeconfig={node.pki / 'admin.kubeconfig'}"]
        run([*kubectl, "apply", "--server-side", "--force-conflicts", "-f", str(_MANIFEST)], timeout=120)
        files.write(node.state / "config" / "addons.key", _key())
    volumes.ensure(api, node.state)


def wait_ready(api: Api, within: float = 120) -> None:
    """Wait until the node takes pods and DNS answers."""
    deadline = time.monotonic() + within
    while (why := not_ready(api)) is not None:
        if time.monotonic() > deadline:
            raise HarnessError(f"the cluster did not become ready: {why}")
        time.sleep(0.1)


def not_ready(api: Api) -> str | None:
    """Why the cluster cannot take work yet; None when it can."""
    node = api.call("GET", f"/api/v1/nodes/{NODE}")
    if node is None:
        return "the node has not registered"
    ready = [one for one in node["status"].get("conditions", []) if one["type"] == "Ready"]
    if not ready or ready[0]["status"] != "True":
        return "the node is not ready: " + (ready[0].get("message", "") if ready else "no condition yet")
    dns = api.call("GET", "/apis/apps/v1/namespaces/kube-system/deployments/coredns")
    if dns is None or not dns.get("status", {}).get("availableReplicas"):
        return "CoreDNS is not available"
    return None
