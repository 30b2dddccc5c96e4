"""One DAG that uses every field this release acts on, and ways to edit it; the tests of compile share it."""

from __future__ import annotations

import copy
from collections.abc import Collection, Mapping
from typing import Any

import msgspec

from headrace.api.dag import DagSpec
from headrace.api.dataset import DatasetSpec
from headrace.api.job import JobSpec
from headrace.compile.dag import compile_dag
from headrace.compile.document import Compiled

Spec = dict[str, Any]
Specs = dict[str, Spec]

TEMPLATE: Spec = {
    "spec": {
        "containers": [
            {"name": "main", "env": [{"name": "REGION", "value": "eu"}, {"name": "TRACE", "value": "1"}]},
            {"name": "proxy", "image": "example/proxy:1"},
        ],
        "volumes": [{"name": "scratch", "emptyDir": {}}],
    }
}
DAY: Spec = {
    "name": "day",
    "source": {
        "kind": "cron",
        "schedule": "30 2 * * *",
        "timeZone": "Europe/Zurich",
        "start": "2026-01-01",
        "end": "2026-12-31T23:00:00Z",
        "catchUp": "all",
        "partition": {"format": "%Y-%m-%d", "offset": -1},
        "partitions": {"range": {"start": "2025-12-01", "end": "2025-12-31", "every": "1d", "format": "%Y-%m-%d"}},
    },
}
LOAD: Spec = {
    "name": "load",
    "source": {"kind": "manual", "partitions": {"values": ["2025-12-01", "2025-12-02"]}},
    "image": "example/load:1",
    "outputs": 2,
}
CLEAN: Spec = {
    "name": "clean",
    "inputs": [{"from": {"job": "day"}}, {"name": "raw", "from": {"job": "load", "output": 1}}],
    "image": "example/clean@sha256:" + "0" * 64,
    "command": ["clean"],
    "args": ["--strict", "--limit=10"],
    "env": [{"name": "TRACE", "value": "0"}, {"name": "KEY", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}],
    "resources": {"requests": {"cpu": "100m"}},
    "template": {"spec": {"nodeSelector": {"disk": "fast"}, "volumes": [{"name": "scratch", "emptyDir": None}]}},
    "operator": "cleaner",
    "outputs": 2,
    "config": {"rules": ["a", "b"], "limit": 10, "share": 0.5, "strict": True, "none": None, "name": "Zürich"},
    "configSchema": {"type": "object", "required": ["limit"], "properties": {"limit": {"type": "integer"}}},
    "scaling": {"maxConcurrency": 4},
    "timeoutSeconds": 900,
}
REPORT: Spec = {
    "name": "report",
    "inputs": [{"from": {"dataset": "clean_rows"}}, {"from": {"job": "load"}}],
    "image": "example/report:1",
    "codeVersion": "7",
    "outputs": 0,
    "maxAttempts": 1,
}
FULL: Spec = {
    "defaults": {
        "timeoutSeconds": 600,
        "heartbeatTimeoutSeconds": 30,
        "maxAttempts": 5,
        "scaling": {"maxConcurrency": 2},
        "template": TEMPLATE,
    },
    "jobs": [DAY, LOAD, CLEAN, REPORT],
    "publish": [
        {
            "name": "clean_rows",
            "from": {"job": "clean"},
            "storage": {"base": "s3://bucket/prefix"},
            "description": "one row for each event",
        },
        {"name": "rejected", "from": {"job": "clean", "output": 1}},
    ],
}


def compiled(
    spec: Mapping[str, object],
    dag: str = "events",
    jobs: Mapping[str, Spec] | None = None,
    datasets: Mapping[str, Spec] | None = None,
) -> Compiled:
    """Compile specs as the DAG, Job and Dataset objects have them; what the parser alone refuses passes."""
    return compile_dag(
        dag,
        msgspec.convert(spec, DagSpec),
        {name: msgspec.convert({"dag": dag, **_unnamed(job)}, JobSpec) for name, job in (jobs or {}).items()},
        {name: msgspec.convert(dataset, DatasetSpec) for name, dataset in (datasets or {}).items()},
    )


def _unnamed(inline: Spec) -> Spec:
    return {key: value for key, value in inline.items() if key != "name"}


def apart(
    spec: Spec, jobs: Collection[str], datasets: Collection[str] = (), dag: str = "events"
) -> tuple[Spec, Specs, Specs]:
    """`spec` without these jobs and published datasets, and the specs of the Job and Dataset objects that have them."""
    rest, written, publish = copy.deepcopy(spec), spec.get("jobs", []), spec.get("publish", [])
    rest["jobs"] = [j for j in written if j["name"] not in jobs]
    rest["publish"] = [p for p in publish if p["name"] not in datasets]
    return (
        rest,
        {j["name"].replace("_", "-"): _unnamed(j) | {"jobName": j["name"]} for j in written if j["name"] in jobs},
        {
            p["name"].replace("_", "-"): _unnamed(p) | {"datasetName": p["name"], "from": {"dag": dag, **p["from"]}}
            for p in publish
            if p["name"] in datasets
        },
    )


def edited(job: str, *path: str, value: object, spec: Spec = FULL) -> Spec:
    """`spec` with `value` at the path within a job; the parts on the way are made where they are missing."""
    changed = copy.deepcopy(spec)
    jobs = changed["jobs"]
    node = next(j for j in jobs if j["name"] == job)
    for name in path[:-1]:
        node = node.setdefault(name, {})
    if value is None:
        node.pop(path[-1])
    else:
        node[path[-1]] = value
    return changed


def source(**fields: object) -> Spec:
    """A DAG of one source job."""
    return {"jobs": [{"name": "a", "source": fields}]}


def step(name: str, *inputs: str, **fields: object) -> Spec:
    """A reactive job that reads the first output of each of `inputs`."""
    return {"name": name, "image": "i", "inputs": [{"from": {"job": i}} for i in inputs], **fields}
