"""Kills of operator, API server, Postgres and task pods while work runs: it ends all the same, each unit once."""

from __future__ import annotations

import os
from collections.abc import Iterator

import duckdb
import pytest

from harness.providers.native import Native
from tests.cluster import example
from tests.cluster.kube import Namespace, condition, dag, kubectl, namespace, shell, sql, trigger, until
from tests.examples import oracle

OPERATOR = ("-n", "headrace-system")
SELECTOR = "app.kubernetes.io/name=headrace-operator"


@pytest.fixture
def native() -> Native:
    """The cluster's provider, which can kill its daemons and start them again."""
    return Native(os.environ["HEADRACE_CLUSTER"])


@pytest.fixture
def undisturbed() -> Iterator[Namespace]:
    """The example, run to its end beside the disturbed one's time."""
    with namespace() as ns:
        run_example(ns)
        ns.wait("flights", "UpToDate", within=300)
        yield ns


def run_example(ns: Namespace) -> None:
    example.apply(ns, idle="10s")
    ns.wait("flights", "Ready")
    ns.run("flights", "month")


def completed(ns: Namespace) -> int:
    return sum(status == "Completed" for _, _, status, _ in ns.tasks("flights"))


def leaders() -> list[str]:
    """Names of the operator's pods."""
    return kubectl(*OPERATOR, "get", "pod", "-l", SELECTOR, "-o", "name").split()


def kill_operator() -> None:
    """End the operator's processes at once, as a lost node would."""
    kubectl(*OPERATOR, "delete", *leaders(), "--force", "--grace-period=0")


@pytest.mark.alone
def test_operator_api_server_and_postgres_killed_while_it_runs(
    ns: Namespace, undisturbed: Namespace, native: Native
) -> None:
    run_example(ns)
    until("some tasks are done", lambda: completed(ns) >= 16, 120)
    kill_operator()
    until("more tasks are done", lambda: completed(ns) >= 26, 120)
    native.kill("apiserver")
    native.up()
    until("more tasks are done", lambda: completed(ns) >= 38, 120)
    native.kill("postgres")
    native.up()
    ns.wait("flights", "UpToDate", within=300)

    tasks = ns.tasks("flights")
    assert {(job, key, status) for job, key, status, _ in tasks} == {
        (job, key, "Completed") for job in ("month", "clean", "weather", "join", "rank") for key in oracle.MONTHS
    }
    assert len(tasks) == 60  # one accepted completion for each unit
    until("no pod is left behind", lambda: not ns.items("pod"), 120)
    disturbed, reference = example.partitions(ns), example.partitions(undisturbed)
    assert {name: set(keys) for name, keys in disturbed.items()} == {n: set(k) for n, k in reference.items()}
    for name, keys in disturbed.items():
        oracle.check_year(example.KINDS[name], keys)
        for key, path in keys.items():
            assert contents(path) == contents(reference[name][key]), f"{name} {key}"


def contents(directory: object) -> list[tuple[object, ...]]:
    """Every row of a partition, in one order."""
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        return connection.execute(
            "SELECT t::text FROM read_parquet($file) AS t ORDER BY 1", {"file": f"{directory}/data.parquet"}
        ).fetchall()


# Sleeps in its first attempt only: the document of the task says which attempt it is.
FIRST_HANGS = "grep -q '\"attempt\":1,' $HEADRACE_TASK_FILE && exec sleep 600; true"


def running(ns: Namespace, name: str) -> str | None:
    """The name of the pod of the DAG's job `work`, once its container runs."""
    pods = [
        pod["metadata"]["name"]
        for pod in ns.items("pod")
        if pod["metadata"]["labels"].get("headrace.dev/dag") == name and pod["status"]["phase"] == "Running"
    ]
    return pods[0] if pods else None


def test_a_task_pod_that_is_lost_is_a_failed_attempt_and_the_next_one_succeeds(ns: Namespace) -> None:
    ns.apply(dag("lost", trigger("k"), shell("work", FIRST_HANGS, "key", maxAttempts=1)))
    ns.wait("lost", "Ready")
    ns.run("lost", "key")
    pod = until("it runs", lambda: running(ns, "lost"))
    ns.kubectl("delete", "pod", pod, "--force", "--grace-period=0")
    ns.wait("lost", "UpToDate")
    assert ("work", "k", "Completed", 2) in ns.tasks("lost")  # maxAttempts counts failures, not losses
    assert sql("SELECT losses FROM tasks t JOIN jobs j ON j.id = t.job_id WHERE j.org_id = %s AND j.name = 'work'",
               ns.org()) == [(1,)]  # fmt: skip


@pytest.mark.alone
def test_a_task_pod_lost_while_no_operator_looks_is_found_out(ns: Namespace) -> None:
    """Pod and operator go together: nobody saw the pod end, so it is not made again as the same attempt."""
    ns.apply(dag("unseen", trigger("k"), shell("work", FIRST_HANGS, "key")))
    ns.wait("unseen", "Ready")
    ns.run("unseen", "key")
    pod = until("it runs", lambda: running(ns, "unseen"))
    kubectl(*OPERATOR, "scale", "deployment/headrace-operator", "--replicas=0")
    try:
        until("the operator is gone", lambda: not leaders())
        ns.kubectl("delete", "pod", pod, "--force", "--grace-period=0")
    finally:
        kubectl(*OPERATOR, "scale", "deployment/headrace-operator", "--replicas=1")
    ns.wait("unseen", "UpToDate", within=180)
    assert ("work", "k", "Completed", 2) in ns.tasks("unseen")


def test_an_attempt_that_takes_too_long_is_ended_and_says_so(ns: Namespace) -> None:
    # It obeys, and says 0: what it wrote by then is not the whole.
    obeys = "trap 'exit 0' TERM; sleep 600 & wait"
    long = {"spec": {"terminationGracePeriodSeconds": 10}}
    ns.apply(dag("late", trigger("k"), shell("work", obeys, "key", timeoutSeconds=2, maxAttempts=1, template=long)))
    ns.wait("late", "Ready")
    ns.run("late", "key")
    late = ns.wait("late", "Degraded")
    assert "timeout: it ran longer than timeoutSeconds" in condition(late, "Degraded")["message"]


@pytest.mark.alone
def test_a_new_operator_leaves_running_pods_alone(ns: Namespace) -> None:
    """Two replicas: one leads, the other waits; when the leader dies the other goes on with the same pods."""
    kubectl(*OPERATOR, "scale", "deployment/headrace-operator", "--replicas=2")
    try:
        kubectl(*OPERATOR, "rollout", "status", "deployment/headrace-operator", "--timeout=120s")
        script = "until [ -e /tmp/go ]; do sleep 0.2; done"
        ns.apply(dag("calm", trigger("k"), shell("work", script, "key")))
        ns.wait("calm", "Ready")
        ns.run("calm", "key")
        pod = until("it runs", lambda: running(ns, "calm"))
        before = sql("SELECT epoch, holder FROM operator_epoch")[0]
        kubectl(*OPERATOR, "delete", "pod", before[1].rsplit("-", 1)[0], "--force", "--grace-period=0")
        until("another one leads", lambda: sql("SELECT epoch FROM operator_epoch")[0][0] > before[0], 90)
        ns.kubectl("exec", pod, "--", "touch", "/tmp/go")
        ns.wait("calm", "UpToDate")
        assert ("work", "k", "Completed", 1) in ns.tasks("calm")
    finally:
        kubectl(*OPERATOR, "scale", "deployment/headrace-operator", "--replicas=1")
        kubectl(*OPERATOR, "rollout", "status", "deployment/headrace-operator", "--timeout=120s")
