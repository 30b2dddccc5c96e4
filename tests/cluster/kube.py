"""kubectl, looks and SQL for tests on a cluster: apply, wait for facts. The cluster comes from the environment."""

from __future__ import annotations

import json
import os
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar
from uuid import uuid4

import psycopg

from tests.cluster.api import PATHS, read

Object = dict[str, Any]
T = TypeVar("T")

IMAGE = "docker.io/local/flights:demo"
_PAUSE = threading.Event()
_SYSTEM = ("-n", "headrace-system")
_OPERATOR = "deployment/headrace-operator"


class Refused(AssertionError):
    """kubectl said no; the text is what it said."""


def kubectl(*arguments: str, stdin: str | None = None) -> str:
    """Run kubectl; its output, or Refused with its error."""
    done = subprocess.run(
        ["kubectl", *arguments], input=stdin, capture_output=True, text=True, check=False, timeout=300
    )
    if done.returncode != 0:
        raise Refused(done.stderr.strip() or done.stdout.strip())
    return done.stdout


def until(what: str, fact: Callable[[], T | None], within: float = 60.0) -> T:
    """Ask for a fact until it is there; AssertionError that names it when it does not come within so many seconds."""
    deadline = time.monotonic() + within
    while True:
        found = fact()
        if found:
            return found
        assert time.monotonic() < deadline, f"not within {within:.0f} s: {what}"
        _PAUSE.wait(0.2)


def sql(query: str, *parameters: object) -> list[tuple[Any, ...]]:
    """Rows of a query to the operator's own database."""
    with psycopg.connect(os.environ["HEADRACE_DATABASE_URL"]) as connection:
        return connection.execute(query.encode(), parameters or None).fetchall()


def condition(status_of: Object, type_: str) -> Object:
    """A condition of an object; empty when it is absent."""
    return next((c for c in status_of.get("status", {}).get("conditions", []) if c["type"] == type_), {})


@dataclass
class Namespace:
    """A namespace of a test's own."""

    name: str
    requests: Iterator[int] = field(default_factory=lambda: iter(range(1, 1000)))

    def kubectl(self, *arguments: str, stdin: str | None = None) -> str:
        """Run kubectl in the namespace."""
        return kubectl("-n", self.name, *arguments, stdin=stdin)

    def apply(self, *objects: Object) -> str:
        """Apply objects as a user would."""
        return self.kubectl(
            "apply", "-f", "-", stdin=json.dumps({"apiVersion": "v1", "kind": "List", "items": objects})
        )

    def get(self, kind: str, name: str) -> Object:
        """An object as it is; empty when it is not there."""
        return read(f"{PATHS[kind].format(self.name)}/{name}")

    def items(self, kind: str) -> list[Object]:
        """All objects of a kind."""
        return read(PATHS[kind].format(self.name))["items"]  # type: ignore[no-any-return]

    def told(self) -> list[Object]:
        """The events that the operator has sent."""
        return [one for one in self.items("event") if one.get("reportingController") == "headrace.dev/operator"]

    def unchecked(self) -> None:
        """Let everything past the webhook from now on: reconcile is to find what is wrong."""
        kubectl("label", "namespace", self.name, "headrace.dev/admission=off", "--overwrite")

    def run(self, dag: str, job: str) -> str:
        """Ask for a run of a source job; the request's id, once the operator has taken it on."""
        request = f"t{next(self.requests)}"
        self.kubectl("annotate", "--overwrite", f"dag/{dag}", f"headrace.dev/run={request} {job}")
        until(
            f"run {request} is handled",
            lambda: self.get("dag", dag).get("status", {}).get("lastHandled", {}).get("run") == request,
        )
        return request

    def wait(self, dag: str, type_: str, status: str = "True", within: float = 120.0) -> Object:
        """The DAG, once a condition has a value for its present generation."""

        def there() -> Object | None:
            found = self.get("dag", dag)
            current = found and found.get("status", {}).get("observedGeneration") == found["metadata"]["generation"]
            return found if current and condition(found, type_).get("status") == status else None

        return until(f"{type_}={status} on {dag}", there, within)

    def org(self) -> Any:
        """The id of the namespace's org."""
        rows = sql("SELECT id FROM orgs WHERE namespace_uid = %s", self.uid())
        return rows[0][0] if rows else None

    def uid(self) -> str:
        """The namespace's own."""
        return read(f"/api/v1/namespaces/{self.name}")["metadata"]["uid"]  # type: ignore[no-any-return]

    def tasks(self, dag: str) -> list[tuple[str, str, str, int]]:
        """(job, key, status, attempts) of every task of a DAG."""
        return sql(
            "SELECT j.name, t.unit_key, t.status, t.attempts FROM tasks t JOIN jobs j ON j.id = t.job_id"
            " WHERE j.org_id = %s AND j.dag_name = %s ORDER BY t.seq",
            self.org(),
            dag,
        )


