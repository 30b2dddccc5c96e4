"""The node's own namespaces: processes, mounts, network and shared memory of one cluster and of nothing else.

Called by the native provider. Every daemon and every container of a cluster lives below one init process. So clusters
side by side share no port, no firewall rule and no mount, and ending that one process ends all of it, whatever state
an interrupted run left behind.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from harness import places
from harness.console import HarnessError, run
from harness.node import identity, namespaces
from harness.node.identity import Identity

_JOINED = ("net", "mnt", "ipc", "pid")


class Sandbox:
    """The namespaces of the cluster whose state is in `state`."""

    def __init__(self, state: Path) -> None:
        self._state = state
        self._record = state / "run" / "sandbox.json"
        self._mounted = state / "run" / "sandbox.mounted"
        self._ready = state / "run" / "sandbox.ready"

    @property
    def init(self) -> Identity | None:
        """The living init process, whole or not yet; None when there is none."""
        found = identity.load(self._record)
        return found if found and found.alive() else None

    def running(self) -> bool:
        """Whether the sandbox is there and was completed."""
        init = self.init
        if init is None or identity.load(self._ready) != init:
            return False
        # A killed init lives on, without namespaces, until the last process inside has ended.
        return Path(f"/proc/{init.pid}/ns/net").exists()

    def create(self, prepare: Callable[[int], None]) -> None:
        """Make the sandbox unless it runs. `prepare` completes it, given the pid of its init, before it counts as
        running; one that an interrupted run left incomplete is made anew, since nothing was started in it.
        """
        if self.running():
            return
        self.destroy()
        self._record.parent.mkdir(parents=True, exist_ok=True)
        log = self._state / "log" / "sandbox.log"
        log.parent.mkdir(parents=True, exist_ok=True)
        child = os.fork()
        if child == 0:
            _guarded(lambda: self._become_parent_of_init(log))
        os.waitpid(child, 0)
        deadline = time.monotonic() + 20
        while (init := self.init) is None or identity.load(self._mounted) != init:
            if time.monotonic() > deadline:
                raise HarnessError(f"the node's namespaces did not come up; see {log}")
            time.sleep(0.01)
        prepare(init.pid)
        init.save(self._ready)

    def destroy(self) -> None:
        """End everything inside. The kernel takes the processes, the mounts and the network down with the init."""
        init = self.init
        if init is not None:
            init.send(signal.SIGKILL)
            if not init.gone(60):
                raise HarnessError(f"the node's init process {init.pid} does not end")
        self._ready.unlink(missing_ok=True)
        self._mounted.unlink(missing_ok=True)
        self._record.unlink(missing_ok=True)

    def run(self, argv: Sequence[str], stdin: str | None = None) -> str:
        """Run a command inside, in its mounts and network; its standard output."""
        return run(["nsenter", f"--target={self._pid()}", "--mount", "--net", "--", *argv], stdin=stdin).stdout

    @contextmanager
    def network(self) -> Iterator[None]:
        """Open sockets in the node's network while the block runs."""
        with namespaces.network_of(self._pid()):
            yield

    def launch(self, argv: Sequence[str], *, record: Path, log: Path, user: str | None, env: Mapping[str, str]) -> None:
        """Start a daemon inside, as a child of its init; `record` gets its identity before the program begins."""
        init = self._pid()
        record.parent.mkdir(parents=True, exist_ok=True)
        reader, writer = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(reader)
            _guarded(lambda: _become_daemon(init, argv, record, log, user, env), writer)
        os.close(writer)
        with os.fdopen(reader) as pipe:
            complaint = pipe.read()
        os.waitpid(child, 0)
        if complaint:
            raise HarnessError(f"{argv[0]} did not start: {complaint}")

    def _pid(self) -> int:
        init = self.init
        if init is None:
            raise HarnessError("the cluster's node is not running; `harness/cluster up` starts it")
        return init.pid

    def _become_parent_of_init(self, log: Path) -> None:
        os.setsid()
        host_proc = os.open("/proc", os.O_RDONLY | os.O_DIRECTORY)
        flags = namespaces.NEW_MOUNT | namespaces.NEW_IPC | namespaces.NEW_PID | namespaces.NEW_NET
        namespaces.unshare(flags)
        _redirect(log)
        os.set_inheritable(host_proc, True)
        if os.fork() == 0:
            env = {"PYTHONPATH": str(places.ROOT), "PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8"}
            os.chdir("/")
            os.execve(sys.executable, _init_argv(self._state, host_proc), env)


def _init_argv(state: Path, host_proc: int) -> list[str]:
    return [sys.executable, "-m", "harness.node.init", str(state), str(host_proc)]


def _become_daemon(
    init: int, argv: Sequence[str], record: Path, log: Path, user: str | None, env: Mapping[str, str]
) -> None:
    # Two forks: the first child enters the pid namespace, the second becomes a child of the namespace's init, which
    # reaps it. Were its parent outside, a dead daemon would stay as a zombie and hold the namespace open.
    host_proc = os.open("/proc", os.O_RDONLY | os.O_DIRECTORY)
    namespaces.enter(init, _JOINED)
    if os.fork() != 0:
        return
    os.setsid()
    if os.fork() != 0:
        return
    os.umask(0o022)
    os.chdir("/")
    _redirect(log)
    identity.own(host_proc).save(record)
    if user is not None:
        account = pwd.getpwnam(user)
        os.initgroups(user, account.pw_gid)
        os.setgid(account.pw_gid)
        os.setuid(account.pw_uid)
    os.execvpe(argv[0], list(argv), dict(env))


def _redirect(log: Path) -> None:
    """Give the process its log and nothing of the caller's: with a pipe of it, the caller's reader would wait on."""
    for name in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):
            os.set_inheritable(int(name), False)
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    nothing = os.open("/dev/null", os.O_RDONLY)
    os.dup2(nothing, 0)
    os.dup2(output, 1)
    os.dup2(output, 2)


def _guarded(act: Callable[[], None], complaints: int | None = None) -> None:
    """Run `act` in a forked child that must never return into its parent's code."""
    try:
        act()
    except BaseException as error:
        if complaints is not None:
            os.write(complaints, f"{type(error).__name__}: {error}".encode()[:1000])
        os._exit(1)
    os._exit(0)
