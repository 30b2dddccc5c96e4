"""The native cluster from outside: side by side, interrupted, damaged, and closed towards the world.

Runs on the cluster of the session (HEADRACE_CLUSTER) and on one more that it makes and removes.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import psycopg
import pytest

from harness import places
from harness.deployment import kubectl
from harness.images import archive
from harness.providers import choice
from harness.providers.native import Native

pytestmark = [pytest.mark.cluster]
# Beside the session's, also where several sessions have one each: a name has up to 20 characters.
SECOND = f"{os.environ.get('HEADRACE_CLUSTER', places.DEFAULT_CLUSTER)[:18]}-2"
HARNESS = str(places.ROOT / "harness" / "cluster")


@pytest.fixture(scope="module")
def first() -> str:
    """Name of the session's cluster, if it is one of ours."""
    name = os.environ.get("HEADRACE_CLUSTER", places.DEFAULT_CLUSTER)
    if choice.recorded(name) != "native":
        pytest.skip("the session's cluster is not of the native provider")
    return name


@pytest.fixture
def second() -> Iterator[str]:
    """Name of another cluster, which is not there before and after."""
    harness("down", SECOND)
    yield SECOND
    harness("down", SECOND)


def harness(command: str, name: str, *arguments: str, check: bool = True) -> str:
    done = subprocess.run([HARNESS, command, "--name", name, *arguments], check=False, capture_output=True, text=True)
    assert not check or done.returncode == 0, done.stderr
    return done.stdout


def pids(name: str) -> dict[str, str]:
    return {part.name: part.where for part in Native(name).status().parts}


def answers(name: str) -> None:
    """Both servers of a cluster do their work."""
    env = environment(name)
    assert "node-1" in kubectl(env, "get", "nodes", "-o", "name")
    with psycopg.connect(env["HEADRACE_DATABASE_URL"], connect_timeout=10) as connection:
        assert connection.execute("SELECT current_database()").fetchall() == [("headrace",)]


def environment(name: str) -> dict[str, str]:
    found = Native(name).env()
    return {**found, "PATH": found["PATH"].replace("$PATH", os.environ["PATH"])}


