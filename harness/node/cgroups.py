"""The control group that holds one cluster's pods, in whichever version of cgroups the machine has.

Called by kubelet.py at start and by the native provider at `down`.
"""

from __future__ import annotations

import contextlib
import time
from pathlib import Path

_MOUNT = Path("/sys/fs/cgroup")
_CONTROLLERS = ("cpuset", "cpu", "memory", "pids", "io", "hugetlb")


def unified() -> bool:
    """Whether the machine runs cgroup v2 only."""
    return (_MOUNT / "cgroup.controllers").exists()


def _roots(group: str) -> list[Path]:
    relative = group.lstrip("/")
    if unified():
        return [_MOUNT / relative]
    hierarchies = {one.resolve() for one in _MOUNT.iterdir() if (one / "cgroup.procs").exists()}
    return [one / relative for one in sorted(hierarchies)]


def create(group: str) -> None:
    """Make the group in every hierarchy; the kubelet asks that it be there."""
    for root in _roots(group):
        if unified():
            for controller in _CONTROLLERS:
                with contextlib.suppress(OSError):
                    (root.parent / "cgroup.subtree_control").write_text(f"+{controller}")
        root.mkdir(exist_ok=True)
        for setting in ("cpuset.cpus", "cpuset.mems"):
            # In version 1 a new cpuset is empty and takes no process.
            if (root / setting).exists() and not unified() and not (root / setting).read_text().strip():
                (root / setting).write_text((root.parent / setting).read_text())


def remove(group: str) -> None:
    """Remove the group and all below it, once its processes have ended."""
    deadline = time.monotonic() + 10
    for root in _roots(group):
        while root.exists():
            for directory in sorted((one for one in root.rglob("*") if one.is_dir()), reverse=True):
                with contextlib.suppress(OSError):
                    directory.rmdir()
            with contextlib.suppress(OSError):
                root.rmdir()
            if time.monotonic() > deadline:
                return
            time.sleep(0.05 if root.exists() else 0)
