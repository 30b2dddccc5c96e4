"""`headrace status`: a namespace in every state as a tree of 80 columns, and what counts as up to date."""

from __future__ import annotations

import io
import json
from datetime import UTC, datetime
from typing import Any

import pytest
import yaml

from headrace.cli.objects import NoSuchObject
from headrace.cli.output import machine_text
from headrace.cli.status import show_status
from headrace.cli.tree import status_tree
from tests.cli.views import OTHER, conditions, dag, dataset, job, namespace

NOW = datetime(2026, 1, 5, 12, 0, 0, tzinfo=UTC)
JOBS = {"month": (), "clean": ({"job": "month"},), "rank": ({"job": "clean"},)}
GOOD: dict[str, Any] = {
    "dags": [dag(jobs=JOBS)],
    "jobs": [job("month", nextRun="2026-01-05T15:00:00Z"), job("clean"), job("rank")],
    "datasets": [dataset("flights_clean", "clean")],
}
BUILD = {"state": "Building", "yamlHash": OTHER, "tasksDone": 5, "tasksTotal": 20, "waitingFor": "", "cause": ""}


def shown(target: str | None = None, coloured: bool = False, **objects: Any) -> str:
    file = io.StringIO()
    show_status(status_tree(namespace(**objects), target), file, now=NOW, coloured=coloured)
    assert all(len(line) <= 80 for line in file.getvalue().splitlines()) or coloured
    return file.getvalue()


def test_a_namespace_where_all_is_well() -> None:
    assert shown(**GOOD).splitlines() == [
        "air",
        "└── flights  UpToDate  0123456789",
        "    ├── month  Idle  3 done, next in 3h",
        "    ├── clean  Idle  3 done",
        "    │   └── flights_clean  3 partitions, 1,200 rows, 7m ago",
        "    └── rank   Idle  3 done",
    ]
    assert status_tree(namespace(**GOOD), None).up_to_date


def test_a_rollout_has_its_progress_and_a_job_its_reason() -> None:
    message = "version fedcba9876 is being built: 5 of 20 tasks done"
    told = conditions(Ready="", Serving_=("Building", "see Rebuilding"), UpToDate_="", Rebuilding=("Building", message))
    why = "2 failed for good, last 2013-04: exit code 3: no such column"
    text = shown(
        dags=[dag(jobs=JOBS, conditions=told, rollout=BUILD, message=message)],
        jobs=[job("month"), job("clean", state="Failing", failed=2, waiting=1, waitingFor=why)],
    )
    assert "flights  Rebuilding  0123456789" in text
    assert message in text
    assert "→ fedcba9876  Building  █████░░░░░░░░░░░░░░░  5 of 20 tasks" in text
    assert "clean  Failing  3 done, 1 waiting, 2 failed" in text
    assert why in text


def test_long_reasons_stay_within_the_width_and_steer_no_terminal() -> None:
    text = shown(dags=[dag(message="\x1b[31m" + "word " * 150)], jobs=[job("j" * 63, waitingFor="x" * 300)])
    assert "\x1b" not in text
    assert "\x1b[" in shown(coloured=True, **GOOD)


@pytest.mark.parametrize(
    ("changed", "state", "up_to_date"),
    [
        ({}, "UpToDate", True),
        ({"generation": 2}, "Reconciling", False),
        ({"status": -1}, "Reconciling", False),
        ({"conditions": conditions(Ready="", Stalled="")}, "Stalled", False),
        ({"conditions": conditions(Ready="", Reconciling="")}, "Reconciling", False),
        ({"conditions": conditions(Ready_="")}, "NotReady", False),
        ({"conditions": conditions(Ready="", UpToDate_="", Degraded="")}, "Degraded", False),
        ({"conditions": conditions(Ready="", Serving_=("Pinned", ""), UpToDate_="")}, "Pinned", False),
        ({"conditions": conditions(Ready="", Rebuilding=("AwaitingApproval", ""))}, "AwaitingApproval", False),
        ({"conditions": conditions(Ready="", UpToDate_="")}, "Working", False),
        ({"conditions": conditions(Ready="", UpToDate_=""), "spec": {"suspend": True}}, "Suspended", False),
    ],
)
def test_the_state_of_a_dag_in_a_word(changed: dict[str, Any], state: str, up_to_date: bool) -> None:
    body = dag(**changed)
    if changed == {"status": -1}:
        body["status"] = {"observedGeneration": -1}
    told = status_tree(namespace(dags=[body]), None)
    assert (told.dags[0].state, told.up_to_date) == (state, up_to_date)


