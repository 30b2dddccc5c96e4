"""Objects in every state that the operator tells, made by its own status functions: what GitOps tools are to judge."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, Final, Literal, NamedTuple, cast

import msgspec

from headrace.api import names
from headrace.api.status import DagStatus, DatasetStatus, JobStatus
from headrace.state.report import DagRow, DatasetRow, JobRow, Report
from headrace.status.dag import Outcome, dag_status, delayed_status
from headrace.status.datasets import Upkeep
from headrace.status.members import Standing, member_dataset_status, member_job_status, orphan_status
from headrace.status.parts import NotRunning
from tests.status.rows import HASH, NOW, build, dag, dataset, job
from tests.status.test_rollout_status import NEW, rollout

Argo = Literal["Healthy", "Progressing", "Degraded", "Suspended"]
Object = dict[str, Any]
GENERATION: Final = 3
IN: Final = {("Job", "clean"): ("u", GENERATION), ("Dataset", "rows"): ("u", GENERATION)}
WRONG: Final = {
    "Job clean": "spec.image: the job needs an image",
    "Dataset rows": "spec.from.job: no job has this name",
}
GOOD: Final = Outcome(yaml_hash=HASH, registered=True)
NEWER: Final = Outcome(yaml_hash=NEW, registered=True)
BAD: Final = Outcome(reason="InvalidSpec", message="spec.jobs[clean].image: the job needs an image")
AWAITS: Final = Outcome(
    reason="MembersMissing", message="spec.jobRefs: 1 of 2 Job objects are not there: b", waiting=True
)
FAILED: Final = Outcome(
    yaml_hash=NEW, registered=True, reason="RolloutFailed",
    message="version cdcdcdcdcd: job clean: 1 failed for good; headrace retry flights resumes it",
)  # fmt: skip
REFUSED: Final = "the operator may not make pods in namespace air: bind it there"
UNHANDLED: Final = {"observedGeneration": -1}
FRESH: Final = Upkeep(timedelta(hours=2))


class State(NamedTuple):
    """An object, and what Argo CD is to call it."""

    object: Object
    argo: Argo


def states() -> dict[str, State]:
    """By name, `kind-state`."""
    return {**_dags(), **_jobs(), **_datasets()}


def _dag(argo: Argo, outcome: Outcome, report: Report, refused: str | None = None, **spec: Any) -> State:
    body = _object(names.DAG, "flights", {"jobs": _JOBS, **spec}, UNHANDLED)
    return State(_with(body, dag_status(body, GENERATION, outcome, report, refused, NOW)), argo)


_JOBS: Final = [
    {"name": "month", "source": {"kind": "manual", "partitions": {"values": ["a", "b"]}}},
    {"name": "clean", "image": "flights:1", "inputs": [{"from": {"job": "month"}}]},
]


def _dags() -> dict[str, State]:
    new = _object(names.DAG, "flights", {"jobs": _JOBS}, UNHANDLED)
    served = _with(new, dag_status(new, GENERATION - 1, GOOD, Report(dag=dag(), jobs=(job(),)), None, NOW))
    late = delayed_status(served, GENERATION, "Postgres does not answer", NOW)
    assert late is not None
    serves = {"dag": dag(), "jobs": (job(done=9),)}
    failing = job(failed=2, failure="exit code 3", failed_key="a")
    ready = rollout(state="Ready", cutover_approved=False, strategy="Manual")
    return {
        "dag-new": State(new, "Progressing"),
        "dag-edited": State(served, "Progressing"),
        "dag-delayed": State(_with(served, late), "Progressing"),
        "dag-members-missing": _dag("Progressing", AWAITS, Report()),
        "dag-members-missing-while-serving": _dag("Progressing", AWAITS, Report(**serves)),
        "dag-no-version-yet": _dag("Progressing", GOOD, Report()),
        "dag-never-good": _dag("Degraded", BAD, Report()),
        "dag-bad-while-serving": _dag("Degraded", BAD, Report(**serves)),
        "dag-not-a-tenant": _dag("Degraded", Outcome(reason="NotATenant", message=REFUSED), Report(), REFUSED),
        "dag-rollout-failed": _dag(
            "Degraded", FAILED, Report(**serves, rollout=rollout(state="Failed", cause="clean"))
        ),
        "dag-idle": _dag("Healthy", GOOD, Report(**serves)),
        "dag-working": _dag("Healthy", GOOD, Report(dag=dag(), jobs=(job(waiting=1, running=2),))),
        "dag-rebuilding": _dag("Healthy", NEWER, Report(**serves, rollout=rollout())),
        "dag-pinned": _dag("Healthy", NEWER, Report(dag=dag(pinned_hash=HASH), jobs=(job(),))),
        "dag-tasks-failed": _dag("Degraded", GOOD, Report(dag=dag(), jobs=(failing,))),
        "dag-pods-refused": _dag("Degraded", GOOD, Report(**serves), REFUSED),
        "dag-suspended": _dag("Suspended", GOOD, Report(dag=dag(suspended=True), jobs=(job(waiting=2),)), suspend=True),
        "dag-waits-to-build": _dag("Suspended", NEWER, Report(**serves, rollout=rollout(build_approved=False))),
        "dag-waits-to-serve": _dag("Suspended", NEWER, Report(**serves, rollout=ready)),
    }


def _job(argo: Argo, standing: Standing, serving: DagRow | None, row: JobRow | None, *builds: Any) -> State:
    body = _object(names.JOB, "clean", _JOB, UNHANDLED)
    made = member_job_status(body, standing, serving, row, builds[0] if builds else None, NotRunning(), NOW)
    return State(_with(body, made), argo)


_JOB: Final = {"dag": "flights", "image": "flights:1", "inputs": [{"from": {"job": "month"}}]}


def _jobs() -> dict[str, State]:
    new, registered = _object(names.JOB, "clean", _JOB, UNHANDLED), Standing(registered=IN)
    waits = Standing(reason="MembersMissing", message="see DAG flights")
    failing = job(failed=1, failure="exit code 3", failed_key="a")
    return {
        "job-new": State(new, "Progressing"),
        "job-without-dag": State(_with(new, orphan_status(names.JOB, new, 5, NOW)), "Progressing"),
        "job-long-without-dag": State(_with(new, orphan_status(names.JOB, new, 40, NOW)), "Healthy"),
        "job-members-missing": _job("Progressing", waits, dag(), job()),
        "job-not-listed": _job("Progressing", Standing(others=frozenset(IN)), dag(), job()),
        "job-wrong": _job("Degraded", Standing(wrong=WRONG), None, None),
        "job-in-new-version": _job("Healthy", registered, dag(), None, build(waiting=2, running=1)),
        "job-idle": _job("Healthy", registered, dag(), job(done=4)),
        "job-running": _job("Healthy", registered, dag(), job(running=1, waiting=2)),
        "job-tasks-failed": _job("Degraded", registered, dag(), failing),
        "job-suspended": _job("Suspended", registered, dag(suspended=True), job(waiting=2)),
    }


def _dataset(
    argo: Argo, standing: Standing, serving: DagRow | None, row: DatasetRow | None, upkeep: Upkeep = FRESH
) -> State:
    body = _object(names.DATASET, "rows", _DATASET, UNHANDLED)
    return State(_with(body, member_dataset_status(body, standing, serving, row, upkeep, NOW)), argo)


_DATASET: Final = {"from": {"dag": "flights", "job": "clean"}, "freshness": "2h"}


def _datasets() -> dict[str, State]:
    new, registered = _object(names.DATASET, "rows", _DATASET, UNHANDLED), Standing(registered=IN)
    made = dataset(partitions=3, rows=7, updated=NOW - timedelta(hours=1))
    late = dataset(partitions=3, rows=7, updated=NOW - timedelta(hours=3))
    anew = dataset(partitions=3, rows=7, updated=NOW - timedelta(hours=1), rebuilding=NEW)
    return {
        "dataset-new": State(new, "Progressing"),
        "dataset-without-dag": State(_with(new, orphan_status(names.DATASET, new, 5, NOW)), "Progressing"),
        "dataset-long-without-dag": State(_with(new, orphan_status(names.DATASET, new, 40, NOW)), "Healthy"),
        "dataset-members-missing": _dataset("Progressing", Standing(reason="MembersMissing", message="m"), None, None),
        "dataset-wrong": _dataset("Degraded", Standing(wrong=WRONG), dag(), made),
        "dataset-in-new-version": _dataset("Healthy", registered, None, None),
        "dataset-nothing-made": _dataset("Healthy", registered, dag(), dataset()),
        "dataset-fresh": _dataset("Healthy", registered, dag(), made),
        "dataset-without-freshness": _dataset("Healthy", registered, dag(), late, Upkeep()),
        "dataset-rebuilding": _dataset("Healthy", registered, dag(), anew),
        "dataset-late": _dataset("Degraded", registered, dag(), late),
    }


def _object(kind: str, name: str, spec: Object, status: Object) -> Object:
    metadata = {"name": name, "namespace": "air", "uid": "u", "generation": GENERATION}
    return {"apiVersion": names.API_VERSION, "kind": kind, "metadata": metadata, "spec": spec, "status": status}


def _with(body: Object, status: DagStatus | JobStatus | DatasetStatus) -> Object:
    return {**body, "status": cast("Object", msgspec.json.decode(msgspec.json.encode(status)))}
