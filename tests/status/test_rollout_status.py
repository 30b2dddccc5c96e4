"""A rollout in a DAG's status: what is built, what it waits for, what was planned; short, whatever the DAG's size."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import msgspec
import pytest

from headrace.plan.contracts import ColumnBreak
from headrace.plan.explanation import Consumer, ContractChange, Explanation, FieldChange, Hurt, JobChange, kept
from headrace.state.report import Report, RolloutRow
from headrace.status.dag import Outcome, dag_status
from tests.status.rows import HASH, NOW, body, dag, job, truths, written

NEW = "v1-" + "cd" * 32
BUILDING = Outcome(yaml_hash=NEW, registered=True)
PLAN = Explanation(
    dag="flights", yaml_hash=NEW, base_hash=HASH, swap="build first", tasks=60, partitions=90,
    totals={"added": 1, "changed": 1, "downstream": 1, "removed": 1},
    jobs=(
        JobChange(job="clean", change="changed", fields=(FieldChange(path="config.n", old=1, new=2),), rebuilds=True),
        JobChange(job="join", change="downstream", because=("clean",), rebuilds=True),
        JobChange(job="extra", change="added", rebuilds=True),
        JobChange(job="gone", change="removed"),
    ),
    consumers=(Consumer(dataset="rows", dag="trains", job="read"),),
    contracts=(ContractChange(dataset="rows", breaks=(ColumnBreak(column="n", change="removed", old="bigint"),)),),
)  # fmt: skip


def rollout(**fields: Any) -> RolloutRow:
    """A rollout that builds."""
    base: dict[str, Any] = {
        "yaml_hash": NEW, "base_hash": HASH, "state": "Building", "cause": None, "strategy": "WhenReady",
        "planned_tasks": 60, "plan": PLAN, "created_at": NOW, "ready_at": None, "finished_at": None,
        "build_approved": True, "cutover_approved": True, "held": False, "done": 12, "open": 30,
    }  # fmt: skip
    return RolloutRow(**(base | fields))


def status(row: RolloutRow, outcome: Outcome = BUILDING, **serving: Any) -> Any:
    """What is written for a DAG of generation 3 that serves another version."""
    report = Report(dag=dag(**serving), rollout=row, jobs=(job(done=9),))
    return written(dag_status(body(), 3, outcome, report, None, NOW))


@pytest.mark.parametrize(
    ("row", "rebuilding", "told"),
    [
        pytest.param(rollout(), "Building", "version cdcdcdcdcd is being built: 12 of 60 tasks done", id="builds"),
        pytest.param(rollout(open=70), "Building", "12 of 82 tasks done", id="more came to light"),
        pytest.param(rollout(held=True), "Building", "held for the cutover", id="holds live work"),
        pytest.param(rollout(build_approved=False), "AwaitingApproval", "headrace approve flights lets it begin",
                     id="waits to build"),
        pytest.param(rollout(state="Ready", cutover_approved=False, strategy="Manual"), "AwaitingApproval",
                     "headrace approve flights lets it serve", id="waits to serve"),
        pytest.param(rollout(cutover_approved=False, strategy="Manual"), "Building", "is being built", id="manual"),
    ],
)  # fmt: skip
def test_while_it_goes_on(row: RolloutRow, rebuilding: str, told: str) -> None:
    """The version that serves stays Ready; the newest spec is handled, and is not Serving."""
    found = status(row)
    assert truths(found) == {
        "Ready": ("True", "VersionServes"), "Serving": ("False", rebuilding), "UpToDate": ("False", "NotServing"),
        "Rebuilding": ("True", rebuilding),
    }  # fmt: skip
    assert told in found["message"]
    assert found["observedGeneration"] == 3
    assert found["rollout"]["state"] == row.state


def test_a_failed_rollout_is_stalled_with_its_cause() -> None:
    failed = Outcome(yaml_hash=NEW, registered=True, reason="RolloutFailed", message="the rollout failed: it broke")
    found = status(rollout(state="Failed", cause="it broke", finished_at=NOW), failed)
    assert truths(found)["Stalled"] == ("True", "RolloutFailed")
    assert "Rebuilding" not in truths(found)
    assert (found["rollout"]["state"], found["rollout"]["cause"]) == ("Failed", "it broke")
    assert (found["rollout"]["tasksDone"], found["rollout"]["tasksTotal"]) == (12, 60)


def test_a_pinned_version_says_how_to_unpin() -> None:
    found = status(rollout(state="Canceled", finished_at=NOW), pinned_hash=HASH)
    assert truths(found)["Serving"] == ("False", "Pinned")
    assert "abababab" in found["message"]
    assert "headrace unpin flights" in found["message"]
    assert found["pinned"] == HASH


def test_the_plan_in_short() -> None:
    assert status(rollout())["plan"] == {
        "summary": "1 added, 1 changed, 1 downstream, 1 removed; 90 partitions to build in 60 tasks",
        "swap": "build first", "restorable": False, "partitions": 90, "tasks": 60, "changed": ["clean: config.n"],
        "added": ["extra"], "removed": ["gone"], "downstream": ["join"], "consumers": ["trains/read reads rows"],
        "contracts": ["rows.n: removed"],
    }  # fmt: skip


def test_a_status_stays_small_for_the_largest_plan() -> None:
    jobs = tuple(
        JobChange(job=f"j{n}" + "x" * 50, change=change, fields=(FieldChange(path="p" * 500),) * 30)
        for n in range(10_000)
        for change in ("changed",)
    )
    consumers = tuple(Consumer(dataset="d" * 120, dag="e" * 60, job="f" * 60) for _ in range(1000))
    breaks = tuple(ColumnBreak(column="c" * 120, change="removed", old="t" * 60) for _ in range(512))
    hurts = tuple(Hurt(dag="e" * 60, job="f" * 60, columns=("c" * 120,) * 9) for _ in range(1000))
    contracts = tuple(ContractChange(dataset=f"d{n}", breaks=breaks, hurts=hurts) for n in range(500))
    plan = Explanation(dag="flights", yaml_hash=NEW, jobs=jobs, consumers=consumers, swap="build first", tasks=1,
                       totals={"changed": len(jobs)}, contracts=contracts)  # fmt: skip
    assert len(msgspec.json.encode(kept(plan))) < 1_000_000
    plan = kept(plan)
    found = status(rollout(plan=plan, cause="ü" * 5000, state="Failed", finished_at=NOW + timedelta(1)))
    assert len(json.dumps(found)) < 16 * 1024
    assert found["plan"]["changed"][-1] == "and 9985 more"


def test_a_build_says_what_keeps_it_from_going_on() -> None:
    def told(row: RolloutRow, **serving: Any) -> str:
        (message,) = [c["message"] for c in status(row, **serving)["conditions"] if c["type"] == "Rebuilding"]
        return str(message)

    assert told(rollout(), suspended=True).endswith("; the DAG is suspended: set spec.suspend to false")
    assert told(rollout(trouble="join, partition a: no image")).endswith(
        "; job join, partition a: no image; it is tried again"
    )
