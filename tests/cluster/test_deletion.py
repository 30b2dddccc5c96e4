"""DAGs and namespaces that go, while the operator looks and while it does not: rows stay, unless it said Delete."""

from __future__ import annotations

from typing import Any

import pytest

from tests.cluster.api import read
from tests.cluster.kube import (
    Namespace,
    Object,
    condition,
    dag,
    kubectl,
    namespace,
    no_operator,
    shell,
    sql,
    trigger,
    until,
)

TABLES = {
    "dag_versions": "org_id = %s AND dag_name = %s",
    "jobs": "org_id = %s AND dag_name = %s",
    "datasets": "org_id = %s AND producer_dag_name = %s",
    "rollouts": "org_id = %s AND dag_name = %s",
    "dataset_names": "org_id = %s AND dag_name = %s",
    "dags": "org_id = %s AND name = %s",
}


def pipeline(name: str, policy: str = "Retain") -> Object:
    """key -> clean, published."""
    publish = [{"name": f"{name}_rows", "from": {"job": "clean"}}]
    return dag(name, trigger("a"), shell("clean", "true", "key"), publish=publish, deletionPolicy=policy)


def reader(name: str, dataset: str) -> Object:
    """A job that reads a dataset of another DAG."""
    job = {**shell("read", "true"), "inputs": [{"from": {"dataset": dataset}}]}
    return dag(name, job)


def serve(ns: Namespace, *dags: Object) -> None:
    """Apply them and run them to their end."""
    ns.apply(*dags)
    for one in dags:
        name = one["metadata"]["name"]
        ns.wait(name, "Ready")
        if any("source" in job for job in one["spec"]["jobs"]):
            ns.run(name, "key")
    for one in dags:
        ns.wait(one["metadata"]["name"], "UpToDate")


def counts(org: Any, name: str) -> dict[str, int]:
    """Rows of a DAG by table."""
    found = {table: sql(f"SELECT count(*) FROM {table} WHERE {where}", org, name) for table, where in TABLES.items()}
    return {table: rows[0][0] for table, rows in found.items() if rows[0][0]}


def gone(ns: Namespace, name: str) -> bool:
    """Whether the object is no more."""
    return not ns.get("dag", name)


@pytest.mark.alone
def test_delete_takes_the_rows_and_retain_keeps_them_also_while_no_operator_looks(ns: Namespace) -> None:
    serve(ns, pipeline("kept"), pipeline("dropped", "Delete"))
    org = ns.org()
    assert ns.get("dag", "dropped")["metadata"]["finalizers"] == ["headrace.dev/delete-rows"]
    assert "finalizers" not in ns.get("dag", "kept")["metadata"]
    before = counts(org, "kept")
    with namespace() as other:
        other.apply(pipeline("kept"))
        other.wait("kept", "Ready")
    alone = {"apiVersion": "headrace.dev/v1alpha1", "kind": "Job", "metadata": {"name": "alone"},
             "spec": {"dag": "none", "source": {"kind": "manual"}}}  # fmt: skip
    ns.apply(alone, {**alone, "kind": "Dataset", "spec": {"from": {"dag": "none", "job": "alone"}}})
    with no_operator():
        ns.kubectl("delete", "dag,hjob,dset", "--all", "--wait=false")
        until("what said Retain is gone at once", lambda: gone(ns, "kept"), 10)
        until("so is what is no DAG", lambda: not ns.items("hjob") + ns.items("dset"), 10)
        assert ns.get("dag", "dropped")["metadata"]["deletionTimestamp"]
        assert counts(org, "dropped")
        until("so is a namespace", lambda: not read(f"/api/v1/namespaces/{other.name}"), 30)
    until("what said Delete is gone", lambda: gone(ns, "dropped"))
    assert counts(org, "dropped") == {}
    assert counts(org, "kept") == before
    until("its absence is noted", lambda: sql(
        "SELECT 1 FROM dags WHERE org_id = %s AND name = 'kept' AND absent_since IS NOT NULL", org))  # fmt: skip
    ns.apply(pipeline("kept"))
    ns.wait("kept", "UpToDate")
    assert counts(org, "kept") == {**before, "rollouts": before["rollouts"]}


def test_a_policy_that_changes_its_mind_and_a_dataset_that_others_read(ns: Namespace) -> None:
    serve(ns, pipeline("made", "Delete"), reader("report", "made_rows"))
    ns.apply(pipeline("made"))
    until("the finalizer is gone", lambda: "finalizers" not in ns.get("dag", "made")["metadata"])
    ns.apply(pipeline("made", "Delete"))
    until("the finalizer is back", lambda: ns.get("dag", "made")["metadata"].get("finalizers"))
    ns.kubectl("delete", "dag/made", "--timeout=60s")
    org = ns.org()
    assert counts(org, "made") == {"dag_versions": 1, "datasets": 1, "dataset_names": 1}
    ns.apply(pipeline("thief", "Retain") | {"spec": {**pipeline("thief")["spec"], "publish": [
        {"name": "made_rows", "from": {"job": "clean"}}]}})  # fmt: skip
    stalled = ns.wait("thief", "Stalled")
    assert condition(stalled, "Stalled")["reason"] == "NameTaken"
    ns.wait("report", "UpToDate")


def test_a_dag_that_reads_what_is_not_there_yet_waits_and_is_woken(ns: Namespace) -> None:
    ns.apply(reader("report", "made_rows"))
    until("it waits", lambda: condition(ns.get("dag", "report"), "Reconciling").get("reason") == "InputsMissing")
    assert ns.get("dag", "report")["status"]["observedGeneration"] == -1
    serve(ns, pipeline("made"))
    # It may serve before there is anything to read.
    until("it has read", lambda: ns.wait("report", "UpToDate", within=20)["status"]["tasks"]["completed"] == 1)
    ns.apply(dag("made", trigger("a"), shell("clean", "true", "key")))
    assert condition(ns.wait("made", "Stalled"), "Stalled")["reason"] == "ConsumersExist"


def test_a_namespace_made_anew_is_another_org(ns: Namespace) -> None:
    with namespace() as first:
        serve(first, pipeline("kept"), pipeline("dropped", "Delete"))
        old = first.org()
    kubectl("wait", f"namespace/{first.name}", "--for=delete", "--timeout=60s")
    assert counts(old, "dropped") == {}
    before = counts(old, "kept")
    assert before["dag_versions"] == 1
    with namespace(name=first.name) as second:
        serve(second, pipeline("kept"))
        assert second.org() != old
        assert counts(old, "kept") == before
        assert counts(second.org(), "kept") == before
        ((slug,),) = sql("SELECT slug FROM orgs WHERE id = %s", old)
        assert slug.startswith(f"{first.name}~")
