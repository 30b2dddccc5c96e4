"""What the statuses of a DAG, a job and a dataset say of why, in their own words. Pure; `causes` makes chains of it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from headrace.api.words import counted, it_runs, nothing_waits
from headrace.cli.dags import Condition
from headrace.cli.objects import Dag, Dataset, Job, is_up_to_date

_OF_DAG: Final = ("Stalled", "Reconciling", "Degraded", "Rebuilding")


def of_dag(dag: Dag) -> Iterator[str]:
    """Its conditions that say why, as they are."""
    status = dag.status
    if status.observed_generation != dag.metadata.generation and not (
        status.true("Reconciling") or status.true("Stalled")
    ):
        yield "the operator has not handled the newest spec yet"
    for type_ in _OF_DAG:
        found = status.true(type_)
        if found is not None:
            yield in_a_line(found)
    serving, left = status.condition("Serving"), status.condition("UpToDate")
    if serving is not None and serving.status == "False" and not serving.message.startswith("see "):
        yield in_a_line(serving)
    if left is not None and left.status == "False" and left.reason != "NotServing":
        yield in_a_line(left)
    if is_up_to_date(dag):
        yield "the newest spec serves, and nothing waits, runs or has failed"


def holds_up(dag: Dag) -> bool:
    """Whether what is wrong with a DAG as a whole keeps its jobs from being what is written."""
    behind = dag.status.observed_generation != dag.metadata.generation
    return behind or any(dag.status.true(type_) for type_ in ("Stalled", "Reconciling"))


def of_job(job: Job) -> Iterator[str]:
    """Why it does not run, what failed, or that it has nothing to do."""
    status = job.status
    if status.waiting_for:
        yield status.waiting_for
    for type_ in ("Stalled", "Reconciling", "Degraded"):
        found = status.true(type_)
        if found is not None and found.message not in status.waiting_for:
            yield found.message
    if status.running and not status.waiting_for:
        yield it_runs(status.running)
    elif not status.waiting and not status.waiting_for:
        yield nothing_waits(status.units.done)


def of_dataset(dataset: Dataset) -> Iterator[str]:
    """Its condition Fresh, why it is not as written yet, and what it holds."""
    status = dataset.status
    fresh = status.condition("Fresh")
    if fresh is not None:
        yield in_a_line(fresh)
    if status.waiting_for:
        yield status.waiting_for
    if status.partitions:
        yield f"{counted(status.partitions, 'partition')}, the last made at {status.last_updated or 'an unknown time'}"
    else:
        yield "nothing of it is made yet"


def rebuilding(dag: Dag | None, job: str) -> Iterator[str]:
    """That a rollout under way makes it anew, as far as the plan's names say."""
    found = dag.status.true("Rebuilding") if dag is not None else None
    if dag is None or found is None:
        return
    plan = dag.status.plan
    named = [*plan.changed, *plan.added, *plan.downstream] if plan is not None else []
    if job in {name.partition(":")[0].partition(";")[0] for name in named}:
        yield in_a_line(found)


def in_a_line(found: Condition) -> str:
    """As `kubectl describe` has it, in a line: `Rebuilding (AwaitingApproval): …`; of what is not true, `Fresh is
    False (Late): …`.
    """
    truth = "" if found.status == "True" else f" is {found.status}"
    return f"{found.type}{truth} ({found.reason})" + (f": {found.message}" if found.message else "")
