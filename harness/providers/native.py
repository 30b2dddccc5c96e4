"""A cluster of real programs on this machine: one node in namespaces of its own, beside as many others as one likes.

Picked by choice.py. `up` only adds what is missing, so running it again after an interruption, a kill or a reboot
completes what is there.
"""

from __future__ import annotations

import os
import secrets
import shutil
import sys
import time
from contextlib import AbstractContextManager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from harness import files, gobuild, packages, places
from harness.console import HarnessError, elapsed, run, say
from harness.node import boot, cgroups, containerd, network, postgres_programs
from harness.node.network import Link
from harness.node.plan import Node
from harness.node.sandbox import Sandbox
from harness.providers.provider import HEALTHY, Part, Report


class Native:
    """The native provider for the cluster `name`."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._state = places.cluster(name)
        self._sandbox = Sandbox(self._state)

    def up(self) -> None:
        """Bring the cluster up; under a second when it is."""
        with self._lock():
            if self._record() and boot.complete(self._node(), self._sandbox):
                say(f"cluster {self._name} is up")
                return
            began = time.monotonic()
            check_machine()
            packages.ensure(packages.NODE)
            postgres_programs.binaries()
            gobuild.ensure()
            self._choose()
            boot.boot(self._node(), self._sandbox)
            say(f"cluster {self._name} is up after {elapsed(time.monotonic() - began)}")

    def down(self, *, keep: bool) -> None:
        """Stop everything of this cluster; its data goes too unless kept."""
        with self._lock():
            if not self._state.exists():
                say(f"cluster {self._name} is not there")
                return
            record = self._record()
            if keep and record and self._sandbox.running():
                # These two keep data: they write it out before all ends.
                daemons = boot.daemons(self._node(), self._sandbox)
                for name in ("postgres", "etcd"):
                    daemons[name].stop()
            self._sandbox.destroy()
            if record:
                network.remove(self._node().link)
                cgroups.remove(self._node().cgroup)
            if not keep:
                doomed = self._state.with_name(f".{self._name}.removed-{os.getpid()}")
                self._state.rename(doomed)
                shutil.rmtree(doomed, ignore_errors=True)
            say(f"cluster {self._name} is down" + (", its data kept" if keep else ""))

    def env(self) -> dict[str, str]:
        """Environment of whoever works with the cluster."""
        node = self._node()
        variables = {
            "HEADRACE_CLUSTER": self._name,
            "KUBECONFIG": str(node.pki / "admin.kubeconfig"),
            "HEADRACE_DATABASE_URL": node.database_url,
            "PATH": f"{node.binaries['kube']}:$PATH",
        }
        if any(one.lower() in {"http_proxy", "https_proxy", "all_proxy"} for one in os.environ):
            variables |= {one: f"{node.link.node},${{{one}:-}}" for one in ("no_proxy", "NO_PROXY")}
        return variables

    def status(self) -> Report:
        """One part for each daemon, then addresses."""
        node = self._node()
        parts = []
        for name, one in boot.daemons(node, self._sandbox).items():
            process = one.process
            parts.append(Part(name, str(process.pid) if process else "-", one.sick() or HEALTHY))
        addresses = {
            "api server": f"https://{node.link.node}:6443",
            "postgres": f"{node.link.node}:5432",
            "pods, services": f"{network.PODS}, {network.SERVICES}",
            "audit log": str(self._state / "audit" / "audit.log"),
            "logs": str(self._state / "log"),
        }
        return Report(tuple(parts), addresses)

    def load_image(self, archive: Path) -> None:
        """Give containerd the image unless it has it."""
        self._node()
        loaded = containerd.load(self._state, archive)
        say(f"{archive.name}: {'loaded' if loaded else 'already there'}")

    def kill(self, daemon: str) -> int:
        """End one daemon with SIGKILL."""
        known = boot.daemons(self._node(), self._sandbox)
        if daemon not in known:
            raise HarnessError(f"no daemon {daemon!r}; there are {', '.join(known)}")
        return known[daemon].kill()

    def _lock(self) -> AbstractContextManager[int]:
        return files.locked(self._state.with_name(f".{self._name}.lock"), f"it works on cluster {self._name}")

    def _record(self) -> dict[str, Any] | None:
        return files.read_json(self._state / "cluster.json")

    def _choose(self) -> None:
        """Choose addresses and a password at the first `up`, under a lock that all clusters share."""
        if self._record():
            return
        with files.locked(places.clusters() / ".addresses.lock", "it chooses addresses"):
            others = [files.read_json(one) for one in places.clusters().glob("*/cluster.json")]
            taken = [one["link"]["subnet"] for one in others if one and "link" in one]
            link = network.choose(self._name, [*taken, *network.occupied_on_host()])
            record = {"provider": "native", "link": asdict(link), "password": secrets.token_hex(16)}
            files.write_json(self._state / "cluster.json", record, 0o600)

    def _node(self) -> Node:
        record = self._record()
        if record is None:
            raise HarnessError(f"cluster {self._name} is not there; `harness/cluster up --name {self._name}` makes it")
        homes = {name: gobuild.directory(name) for name in gobuild.MODULES}
        return Node(self._state, Link(**record["link"]), homes, str(record["password"]))


def check_machine() -> None:
    """One line when this machine cannot run the native provider."""
    if not sys.platform.startswith("linux"):
        raise HarnessError("the native provider needs Linux; use --provider kind or existing")
    if os.geteuid() != 0:
        raise HarnessError("the native provider needs root; use sudo, or --provider kind or existing")
    if not Path("/sys/fs/cgroup").is_dir() or not any(Path("/sys/fs/cgroup").iterdir()):
        raise HarnessError("the native provider needs control groups mounted at /sys/fs/cgroup")
    if run(["sh", "-c", "grep -qw overlay /proc/filesystems || modprobe overlay"], check=False).returncode != 0:
        raise HarnessError("the native provider needs the overlay file system in this kernel")
