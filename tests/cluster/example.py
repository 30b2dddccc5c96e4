"""The flights example in a namespace of a test's own, and what it left on the volume and in Postgres."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import yaml

from tests.cluster.kube import Namespace, Object, kubectl, sql

ROOT = Path(__file__).parents[2] / "examples" / "flights"
KINDS = {
    "flights_clean": "clean",
    "flights_joined": "join",
    "carrier_rank": "carrier_rank",
    "airport_rank": "airport_rank",
    "flights.weather.0": "weather",
}
"""Dataset to what the oracle calls it."""


def documents(file: str) -> list[Object]:
    """The objects of one of the example's files."""
    return [document for document in yaml.safe_load_all((ROOT / file).read_text()) if document]


def apply(ns: Namespace, idle: str = "1m") -> Object:
    """Apply the volume and the pipeline to the namespace, under its name; the DAG as it is applied.

    `idle`: the idleTimeout of its workers, shorter for who waits for their end.
    """
    objects = [
        *(d for d in documents("setup.yaml") if d["kind"] == "PersistentVolumeClaim"),
        *documents("flights.yaml"),
    ]
    for one in objects:
        one["metadata"]["namespace"] = ns.name
    for job in objects[-1]["spec"]["jobs"]:
        if "idleTimeout" in job:
            job["idleTimeout"] = idle
    ns.apply(*objects)
    return objects[-1]


def volume(ns: Namespace) -> Path:
    """The directory of this machine that the pods know as /data."""
    claim = ns.get("pvc", "data")
    bound = json.loads(kubectl("get", "pv", claim["spec"]["volumeName"], "-o", "json"))
    return Path(bound["spec"]["hostPath"]["path"])


def partitions(ns: Namespace) -> dict[str, dict[str, Path]]:
    """What is accepted of each dataset that has data: by name, the directory of each partition by key."""
    rows = sql(
        "SELECT d.name, p.partition_key, p.location FROM dag_current_versions c"
        " JOIN dag_version_datasets v USING (dag_version_id) JOIN datasets d ON d.id = v.dataset_uuid"
        " JOIN partition_versions p ON (p.dataset_uuid, p.dataset_version) = (v.dataset_uuid, v.dataset_version)"
        " WHERE c.org_id = %s AND c.dag_name = 'flights' AND p.location IS NOT NULL",
        ns.org(),
    )
    root, found = volume(ns), dict[str, dict[str, Path]]()
    for name, key, location in rows:
        found.setdefault(name, {})[key] = root / location.removeprefix("file:///data/")
    return found


def rows_of(ns: Namespace) -> dict[str, list[Any]]:
    """Every row of the namespace's org in the tables of versions and data, with the transaction that wrote it."""
    org = "(SELECT id FROM orgs WHERE namespace_uid = %s)"
    of_org = {
        table: f"SELECT t.xmin::text, t.* FROM {table} t WHERE t.org_id = {org} ORDER BY 2, 3"
        for table in ("dag_versions", "dag_current_versions", "jobs", "datasets", "dags")
    }
    of_datasets = {
        table: f"SELECT t.xmin::text, t.* FROM {table} t JOIN datasets d ON d.id = t.dataset_uuid"
        f" WHERE d.org_id = {org} ORDER BY t::text"
        for table in ("dataset_versions", "dag_version_datasets", "partition_versions")
    }
    of_jobs = {
        "tasks": f"SELECT t.xmin::text, t.* FROM tasks t JOIN jobs j ON j.id = t.job_id WHERE j.org_id = {org}"
        " ORDER BY t.seq",
        "task_inputs": "SELECT i.xmin::text, i.* FROM task_inputs i JOIN tasks t ON t.id = i.task_id"
        f" JOIN jobs j ON j.id = t.job_id WHERE j.org_id = {org} ORDER BY i::text",
    }
    return {table: sql(query, ns.uid()) for table, query in (of_org | of_datasets | of_jobs).items()}
