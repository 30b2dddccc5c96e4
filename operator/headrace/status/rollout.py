"""A rollout and its plan in a DAG's status. Pure; `status.dag` calls it.

Short enough for the 32 KiB of a status, whatever the DAG's size: lists are cut and say how much is missing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, cast

from headrace.api.history import short_hash
from headrace.api.status import PlanStatus, RolloutState, RolloutStatus
from headrace.api.words import counted
from headrace.plan.explanation import Change, Explanation, JobChange
from headrace.state.report import RolloutRow
from headrace.status.conditions import whole_seconds, words

UNDER_WAY: Final = ("Building", "Ready")
_CHANGES: Final[tuple[Change, ...]] = ("added", "changed", "downstream", "removed")
_MOST: Final = 15


def rollout_status(dag: str, row: RolloutRow | None) -> RolloutStatus | None:
    """The last rollout."""
    if row is None:
        return None
    return RolloutStatus(
        state=cast("RolloutState", row.state),
        yaml_hash=row.yaml_hash,
        short=short_hash(row.yaml_hash),
        tasks_done=row.planned_tasks if row.state == "Done" else row.done,
        tasks_total=_total(row),
        waiting_for=words(_waits_for(dag, row)),
        cause=words(row.cause or ""),
        started=whole_seconds(row.created_at),
        finished=whole_seconds(row.finished_at),
    )


def rebuilding(dag: str, row: RolloutRow, *, suspended: bool = False) -> tuple[str, str]:
    """What a rollout under way does: in a word, and in a sentence with its progress and with what keeps it from any."""
    progress = f"{row.done} of {_total(row)} tasks done"
    waits = _waits_for(dag, row)
    if waits:
        return "AwaitingApproval", f"version {short_hash(row.yaml_hash)} is {_stage(row)}, {progress}; {waits}"
    held = "; live work of the jobs that it replaces is held for the cutover" if row.held else ""
    trouble = f"; job {words(row.trouble, 300)}; it is tried again" if row.trouble else ""
    behind = f"; {', '.join(_cut(row.behind) or ())} started over, not yet as far as before" if row.behind else ""
    stopped = "; the DAG is suspended: set spec.suspend to false" if suspended and row.open else ""
    return (
        row.state,
        f"version {short_hash(row.yaml_hash)} is {_stage(row)}: {progress}{held}{behind}{trouble}{stopped}",
    )


def plan_status(row: RolloutRow | None) -> PlanStatus | None:
    """What the plan of the last rollout said."""
    if row is None or row.plan is None:
        return None
    plan = row.plan
    by_change: dict[str, list[JobChange]] = {}
    for job in plan.jobs:
        by_change.setdefault(job.change, []).append(job)
    return PlanStatus(
        summary=words(summary(plan)),
        swap=plan.swap,
        restorable=plan.restorable,
        partitions=plan.partitions,
        tasks=plan.tasks,
        changed=_cut([_changed(job) for job in by_change.get("changed", ())], plan.totals.get("changed")),
        added=_cut([job.job for job in by_change.get("added", ())], plan.totals.get("added")),
        removed=_cut([job.job for job in by_change.get("removed", ())], plan.totals.get("removed")),
        downstream=_cut([job.job for job in by_change.get("downstream", ())], plan.totals.get("downstream")),
        consumers=_cut([f"{c.dag}/{c.job} reads {c.dataset}" for c in plan.consumers]),
        contracts=_cut([f"{c.dataset}.{b.column}: {b.change}" for c in plan.contracts for b in c.breaks]),
    )


def summary(plan: Explanation) -> str:
    """A plan in a line."""
    told = ", ".join(f"{plan.totals[change]} {change}" for change in _CHANGES if plan.totals.get(change))
    told = told or "no job changed"
    if plan.swap == "first version":
        return "the first version"
    if plan.swap == "swap only" and not plan.totals:
        return "back to a version that served before; pointers move, nothing is built"
    if plan.swap == "swap only" or not plan.tasks:
        return f"{told}; pointers move, nothing is built"
    return f"{told}; {counted(plan.partitions, 'partition')} to build in {counted(plan.tasks, 'task')}"


def _total(row: RolloutRow) -> int:
    return max(row.planned_tasks, row.done + row.open) if row.state in UNDER_WAY else row.planned_tasks


def _stage(row: RolloutRow) -> str:
    if not row.build_approved:
        return "planned"
    return "ready" if row.state == "Ready" else "being built"


def _waits_for(dag: str, row: RolloutRow) -> str:
    if row.state not in UNDER_WAY:
        return ""
    if not row.build_approved:
        why = (row.plan.approval if row.plan else "") or "it would run more tasks than rollout.maxBuildTasks"
        return f"{why}: headrace approve {dag} lets it begin"
    if row.state == "Ready" and not row.cutover_approved:
        return f"headrace approve {dag} lets it serve"
    return ""


def _changed(job: JobChange) -> str:
    fields: Sequence[str] = [change.path for change in job.fields]
    listed = ", ".join(fields[:3]) + (", ..." if len(fields) > 3 else "")
    kept = "; its data are kept" if job.reuses else ""
    return f"{job.job}: {listed}{kept}" if listed else job.job + kept


def _cut(names: Sequence[str], total: int | None = None) -> list[str] | None:
    """The first few, and how many more there are of `total`, by default of these."""
    listed, more = [words(name, 200) for name in names[:_MOST]], (total or len(names)) - _MOST
    return [*listed, f"and {more} more"] if more > 0 else listed or None
