"""What a job and a dataset show: a state in one word, why it does not run, its last task and its next run."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from headrace.api.status import JobStatus
from headrace.compile.document import CronDocument, SourceDocument
from headrace.status.conditions import condition, dated, words
from headrace.status.datasets import Upkeep, dataset_status
from headrace.status.parts import NotRunning, built_status, job_status
from tests.status.rows import LONG, NOW, body, build, dag, dataset, job, truths, written

RETRY = NOW + timedelta(minutes=5)


def status(serving: dict[str, object] | None = None, pods: dict[str, str] | None = None, **fields: object) -> Any:
    """What is written for a job."""
    return written(
        job_status(body(), 1, "flights", dag(**(serving or {})), job(**fields), None, NotRunning(pods or {}))
    )


@pytest.mark.parametrize(
    ("fields", "state", "why"),
    [
        pytest.param({}, "Idle", None, id="idle"),
        pytest.param({"done": 5}, "Idle", None, id="done"),
        pytest.param({"running": 1}, "Running", None, id="runs"),
        pytest.param({"running": 1, "waiting": 1}, "Running", None, id="runs and may run more"),
        pytest.param({"running": 2, "waiting": 7}, "Running",
                     "runs 2 at once, its scaling.maxConcurrency; 7 more wait", id="as many as it may"),
        pytest.param({"running": 1, "failed": 1, "failed_key": "a"}, "Running",
                     "1 failed for good, last a: no reason is known", id="runs, though something failed"),
        pytest.param({"failed": 1, "failure": "exit code 1\nno disk", "failed_key": "a"}, "Failing",
                     "1 failed for good, last a: exit code 1 no disk", id="failed for good"),
        pytest.param({"waiting": 1, "retry_at": RETRY, "failure": "exit code 1"}, "Failing",
                     "retries at 12:05:00 UTC after: exit code 1", id="will retry"),
        pytest.param({"waiting": 1, "retry_at": RETRY}, "Failing",
                     "retries at 12:05:00 UTC after: no reason is known",
                     id="will retry, no reason known"),
        pytest.param({"waiting": 1}, "Waiting", None, id="waits for its turn"),
        pytest.param({"waiting": 3, "held": 2}, "Waiting", "2 of 3 wait for work upstream",
                     id="held"),
    ],
)  # fmt: skip
def test_state_and_why_it_does_not_run(fields: dict[str, object], state: str, why: str | None) -> None:
    made = status(**fields)
    assert (made["state"], made.get("waitingFor")) == (state, why)


def test_a_suspended_dag_says_so_where_work_waits() -> None:
    assert status({"suspended": True}, waiting=1)["waitingFor"] == "the DAG is suspended: set spec.suspend to false"
    assert status({"suspended": True}, waiting=1)["state"] == "Suspended"
    assert status({"suspended": True})["state"] == "Idle"


def test_a_pod_that_does_not_start_says_why() -> None:
    pods = {"p-1": "Unschedulable: 0/1 nodes", "p-2": "other"}
    assert status(pods=pods, running=1, waiting=9, last_pod="p-1")["waitingFor"] == "pod p-1: Unschedulable: 0/1 nodes"
    assert "waitingFor" not in status(pods=pods, running=0, last_pod="p-1")


@pytest.mark.parametrize(
    ("fields", "conditions"),
    [
        ({}, {"Ready": ("True", "InServingVersion")}),
        ({"waiting": 1, "running": 1}, {"Ready": ("True", "InServingVersion")}),
        ({"failed": 2}, {"Ready": ("True", "InServingVersion"), "Degraded": ("True", "TasksFailed")}),
    ],
)
def test_conditions_of_a_job(fields: dict[str, object], conditions: dict[str, object]) -> None:
    assert truths(status(**fields)) == conditions


def test_workers_are_told_of_a_job_that_has_them() -> None:
    """Of the version that serves or the one that is built, whose workers are the same; of other jobs nothing."""
    assert status(runtime="worker")["workers"] == 0
    assert status(runtime="worker", workers=3)["workers"] == 3
    assert status(runtime="pod", workers=1)["workers"] == 1
    assert "workers" not in status()
    built = written(built_status(JobStatus(dag="flights"), None, build(runtime="worker", workers=2)))
    assert built["workers"] == 2
    both = job_status(body(), 1, "flights", dag(), job(runtime="pod"), build(runtime="worker", workers=0), NotRunning())
    assert both.workers == 0


def test_counts_image_and_last_task() -> None:
    pod = {"template": {"spec": {"containers": [{"name": "side", "image": "s"}, {"name": "load", "image": "i:1"}]}}}
    made = status(
        waiting=1, running=2, failed=3, done=4, container="load", pod=pod, last_id=UUID(int=5), last_status="Failed",
        last_at=NOW, last_partition="2013-01", last_message="exit code 1", last_pod="p-1",
    )  # fmt: skip
    assert [made[k] for k in ("waiting", "running", "failed", "completed")] == [1, 2, 3, 4]
    assert (made["units"], made["image"], made["dag"], made["jobName"]) == (
        {"done": 4, "stale": 0},
        "i:1",
        "flights",
        "clean",
    )
    assert made["lastTask"] == {
        "id": str(UUID(int=5)), "status": "Failed", "at": "2026-01-05T12:00:00Z", "partition": "2013-01",
        "message": "exit code 1", "pod": "p-1",
    }  # fmt: skip


def test_a_trigger_has_no_pod_and_no_image() -> None:
    made = status(runtime="dispatcher", last_id=UUID(int=5), last_pod="p-1", last_status="Completed")
    assert ("pod" in made["lastTask"], "image" in made) == (False, False)


def tick(**fields: Any) -> SourceDocument:
    """A cron source."""
    base: dict[str, Any] = {"schedule": "0 6 * * *", "time_zone": "UTC", "catch_up": "latest"}
    return SourceDocument(kind="cron", cron=CronDocument(**(base | fields)))


@pytest.mark.parametrize(
    ("source", "next_run"),
    [
        pytest.param(tick(), "2026-01-06T06:00:00+00:00", id="after its last tick"),
        pytest.param(tick(time_zone="Europe/Zurich"), "2026-01-06T05:00:00+00:00", id="in its zone"),
        pytest.param(
            tick(start="2026-02-01T06:00:00+00:00"), "2026-02-01T06:00:00+00:00", id="its start, if it is one"
        ),
        pytest.param(tick(start="2026-02-01T07:00:00+00:00"), "2026-02-02T06:00:00+00:00", id="after its start"),
        pytest.param(tick(end="2026-01-06T06:00:00+00:00"), "2026-01-06T06:00:00+00:00", id="its end"),
        pytest.param(tick(end="2026-01-06T05:00:00+00:00"), None, id="none after its end"),
        pytest.param(SourceDocument(kind="manual"), None, id="no cron"),
    ],
)
def test_next_run(source: SourceDocument, next_run: str | None) -> None:
    made = status(source=source, last_tick=NOW)
    found = made.get("nextRun")
    assert (found and datetime.fromisoformat(found)) == (next_run and datetime.fromisoformat(next_run))
    assert "nextRun" not in status({"absent": True}, source=source, last_tick=NOW)
    assert "nextRun" not in status(source=source)


def test_a_webhook_that_takes_no_delivery_says_why() -> None:
    source = SourceDocument(kind="webhook", secret="hook")
    trouble = "there is no Secret hook: create it"
    assert status(source=source, trouble=trouble)["waitingFor"] == f"its webhook takes no delivery: {trouble}"
    working = status(source=source, trouble=trouble, waiting=1, held=1)["waitingFor"]
    assert working == f"its webhook takes no delivery: {trouble}; 1 of 1 wait for work upstream"
    assert "waitingFor" not in status(source=source)
    # What was a webhook, and is none now.
    assert "waitingFor" not in status(source=tick(), trouble=trouble)


def test_a_dataset_shows_what_it_holds() -> None:
    row = dataset(partitions=3, rows=0, bytes=7, updated=NOW, consumers=["flights/rank"])
    made = written(dataset_status(body(), 1, "flights", dag(), row, Upkeep()))
    assert truths(made) == {"Ready": ("True", "InServingVersion")}
    del made["conditions"]
    assert made == {
        "observedGeneration": 1, "name": "rows", "dag": "flights", "job": "clean", "output": 0, "rows": 0, "bytes": 7,
        "version": str(UUID(int=2)), "location": "file:///data/air/rows/2", "partitions": 3,
        "lastUpdated": "2026-01-05T12:00:00Z", "consumers": ["flights/rank"],
    }  # fmt: skip


def test_an_empty_dataset_says_nothing_of_rows() -> None:
    made = written(dataset_status(body(), 1, "flights", dag(), dataset(), Upkeep()))
    assert not {"rows", "bytes", "lastUpdated", "consumers"} & set(made)


def test_the_largest_parts_stay_small() -> None:
    """Every text within its bound, the whole under 32 KiB."""
    long = status(
        pods={"p": LONG}, running=1, failed=1, failure=LONG, failed_key="k" * 128, last_id=UUID(int=5), last_pod="p",
        last_message=LONG, last_partition="k" * 128, last_status="Failed",
    )  # fmt: skip
    many = dataset(consumers=[f"{'d' * 63}/{n:04}{'j' * 59}" for n in range(1000)], location="s3://" + "x" * 1000)
    wide = written(dataset_status(body(), 1, "flights", dag(), many, Upkeep()))
    assert len(wide["consumers"]) == 64
    assert max(len(str(long).encode()), len(str(wide).encode())) < 32 * 1024


@pytest.mark.parametrize(("text", "kept"), [("", ""), ("x" * 10, "x" * 10), ("0123456789a", "0123...89a"),
                                            ("a\n b\tc", "a b c"),
                                            ("\x1b" + "x" * 500 + "end", "xxxx...end")])  # fmt: skip
def test_words_are_on_one_line_and_cut_to_their_bound(text: str, kept: str) -> None:
    assert words(text, 10) == kept


@pytest.mark.parametrize(
    "status_",
    [None, {}, {"conditions": None}, {"conditions": "x"}, {"conditions": [None, {"type": "Ready", "status": "True"}]},
     {"conditions": [{"type": "Ready", "status": "False", "lastTransitionTime": "2025-01-01T00:00:00Z"}]}],
)  # fmt: skip
def test_a_condition_that_was_not_true_before_is_dated_now(status_: object) -> None:
    (made,) = dated([condition("Ready", True, "Good")], {"status": status_}, 1, NOW)
    assert made.last_transition_time == NOW.replace(microsecond=0)


@pytest.mark.parametrize(("serves", "built", "state", "why"), [
    pytest.param({}, {"running": 1, "waiting": 2}, "Running", None, id="it is built"),
    pytest.param({}, {"waiting": 2}, "Waiting", None, id="its build waits"),
    pytest.param({"running": 1}, {"failed": 1, "failure": "exit code 3", "failed_key": "k"}, "Running",
                 "building version cdcdcdcdcd: 1 failed for good, last k: exit code 3", id="its build failed"),
    pytest.param({}, {"waiting": 1, "retry_at": NOW, "failure": "exit code 3"}, "Failing",
                 "building version cdcdcdcdcd: retries at 12:00:00 UTC after: exit code 3", id="its build retries"),
])  # fmt: skip
def test_work_of_a_build_counts(serves: dict[str, Any], built: dict[str, Any], state: str, why: str | None) -> None:
    row = build(**built)
    made = written(job_status(body(), 1, "flights", dag(), job(**serves), row, NotRunning()))
    assert (made["state"], made.get("waitingFor")) == (state, why)
    counts = [serves.get(c, 0) + built.get(c, 0) for c in ("waiting", "running", "failed")]
    assert [made["waiting"], made["running"], made["failed"]] == counts


FULL = {"cap": 3, "org_running": 3}
AT_CAP = "the namespace runs 3 tasks, its maxRunningTasks"


@pytest.mark.parametrize(
    ("serving", "fields", "why"),
    [
        pytest.param(FULL, {"waiting": 1}, AT_CAP, id="held back"),
        pytest.param(FULL, {"waiting": 2, "held": 1}, AT_CAP, id="one of two could run"),
        pytest.param(FULL, {"waiting": 2, "held": 2}, "2 of 2 wait for work upstream", id="neither could"),
        pytest.param(FULL, {"waiting": 1, "running": 2}, "runs 2 at once, its scaling.maxConcurrency; 1 more wait",
                     id="its own room is full, too"),
        pytest.param(FULL, {}, None, id="nothing waits"),
        pytest.param({"cap": 3, "org_running": 2}, {"waiting": 1}, None, id="there is room"),
        pytest.param({"cap": 2, "org_running": 3}, {"waiting": 1}, AT_CAP, id="the cap was lowered"),
        pytest.param({"org_running": 3}, {"waiting": 1}, None, id="no cap"),
        pytest.param({**FULL, "suspended": True}, {"waiting": 1},
                     "the DAG is suspended: set spec.suspend to false", id="suspended"),
    ],
)  # fmt: skip
def test_a_full_namespace_is_told_where_it_holds_work_back(
    serving: dict[str, object], fields: dict[str, object], why: str | None
) -> None:
    assert status(serving, **fields).get("waitingFor") == why


def test_a_full_namespace_is_told_of_a_build() -> None:
    told = f"building version cdcdcdcdcd: {AT_CAP}"
    made = written(
        job_status(body(), 1, "flights", dag(**FULL), job(), build(waiting=1), NotRunning({}))
    )  # fmt: skip
    assert made["waitingFor"] == told
    new = built_status(JobStatus(dag="flights"), dag(**FULL), build(waiting=1))
    assert new.waiting_for == told
    assert built_status(JobStatus(dag="flights"), dag(**FULL), build()).waiting_for is None
