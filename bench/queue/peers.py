"""What the queue is compared with, each in a process of its own: procrastinate, pgqueuer, River, and pgbench."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import msgspec

from bench.queue.load import Load
from harness import environment, files, gobuild, places
from harness.console import HarnessError, Progress

_HERE = Path(__file__).resolve().parent
_ROOT = _HERE.parents[1]
_WITHIN = 1800.0
LIBRARIES = ("procrastinate", "pgqueuer")


class _Told(msgspec.Struct):
    seconds: float


def drained(argv: Sequence[str]) -> float:
    """Run a process that drains; the seconds that it tells. HarnessError when it fails."""
    done = subprocess.run(
        argv, check=False, capture_output=True, text=True, env=_environment(), cwd=_ROOT, timeout=_WITHIN
    )
    if done.returncode != 0:
        raise HarnessError(f"{' '.join(argv[:3])} failed: {done.stderr[-500:]}")
    return msgspec.json.decode(done.stdout.splitlines()[-1], type=_Told).seconds


@contextmanager
def beside(module: str, load: Load, *more: str) -> Iterator[subprocess.Popen[bytes]]:
    """A process of ours that runs during the block, and is killed then."""
    argv = [sys.executable, "-m", f"bench.queue.{module}", load.text(), *more]
    process = subprocess.Popen(argv, env=_environment(), cwd=_ROOT, stdout=subprocess.DEVNULL)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def own(module: str, load: Load, *more: str) -> float:
    """A worker process of ours."""
    return drained([sys.executable, "-m", f"bench.queue.{module}", load.text(), *more])


def library(name: str, load: Load) -> float:
    """A worker process of procrastinate or pgqueuer, in the environment of `peers.lock`."""
    python = environment.ensure(_HERE / "peers.lock")
    return drained([str(python), str(_HERE / f"drain_{name}.py"), load.text()])


def river(load: Load) -> float:
    """A worker process of River."""
    return drained([str(_built()), load.text()])


def _environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": f"{_ROOT}:{_ROOT / 'operator'}"}


def _built() -> Path:
    """River's process, built once for each content of its module."""
    module = _HERE / "river"
    key = files.digest([(module / name).read_bytes() for name in ("go.mod", "go.sum", "main.go")])
    home = places.cache() / "bin" / f"river-{key}"
    with files.locked(home.with_suffix(".lock"), "it builds River"):
        if not home.exists():
            with Progress("building River"), tempfile.TemporaryDirectory(prefix="headrace-river-") as place:
                draft = Path(place) / "river"
                argv = [gobuild.compiler(), "build", "-o", str(draft), "."]
                env = {**os.environ, "CGO_ENABLED": "0"}
                done = subprocess.run(argv, cwd=module, env=env, check=False, capture_output=True, text=True)
                if done.returncode != 0:
                    raise HarnessError(f"building River failed: {done.stderr[-500:]}")
                home.write_bytes(draft.read_bytes())
                home.chmod(0o755)
    return home