def test_a_dataset_that_is_late_is_not_up_to_date() -> None:
    late = dataset("flights_clean", "clean", conditions=conditions(Ready="", Fresh_=("Late", "it is 3 h late")))
    told = status_tree(namespace(**{**GOOD, "datasets": [late]}), None)
    assert not told.up_to_date
    text = shown(**{**GOOD, "datasets": [late]})
    assert "7m ago  Late" in text
    assert "it is 3 h late" in text
    fresh = dataset("flights_clean", "clean", conditions=conditions(Ready="", Fresh=""))
    assert status_tree(namespace(**{**GOOD, "datasets": [fresh]}), None).up_to_date


def test_members_without_their_dag_are_shown_and_are_not_up_to_date() -> None:
    text = shown(
        jobs=[job("a", spec={"jobName": "a"}, state="Waiting", waitingFor="there is no DAG flights: apply it")]
    )
    assert "flights  Absent  no version" in text
    assert not status_tree(namespace(jobs=[job("a", spec={})]), None).up_to_date


def test_a_dataset_without_its_dag_is_shown_and_is_not_up_to_date() -> None:
    alone = dataset("late", "a", of="absent", waitingFor="there is no DAG absent: apply it")
    text = shown(**{**GOOD, "datasets": [*GOOD["datasets"], alone]})
    assert "absent  Absent  no version" in text
    assert "late  3 partitions" in text
    assert not status_tree(namespace(**{**GOOD, "datasets": [alone]}), None).up_to_date
    assert [d.name for d in status_tree(namespace(datasets=[alone]), "absent").dags] == ["absent"]


def test_members_that_the_operator_has_not_handled_are_not_up_to_date() -> None:
    handled = job("clean", spec={"jobName": "clean"})
    assert status_tree(namespace(**{**GOOD, "jobs": [handled]}), None).up_to_date
    changed = {**handled, "metadata": {**handled["metadata"], "generation": 2}}
    new = {**handled, "status": {"observedGeneration": -1}}
    written = dataset("flights_clean", "clean", observedGeneration=0)
    written["spec"]["projected"] = False
    for objects in ({"jobs": [changed]}, {"jobs": [new]}, {"datasets": [written]}):
        assert not status_tree(namespace(**{**GOOD, **objects}), None).up_to_date


def test_one_dag_one_job_or_one_dataset() -> None:
    objects = {**GOOD, "dags": [*GOOD["dags"], dag("other")]}
    assert [d.name for d in status_tree(namespace(**objects), None).dags] == ["flights", "other"]
    assert [d.name for d in status_tree(namespace(**objects), "other").dags] == ["other"]
    (one,) = status_tree(namespace(**objects), "flights/clean").dags
    assert [(j.name, len(j.datasets)) for j in one.jobs] == [("clean", 1)]
    assert status_tree(namespace(**objects), "flights_clean").dags == (one,)
    for target in ("absent", "flights/absent", "absent/clean"):
        with pytest.raises(NoSuchObject, match="in namespace air"):
            status_tree(namespace(**objects), target)


def test_quiet_jobs_of_a_large_dag_are_counted() -> None:
    jobs = [job(f"j{n}") for n in range(100)] + [job("bad", state="Failing", failed=1)]
    objects = {"dags": [dag()], "jobs": jobs, "datasets": [dataset("d", "j1")]}
    (one,) = status_tree(namespace(**objects), None).dags
    assert ([j.name for j in one.jobs], one.quiet, one.datasets) == (["bad"], 100, ())
    assert len(status_tree(namespace(**objects), None, all_jobs=True).dags[0].jobs) == 101
    assert len(status_tree(namespace(**objects), "flights").dags[0].jobs) == 101


def test_it_is_there_for_programs_too() -> None:
    told = status_tree(namespace(**GOOD), None)
    found = json.loads(machine_text(told, "json"))
    assert found == yaml.safe_load(machine_text(told, "yaml"))
    assert found["upToDate"] is True
    assert found["dags"][0]["jobs"][1]["datasets"][0]["rows"] == 1200
