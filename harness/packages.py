"""Debian packages that the node and the images need: installed when missing, never touched otherwise.

Called by the native provider, by the image builder and by the environment. A need is probed by the file it is for, so
that a machine that has the program by other means is left alone.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path

from harness.console import HarnessError, Progress, run

NODE: dict[str, tuple[str, ...]] = {
    "containerd": ("containerd", "containerd-shim-runc-v2", "ctr"),
    "runc": ("runc",),
    "containernetworking-plugins": ("/usr/lib/cni/ptp", "/usr/lib/cni/host-local", "/usr/lib/cni/loopback"),
    "iptables": ("iptables", "iptables-restore"),
    "conntrack": ("conntrack",),
    "ethtool": ("ethtool",),
    "socat": ("socat",),
    "iproute2": ("ip",),
    "mount": ("mount",),
    "util-linux": ("nsenter", "setpriv"),
    "openssl": ("openssl",),
    "busybox-static": ("/bin/busybox",),
}
IMAGES: dict[str, tuple[str, ...]] = {"buildah": ("buildah",), "mmdebstrap": ("mmdebstrap",), "runc": ("runc",)}

_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def find(program: str) -> str | None:
    """Full path of a program, also where a person's PATH leaves out the sbin directories."""
    if program.startswith("/"):
        return program if Path(program).exists() else None
    return shutil.which(program) or shutil.which(program, path=_PATH)


def missing(needs: dict[str, tuple[str, ...]]) -> list[str]:
    """Packages of which at least one probed file is absent."""
    lacking = [name for name, probes in needs.items() if not all(find(probe) for probe in probes)]
    if "busybox-static" in needs and "busybox-static" not in lacking and not _static(Path("/bin/busybox")):
        lacking.append("busybox-static")
    return lacking


def _static(program: Path) -> bool:
    """Whether an ELF program names no loader: it then runs in an image that holds nothing else."""
    with program.open("rb") as file:
        return b"/ld-" not in file.read(4096)


def ensure(needs: dict[str, tuple[str, ...]]) -> None:
    """Install what is missing of `needs`; does nothing, quickly, when all is there."""
    lacking = missing(needs)
    if lacking:
        install(lacking)


def install(names: Sequence[str] | Iterable[str]) -> None:
    """Install Debian packages; one line when this machine cannot."""
    wanted = list(names)
    listed = " ".join(wanted)
    if os.geteuid() != 0:
        raise HarnessError(f"missing here, and only root can install: {listed}")
    if find("apt-get") is None:
        raise HarnessError(f"missing here, and there is no apt-get to install it: {listed}")
    quiet = {"DEBIAN_FRONTEND": "noninteractive", "NEEDRESTART_MODE": "l"}
    with Progress(f"installing {listed}"):
        run(["apt-get", "update", "-qq"], env=quiet)
        run(["apt-get", "install", "-y", "-qq", "--no-install-recommends", *wanted], env=quiet)
