"""The statuses of Job and Dataset objects that somebody wrote, from first sight to their place in a version."""

from __future__ import annotations

from typing import Any

import pytest

from headrace.state.report import DagRow, DatasetRow, JobRow
from headrace.status.datasets import Upkeep
from headrace.status.members import (
    Standing,
    member_dataset_status,
    member_job_status,
    orphan_status,
    written_dataset,
    written_job,
)
from headrace.status.parts import NotRunning
from tests.status.rows import NOW, build, dag, dataset, job, truths, written

NEW = {"observedGeneration": -1}
IN = {("Job", "clean"): ("u", 2), ("Dataset", "rows"): ("u", 2)}
READY = {"Ready": ("True", "InServingVersion")}


def obj(kind: str, name: str, status: Any = None, generation: int = 2) -> dict[str, object]:
    """An object of generation 2."""
    spec = {"dag": "flights"} if kind == "Job" else {"from": {"dag": "flights", "job": "clean"}}
    body = {"metadata": {"name": name, "uid": "u", "generation": generation}, "spec": spec}
    return body if status is None else {**body, "status": status}


def of_job(standing: Standing, serving: DagRow | None, row: JobRow | None, status: Any = None) -> Any:
    return written(member_job_status(obj("Job", "clean", status), standing, serving, row, None, NotRunning(), NOW))


def of_dataset(standing: Standing, serving: DagRow | None, row: DatasetRow | None, status: Any = None) -> Any:
    return written(member_dataset_status(obj("Dataset", "rows", status), standing, serving, row, Upkeep(), NOW))


WAITS = Standing(reason="WaitingForMembers", message="see DAG flights")


@pytest.mark.parametrize(
    ("standing", "serves", "conditions", "observed"),
    [
        pytest.param(Standing(registered=IN), True, READY, 2, id="in the version that serves"),
        pytest.param(Standing(registered=IN), False, {"Ready": ("True", "InNewVersion")}, 2, id="in a newer version"),
        pytest.param(WAITS, False, {"Ready": ("False", "WaitingForMembers"),
                     "Reconciling": ("True", "WaitingForMembers")}, -1, id="members are awaited"),
        pytest.param(WAITS, True, READY | {"Reconciling": ("True", "WaitingForMembers")}, -1,
                     id="an older generation of it serves"),
        pytest.param(Standing(registered=dict.fromkeys(IN, ("u", 1))), True,
                     READY | {"Reconciling": ("True", "Delayed")}, -1, id="an older generation is registered"),
        pytest.param(Standing(registered=dict.fromkeys(IN, ("v", 2))), True,
                     READY | {"Reconciling": ("True", "Delayed")}, -1, id="a namesake is registered"),
        pytest.param(Standing(others=frozenset(IN), registered=IN), True,
                     {"Ready": ("False", "NotListed"), "Reconciling": ("True", "NotListed")}, -1, id="not listed"),
        pytest.param(Standing(wrong={"Job clean": "spec.image: m", "Dataset rows": "spec.from.job: m"}), True,
                     READY | {"Stalled": ("True", "InvalidSpec")}, 2, id="invalid while an older one serves"),
        pytest.param(Standing(wrong={"Job clean": "spec.image: m", "Dataset rows": "spec.from.job: m"}), False,
                     {"Ready": ("False", "InvalidSpec"), "Stalled": ("True", "InvalidSpec")}, 2, id="invalid"),
    ],
)  # fmt: skip
def test_conditions(standing: Standing, serves: bool, conditions: dict[str, Any], observed: int) -> None:
    """The same for both kinds; the generation is handled once it is in a version, or known to be wrong."""
    serving = dag() if serves else None
    made = [
        of_job(standing, serving, job() if serves else None, NEW),
        of_dataset(standing, serving, dataset() if serves else None, NEW),
    ]
    for one in made:
        assert truths(one) == conditions
        assert not {"Reconciling", "Stalled"} <= set(truths(one))
        assert one["observedGeneration"] == observed
        why = next((c["message"] for c in one["conditions"] if c["type"] in ("Reconciling", "Stalled")), None)
        assert one.get("waitingFor") == why
    assert made[0]["state"] == ("Waiting" if "waitingFor" in made[0] else "Idle")


