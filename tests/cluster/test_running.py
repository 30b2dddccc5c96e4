"""Runs, cancellations and looks by a person on a real cluster: the command line, the gateway behind it, real pods."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.cluster.kube import Namespace, dag, kubectl, shell, until
from tests.cluster.people import account, headrace, kubeconfig, token

FORWARD = "headrace-port-forward"
PARAMS = {"type": "object", "properties": {"words": {"type": "string"}, "code": {"type": "integer"}}}
# Says its parameters; ends with the code that they give.
ECHO = """python -c '
import json, os, sys
params = json.loads(os.environ["HEADRACE_TASK"])["params"]
print(params)
sys.exit(params.get("code", 0))'"""


def load(script: str = ECHO, **fields: object) -> dict[str, Any]:
    """A source of two partitions."""
    job = shell("load", script, paramsSchema=PARAMS, maxAttempts=1, **fields)
    del job["inputs"]
    return {**job, "source": {"kind": "manual", "partitions": {"values": ["a", "b"]}}}


class Person:
    """Somebody with a role in the namespace, at the command line."""

    def __init__(self, ns: Namespace, name: str, role: str, home: Path) -> None:
        self.binding = ("rolebinding", f"{FORWARD}-{name}-{ns.name}", "-n", "headrace-system")
        user = account(ns, name, role)
        kubectl("create", *self.binding, f"--role={FORWARD}", f"--user={user}")
        self.user = user
        self._config = str(kubeconfig(home / name, ns.name, {"token": token(ns, name)}))

    def __call__(self, *arguments: str, code: int = 0) -> str:
        """What `headrace ARGUMENTS` prints; its error, if it is to end with a code."""
        done: subprocess.CompletedProcess[str] = headrace(*arguments, KUBECONFIG=self._config)
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout if code == 0 else done.stdout + done.stderr


@pytest.fixture
def editor(ns: Namespace, tmp_path: Path) -> Any:
    """Somebody who may run and cancel."""
    person = Person(ns, "editor", "edit", tmp_path)
    yield person
    kubectl("delete", *person.binding)


@pytest.fixture
def viewer(ns: Namespace, tmp_path: Path) -> Any:
    """Somebody who may look."""
    person = Person(ns, "viewer", "view", tmp_path)
    yield person
    kubectl("delete", *person.binding)


def test_a_person_runs_follows_reads_the_log_and_asks_why(ns: Namespace, editor: Person, viewer: Person) -> None:
    ns.apply(dag("news", load(), shell("work", "true", "load")))
    ns.wait("news", "Serving")
    assert "headrace run news/load" in viewer("why", "news/load")
    refused = viewer("run", "news/load", code=1)
    assert "may not create jobs/run.headrace.dev" in refused
    assert "may not create jobs/cancel.headrace.dev" in viewer("cancel", "news", "--all", code=1)
    assert "2 tasks made, 2 downstream" in editor("run", "news/load", "--downstream", "--wait")
    assert "0 tasks made, 2 left as they are" in editor("run", "news/load")
    # The log is of the pod: its parameters came with it.
    failed = editor("run", "news/load", "-p", "a", "--param", "code=3", "--param", "words=hello", "--wait", code=1)
    assert "0 of 1 task completed" in failed
    (task,) = json.loads(viewer("tasks", "news/load", "--state", "failed", "-o", "json"))["tasks"]
    assert (task["params"], task["requested_by"]) == ({"code": 3, "words": "hello"}, editor.user)
    assert "'words': 'hello'" in viewer("logs", task["id"])
    assert "exit code 3" in viewer("tasks", task["id"])
    assert "headrace retry runs it" in viewer("why", "news/load", "-p", "a")
    # What is upstream of it failed for good: it waits, until that is given up.
    editor("run", "news/work", "-p", "a")
    told = viewer("why", "news/work", "-p", "a")
    assert ("it waits for 1 other task" in told, "load a" in told) == (True, True)
    assert "canceled 1 failed task" in editor("cancel", task["id"])
    until("what waited runs", lambda: "Completed" in viewer("why", "news/work", "-p", "a"))
    assert "must be of type integer" in editor("run", "news/load", "--param", "code=x", code=64)
    assert "none of those that the source lists" in editor("run", "news/load", "-p", "z", code=64)


def test_cancel_ends_the_pod_and_retry_runs_it_again(ns: Namespace, editor: Person) -> None:
    ns.apply(dag("news", load("sleep 1000")))
    ns.wait("news", "Serving")
    editor("run", "news/load")
    until("a pod runs", lambda: [p for p in ns.items("pod") if p["status"]["phase"] == "Running"])
    assert "1 running task, 1 waiting task" in editor("cancel", "news/load")
    until("its pod is gone", lambda: not ns.items("pod"))
    ns.wait("news", "UpToDate")
    assert {one[2:] for one in ns.tasks("news")} == {("Canceled", 1), ("Canceled", 0)}
    editor("retry", "news/load")
    until("a pod runs again", lambda: [p for p in ns.items("pod") if p["status"]["phase"] == "Running"])
    editor("cancel", "news", "--all")
    until("its pod is gone again", lambda: not ns.items("pod"))


def test_a_rollout_is_given_up_and_resumed(ns: Namespace, editor: Person) -> None:
    ns.apply(dag("news", load(), shell("work", "true", "load")))
    ns.wait("news", "Serving")
    editor("run", "news/load", "--downstream", "--wait")
    ns.apply(dag("news", load(), shell("work", "test -e /tmp/never || sleep 1000", "load")))
    until("the build runs", lambda: [p for p in ns.items("pod") if p["status"]["phase"] == "Running"])
    assert "canceled the rollout to " in editor("cancel", "news", "--rollout")
    until("its pods are gone", lambda: not ns.items("pod"))
    stalled = ns.wait("news", "Stalled")
    (told,) = [c for c in stalled["status"]["conditions"] if c["type"] == "Stalled"]
    assert (told["reason"], f"canceled by {editor.user}" in told["message"]) == ("RolloutCanceled", True)
    editor("retry", "news")
    until("the build runs again", lambda: [p for p in ns.items("pod") if p["status"]["phase"] == "Running"])
