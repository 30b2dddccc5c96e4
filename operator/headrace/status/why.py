"""Why a job, or one partition of it, does not run: in words, the nearest cause first. Pure; the gateway calls it."""

from __future__ import annotations

from collections.abc import Iterator

from headrace.api.runs import Why
from headrace.state.report import DagRow, JobRow, Report
from headrace.state.why import Unit
from headrace.status.parts import NotRunning, job_state, never_run, why_not_running


def explain_why(report: Report, dag: str, job: str, partition: str | None, unit: Unit) -> Why | None:
    """The answer for a job of the version that serves; None when it has no such job."""
    row = next((row for row in report.jobs if row.name == job), None)
    if row is None or report.dag is None:
        return None
    words = _of_partition(report.dag, partition, unit) if partition else _of_job(dag, report.dag, row, unit)
    state = unit.task.state if partition and unit.task else "Absent" if partition else job_state(report.dag, row)
    held = _held(report, unit)
    return Why(
        dag=dag, job=job, partition=partition, state=state, words=(*words, *held),
        waits_for=unit.blockers,
    )  # fmt: skip


def _of_job(dag: str, serving: DagRow, row: JobRow, unit: Unit) -> Iterator[str]:
    told = why_not_running(dag, serving, row, NotRunning())
    if told:
        yield told
    elif row.running:
        yield f"it runs: {row.running} tasks"
    elif not row.waiting:
        yield f"nothing waits: {row.done} units are done"
    if row.stale:
        yield f"{row.stale} units are stale: what they read as a whole has changed since; headrace run makes them anew"
    if row.failed:
        yield f"{row.failed} failed for good, last {row.failed_key}: {row.failure or 'no reason is known'}"
    if serving.absent:
        yield "the DAG's object is gone"
    if row.waiting:
        yield from _full(unit)
    if not told and never_run(dag, row):
        yield never_run(dag, row)


def _of_partition(serving: DagRow, partition: str | None, unit: Unit) -> Iterator[str]:
    task = unit.task
    if task is None and unit.done is None:
        for lacking in unit.lacking:
            what = "has nothing yet" if lacking.whole else f"has no partition {partition}"
            yield f"its input {lacking.input} ({lacking.dataset}) {what}"
        if not unit.lacking:
            yield "it was never made: nothing has asked for it"
        return
    if task is not None and task.state in ("Queued", "Retrying"):
        if serving.suspended:
            yield "the DAG is suspended: set spec.suspend to false"
        if task.retry is not None:
            yield f"retries at {task.retry:%H:%M:%S} UTC after: {task.message or ''}"
        for lacking in unit.lacking:
            what = "has nothing yet" if lacking.whole else f"has no partition {partition}"
            yield f"its input {lacking.input} ({lacking.dataset}) {what}"
        if unit.blockers:
            yield f"it waits for {len(unit.blockers)} other tasks"
        yield from _full(unit)
    elif task is not None and task.state == "Running":
        yield f"it runs in pod {task.worker}"
    elif task is not None and task.state in ("Failed", "Canceled"):
        yield f"{task.state.lower()}: {task.message or 'no reason is known'}; headrace retry runs it again"
    if unit.done is not None:
        yield f"it was made last at {unit.done:%Y-%m-%d %H:%M:%S} UTC"


def _full(unit: Unit) -> Iterator[str]:
    if unit.load.cap is not None and unit.load.running >= unit.load.cap:
        yield f"the namespace runs {unit.load.running} tasks, its max_running_tasks"


def _held(report: Report, unit: Unit) -> Iterator[str]:
    waits = unit.task is not None and unit.task.state in ("Queued", "Retrying")
    if waits and report.rollout is not None and report.rollout.held:
        yield "work that the next version replaces is held for its cutover, for a minute at most"
