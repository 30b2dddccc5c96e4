"""containerd with the CNI plugins: runs the containers, and holds the images that were loaded.

Called by the native provider.
"""

from __future__ import annotations

import socket
from pathlib import Path

from harness import files
from harness.console import HarnessError, run
from harness.images.archive import contents
from harness.node.daemon import Daemon
from harness.node.network import PODS
from harness.node.plan import Node
from harness.packages import find

PAUSE = "docker.io/local/pause:1"
# A point-to-point link for each pod, all of it routed: Services work without the bridge netfilter module, and pods
# share no segment.
_CNI = {
    "cniVersion": "0.4.0",
    "name": "pods",
    "plugins": [
        {
            "type": "ptp",
            "ipMasq": False,
            "ipam": {"type": "host-local", "ranges": [[{"subnet": PODS}]], "routes": [{"dst": "0.0.0.0/0"}]},
        },
        {"type": "portmap", "capabilities": {"portMappings": True}},
    ],
}


def _config(state: Path) -> str:
    """containerd's settings; without CAP_SYS_RESOURCE no sandbox starts unless oom scores are restricted."""
    return f"""\
version = 2
root = "{state}/containerd"
state = "{state}/containerd-run"
disabled_plugins = [
  "io.containerd.snapshotter.v1.aufs",
  "io.containerd.snapshotter.v1.btrfs",
  "io.containerd.snapshotter.v1.devmapper",
  "io.containerd.snapshotter.v1.zfs",
  "io.containerd.tracing.processor.v1.otlp",
]
[grpc]
  address = "{state}/containerd.sock"
[plugins."io.containerd.internal.v1.opt"]
  path = "{state}/containerd-opt"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{PAUSE}"
  restrict_oom_score_adj = true
  disable_tcp_service = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "{state}/config/cni"
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "overlayfs"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
"""


def daemon(node: Node) -> Daemon:
    """containerd; containers outlive it, so it can be killed at any time."""
    config = node.state / "config" / "containerd.toml"
    argv = (find("containerd") or "containerd", "--config", str(config), "--log-level", "warn")

    def prepare() -> None:
        files.write_json(node.state / "config" / "cni" / "10-pods.conflist", _CNI)
        files.write(config, _config(node.state))

    return Daemon("containerd", argv, lambda: _listens(node.state / "containerd.sock"), prepare)


def _listens(path: Path) -> str | None:
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(5)
        client.connect(str(path))
    return None


def _ctr(state: Path) -> list[str]:
    return ["ctr", "--address", str(state / "containerd.sock"), "--namespace", "k8s.io"]


def images(state: Path) -> set[str]:
    """Names of the images that the node has."""
    return set(run([*_ctr(state), "images", "list", "--quiet"]).stdout.split())


def load(state: Path, archive: Path) -> bool:
    """Load a docker archive unless the node has this very content under these tags; True when it was loaded."""
    found = contents(archive)
    if not found:
        raise HarnessError(f"{archive} names no image; make it with `harness/image` or `docker save`")
    record = state / "images.json"
    loaded = files.read_json(record) or {}
    if all(loaded.get(tag) == config for tag, config in found.items()) and set(found) <= images(state):
        return False
    run([*_ctr(state), "images", "import", "--digests=false", str(archive)], timeout=600)
    files.write_json(record, {**loaded, **found})
    return True
