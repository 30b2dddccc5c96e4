"""Thin edge to the kernel's namespaces, which the standard library of Python 3.11 does not offer.

Called by the sandbox only.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager

NEW_MOUNT = 0x00020000
NEW_IPC = 0x08000000
NEW_PID = 0x20000000
NEW_NET = 0x40000000

_libc = ctypes.CDLL(None, use_errno=True)


def unshare(flags: int) -> None:
    """Leave the namespaces that `flags` names for new ones; a new pid namespace takes effect for children."""
    _checked(_libc.unshare(flags), "unshare")


def enter(pid: int, names: tuple[str, ...]) -> None:
    """Join the namespaces `names` ("net", "mnt", "ipc", "pid") of the process `pid`."""
    descriptors = [os.open(f"/proc/{pid}/ns/{name}", os.O_RDONLY) for name in names]
    for descriptor in descriptors:
        _checked(_libc.setns(descriptor, 0), "setns")
        os.close(descriptor)


@contextmanager
def network_of(pid: int) -> Iterator[None]:
    """Open sockets in the network of the process `pid` while the block runs (this thread only)."""
    home = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    try:
        enter(pid, ("net",))
        try:
            yield
        finally:
            _checked(_libc.setns(home, NEW_NET), "setns")
    finally:
        os.close(home)


def _checked(result: int, call: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{call}: {os.strerror(number)}")
