"""Workers on a real cluster: many tasks in one pod, its death and its orderly end, pods that never come up."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

from tests.cluster.kube import Namespace, Object, dag, sql, trigger, until

IMAGE = "docker.io/local/headrace:dev"
KEYS = [f"k{number:02}" for number in range(24)]
BOUND = 70.0
"""Seconds after its lease ran out in which a worker has been told, has ended or is killed (docs/workers.md)."""


def worker(body: str, idle: str = "2s", **fields: object) -> Object:
    """A reactive job whose workers run this body for each task."""
    lines = "\n".join(f"    {line}" for line in body.splitlines())
    code = f"import time\nfrom headrace.worker import run, task\n@task\ndef work(task):\n{lines}\nrun()\n"
    return {"name": "work", "image": IMAGE, "command": ["python", "-c", code], "inputs": [{"from": {"job": "key"}}],
            "idleTimeout": idle, "scaling": {"maxConcurrency": 4, "batch": 2}, **fields}  # fmt: skip


def tasks(ns: Namespace) -> list[tuple[Any, ...]]:
    """State, attempts, losses and worker of each task of `work`."""
    return sql(
        "SELECT t.status, t.attempts, t.losses, t.worker_id FROM tasks t JOIN jobs j ON j.id = t.job_id"
        " WHERE j.org_id = %s AND j.name = 'work' ORDER BY t.seq", ns.org()
    )  # fmt: skip


def pods(ns: Namespace) -> list[str]:
    return [pod["metadata"]["name"] for pod in ns.items("pod")]


def done_units(ns: Namespace) -> object:
    """As the job's own status tells."""
    return ns.get("hjob", "warm.work").get("status", {}).get("units", {}).get("done")


def told_workers(ns: Namespace) -> object:
    """How many workers the job's own status tells of."""
    return ns.get("hjob", "warm.work").get("status", {}).get("workers")


def start(ns: Namespace, job: Object, *keys: str) -> None:
    ns.apply(dag("warm", trigger(*keys), job))
    ns.wait("warm", "Serving")
    ns.run("warm", "key")


def test_two_workers_do_all_of_a_job_and_end_when_idle(ns: Namespace) -> None:
    start(ns, worker("task.made(rows=len(task.key))"), *KEYS)
    until("the job tells of both", lambda: told_workers(ns) == 2, 60)
    ns.wait("warm", "UpToDate", within=60)
    done = tasks(ns)
    assert [one[:3] for one in done] == [("Completed", 1, 0)] * len(KEYS)
    # maxConcurrency 4, two in each.
    assert {one[3] for one in done} <= set(pods(ns))
    assert len({one[3] for one in done}) == 2
    until("the job says so", lambda: done_units(ns) == len(KEYS))
    assert ns.get("hjob", "warm.work")["status"]["runtime"] == "worker"
    assert sql("SELECT DISTINCT row_count FROM partition_versions p JOIN datasets d ON d.id = p.dataset_uuid"
               " WHERE d.org_id = %s AND d.producer_job_name = 'work'", ns.org()) == [(3,)]  # fmt: skip
    until("idle workers have ended", lambda: not pods(ns), 20)
    until("the job says so", lambda: told_workers(ns) == 0, 20)
    assert sql("SELECT count(*) FROM workers WHERE org_id = %s AND (retired_at IS NULL OR gone_at IS NULL)",
               ns.org()) == [(0,)]  # fmt: skip


def test_what_a_killed_worker_held_is_run_again(ns: Namespace) -> None:
    """Each task sleeps on its first attempt only, so that the kill finds it running."""
    start(ns, worker("time.sleep(60 if task.attempt == 1 else 0)"), *KEYS[:4])
    until("all four run", lambda: [one[0] for one in tasks(ns)] == ["Running"] * 4, 60)
    victims = pods(ns)
    for name in victims:
        ns.kubectl("delete", "pod", name, "--grace-period=0", "--force")
    ns.wait("warm", "UpToDate", within=60)
    assert [one[:3] for one in tasks(ns)] == [("Completed", 2, 1)] * 4
    assert not {one[3] for one in tasks(ns)} & set(victims)


def test_a_worker_that_is_told_to_stop_finishes_what_it_has_begun(ns: Namespace) -> None:
    """One thread: the first task runs on to its end, the second, not begun, is another worker's at no cost."""
    job = worker("time.sleep(4)", scaling={"maxConcurrency": 2, "batch": 2})
    code = job["command"][2].replace("from headrace.worker import run, task", "import headrace.worker as w\n"
                                     "one = w.Worker(threads=1)\nrun, task = one.run, one.task")  # fmt: skip
    start(ns, {**job, "command": ["python", "-c", code]}, *KEYS[:2])
    until("both are claimed", lambda: [one[0] for one in tasks(ns)] == ["Running"] * 2, 60)
    (name,) = pods(ns)
    ns.kubectl("delete", "pod", name, "--wait=false")
    ns.wait("warm", "UpToDate", within=60)
    first, second = tasks(ns)
    assert first == ("Completed", 1, 0, name)
    assert (second[0], second[2]) == ("Completed", 0)
    assert second[3] != name