@contextmanager
def namespace(*, tenant: bool = True, name: str | None = None) -> Iterator[Namespace]:
    """A namespace with restricted pods where the operator may (`tenant`) make pods; gone after the block."""
    made = Namespace(name or f"t-{uuid4().hex[:8]}")
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    kubectl("apply", "-f", "-", stdin=json.dumps(
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": made.name, "labels": labels}}
    ))  # fmt: skip
    if tenant:
        bind(made)
    try:
        yield made
    finally:
        kubectl("delete", "namespace", made.name, "--wait=false")


@contextmanager
def forwarded() -> Iterator[str]:
    """The gateway's address, by kubectl's own forwarding of its Service's port."""
    argv = ["kubectl", *_SYSTEM, "port-forward", "service/headrace-gateway", ":80"]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            line = process.stdout.readline()
            yield "http://127.0.0.1:" + line.split("127.0.0.1:")[1].split()[0]
        finally:
            process.terminate()


def stop_operator() -> None:
    """Scale the operator to nothing."""
    kubectl(*_SYSTEM, "scale", _OPERATOR, "--replicas=0")
    until("the operator is gone", lambda: not kubectl(*_SYSTEM, "get", "pod", "-l",
          "app.kubernetes.io/name=headrace-operator", "-o", "name"))  # fmt: skip


@contextmanager
def no_operator() -> Iterator[None]:
    """The operator is scaled to nothing during the block."""
    stop_operator()
    try:
        yield
    finally:
        kubectl(*_SYSTEM, "scale", _OPERATOR, "--replicas=1")
        kubectl(*_SYSTEM, "rollout", "status", _OPERATOR, "--timeout=120s")


def bind(made: Namespace) -> None:
    """Let the operator make pods in a namespace."""
    made.kubectl("create", "rolebinding", "headrace-tenant", "--clusterrole=headrace-tenant",
                 "--serviceaccount=headrace-system:headrace-operator")  # fmt: skip


def dag(name: str, *jobs: Object, **spec: object) -> Object:
    """A DAG of these jobs."""
    return {
        "apiVersion": "headrace.dev/v1alpha1",
        "kind": "DAG",
        "metadata": {"name": name},
        "spec": {"jobs": list(jobs), **spec},
    }


def trigger(*keys: str, name: str = "key") -> Object:
    """A manual source over these keys."""
    return {"name": name, "source": {"kind": "manual", "partitions": {"values": list(keys)}}}


def shell(name: str, script: str, *inputs: str, **fields: object) -> Object:
    """A job that runs a shell script for each partition of its inputs."""
    command = ["sh", "-c", script]
    # A shell as the first process is deaf to SIGTERM: no use in waiting for it.
    fields.setdefault("template", {"spec": {"terminationGracePeriodSeconds": 1}})
    return {
        "name": name,
        "image": IMAGE,
        "command": command,
        "inputs": [{"from": {"job": i}} for i in inputs],
        **fields,
    }


def words(objects: Sequence[Mapping[str, Any]]) -> str:
    """Objects for an assertion's message."""
    return json.dumps(list(objects), indent=1)[:3000]