def test_the_facts_are_those_of_the_row() -> None:
    made = of_job(Standing(registered=IN), dag(), job(running=2, done=4, failed=1, failure="x", failed_key="k"))
    assert (made["running"], made["units"], made["state"]) == (2, {"done": 4, "stale": 0}, "Running")
    assert truths(made)["Degraded"] == ("True", "TasksFailed")
    rows = of_dataset(Standing(registered=IN), dag(), dataset(partitions=3, rows=7))
    assert (rows["partitions"], rows["rows"], rows["name"]) == (3, 7, "rows")


def test_a_job_that_is_built_for_the_first_time_shows_that() -> None:
    body = obj("Job", "clean", NEW)
    work = build(waiting=2, running=1, failed=1, failure="exit code 3", failed_key="k")
    made = written(member_job_status(body, Standing(registered=IN), dag(), None, work, NotRunning(), NOW))
    assert (made["state"], made["waiting"], made["running"], made["failed"]) == ("Running", 2, 1, 1)
    assert made["waitingFor"] == "building version cdcdcdcdcd: 1 failed for good, last k: exit code 3"
    others = written(member_job_status(body, Standing(others=frozenset(IN)), dag(), None, work, NotRunning(), NOW))
    assert others["state"] == "Waiting"
    assert "running" not in others


def test_who_is_not_listed_shows_nothing_of_a_namesake() -> None:
    assert "running" not in of_job(Standing(others=frozenset(IN)), dag(), job(running=2))
    assert "partitions" not in of_dataset(Standing(others=frozenset(IN)), dag(), dataset(partitions=2))


@pytest.mark.parametrize("reason", ["InServingVersion", "InNewVersion"])
def test_what_was_registered_stays_so_for_an_operator_that_begins(reason: str) -> None:
    before = {"observedGeneration": 2, "conditions": [{"type": "Ready", "status": "True", "reason": reason}]}
    assert truths(of_job(WAITS, dag(), job(), before)) == READY
    assert "Reconciling" in truths(of_job(WAITS, dag(), job(), {**before, "observedGeneration": 1}))
    waits = {"type": "Reconciling", "status": "True", "reason": "NotListed"}
    assert "Reconciling" in truths(of_job(WAITS, dag(), job(), {**before, "conditions": [waits]}))


@pytest.mark.parametrize("kind", ["Job", "Dataset"])
def test_without_its_dag_it_is_reconciling_and_ready_after_a_time(kind: str) -> None:
    name = "clean" if kind == "Job" else "rows"
    early = written(orphan_status(kind, obj(kind, name, NEW), 29.0, NOW))
    assert (truths(early), early["observedGeneration"]) == ({"Reconciling": ("True", "WaitingForDAG")}, -1)
    late = written(orphan_status(kind, obj(kind, name, early), 30.0, NOW))
    assert (truths(late), late["observedGeneration"]) == ({"Ready": ("True", "WaitingForDAG")}, 2)
    assert "there is no DAG flights" in late["conditions"][0]["message"] == late["waitingFor"]
    assert late.get("state") == ("Waiting" if kind == "Job" else None)
    assert written(orphan_status(kind, obj(kind, name, late), 0.0, NOW)) == late
    assert "Reconciling" in truths(written(orphan_status(kind, obj(kind, name, late, 3), 0.0, NOW)))


@pytest.mark.parametrize("kind", ["Job", "Dataset"])
def test_an_orphan_whose_dag_comes_is_not_taken_for_registered(kind: str) -> None:
    before = {"observedGeneration": 2, "conditions": [{"type": "Ready", "status": "True", "reason": "WaitingForDAG"}]}
    made = of_job(WAITS, None, None, before) if kind == "Job" else of_dataset(WAITS, None, None, before)
    assert truths(made)["Reconciling"] == ("True", "WaitingForMembers")


def test_names_of_what_objects_write() -> None:
    assert written_job(obj("Job", "a-b")) == "a-b"
    assert written_dataset(obj("Dataset", "a-b")) == "a_b"
    assert written_job({"metadata": {"name": "a-b"}, "spec": {"jobName": "a_b"}}) == "a_b"
    assert written_dataset({"metadata": {"name": "a-b"}, "spec": {"datasetName": "ab_"}}) == "ab_"
    assert written_job({"metadata": {"name": "a-b"}, "spec": None}) == "a-b"
