"""First process of a node's sandbox: sets up its mounts, then reaps what ends below it until it is killed.

Started by `sandbox.py` as `python -m harness.node.init STATE HOST_PROC`, already inside the new namespaces.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

from harness.node import identity

# Places that the daemons and plugins write to wherever they are told to keep their state: each cluster gets its own,
# which ends with it. /run/netns stays the host's name for nothing that is ours.
_PRIVATE = ("/run/containerd", "/run/netns", "/var/lib/cni", "/var/log/containers", "/run/kubernetes")


def main(state: Path, host_proc: int) -> None:
    """Set the sandbox up, say so, and serve as its init."""
    me = identity.own(host_proc)
    os.close(host_proc)
    me.save(state / "run" / "sandbox.json")
    # Unmounts on the host must reach us (or we would keep its devices busy); nothing of ours must reach the host.
    _mount("--make-rslave", "/")
    _mount("--make-rshared", "/")
    _mount("-t", "proc", "proc", "/proc")
    for place in _PRIVATE:
        Path(place).mkdir(parents=True, exist_ok=True)
        _mount("-t", "tmpfs", "tmpfs", place)
    for kept, seen in ((state / "kubelet", Path("/var/lib/kubelet")),):
        kept.mkdir(parents=True, exist_ok=True)
        seen.mkdir(parents=True, exist_ok=True)
        _mount("--bind", str(kept), str(seen))
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD})
    me.save(state / "run" / "sandbox.mounted")
    while True:
        try:
            os.waitpid(-1, 0)
        except ChildProcessError:
            signal.sigwait({signal.SIGCHLD})


def _mount(*arguments: str) -> None:
    subprocess.run(["mount", *arguments], check=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
