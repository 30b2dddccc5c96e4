"""The operator as it is installed: what it may do, how its pod is secured, quiet when idle, set up once."""

from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path

import pytest

from bench.idle import look
from harness import deployment
from harness.providers.native import Native
from tests.cluster.kube import Namespace, Refused, dag, kubectl, shell, trigger, until

ROOT = Path(__file__).parents[2]
ACCOUNT = "system:serviceaccount:headrace-system:headrace-operator"
OPERATOR = ("-n", "headrace-system")
PODS = ("get", "pod", "-l", "app.kubernetes.io/name=headrace-operator")
DEPLOYMENT = "deployment/headrace-operator"


def rights(namespace: str, account: str = ACCOUNT) -> set[str]:
    """What an account, the operator's by default, may do in a namespace, `verb resource` each, but what all may."""
    review = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SelfSubjectRulesReview",
        "spec": {"namespace": namespace},
    }
    asked = ("create", "--validate=false", "-f", "-", "-o", "json", f"--as={account}")
    told = kubectl(*asked, stdin=json.dumps(review))
    return {
        f"{verb} {resource}" + (f" {name}" if name else "")
        for rule in json.loads(told)["status"]["resourceRules"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
        for name in rule.get("resourceNames") or [""]
        if not set(rule["apiGroups"]) & {"authorization.k8s.io", "authentication.k8s.io"}
    }


EVERYWHERE = {
    *(f"{verb} {kind}" for verb in ("get", "list", "watch") for kind in ("dags", "jobs", "datasets")),
    *(f"{verb} {kind}" for verb in ("create", "patch", "delete") for kind in ("jobs", "datasets")),
    *(f"patch {kind}/status" for kind in ("dags", "jobs", "datasets")),
    *(f"{verb} namespaces" for verb in ("get", "list", "watch")),
    *(f"{verb} rolebindings" for verb in ("list", "watch")),
    *(f"{verb} validatingwebhookconfigurations headrace-admission" for verb in ("get", "update")),
    "create events",
    "patch dags",  # their finalizer; no right of its own covers it
}


def test_the_operator_s_rights_are_these_and_no_others(ns: Namespace) -> None:
    assert rights("default") == EVERYWHERE
    assert rights("headrace-system") == EVERYWHERE | {
        "create leases", "get leases headrace-operator", "update leases headrace-operator",
        "get secrets headrace-admission", "update secrets headrace-admission",
    }  # fmt: skip
    assert rights(ns.name) == EVERYWHERE | {f"{verb} pods" for verb in ("list", "watch", "create", "delete")}


def test_the_operator_s_pod_is_restricted_and_cannot_write_its_root() -> None:
    items = json.loads(kubectl(*OPERATOR, *PODS, "-o", "json"))["items"]
    (pod,) = [item for item in items if "deletionTimestamp" not in item["metadata"]]
    assert kubectl("get", "namespace", "headrace-system", "-o", "json").count('"restricted"')
    for container in pod["spec"]["containers"] + pod["spec"]["initContainers"]:
        assert container["securityContext"]["readOnlyRootFilesystem"] is True
    exec_ = (*OPERATOR, "exec", pod["metadata"]["name"], "-c", "operator", "--")
    with pytest.raises(Refused, match="Read-only file system"):
        kubectl(*exec_, "sh", "-c", "touch /opt/headrace/x")
    assert kubectl(*exec_, "id", "-u").strip() == "10001"


def test_the_overlay_for_trying_out_is_valid() -> None:
    """Its Postgres comes from a registry, so here the API server only checks it."""
    told = kubectl("apply", "--server-side", "--force-conflicts", "--dry-run=server", "-k",
                   str(ROOT / "deploy" / "overlays" / "try"))  # fmt: skip
    assert "statefulset.apps/headrace-postgres serverside-applied" in told
    assert "Warning" not in told


@pytest.mark.alone
def test_installing_again_changes_nothing() -> None:
    before = kubectl(*OPERATOR, "get", DEPLOYMENT, "-o", "jsonpath={.metadata.generation} {.status.replicas}")
    pods = until("one operator is there", one_operator)
    deployment.install(dict(os.environ))
    assert kubectl(*OPERATOR, "get", DEPLOYMENT, "-o", "jsonpath={.metadata.generation} {.status.replicas}") == before
    assert one_operator() == pods


def one_operator() -> list[str]:
    """Name of the operator's pod; none while there are others."""
    pods = kubectl(*OPERATOR, *PODS, "-o", "name").split()
    return pods if len(pods) == 1 else []


@pytest.mark.alone
def test_idle_is_quiet(ns: Namespace) -> None:
    """With full passes every two seconds: no write to the API server but the Lease, none in Postgres."""
    audit = Path(Native(os.environ["HEADRACE_CLUSTER"]).status().addresses["audit log"])
    setting = "HEADRACE_FULL_PASS_SECONDS"
    kubectl(*OPERATOR, "set", "env", DEPLOYMENT, f"{setting}=2")
    try:
        kubectl(*OPERATOR, "rollout", "status", DEPLOYMENT, "--timeout=120s")
        # Settings and roles are looked at in each pass as well.
        kubectl("annotate", "namespace", ns.name, 'headrace.dev/settings={"maxRunningTasks": 9}')
        ns.kubectl("create", "rolebinding", "money", "--clusterrole=view", "--user=ann", "--group=g")
        ns.kubectl("label", "rolebinding", "money", "headrace.dev/role=finance")
        ns.unchecked()
        cron = {"name": "tick", "source": {"kind": "cron", "schedule": "0 0 1 1 *"}}
        ns.apply(
            dag(
                "calm",
                trigger("a", "b"),
                shell("work", "true", "key"),
                publish=[{"name": "x", "from": {"job": "work"}}],
            ),
            dag("clock", cron, shell("work", "true", "tick")),
            dag("held", trigger("a"), shell("work", "true", "key"), suspend=True),
            dag("wrong", shell("work", "true", "nothing")),
        )
        for name in ("calm", "held"):
            ns.wait(name, "Ready")
            ns.run(name, "key")
        ns.wait("calm", "UpToDate")
        ns.wait("clock", "UpToDate")
        ns.wait("wrong", "Stalled")
        until("no pod is left", lambda: not ns.items("pod"))
        until(
            "the last write is over, and the mark after it",
            lambda: (
                not (
                    (last := asyncio.run(look(os.environ["HEADRACE_DATABASE_URL"], audit, 4))).api_writes or last.writes
                )
            ),
        )
        seen = asyncio.run(look(os.environ["HEADRACE_DATABASE_URL"], audit, 12))
        told = ns.told()
    finally:
        kubectl(*OPERATOR, "set", "env", DEPLOYMENT, f"{setting}-")
        kubectl(*OPERATOR, "rollout", "status", DEPLOYMENT, "--timeout=120s")
    assert seen.requests["list", "dags"] >= 4, "full passes took place"
    assert seen.lease_writes >= 1
    assert seen.api_writes == {}
    assert seen.writes == 0
    # Once a new object is handled, another operator has looked at the others: what was told is not told again.
    until("the other operator is alone", one_operator)
    ns.apply(dag("after", trigger("a")))
    ns.wait("after", "Ready")
    assert {one["regarding"]["name"]: one["reason"] for one in told} == {
        "calm": "VersionServes", "clock": "VersionServes", "held": "VersionServes", "wrong": "InvalidSpec",
    }  # fmt: skip
    assert [one for one in ns.told() if one["regarding"]["name"] != "after"] == told
