"""SIGKILL for what runs in a pod of the harness' own node, which are processes of this machine."""

from __future__ import annotations

import contextlib
import os
import signal
from pathlib import Path

from tests.cluster.kube import kubectl

SYSTEM = ("-n", "headrace-system")
OPERATOR, GATEWAY = "headrace-operator", "headrace-gateway"


def processes(uid: str) -> list[int]:
    """The processes of a pod's containers, by the pod's uid, which its control groups are named after."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                of_pod = f"pod{uid}/" in (entry / "cgroup").read_text()
                if of_pod and not (entry / "cmdline").read_bytes().startswith(b"/pause"):
                    found.append(int(entry.name))
    return found


def kill_processes(uid: str) -> int:
    """End them all at once, as a lost machine would; how many there were."""
    killed = 0
    for pid in processes(uid):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
            killed += 1
    return killed


def pods_of(deployment: str) -> dict[str, str]:
    """Names and uids of the pods of a Deployment of the system's namespace."""
    path = 'jsonpath={range .items[*]}{.metadata.name} {.metadata.uid}{"\\n"}{end}'
    told = kubectl(*SYSTEM, "get", "pod", "-l", f"app.kubernetes.io/name={deployment}", "-o", path)
    return dict(line.split() for line in told.splitlines() if line)  # type: ignore[misc]


def kill_pod(name: str, uid: str) -> None:
    """Kill the processes of a pod of the system's namespace, and take the pod away: another comes in its place.

    In its place they would be started again ever later.
    """
    kill_processes(uid)
    kubectl(*SYSTEM, "delete", "pod", name, "--force", "--grace-period=0", "--ignore-not-found")
