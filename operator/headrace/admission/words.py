"""A plan in short lines, for the warnings that `kubectl` prints. Pure.

Whoever writes an object need not be allowed to read others: it tells names and counts, and no value of any field.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from headrace.api.history import short_hash
from headrace.api.words import counted
from headrace.plan.explanation import Explanation, JobChange

_FEW: Final = 3
_SWAPS: Final = {
    "swap only": "the pointers swap at once, nothing is built",
    "build first": "what is new is built first, then the pointers swap",
    "first version": "the first version: nothing is built before it serves",
}


def plan_lines(plan: Explanation) -> Iterator[str]:
    """What applying would do, the weightiest first; nothing where it would do nothing."""
    if plan.blocked:
        yield f"blocked: {plan.blocked}"
    if plan.swap == "none" or (plan.base_hash == plan.yaml_hash and not plan.jobs and not plan.datasets):
        yield from () if plan.blocked else plan.notes
        return
    if not plan.blocked:
        yield f"plan: DAG {plan.dag} {short_hash(plan.yaml_hash)}: {_SWAPS[plan.swap]}"
    changes = ", ".join(f"{count} {change}" for change, count in sorted(plan.totals.items()))
    if changes and plan.base_hash is not None:
        yield f"plan: jobs: {changes}, {plan.unchanged} unchanged"
    if plan.tasks or plan.partitions:
        yield f"plan: rebuilds {counted(plan.partitions, 'partition')} in {counted(plan.tasks, 'task')}"
    if plan.approval:
        yield f"plan: waits for headrace approve {plan.dag} {short_hash(plan.yaml_hash)}"
    for contract in plan.contracts:
        columns = ", ".join(broken.column for broken in contract.breaks[:_FEW])
        yield f"plan: contract of {contract.dataset} is broken: {columns}"
    if plan.consumers:
        readers = sorted({f"{one.dag}/{one.job}" for one in plan.consumers})
        yield f"plan: read by other DAGs: {', '.join(readers[:_FEW])}{_more(len(readers))}"
    if plan.base_hash is not None:
        yield from map(_job, plan.jobs)
    yield from plan.notes


def _job(job: JobChange) -> str:
    if job.because:
        what = f"downstream of {', '.join(job.because[:_FEW])}{_more(len(job.because))}"
    else:
        paths = [change.path for change in job.fields]
        what = job.change + (f" ({', '.join(paths[:_FEW])}{_more(len(paths))})" if paths else "")
    kept = ", its data are kept" if job.reuses else f", rebuilds {counted(job.units, 'unit')}" if job.units else ""
    return f"plan: {job.job}: {what}{kept}"


def _more(count: int) -> str:
    return f" and {count - _FEW} more" if count > _FEW else ""
