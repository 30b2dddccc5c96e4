"""A cluster of real programs on this machine: one node in namespaces of its own, beside as many others as one likes.

Called by `harness/cluster` and through it by the checks and the demo. `up` only adds what is missing, so running it
again after an interruption, a kill or a reboot completes what is there.
"""

from __future__ import annotations

import os
import secrets
import shutil
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from harness import files, gobuild, packages, places
from harness.console import HarnessError, elapsed, run, say
from harness.node import (
    addons,
    apiserver,
    cgroups,
    containerd,
    controllers,
    etcd,
    kubelet,
    network,
    pki,
    postgres,
)
from harness.node.daemon import Daemon, Supervised
from harness.node.http import Api
from harness.node.network import Link
from harness.node.plan import Node
from harness.node.sandbox import Sandbox
from harness.providers.provider import HEALTHY, Part, Report

DAEMONS = ("etcd", "containerd", "postgres", "apiserver", "controller-manager", "scheduler", "kubelet", "proxy")


class Native:
    """The native provider for the cluster `name`."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._state = places.cluster(name)
        self._sandbox = Sandbox(self._state)

    def up(self) -> None:
        """Bring the cluster up; under a second when it is."""
        with self._lock():
            if self._complete():
                say(f"cluster {self._name} is up")
                return
            began = time.monotonic()
            _check_machine()
            packages.ensure(packages.NODE)
            postgres.binaries()
            gobuild.ensure()
            node = self._node(self._record())
            self._boot(node)
            say(f"cluster {self._name} is up after {elapsed(time.monotonic() - began)}")

    def _complete(self) -> bool:
        """Whether nothing is left to do, but for volumes that were given back."""
        if not self._running() or not self.status().healthy:
            return False
        node = self._node(self._known())
        api = Api(node.link.node, node.pki)
        if not addons.applied(node) or addons.not_ready(api) is not None:
            return False
        addons.apply(node, api)
        return True

    def _boot(self, node: Node) -> None:
        self._state.chmod(0o755)
        self._sandbox.create(lambda init: network.set_up(node.link, self._sandbox, init))
        pki.ensure(self._state, node.link.node)
        first = [self._supervised(make(node)) for make in (etcd.daemon, containerd.daemon, postgres.daemon)]
        server = self._supervised(apiserver.daemon(node))
        for daemon in first:
            daemon.start()
        first[0].wait()
        server.start()
        first[1].wait()
        addons.load_images(node)
        first[2].wait()
        postgres.prepare(node)
        server.wait()
        rest = [
            self._supervised(make(node))
            for make in (controllers.manager, controllers.scheduler, kubelet.kubelet, kubelet.proxy)
        ]
        for daemon in rest:
            daemon.start()
        api = Api(node.link.node, node.pki)
        addons.apply(node, api)
        for daemon in rest:
            daemon.wait()
        addons.wait_ready(api)

    def down(self, *, keep: bool) -> None:
        """Stop everything of this cluster; its data goes too unless kept."""
        with self._lock():
            record = files.read_json(self._state / "cluster.json")
            if record is None and not self._state.exists():
                say(f"cluster {self._name} is not there")
                return
            if self._sandbox.init is not None and keep:
                for daemon in reversed(self._all(self._node(record))) if record else ():
                    if daemon.daemon.name in ("postgres", "etcd"):
                        daemon.stop()
            self._sandbox.destroy()
            if record is not None:
                network.remove(_link(record))
                cgroups.remove(f"/headrace-{self._name}")
            if not keep:
                doomed = self._state.with_name(f".{self._name}.removed-{os.getpid()}")
                self._state.rename(doomed)
                shutil.rmtree(doomed, ignore_errors=True)
            say(f"cluster {self._name} is down" + (", its data kept" if keep else ""))

    def env(self) -> dict[str, str]:
        """Environment of whoever works with the cluster."""
        node = self._node(self._known())
        variables = {
            "HEADRACE_CLUSTER": self._name,
            "KUBECONFIG": str(node.pki / "admin.kubeconfig"),
            "HEADRACE_DATABASE_URL": node.database_url,
            "PATH": f"{node.binaries['kube']}:$PATH",
        }
        for proxy in ("no_proxy", "NO_PROXY"):
            if any(one.lower().endswith("_proxy") for one in os.environ):
                variables[proxy] = f"{node.link.node},${{{proxy}:-}}"
        return variables

    def status(self) -> Report:
        """One row for each daemon, then addresses."""
        node = self._node(self._known())
        rows = []
        for one in self._all(node):
            process = one.process
            rows.append(Part(one.daemon.name, str(process.pid) if process else "-", one.sick() or HEALTHY))
        addresses = {
            "api server": f"https://{node.link.node}:6443",
            "postgres": f"{node.link.node}:5432",
            "pods, services": f"{network.PODS}, {network.SERVICES}",
            "audit log": str(self._state / "audit" / "audit.log"),
            "logs": str(self._state / "log"),
        }
        return Report(tuple(rows), addresses)

    def load_image(self, archive: Path) -> None:
        """Give containerd the image unless it has it."""
        self._known()
        loaded = containerd.load(self._state, archive)
        say(f"{archive.name}: {'loaded' if loaded else 'already there'}")

    def kill(self, daemon: str) -> int:
        """End one daemon with SIGKILL."""
        for one in self._all(self._node(self._known())):
            if one.daemon.name == daemon:
                return one.kill()
        raise HarnessError(f"no daemon {daemon!r}; there are {', '.join(DAEMONS)}")

    def _lock(self) -> Any:
        return files.locked(self._state.with_name(f".{self._name}.lock"), f"it works on cluster {self._name}")

    def _running(self) -> bool:
        return self._sandbox.running() and (self._state / "cluster.json").exists()

    def _record(self) -> dict[str, Any]:
        """What was chosen for this cluster; chosen now, under a lock that all clusters share, at the first `up`."""
        path = self._state / "cluster.json"
        record = files.read_json(path)
        if record is not None:
            return record
        with files.locked(places.clusters() / ".addresses.lock", "it chooses addresses"):
            others = [files.read_json(one) for one in places.clusters().glob("*/cluster.json")]
            taken = [one["link"]["subnet"] for one in others if one and "link" in one]
            link = network.choose(self._name, [*taken, *network.occupied_on_host()])
            record = {"provider": "native", "link": asdict(link), "password": secrets.token_hex(16)}
            files.write_json(path, record, 0o600)
        return record

    def _known(self) -> dict[str, Any]:
        record = files.read_json(self._state / "cluster.json")
        if record is None:
            raise HarnessError(f"cluster {self._name} is not there; `harness/cluster up --name {self._name}` makes it")
        return record

    def _node(self, record: dict[str, Any]) -> Node:
        homes = {name: gobuild.directory(name) for name in gobuild.MODULES}
        return Node(self._state, _link(record), homes, str(record["password"]))

    def _supervised(self, daemon: Daemon) -> Supervised:
        return Supervised(daemon, self._state, self._sandbox)

    def _all(self, node: Node) -> list[Supervised]:
        makers = (
            etcd.daemon,
            containerd.daemon,
            postgres.daemon,
            apiserver.daemon,
            controllers.manager,
            controllers.scheduler,
            kubelet.kubelet,
            kubelet.proxy,
        )
        return [self._supervised(make(node)) for make in makers]


def _link(record: dict[str, Any]) -> Link:
    return Link(**record["link"])


def _check_machine() -> None:
    if not sys.platform.startswith("linux"):
        raise HarnessError("the native provider needs Linux; use --provider kind or existing")
    if os.geteuid() != 0:
        raise HarnessError("the native provider needs root (namespaces, mounts); use sudo, --provider kind or existing")
    if not Path("/sys/fs/cgroup").is_dir() or not any(Path("/sys/fs/cgroup").iterdir()):
        raise HarnessError("the native provider needs control groups mounted at /sys/fs/cgroup")
    if run(["sh", "-c", "grep -qw overlay /proc/filesystems || modprobe overlay"], check=False).returncode != 0:
        raise HarnessError("the native provider needs the overlay file system in this kernel")
