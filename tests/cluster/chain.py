"""A DAG whose tasks write what can be foretold: cold in pods, warm in workers, join of both in workers.

A task writes line by line for a while, so that a kill finds it half-way, and into a place that was not there before.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path

from tests.cluster import example
from tests.cluster.kube import Namespace, Object, dag, sql, trigger

IMAGE = "docker.io/local/headrace:dev"
JOBS = ("cold", "warm", "join")
MOST = {"cold": 3, "warm": 4, "join": 4}
"""maxConcurrency of each job."""

_MAKE = """
import hashlib, json, os, pathlib, time
def place(uri): return pathlib.Path(uri.removeprefix("file://"))
def make(job, key, inputs, output, config):
    made = place(output)
    made.mkdir(parents=True)
    seen = "".join((place(uri) / "data").read_text() for uri in inputs)
    gate = place("file:///data/gate")
    with (made / "data").open("w") as file:
        for number in range(20):
            line = hashlib.sha256(f"{job} {key} {number} {seen}".encode()).hexdigest()
            print(line, file=file, flush=True)
            time.sleep(config["seconds"] / 20)
    while key in config.get("wait", ()) and not gate.exists():
        time.sleep(0.1)
"""
_POD = (
    _MAKE
    + """
task = json.loads(open(os.environ["HEADRACE_TASK_FILE"]).read())
output = task["outputs"][0]["partitions"][0]
make(task["job"], output["key"], [], output["location"], task["config"])
"""
)
_WORKER = (
    _MAKE
    + """
from headrace.worker import run, task
@task
def work(task):
    inputs = sorted((name, given.location) for name, given in task.inputs.items() if given.location)
    make(task.job, task.key, [uri for _, uri in inputs], task.outputs[0].location, task.config)
    task.made(rows=20)
run()
"""
)


def chain(
    name: str,
    keys: list[str],
    seconds: float,
    wait: tuple[str, ...] = (),
    heartbeat: int = 10,
) -> Object:
    """key -> cold, warm -> join; for the keys in `wait` a task takes until `open_gate`.

    Each takes `seconds`, in a worker five times as long, about what the start of a pod takes elsewhere.
    """
    template = {
        "spec": {
            "terminationGracePeriodSeconds": 1,
            "securityContext": {"fsGroup": 10001, "fsGroupChangePolicy": "OnRootMismatch"},
            "containers": [{"name": "main", "volumeMounts": [{"name": "data", "mountPath": "/data"}]}],
            "volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": "data"}}],
        }
    }

    def job(job: str, code: str, *inputs: str, **fields: object) -> Object:
        config = {"seconds": seconds if job == "cold" else 5 * seconds, "wait": list(wait)}
        return {
            "name": job, "image": IMAGE, "command": ["python", "-c", code], "config": config, "maxAttempts": 20,
            "inputs": [{"from": {"job": i}} for i in inputs], "heartbeatTimeoutSeconds": heartbeat, **fields,
        }  # fmt: skip

    def scaling(job: str) -> Object:
        return {"maxConcurrency": MOST[job], "batch": 2} if job != "cold" else {"maxConcurrency": MOST[job]}

    return dag(
        name,
        trigger(*keys),
        job("cold", _POD, "key", scaling=scaling("cold")),
        job("warm", _WORKER, "key", scaling=scaling("warm"), idleTimeout="5s"),
        job("join", _WORKER, "cold", "warm", scaling=scaling("join"), idleTimeout="5s"),
        defaults={"template": template},
    )


def volume(ns: Namespace) -> None:
    """Make the volume that the tasks write to."""
    (claim,) = [d for d in example.documents("setup.yaml") if d["kind"] == "PersistentVolumeClaim"]
    claim["metadata"]["namespace"] = ns.name
    ns.apply(claim)


def open_gate(ns: Namespace) -> None:
    """Let the tasks end that wait."""
    (example.volume(ns) / "gate").touch()


def accepted(ns: Namespace, name: str) -> Mapping[tuple[str, str], str]:
    """Of each job and key, the location that is accepted."""
    rows = sql(
        "SELECT d.producer_job_name, p.partition_key, p.location FROM dag_current_versions c"
        " JOIN dag_version_datasets v USING (dag_version_id) JOIN datasets d ON d.id = v.dataset_uuid"
        " JOIN partition_versions p ON (p.dataset_uuid, p.dataset_version) = (v.dataset_uuid, v.dataset_version)"
        " WHERE c.org_id = %s AND c.dag_name = %s AND p.location IS NOT NULL", ns.org(), name
    )  # fmt: skip
    return {(job, key): location for job, key, location in rows}


def contents(ns: Namespace, name: str) -> Mapping[tuple[str, str], str]:
    """Of each job and key, what is accepted."""
    root = example.volume(ns)
    return {unit: data(root, location) for unit, location in accepted(ns, name).items()}


def data(root: Path, location: str) -> str:
    """What a task wrote."""
    return (root / location.removeprefix("file:///data/") / "data").read_text()


def expected(keys: Iterable[str]) -> Mapping[tuple[str, str], str]:
    """Of each job and key, what its task writes when nothing happens to it."""

    def made(job: str, key: str, seen: str = "") -> str:
        lines = [hashlib.sha256(f"{job} {key} {number} {seen}".encode()).hexdigest() for number in range(20)]
        return "".join(f"{line}\n" for line in lines)

    found = {}
    for key in keys:
        cold, warm = made("cold", key), made("warm", key)
        found |= {("cold", key): cold, ("warm", key): warm, ("join", key): made("join", key, cold + warm)}
    return found
