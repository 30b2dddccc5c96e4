"""What a start costs where many DAGs are present: until all were looked at, memory, and writes to the API server.

The operator runs as a process of this machine with the account of the deployed one, which rests meanwhile. Beside it
a bare kopf operator with an empty handler (`bench.bare`), on the same objects. First sight is the first start after the
objects were made: ours writes a version of each to Postgres, projects its jobs and tells statuses; kopf notes on each
what it handled.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import re
import signal
import socket
import sys
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import aiohttp

from bench.idle import WRITES, requests_since, size
from bench.place import WITHIN, Place
from bench.table import Row
from harness.console import HarnessError, Progress
from harness.deployment import kubectl

_SYSTEM = ("-n", "headrace-system")
_DEPLOYMENT = "deployment/headrace-operator"
_QUIET = 3.0
_LOOK = 0.5
"""Seconds between looks, which cost the operator ten milliseconds each."""
_LONGEST = 1200.0
_LOOKED_AT = re.compile(r'^headrace_reconciles_total\{result="success"\} (\S+)$', re.M)
_QUEUED = re.compile(r"^headrace_reconcile_queue_dags (\S+)$", re.M)


class _Started:
    """A process that was started just now."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self._began = time.monotonic()

    def after(self) -> float:
        """Seconds since its start."""
        return time.monotonic() - self._began

    async def line(self) -> None:
        """Wait for a line of its output."""
        assert self._process.stdout is not None
        if not await asyncio.wait_for(self._process.stdout.readline(), _LONGEST):
            raise HarnessError(f"the process ended with {await self._process.wait()}")

    def memory(self) -> int:
        """The most bytes that it and its children were ever given, each at its own moment."""
        return sum(_peak(pid) for pid in _family(self._process.pid))

    def gone(self) -> bool:
        """Whether it ended."""
        return self._process.returncode is not None


async def starts(there: Place, chosen: argparse.Namespace) -> list[Row]:
    """Both operators, on first sight and again."""
    if there.audit is None:
        return [Row("starts", "not measured", "", note="the provider has no audit log")]
    kubectl(there.env, *_SYSTEM, "scale", _DEPLOYMENT, "--replicas=0")
    try:
        kubectl(there.env, *_SYSTEM, "wait", "--for=delete", "pod", "-l", "app.kubernetes.io/name=headrace-operator")
        await there.fill("starts", chosen.dags, 1)
        with TemporaryDirectory() as directory:
            env = _environment(there, Path(directory))
            ours = [await _ours(there, chosen.dags, env) for _ in range(2)]
            peers = [await _peer(there, chosen.dags, env) for _ in range(2)]
    finally:
        kubectl(there.env, *_SYSTEM, "scale", _DEPLOYMENT, "--replicas=1")
        kubectl(there.env, *_SYSTEM, "rollout", "status", _DEPLOYMENT, "--timeout=300s")
    rows: list[Row] = []
    for when, own, peer in zip(("on first sight", "again"), ours, peers, strict=True):
        what = f"start with {chosen.dags} DAGs, {when}"
        rows += [
            Row(f"{what}: all looked at", f"{own[0]:.1f} s", f"{peer[0]:.1f} s", own[0] / peer[0], "bare kopf beside"),
            Row(f"{what}: memory", f"{own[1] >> 20} MiB", f"{peer[1] >> 20} MiB", own[1] / peer[1], "compiler with it"),
            Row(f"{what}: API writes", own[2], peer[2]),
        ]
    return rows


async def _ours(there: Place, dags: int, env: Mapping[str, str]) -> tuple[float, int, str]:
    url = f"http://127.0.0.1:{env['HEADRACE_HEALTH_PORT']}/metrics"
    audit, place = Path(there.audit or ""), size(Path(there.audit or ""))
    argv = [sys.executable, "-m", "headrace", "operator"]
    async with _running(argv, env) as process, aiohttp.ClientSession() as session:
        with Progress(f"headrace looks at {dags} DAGs", lambda: f"{process.after():.0f} s"):
            while not await _has_looked(session, url, dags):
                if process.gone() or process.after() > _LONGEST:
                    raise HarnessError("the operator did not look at all DAGs")
                await asyncio.sleep(_LOOK)
            await there.all_ready("starts", dags)
        return process.after(), process.memory(), await _writes(audit, place)


async def _has_looked(session: aiohttp.ClientSession, url: str, dags: int) -> bool:
    try:
        async with session.get(url) as answer:
            text = await answer.text()
    except aiohttp.ClientError:
        return False
    looked, queued = _LOOKED_AT.search(text), _QUEUED.search(text)
    return bool(looked and queued and float(looked[1]) >= dags and float(queued[1]) == 0)


async def _peer(there: Place, dags: int, env: Mapping[str, str]) -> tuple[float, int, str]:
    audit, place = Path(there.audit or ""), size(Path(there.audit or ""))
    # Those of other rows are in the cluster, too.
    async with _running([sys.executable, "-m", "bench.bare", there.namespace, str(dags)], env) as process:
        with Progress(f"bare kopf looks at {dags} DAGs", lambda: f"{process.after():.0f} s"):
            await process.line()
        return process.after(), process.memory(), await _writes(audit, place)


async def _writes(audit: Path, place: int) -> str:
    """What was written since, once nothing more is, `verb resource: count`."""
    deadline = time.monotonic() + WITHIN
    found, last = dict[str, int](), None
    while found != last and time.monotonic() < deadline:
        await asyncio.sleep(_QUIET)
        seen = requests_since(audit, place)
        last, found = found, {f"{v} {r}": n for (v, r), n in seen.items() if v in WRITES and r != "leases"}
    told = ", ".join(f"{what} {count}" for what, count in sorted(found.items()))
    return f"{sum(found.values())} ({told})" if found else "0"


@asynccontextmanager
async def _running(argv: Sequence[str], env: Mapping[str, str]) -> AsyncIterator[_Started]:
    process = await asyncio.create_subprocess_exec(
        *argv, env=env, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL
    )
    try:
        yield _Started(process)
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGTERM)
        await asyncio.wait_for(process.wait(), 60)


def _environment(there: Place, directory: Path) -> dict[str, str]:
    """This process' environment with the operator's own account, and ports that are free."""
    token = kubectl(there.env, *_SYSTEM, "create", "token", "headrace-operator", "--duration=1h").strip()
    config = json.loads(kubectl(there.env, "config", "view", "--raw", "--minify", "--flatten", "-o", "json"))
    config["users"] = [{"name": user["name"], "user": {"token": token}} for user in config["users"]]
    path = directory / "kubeconfig"
    path.touch(mode=0o600)
    path.write_text(json.dumps(config))
    ports = {f"HEADRACE_{name}_PORT": str(_free()) for name in ("HEALTH", "ADMISSION")}
    return {**os.environ, **there.env, "KUBECONFIG": str(path), **ports}


def _free() -> int:
    with socket.socket() as there:
        there.bind(("127.0.0.1", 0))
        return int(there.getsockname()[1])


def _family(pid: int) -> list[int]:
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [pid, *(one for child in children for one in _family(int(child)))]


def _peak(pid: int) -> int:
    (kib,) = re.findall(r"^VmHWM:\s+(\d+) kB$", Path(f"/proc/{pid}/status").read_text(), re.M)
    return int(kib) * 1024
