"""What a watcher sees of DAGs, Jobs and Datasets, through every short history of edits, waits, faults and operators.

No object looks Current before the operator has handled its newest generation; `tests.cluster.test_watched` sees the
same of real ones.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from headrace.api import names
from headrace.status.dag import Outcome, dag_status, delayed_status
from headrace.status.datasets import Upkeep
from headrace.status.members import Standing, member_dataset_status, member_job_status, orphan_status
from headrace.status.parts import NotRunning
from tests.kstatus import Seen, check, kstatus
from tests.status.rows import HASH, NOW, dag, dataset, job, written
from tests.status.test_kube_events import BUILDS, FAILED, GOOD, NONE, WRONG, report
from tests.status.test_rollout_status import rollout

NEVER = {"observedGeneration": -1}
"""What the definition gives an object that is made."""
WAITS = Outcome(reason="MembersMissing", message="Job a is not there", waiting=True)
STALLED = Outcome(reason="InputsMissing", message="no DAG publishes x", registered=True)
BROKEN = report(None, rollout(state="Failed", cause="it broke", finished_at=NOW))
LOOKS = {
    "serves": (GOOD, report()),
    "serves, and work failed": (GOOD, report(None, None, job(failed=1, failed_key="a"))),
    "builds": (BUILDS, report(None, rollout())),
    "waits for a person": (BUILDS, report(None, rollout(build_approved=False))),
    "is pinned": (BUILDS, report(dag(pinned_hash=HASH), rollout(state="Canceled"))),
    "waits for members": (WAITS, report()),
    "waits before the first version": (WAITS, NONE),
    "is invalid": (WRONG, report()),
    "is stalled by others": (STALLED, report()),
    "failed to build": (FAILED, BROKEN),
}
"""What a reconcile may find."""


def generations(length: int, steps: list[str]) -> Iterator[list[tuple[int, str]]]:
    """Every history of so many steps, each of the generation of the step before or the next."""
    for chosen in itertools.product(steps, repeat=length):
        for edits in itertools.product((0, 1), repeat=length - 1):
            yield list(zip(itertools.accumulate((1, *edits)), chosen, strict=True))


def expected(outcome: Outcome) -> Seen:
    if not outcome.reason:
        return "Current"
    return "InProgress" if outcome.waiting else "Failed"


@pytest.mark.parametrize("length", [1, 2, 3])
def test_a_dag_looks_current_only_once_its_newest_generation_is_registered(length: int) -> None:
    played = 0
    for history in generations(length, [*LOOKS, "cannot be reached"]):
        status: Any = NEVER
        handled = -1
        for generation, step in history:
            metadata = {"name": "flights", "generation": generation}
            before: dict[str, object] = {"metadata": metadata, "status": status}
            # Before the operator has seen it: what the last generation left is there.
            assert handled == generation or check(before) == "InProgress", history
            if step == "cannot be reached":
                delayed = delayed_status(before, generation, "Postgres is away", NOW)
                assert (delayed is None) == (handled == generation), history
                if delayed is None:
                    continue
                status, wanted = written(delayed), "InProgress"
            else:
                outcome, found = LOOKS[step]
                status = written(dag_status(before, generation, outcome, found, None, NOW))
                wanted = expected(outcome)
                assert wanted != "Current" or outcome.registered
                handled = handled if outcome.waiting else generation
            seen = check({"metadata": metadata, "status": status})
            assert (seen, status["observedGeneration"]) == (wanted, handled), history
            played += 1
    assert played > len(LOOKS)


class Member:
    """A Job or a Dataset of `flights`, as an operator tells of it that saw it registered, or not."""

    def __init__(self, kind: str) -> None:
        self.kind, self.name = kind, "clean" if kind == names.JOB else "rows"

    def body(self, generation: int, status: object) -> dict[str, Any]:
        spec = {"dag": "flights"} if self.kind == names.JOB else {"from": {"dag": "flights", "job": "clean"}}
        return {"metadata": {"name": self.name, "uid": "u", "generation": generation}, "spec": spec, "status": status}

    def told(self, body: Mapping[str, Any], step: str) -> Any:
        if step in ("is alone", "is alone for long"):
            return written(orphan_status(self.kind, body, 40.0 if step.endswith("long") else 1.0, NOW))
        generation, place = body["metadata"]["generation"], (self.kind, self.name)
        standing = {
            "is registered": Standing(registered={place: ("u", generation)}),
            "was registered": Standing(registered={place: ("u", generation - 1)}),
            "waits": Standing(reason="WaitingForMembers", message="see DAG flights"),
            "is not listed": Standing(others=frozenset([place])),
            "is wrong": Standing(wrong={f"{self.kind} {self.name}": "spec.image: no"}),
        }[step]
        if self.kind == names.JOB:
            return written(member_job_status(body, standing, dag(), job(), None, NotRunning(), NOW))
        return written(member_dataset_status(body, standing, dag(), dataset(), Upkeep(), NOW))


MEMBER_STEPS: dict[str, Seen] = {
    "is registered": "Current", "was registered": "InProgress", "waits": "InProgress", "is not listed": "InProgress",
    "is wrong": "Failed", "is alone": "InProgress", "is alone for long": "Current",
}  # fmt: skip


@pytest.mark.parametrize("kind", [names.JOB, names.DATASET])
def test_a_member_looks_current_only_once_its_newest_generation_is_in_a_version(kind: str) -> None:
    """Or, after a time, when there is no DAG whose it could be. What was registered stays so for another operator."""
    member = Member(kind)
    for history in generations(3, [*MEMBER_STEPS]):
        status: Any = NEVER
        handled, settled = -1, ""
        for generation, step in history:
            body = member.body(generation, status)
            assert handled == generation or check(body) == "InProgress", history
            status = member.told(body, step)
            wanted = MEMBER_STEPS[step]
            # An operator that begins goes by the status, of members and of those that had no DAG.
            stays = (step in ("was registered", "waits") and settled == "is registered") or (
                step == "is alone" and settled == "is alone for long"
            )
            if handled == generation and stays:
                wanted = "Current"
            else:
                settled = step
            handled = handled if wanted == "InProgress" else generation
            seen = check(member.body(generation, status))
            assert (seen, status["observedGeneration"]) == (wanted, handled), history


def test_the_rules_are_those_of_a_watcher() -> None:
    """Each alone; that an object which says nothing looks Current is why the definition says -1."""

    def seen(generation: int = 2, observed: int | None = 2, deleted: str | None = None, **conditions: str) -> Seen:
        told = [{"type": type_, "status": status} for type_, status in conditions.items()]
        status = {"conditions": told} | ({} if observed is None else {"observedGeneration": observed})
        metadata = {"generation": generation} | ({"deletionTimestamp": deleted} if deleted else {})
        return kstatus({"metadata": metadata, "status": status})

    assert kstatus({"metadata": {"generation": 1}}) == "Current"
    assert (seen(), seen(observed=None), seen(observed=1), seen(observed=-1)) == (
        "Current", "Current", "InProgress", "InProgress",
    )  # fmt: skip
    assert (seen(Ready="True"), seen(Reconciling="False", Stalled="Unknown")) == ("Current", "Current")
    assert (seen(Ready="False"), seen(Ready="Unknown")) == ("InProgress", "InProgress")
    assert (seen(Reconciling="True"), seen(Stalled="True"), seen(observed=1, Stalled="True")) == (
        "InProgress", "Failed", "InProgress",
    )  # fmt: skip
    assert (seen(Stalled="True", Reconciling="True"), seen(deleted="now", Stalled="True")) == ("Failed", "Terminating")
