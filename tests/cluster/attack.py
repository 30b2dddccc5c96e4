"""Two orgs that have the same names everywhere, and somebody in one who tries to reach the other."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

from tests.cluster.kube import Namespace, Object, dag, shell, sql, trigger, until
from tests.cluster.people import account, token
from tests.cluster.test_people import give
from tests.cluster.test_webhooks import readable, secret

IMAGE = "docker.io/local/headrace:dev"
GUESSED = str(uuid4())
NOWHERE = f"t-{uuid4().hex[:8]}"
NOBODY = "nobodys"
"""An id, a namespace and a name that are nobody's."""
OWN = "vault"
"""What the attacked org alone has: a DAG, its dataset, a service account and a Secret."""
BOUND = ("--audience=headrace.dev/worker", "--bound-object-kind=Pod")
_HOLD = "import time\nfrom headrace.worker import run, task\n@task\ndef work(task):\n    time.sleep(900)\nrun()\n"


def air() -> Object:
    """Sources of people and of events, datasets for all and for analysts, and work that goes on in each kind of pod."""
    warm = {"name": "warm", "image": IMAGE, "command": ["python", "-c", _HOLD], "inputs": [{"from": {"job": "key"}}],
            "idleTimeout": "5m", "heartbeatTimeoutSeconds": 600}  # fmt: skip
    hook = {**shell("hook", "true"), "source": {"kind": "webhook", "secretName": "hook"}}
    return dag(
        "air",
        trigger("a", "b"),
        hook,
        shell("made", "true", "key", outputs=2, scaling={"maxConcurrency": 2}),
        warm,
        shell("cold", "sleep 900", "key", report="gateway"),
        publish=[
            {"name": "x", "from": {"job": "made"}, "readRoles": ["analysts"]},
            {"name": "y", "from": {"job": "made", "output": 1}},
        ],
    )


_OF = "JOIN jobs j ON j.id = t.job_id WHERE j.org_id = %s"
_OF_DATASET = "JOIN datasets d ON d.id = p.dataset_uuid WHERE d.org_id = %s"
ROWS = {
    "tasks": f"SELECT t.id, t.status, t.attempts, t.lease_token, t.error_message FROM tasks t {_OF} ORDER BY 1",
    "versions": "SELECT dag_name, yaml_hash FROM dag_versions WHERE org_id = %s ORDER BY 1, 2",
    "serves": "SELECT dag_name, dag_version_id FROM dag_current_versions WHERE org_id = %s ORDER BY 1",
    "made": f"SELECT d.name, p.partition_key, p.materialized_at FROM partition_versions p {_OF_DATASET} ORDER BY 1, 2",
    "wrong": f"SELECT p.id FROM data_invalidations p {_OF_DATASET} ORDER BY 1",
    "names": "SELECT name, dag_name, read_roles FROM dataset_names WHERE org_id = %s ORDER BY 1",
    "events": "SELECT count(*) FROM webhook_events t JOIN jobs j ON j.identity = t.job_identity WHERE j.org_id = %s",
    "roles": "SELECT r.slug, m.user_id FROM org_roles r LEFT JOIN org_role_memberships m ON m.role_id = r.id"
    " WHERE r.org_id = %s ORDER BY 1, 2",
    "org": "SELECT slug, namespace_uid, settings FROM orgs WHERE id = %s",
}
"""By what they tell, queries of one org's rows."""


@dataclass
class Org:
    """One of the two: its namespace, its people's tokens, and the attempts that run."""

    ns: Namespace
    key: str
    bearers: dict[str, str] = field(default_factory=dict)
    held: dict[str, dict[str, Any]] = field(default_factory=dict)
    pods: dict[str, Object] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """Of its namespace."""
        return self.ns.name

    def begin(self, *roles: str) -> None:
        """Its objects and people; the analysts among them."""
        self.ns.apply(air())
        secret(self.ns, "hook", key=self.key)
        readable(self.ns, "hook")
        people = {"owner": "admin", "viewer": "view"}
        for name, role in people.items():
            account(self.ns, name, role)
            self.bearers[name] = token(self.ns, name)
        for role in roles:
            give(self.ns, role, role, f"--serviceaccount={self.name}:owner")

    def work(self) -> None:
        """Its datasets are there, and one task of each kind runs."""
        self.ns.wait("air", "Serving")
        self.ns.run("air", "key")

    def ready(self) -> None:
        """Wait for that."""

        def busy() -> bool:
            rows = sql(
                "SELECT j.name, t.id::text, t.attempts, t.lease_token::text, t.worker_id FROM tasks t JOIN jobs j"
                " ON j.id = t.job_id WHERE j.org_id = %s AND j.dag_name = 'air' AND t.status = 'Running'"
                " AND j.name IN ('warm', 'cold')", self.ns.org()
            )  # fmt: skip
            self.held = {job: {"id": id_, "attempt": n, "token": lease} for job, id_, n, lease, _ in rows}
            there = {pod["metadata"]["name"]: pod for pod in self.ns.items("pod")}
            self.pods = {job: there[name] for job, *_, name in rows if name in there}
            running = [pod for pod in self.pods.values() if pod["status"]["phase"] == "Running"]
            made = [state for job, _, state, _ in self.ns.tasks("air") if job == "made"]
            known = sql("SELECT 1 FROM task_pods WHERE task_id = %s", self.held.get("cold", {}).get("id", GUESSED))
            return len(running) == 2 and made == ["Completed"] * 2 and bool(known)

        until(f"work of {self.name} runs", busy, within=90)

    def of_pod(self, job: str) -> str:
        """The token of the pod that works on a job."""
        return token(self.ns, "default", *BOUND, f"--bound-object-name={self.pods[job]['metadata']['name']}")

    def rows(self) -> Mapping[str, object]:
        """All that somebody could change of it, in Postgres."""
        org = self.ns.org()
        return {what: sql(query, org) for what, query in ROWS.items()}


def hidden() -> Object:
    """A DAG with names that only the attacked org has."""
    return dag(
        OWN, trigger("a", name=OWN), shell("work", "true", OWN), publish=[{"name": OWN, "from": {"job": "work"}}]
    )


def vault(ns: Namespace) -> None:
    """A service account and a Secret that only the attacked org has."""
    ns.kubectl("create", "serviceaccount", OWN)
    secret(ns, OWN, key="not-for-others")


def plain(answer: object, *theirs: tuple[str, str]) -> str:
    """An answer as text, with each name of what is there, or is not, as the same word."""
    text = json.dumps(answer, sort_keys=True)
    for name, word in theirs:
        text = text.replace(name, word)
    return text


def pod_like(name: str, like: Object, **metadata: object) -> Object:
    """A pod that looks like another in all that its owner may write, and ends well at once."""
    meta = like["metadata"]
    container = {
        "name": like["metadata"]["annotations"].get("headrace.dev/task-container", "main"),
        "image": IMAGE,
        "command": ["true"],
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
    }
    return {
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": name, "labels": meta["labels"], "annotations": meta["annotations"], **metadata},
        "spec": {"restartPolicy": "Never", "containers": [container],
                 "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}},
    }  # fmt: skip