def test_of_the_workers_of_a_job_that_keeps_one_one_stays(ns: Namespace) -> None:
    start(ns, worker("time.sleep(2)", idle="never", scaling={"maxConcurrency": 3}), *KEYS[:3])
    ns.wait("warm", "UpToDate", within=60)
    before = pods(ns)
    assert len(before) == 3
    (stays,) = until("one is left", lambda: len(pods(ns)) == 1 and pods(ns), 120)
    assert stays in before
    assert sql("SELECT count(*) FROM workers WHERE org_id = %s AND retired_at IS NULL", ns.org()) == [(1,)]


@pytest.mark.alone
def test_a_worker_that_is_stuck_is_replaced_within_its_lease(ns: Namespace) -> None:
    """It is stopped, as by a debugger or a paused machine: it neither renews nor ends."""
    job = worker("import os, signal\nif task.attempt == 1: os.kill(os.getpid(), signal.SIGSTOP)",
                 heartbeatTimeoutSeconds=10, scaling={"maxConcurrency": 1})  # fmt: skip
    # The first process of a pod cannot be stopped from within.
    python = " ".join(["python", "-c", '"$CODE"'])
    job = {**job, "command": ["sh", "-c", f"{python} & wait"], "env": [{"name": "CODE", "value": job["command"][2]}]}
    start(ns, job, "a")
    until("it runs", lambda: [one[:2] for one in tasks(ns)] == [("Running", 1)], 60)
    (stuck,) = pods(ns)
    began = time.monotonic()
    ns.wait("warm", "UpToDate", within=60)
    assert time.monotonic() - began < 10 + 15
    assert [one[:3] for one in tasks(ns)] == [("Completed", 2, 1)]
    until("it is killed", lambda: stuck not in pods(ns), 90)
    # It renewed when it began to run, or a moment later, and not after that.
    assert time.monotonic() - began < 10 + BOUND


def test_a_worker_that_never_comes_up_is_told_of_and_its_work_waits(ns: Namespace) -> None:
    start(ns, worker("pass", image="docker.io/local/absent:1"), "a")

    def why() -> str:
        found = ns.get("hjob", "warm.work")
        return str(found["status"].get("waitingFor", "")) if found else ""

    until("it says why", lambda: "absent" in why() or "image" in why(), 60)
    assert [one[:2] for one in tasks(ns)] == [("Queued", 0)]
    ns.apply(dag("warm", trigger("a"), worker("pass")))
    ns.wait("warm", "UpToDate", within=90)


def test_a_worker_that_claims_nothing_is_told_of_and_replaced_alone(ns: Namespace) -> None:
    """The commonest mistake: a command that knows nothing of workers."""
    job = {**worker("pass"), "command": ["sleep", "3000"], "scaling": {"maxConcurrency": 1}}
    start(ns, job, "a", "b")
    (first,) = until("a worker is there", lambda: pods(ns), 60)
    seen: set[int] = set()

    def why() -> str:
        seen.add(len(pods(ns)))
        return str(ns.get("hjob", "warm.work")["status"].get("waitingFor", ""))

    told = until("it says why", lambda: "claimed nothing" in why() and why(), 120)
    assert told.startswith("its worker has run for a minute and claimed nothing: is its command headrace-worker")
    until("another is there in its place", lambda: pods(ns) and first not in pods(ns), 60)
    assert seen <= {0, 1}
    assert [one[:2] for one in tasks(ns)] == [("Queued", 0), ("Queued", 0)]
    ns.kubectl("annotate", "dag/warm", "headrace.dev/cancel=c1 work")
    until("its work is canceled", lambda: {one[0] for one in tasks(ns)} == {"Canceled"}, 30)
    until("its workers have ended", lambda: not pods(ns), 90)


def test_a_function_that_raises_fails_its_task_with_the_reason(ns: Namespace) -> None:
    start(ns, worker("raise ValueError(f'no {task.key}')", maxAttempts=1), "a")
    until("it has failed", lambda: [one[:2] for one in tasks(ns)] == [("Failed", 1)], 60)
    job = until("it is told", lambda: (ns.get("hjob", "warm.work") or {}).get("status", {}).get("failed") == 1
                and ns.get("hjob", "warm.work"))  # fmt: skip
    assert "ValueError: no a" in json.dumps(job["status"])


def test_a_worker_s_pod_has_its_own_token_and_nothing_else(ns: Namespace) -> None:
    start(ns, worker("time.sleep(3)"), "a")
    until("a worker is there", lambda: pods(ns))
    (pod,) = ns.items("pod")
    volumes = pod["spec"]["volumes"]
    (projected,) = [v["projected"]["sources"] for v in volumes if "projected" in v]
    assert [list(source) for source in projected] == [["serviceAccountToken"]]
    assert projected[0]["serviceAccountToken"]["audience"] == "headrace.dev/worker"
    assert pod["spec"]["automountServiceAccountToken"] is False
    assert pod["metadata"]["ownerReferences"][0]["kind"] == "DAG"
    assert "finalizers" not in pod["metadata"]
