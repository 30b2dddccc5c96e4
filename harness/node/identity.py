"""Which process was started: a pid alone can be another's by now, so its start time and the boot are kept with it.

Called by the sandbox and by the daemons. A process is only ever signalled through its identity.
"""

from __future__ import annotations

import os
import signal
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from harness import files


@dataclass(frozen=True)
class Identity:
    """A process: pid as the host sees it, start in clock ticks since boot, and the boot's id."""

    pid: int
    started: int
    boot: str

    def alive(self) -> bool:
        """Whether this very process still runs; a zombie does not."""
        return self.boot == boot_id() and self.started == start_time(self.pid)

    def send(self, number: signal.Signals) -> bool:
        """Send a signal to this process and to no other; False when it is gone."""
        try:
            handle = os.pidfd_open(self.pid)
        except ProcessLookupError:
            return False
        try:
            # The handle pins whatever has the pid now: if that is our process, the signal cannot reach another.
            if not self.alive():
                return False
            signal.pidfd_send_signal(handle, number)
        except ProcessLookupError:
            return False
        finally:
            os.close(handle)
        return True

    def gone(self, within: float) -> bool:
        """Wait until the process has ended; False when it still runs after `within` seconds."""
        deadline = time.monotonic() + within
        while self.alive():
            if time.monotonic() > deadline:
                return False
            time.sleep(0.02)
        return True

    def stop(self, grace: float, first: signal.Signals = signal.SIGTERM) -> None:
        """Ask the process to end, and kill it when it has not after `grace` seconds."""
        if self.send(first) and not self.gone(grace):
            self.send(signal.SIGKILL)
            self.gone(10)

    def save(self, path: Path) -> None:
        """Record the identity; whoever reads the file finds a whole one or none."""
        files.write_json(path, asdict(self))


def load(path: Path) -> Identity | None:
    """The identity that was recorded at `path`, if any."""
    value = files.read_json(path)
    if value is None:
        return None
    try:
        return Identity(int(value["pid"]), int(value["started"]), str(value["boot"]))
    except (KeyError, ValueError, TypeError):
        return None


def own(host_proc: int) -> Identity:
    """Identity of the calling process as the host sees it; `host_proc` is a descriptor of the host's /proc.

    A process in a pid namespace has another number there; what /proc/self points to depends on whose /proc is asked.
    """
    pid = int(os.readlink("self", dir_fd=host_proc))
    descriptor = os.open(f"{pid}/stat", os.O_RDONLY, dir_fd=host_proc)
    with os.fdopen(descriptor) as file:
        started = _start_field(file.read())
    assert started is not None
    return Identity(pid, started, boot_id())


def boot_id() -> str:
    """Changes with each boot of the machine."""
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def start_time(pid: int) -> int | None:
    """When the process began, in clock ticks since boot; None when there is none or only its zombie."""
    try:
        return _start_field(Path(f"/proc/{pid}/stat").read_text())
    except (FileNotFoundError, ProcessLookupError):
        return None


def _start_field(stat: str) -> int | None:
    # The command's name may hold spaces and parentheses; the fields after its last parenthesis do not.
    fields = stat.rpartition(")")[2].split()
    return None if fields[0] in "ZX" else int(fields[19])
