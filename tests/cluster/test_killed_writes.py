"""The operator killed before and after each kind of write to the API server: what it leaves is made whole.

One DAG is taken through a version, a build, a rollback and its deletion, by operators each of which is killed at the
next point. The rows and objects at the end are those of a DAG that went the same way undisturbed.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import threading
from collections import Counter
from typing import IO

import pytest

from tests.cluster.kube import Namespace, Object, dag, no_operator, shell, sql, trigger, until

# In the order in which they first come in a DAG's life, so that one life meets them all.
POINTS = [
    (when, method, pattern)
    for method, pattern in (
        ("PATCH", r"/dags/[^/]+$"),
        ("PATCH", r"/dags/.*/status$"),
        ("POST", r"/jobs$"),
        ("POST", r"/datasets$"),
        ("PATCH", r"/jobs/.*/status$"),
        ("PATCH", r"/datasets/.*/status$"),
        ("POST", r"/pods$"),
        ("DELETE", r"/pods/"),
        ("DELETE", r"/jobs/"),
    )
    for when in ("before", "after")
]


class Operators:
    """Operators that run one after another in processes of their own, each armed with the next point."""

    def __init__(self, log: IO[str]) -> None:
        self._log = log
        self._left = list(POINTS)
        self._stop = threading.Event()
        self._process: subprocess.Popen[str] | None = None
        self._thread = threading.Thread(target=self._run)

    def start(self) -> None:
        """Begin with the first."""
        self._thread.start()

    def stop(self) -> None:
        """End the one that runs."""
        self._stop.set()
        if self._process is not None:
            self._process.terminate()
        self._thread.join(60)

    @property
    def left(self) -> int:
        """Points at which none has been killed yet."""
        return len(self._left)

    def _run(self) -> None:
        environment = {
            **os.environ, "HEADRACE_IDENTITY": "killed-writes", "HEADRACE_HEALTH_PORT": "0",
            "HEADRACE_RETRY_BACKOFF_SECONDS": "0.2", "PYTHONPATH": os.pathsep.join(sys.path),
        }  # fmt: skip
        while not self._stop.is_set():
            point = self._left[0] if self._left else ()
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.cluster.faulty", *point],
                env=environment, stdout=self._log, stderr=self._log, text=True,
            )  # fmt: skip
            if self._process.wait() == -9 and self._left:
                self._left.pop(0)


def flights(name: str, n: int, *more: Object) -> Object:
    """key -> clean -> join; join is what changes."""
    jobs = [trigger("a", "b"), shell("clean", "true", "key"), shell("join", "true", "clean", config={"n": n})]
    return dag(name, *jobs, *more, publish=[{"name": f"{name}_rows", "from": {"job": "join"}}], deletionPolicy="Delete")


STAGES = [(0, True), (1, True), (1, False), (0, False), (2, True), (2, False)]


def take_through(ns: Namespace, name: str, within: float) -> object:
    """The stages of a DAG's life; what there is at the end, without ids and times."""
    for number, (n, extra) in enumerate(STAGES):
        ns.apply(flights(name, n, *([shell("extra", "true", "clean")] if extra else [])))
        if number == 0:
            ns.wait(name, "Ready", within=within)
            ns.kubectl("annotate", f"dag/{name}", "headrace.dev/run=1 key")
        settle(ns, name, within)
        shown = {"key", "clean", "join", *(["extra"] if extra else [])}
        until("what serves is shown", lambda: jobs_of(ns, name).keys() == shown, within)  # noqa: B023 - called here
    return result(ns, name)


def settle(ns: Namespace, name: str, within: float) -> None:
    """Up to date, and every pod gone."""
    ns.wait(name, "UpToDate", within=within)
    until("no pod is left", lambda: not of_dag(ns, "pod", name), within)


def of_dag(ns: Namespace, kind: str, name: str) -> list[Object]:
    """The objects of a kind that belong to the DAG."""
    return [item for item in ns.items(kind) if item["metadata"]["labels"].get("headrace.dev/dag") == name]


def jobs_of(ns: Namespace, name: str) -> dict[str, Object]:
    """The jobs that are shown of the DAG, with what they say."""
    return {job["spec"]["jobName"]: job.get("status", {}) for job in of_dag(ns, "hjob", name)}


def result(ns: Namespace, name: str) -> object:
    """Units done by job and fingerprint, versions, rollouts, contents; and the objects with what they say."""
    org = ns.org()
    done = Counter(
        sql("SELECT j.name, t.unit_key, t.fingerprint FROM tasks t JOIN jobs j ON j.id = t.job_id WHERE j.org_id = %s"
            " AND j.dag_name = %s AND t.status = 'Completed'", org, name)
    )  # fmt: skip
    versions = sql("SELECT count(*) FROM dag_versions WHERE org_id = %s AND dag_name = %s", org, name)
    rolled = sql("SELECT state FROM rollouts WHERE org_id = %s AND dag_name = %s ORDER BY seq", org, name)
    contents = sql(
        "SELECT d.producer_job_name, d.producer_output_index, g.config_hash, pv.partition_key"
        " FROM dag_current_versions c JOIN dag_version_datasets p USING (dag_version_id) JOIN datasets d ON"
        " d.id = p.dataset_uuid JOIN dataset_versions g ON g.id = p.dataset_version LEFT JOIN partition_versions pv"
        " ON pv.dataset_version = g.id WHERE c.org_id = %s AND c.dag_name = %s ORDER BY 1, 2, 4", org, name
    )  # fmt: skip
    jobs = {job: (status["state"], status["units"]) for job, status in jobs_of(ns, name).items()}
    datasets = sorted(d["status"]["partitions"] for d in of_dag(ns, "dset", name))
    return done, versions, rolled, contents, jobs, datasets


@pytest.mark.alone
def test_killed_at_every_kind_of_write(ns: Namespace) -> None:
    expected = take_through(ns, "even", 60)
    with tempfile.TemporaryFile("w+") as log, no_operator():
        operators = Operators(log)
        operators.start()
        try:
            found = take_through(ns, "torn", 180)
            assert found == expected
            ns.kubectl("delete", "dag/torn", "--timeout=60s")
            until("its rows are gone", lambda: not sql(
                "SELECT 1 FROM dag_versions WHERE org_id = %s AND dag_name = 'torn'", ns.org()))  # fmt: skip
            assert operators.left == 0, f"nobody was killed at {POINTS[-operators.left :]}"
        except AssertionError:
            log.seek(0)
            print(log.read()[-8000:])
            raise
        finally:
            operators.stop()