def eventually(holds: Callable[[], bool], within: float = 30) -> None:
    deadline = time.monotonic() + within
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def left(name: str) -> list[str]:
    """Whatever the machine still has of a cluster: processes, mounts, interfaces, control groups, files."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            command = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except (FileNotFoundError, ProcessLookupError):
            continue
        if f"/{name}/" in command and str(places.clusters()) in command:
            found.append(command)
    found += [line for line in Path("/proc/self/mounts").read_text().splitlines() if f"/{name}/" in line]
    found += [str(one) for one in Path("/sys/fs/cgroup").glob(f"**/headrace-{name}")]
    found += [str(one) for one in places.clusters().glob(f"{name}*")]
    return found


def interfaces() -> set[str]:
    return {one["ifname"] for one in json.loads(subprocess.check_output(["ip", "-j", "link"], text=True))}


def test_an_interrupted_up_is_completed_beside_another_cluster_and_leaves_nothing(first: str, second: str) -> None:
    untouched, before = pids(first), interfaces()
    state = places.cluster(second)
    # Killed once when its namespaces are being made, once when the first daemon was started.
    for sign in ("cluster.json", "run/apiserver.json"):
        with subprocess.Popen(
            [HARNESS, "up", "--name", second], stderr=subprocess.DEVNULL, start_new_session=True
        ) as up:
            eventually((state / sign).exists)
            os.killpg(up.pid, signal.SIGKILL)
    harness("up", second)
    answers(second)
    answers(first)
    assert len(interfaces() - before) == 1
    assert not set(pids(second).values()) & set(untouched.values())

    processes = pids(second)
    harness("up", second)
    assert pids(second) == processes, "nothing is started anew where all runs"

    harness("down", second)
    assert left(second) == []
    eventually(lambda: interfaces() == before)
    assert pids(first) == untouched
    answers(first)


def test_a_killed_node_comes_back_with_its_data(second: str) -> None:
    harness("up", second)
    env = environment(second)
    kubectl(env, "create", "configmap", "kept", "--from-literal=a=b")
    with psycopg.connect(env["HEADRACE_DATABASE_URL"], autocommit=True) as connection:
        connection.execute("CREATE TABLE kept ()")

    for daemon in ("postgres", "kubelet", "etcd"):
        harness("kill", second, daemon)
    assert harness("status", second, check=False).count("not running") == 3
    harness("up", second)
    assert "not running" not in harness("status", second)

    # As after a loss of power: all processes of the node end at the same instant.
    init = json.loads((places.cluster(second) / "run" / "sandbox.json").read_text())["pid"]
    os.kill(init, signal.SIGKILL)
    eventually(lambda: all(where == "-" for where in pids(second).values()))
    harness("up", second)
    assert kubectl(env, "get", "configmap", "kept", "-o", "name").strip() == "configmap/kept"
    with psycopg.connect(env["HEADRACE_DATABASE_URL"]) as connection:
        connection.execute("SELECT FROM kept")


POD = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {"name": "prober"},
    "spec": {
        "restartPolicy": "Never",
        "terminationGracePeriodSeconds": 1,
        "securityContext": {"runAsNonRoot": True, "runAsUser": 1000, "seccompProfile": {"type": "RuntimeDefault"}},
        "containers": [
            {
                "name": "main",
                "image": "docker.io/local/prober:1",
                "imagePullPolicy": "Never",
                "command": ["/busybox", "sleep", "3600"],
                "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
                "volumeMounts": [{"name": "data", "mountPath": "/data"}],
            }
        ],
        "volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": "prober"}}],
    },
}
CLAIM = {
    "apiVersion": "v1",
    "kind": "PersistentVolumeClaim",
    "metadata": {"name": "prober"},
    "spec": {"accessModes": ["ReadWriteMany"], "resources": {"requests": {"storage": "1Gi"}}},
}
NAMESPACE = {
    "apiVersion": "v1",
    "kind": "Namespace",
    "metadata": {"name": "harness-prober", "labels": {"pod-security.kubernetes.io/enforce": "restricted"}},
}


@pytest.fixture(scope="module")
def prober(first: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., str]]:
    """Runs busybox in a restricted pod that has a volume; what it prints, and its exit code on the last line."""
    image = tmp_path_factory.mktemp("image") / "prober.tar"
    archive.single_program(image, "docker.io/local/prober:1", Path("/bin/busybox"), "busybox", ["sh"])
    harness("load-image", first, str(image))
    env = environment(first)
    kubectl(env, "apply", "-f", "-", stdin=json.dumps(NAMESPACE))
    own = ("-n", "harness-prober")
    for document in (CLAIM, POD):
        # The namespace's service account is made a moment after the namespace.
        apply = partial(kubectl, env, *own, "apply", "-f", "-", stdin=json.dumps(document), check=False)
        eventually(lambda: bool(apply()))  # noqa: B023 - called before the loop goes on
    kubectl(env, *own, "wait", "--for=condition=Ready", "pod/prober", "--timeout=60s")

    def run(script: str) -> str:
        return kubectl(env, *own, "exec", "prober", "--", "/busybox", "sh", "-c", f"{script}; echo $?").strip()

    yield run
    kubectl(env, "delete", "namespace", "harness-prober", "--wait=false")


def test_a_claim_without_class_gets_a_volume_that_anyone_may_write(prober: Callable[..., str]) -> None:
    assert prober("/busybox touch /data/x").endswith("0")


def test_pods_reach_dns_the_api_server_and_postgres(first: str, prober: Callable[..., str]) -> None:
    node = environment(first)["HEADRACE_DATABASE_URL"].split("@")[1].split(":")[0]
    assert "10.96.0.1" in prober("/busybox nslookup kubernetes.default.svc.cluster.local")
    for address in ("10.96.0.1 443", f"{node} 6443", f"{node} 5432"):
        assert prober(f"/busybox nc -w 5 {address} </dev/null").endswith("0"), address


def test_pods_have_no_way_out(first: str, prober: Callable[..., str]) -> None:
    node = environment(first)["HEADRACE_DATABASE_URL"].split("@")[1].split(":")[0]
    routes = json.loads(subprocess.check_output(["ip", "-4", "-j", "route"], text=True))
    local = json.loads(subprocess.check_output(["ip", "-4", "-j", "address"], text=True))
    targets = {route["gateway"] for route in routes if "gateway" in route}
    targets |= {one["local"] for link in local for one in link["addr_info"] if link["ifname"] != "lo"}
    # The host and its gateway, a public address, and what of the node is not for pods.
    addresses = [*(f"{target} 22" for target in sorted(targets)), "1.1.1.1 443", f"{node} 10250", f"{node} 10256"]
    for address in addresses:
        # By the pod's own clock: what kubectl takes is not of the network.
        tried = f"/busybox nc -w 8 {address} </dev/null 2>/dev/null; code=$?"
        told = prober(
            f"read began _ </proc/uptime; {tried}; read ended _ </proc/uptime; echo $began $ended; (exit $code)"
        )
        began, ended, code = told.split()
        assert code == "1", address
        assert float(ended) - float(began) < 3, f"{address} is refused too slowly"
    assert prober("/busybox nslookup example.com 2>&1 >/dev/null").endswith("1")
