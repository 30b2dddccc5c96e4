"""A process is known by more than its pid: what has the pid now may be someone else's."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from harness.node import identity
from harness.node.identity import Identity


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    """A process that waits to be ended."""
    with subprocess.Popen(["sleep", "600"]) as process:
        yield process
        process.kill()


def of(process: subprocess.Popen[bytes]) -> Identity:
    """Identity of a child, as the daemons record their own."""
    started = identity.start_time(process.pid)
    assert started is not None
    return Identity(process.pid, started, identity.boot_id())


def test_a_process_knows_itself() -> None:
    host_proc = os.open("/proc", os.O_RDONLY)
    me = identity.own(host_proc)
    os.close(host_proc)
    assert me.pid == os.getpid()
    assert me.alive()


def test_a_recycled_pid_is_neither_alive_nor_signalled(sleeper: subprocess.Popen[bytes]) -> None:
    real = of(sleeper)
    for other in (replace(real, started=real.started - 1), replace(real, boot="another")):
        assert not other.alive()
        assert not other.send(signal.SIGKILL)
        other.stop(0)
    assert real.alive()
    assert sleeper.poll() is None


def test_a_zombie_is_dead(sleeper: subprocess.Popen[bytes]) -> None:
    known = of(sleeper)
    assert known.send(signal.SIGKILL)
    # Not waited for yet, so its entry stays in the table of processes.
    assert known.gone(within=10)
    assert not known.send(signal.SIGKILL)


def test_stop_kills_what_does_not_listen() -> None:
    script = "trap '' TERM; echo ready; while :; do sleep 1; done"
    with subprocess.Popen(["sh", "-c", script], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        of(process).stop(grace=0.2)
        assert process.wait(timeout=10) == -signal.SIGKILL


def test_what_is_saved_is_loaded(tmp_path: Path, sleeper: subprocess.Popen[bytes]) -> None:
    record = tmp_path / "run" / "daemon.json"
    assert identity.load(record) is None
    of(sleeper).save(record)
    assert identity.load(record) == of(sleeper)
    record.write_text('{"pid": "x"}')
    assert identity.load(record) is None


def test_names_with_parentheses_do_not_shift_the_fields(tmp_path: Path) -> None:
    program = tmp_path / "a) R 1 (b"
    program.symlink_to("/bin/sleep")
    with subprocess.Popen([str(program), "600"]) as process:
        assert of(process).alive()
        process.kill()
