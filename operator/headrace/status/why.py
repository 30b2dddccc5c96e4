"""Why a job, or one partition of it, does not run: in words, the nearest cause first. Pure; the gateway calls it."""

from __future__ import annotations

from collections.abc import Iterator

from headrace.api.runs import Lack, Why
from headrace.api.words import counted, it_runs, nothing_waits
from headrace.state.report import DagRow, JobRow, Report
from headrace.state.why import Unit
from headrace.status.parts import (
    SUSPENDED,
    NotRunning,
    at_cap,
    failed_for_good,
    is_full,
    job_state,
    never_run,
    why_not_running,
)


def explain_why(report: Report, dag: str, job: str, partition: str | None, unit: Unit) -> Why | None:
    """The answer for a job of the version that serves; None when it has no such job."""
    row = next((row for row in report.jobs if row.name == job), None)
    if row is None or report.dag is None:
        return None
    if partition:
        words = _of_partition(report, dag, row, partition, unit)
    else:
        words = _of_job(report, dag, report.dag, row, unit)
    state = unit.task.state if partition and unit.task else "Absent" if partition else job_state(report.dag, row)
    held = _held(report, unit)
    return Why(
        dag=dag, job=job, partition=partition, state=state, words=(*words, *held),
        waits_for=unit.blockers, lacks=_lacks(partition, unit),
    )  # fmt: skip


def _of_job(report: Report, dag: str, serving: DagRow, row: JobRow, unit: Unit) -> Iterator[str]:
    told = why_not_running(dag, serving, row, NotRunning())
    if told:
        yield told
    elif row.running:
        yield "it runs, and is started again when it ends" if row.runs_on else it_runs(row.running)
    elif not row.waiting:
        yield nothing_waits(row.done, "partition" if row.runs_on else "unit")
        yield from _canceled(dag, row)
        yield from _never_run_before(report, dag, row, unit)
    if row.stale:
        stale = counted(row.stale, "unit")
        yield f"{stale} made from an input, read as a whole, that has changed since: headrace run makes them anew"
    if row.failed:
        yield failed_for_good(row)
    if serving.absent:
        yield "the DAG's object is gone"
    if row.waiting:
        yield from (full for full in _full(unit) if full != told)
    if not told and never_run(dag, row):
        yield never_run(dag, row)


def _canceled(dag: str, row: JobRow) -> Iterator[str]:
    if row.last_status == "Canceled":
        of = f", of partition {row.last_partition}," if row.last_partition else ""
        told = f"its last task{of} was canceled"
        yield f"{told} ({row.last_message or 'no reason is known'}): headrace retry {dag}/{row.name} runs it again"


def _never_run_before(report: Report, dag: str, row: JobRow, unit: Unit) -> Iterator[str]:
    """The sources of what it reads that were never run, while it has done nothing."""
    for source in report.jobs if not row.done else ():
        begun = source.last_id is not None or source.done or source.waiting
        if source.name in unit.sources and not begun:
            yield f"it reads what comes of {source.name}, and of that {never_run(dag, source) or 'there is no run yet'}"


def _lacks(partition: str | None, unit: Unit) -> tuple[Lack, ...]:
    """Who is to make what a partition that is not made, or waits, does not have."""
    waits = unit.done is None if unit.task is None else unit.task.state in ("Queued", "Retrying")
    return tuple(
        Lack(dataset=one.dataset, dag=one.dag, job=one.job, partition=None if one.whole else partition)
        for one in (unit.lacking if waits else ())
    )


def _lacking(report: Report, dag: str, partition: str, unit: Unit) -> Iterator[str]:
    producers = {one.name: one.job for one in report.datasets}
    kinds = {one.name: one.activation for one in report.jobs}
    for lacking in unit.lacking:
        what = "nothing yet" if lacking.whole else f"no partition {partition}"
        told = f"its input {lacking.input} ({lacking.dataset}) has {what}"
        job = producers.get(lacking.dataset)
        verb = "run" if job and kinds.get(job) == "source" else "why"
        key = "" if lacking.whole else f" -p {partition}"
        way = f": headrace {verb} {dag}/{job}{key} {'makes it' if verb == 'run' else 'says why'}" if job else ""
        yield told + way


def _of_partition(report: Report, dag: str, row: JobRow, partition: str, unit: Unit) -> Iterator[str]:
    task = unit.task
    if task is None and unit.done is None:
        yield from _lacking(report, dag, partition, unit)
        if not unit.lacking:
            yield "it was never made: nothing has asked for it"
        return
    if task is not None and task.state in ("Queued", "Retrying"):
        lacking = tuple(_lacking(report, dag, partition, unit))
        yield from (*lacking, *_waits(report, row, unit)) or ("it waits for its turn",)
    elif task is not None and task.state == "Running":
        yield f"it runs in pod {task.worker}"
    elif task is not None and task.state in ("Failed", "Canceled"):
        yield f"{task.state.lower()}: {task.message or 'no reason is known'}; headrace retry runs it again"
    if unit.done is not None:
        yield f"it was made last at {unit.done:%Y-%m-%d %H:%M:%S} UTC"


def _waits(report: Report, row: JobRow, unit: Unit) -> Iterator[str]:
    """What keeps the task of a partition from being begun."""
    if report.dag is not None and report.dag.suspended:
        yield SUSPENDED
    if unit.task is not None and unit.task.retry is not None:
        yield f"retries at {unit.task.retry:%H:%M:%S} UTC after: {unit.task.message or 'no reason is known'}"
    if unit.blockers:
        yield f"it waits for {counted(len(unit.blockers), 'other task')}"
    elif is_full(row):
        yield f"the job {is_full(row)}"
    yield from _full(unit)


def _full(unit: Unit) -> Iterator[str]:
    full = at_cap(unit.load.running, unit.load.cap)
    if full:
        yield full


def _held(report: Report, unit: Unit) -> Iterator[str]:
    waits = unit.task is not None and unit.task.state in ("Queued", "Retrying")
    if waits and report.rollout is not None and report.rollout.held:
        yield "work that the next version replaces is held for its cutover, for a minute at most"
