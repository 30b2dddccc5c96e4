"""The statuses of jobs from their rows. Pure; parts calls it for each projected object."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Final, Literal, NamedTuple, cast

import msgspec

from headrace.api.history import short_hash
from headrace.api.status import JobState, JobStatus, LastTask, Units
from headrace.api.words import counted
from headrace.compile.template import Tree, container
from headrace.compile.ticks import upcoming
from headrace.state.report import BuildRow, DagRow, JobRow, Report
from headrace.status.conditions import condition, dated, whole_seconds, words

SUSPENDED: Final = "the DAG is suspended: set spec.suspend to false"


class NotRunning(NamedTuple):
    """Why pods that are there do not run yet, by pod's name; and why no worker of a job runs, by job's name."""

    pods: Mapping[str, str] = {}
    workers: Mapping[str, str] = {}


def job_status(
    body: Mapping[str, object],
    generation: int,
    dag: str,
    serving: DagRow,
    row: JobRow,
    build: BuildRow | None,
    idle: NotRunning,
) -> JobStatus:
    """What a job is doing, in the version that serves and in the one that is being built: `build`, if there is one."""
    why = job_words(dag, serving, row, build, idle)
    template = cast("Tree", (row.pod or {}).get("template") or {})
    image = container(template, row.container or "main").get("image")
    conditions = [condition("Ready", True, "InServingVersion")]
    if row.failed:
        conditions.append(condition("Degraded", True, "TasksFailed", failed_for_good(row)))
    return JobStatus(
        observed_generation=generation,
        conditions=dated(conditions, body, generation, serving.now),
        dag=dag,
        job_name=row.name,
        activation=cast("Literal['source', 'reactive']", row.activation),
        runtime=row.runtime,
        state=_state(serving.suspended, row, *([build] if build else [])),
        waiting=row.waiting + (build.waiting if build else 0),
        running=row.running + (build.running if build else 0),
        workers=_workers(row, *([build] if build else [])),
        completed=row.done,
        failed=row.failed + (build.failed if build else 0),
        units=Units(done=row.done, stale=row.stale),
        last_task=_last(row),
        next_run=_next_run(serving, row),
        waiting_for=words(why) or None,
        image=words(image, 512) if isinstance(image, str) else None,
    )


def job_words(dag: str, serving: DagRow, row: JobRow, build: BuildRow | None, idle: NotRunning) -> str:
    """Why its work does not go on, and what failed for good; empty when there is nothing to say."""
    reasons = (webhook_trouble(row), why_not_running(dag, serving, row, idle), _of_build(serving, build))
    return "; ".join(told for told in reasons if told) or failed_for_good(row)


def built_status(status: JobStatus, serving: DagRow | None, build: BuildRow) -> JobStatus:
    """`status` of a job that does not serve yet, with what is done to build it; `serving`: what does serve its DAG."""
    return msgspec.structs.replace(
        status,
        state=_state(False, build),
        waiting=build.waiting,
        running=build.running,
        workers=_workers(build),
        failed=build.failed,
        waiting_for=words(_of_build(serving, build)) or None,
    )


def _state(suspended: bool, *rows: JobRow | BuildRow) -> JobState:
    if suspended and any(row.waiting for row in rows):
        return "Suspended"
    if any(row.running for row in rows):
        return "Running"
    if any(row.failed or (row.waiting and row.retry_at is not None) for row in rows):
        return "Failing"
    return "Waiting" if any(row.waiting for row in rows) else "Idle"


def _workers(*rows: JobRow | BuildRow) -> int | None:
    """How many workers a job has, in whatever version; None when it has none in any."""
    found = max(row.workers for row in rows)
    return found if found or any(row.runtime == "worker" for row in rows) else None


def job_state(serving: DagRow, row: JobRow) -> JobState:
    """In one word, what a job that serves is doing."""
    return _state(serving.suspended, row)


def _of_build(serving: DagRow | None, row: BuildRow | None) -> str:
    """In words, what keeps the build of a job; empty when there is none, or it goes on."""
    if row is None:
        return ""
    if row.failed:
        last = f"last {row.failed_key}: {words(row.failure or '', 300)}"
        return f"building version {short_hash(row.yaml_hash)}: {row.failed} failed for good, {last}"
    if row.retry_at is not None and not row.running:
        after = words(row.failure or "", 300)
        return f"building version {short_hash(row.yaml_hash)}: retries at {row.retry_at:%H:%M:%S} UTC after: {after}"
    if row.waiting and serving is not None and (full := at_cap(serving.org_running, serving.cap)):
        return f"building version {short_hash(row.yaml_hash)}: {full}"
    return ""


def never_run(dag: str, row: JobRow) -> str:
    """For a source that waits for a person and was never run, in words how to; empty for all else."""
    if row.source is None or row.source.kind != "manual" or row.last_id is not None or row.done:
        return ""
    return f"no run yet: headrace run {dag}/{row.name}, or the annotation headrace.dev/run: '<a new word> {row.name}'"


def webhook_trouble(row: JobRow) -> str:
    """For a webhook source, in words why it can take no delivery; empty for all else."""
    if row.source is None or row.source.kind != "webhook" or row.trouble is None:
        return ""
    return f"its webhook takes no delivery: {words(row.trouble, 300)}"


def failed_for_good(row: JobRow) -> str:
    """In words, what of a job will not be tried again by itself; empty when nothing is."""
    if not row.failed:
        return ""
    return f"{row.failed} failed for good, last {row.failed_key}: {row.failure or 'no reason is known'}"


def is_full(row: JobRow) -> str:
    """In words, that the job runs as much as it may; empty when it may run more."""
    if row.running < int(str(row.scaling["max_concurrency"])):
        return ""
    return f"runs {row.running} at once, its scaling.maxConcurrency; {row.waiting} more wait"


def at_cap(running: int, cap: int | None) -> str:
    """In words, that an org runs as much as its namespace's settings allow; empty when it may run more."""
    return "" if cap is None or running < cap else f"the namespace runs {counted(running, 'task')}, its maxRunningTasks"


def may_be_full(report: Report) -> bool:
    """Whether a cap on what the org runs may hold work of the DAG back, now or in a moment."""
    if report.dag is None or report.dag.cap is None or report.dag.suspended or report.dag.absent:
        return False
    return any(row.waiting for row in report.jobs) or any(row.waiting for row in report.builds)


def why_not_running(dag: str, serving: DagRow, row: JobRow, idle: NotRunning) -> str:
    """In words, why the job's waiting work does not run; or why its started pods do not."""
    if row.last_pod is not None and row.last_pod in idle.pods and row.running:
        return f"pod {row.last_pod}: {idle.pods[row.last_pod]}"
    if not row.waiting:
        return never_run(dag, row)
    if serving.suspended:
        return SUSPENDED
    if row.name in idle.workers:
        return idle.workers[row.name]
    if row.retry_at is not None:
        return f"retries at {row.retry_at:%H:%M:%S} UTC after: {words(row.failure or 'no reason is known', 300)}"
    if is_full(row):
        return is_full(row)
    if row.held < row.waiting and (full := at_cap(serving.org_running, serving.cap)):
        return full
    if row.held:
        if row.unmade:
            return f"waits for {', '.join(row.unmade)}, which it reads as a whole: nothing of it is made yet"
        return f"{row.held} of {row.waiting} wait for work upstream"
    return ""


def _last(row: JobRow) -> LastTask | None:
    if row.last_id is None:
        return None
    return LastTask(
        id=str(row.last_id),
        status=row.last_status or "",
        at=whole_seconds(row.last_at),
        partition=row.last_partition,
        message=words(row.last_message, 500) if row.last_message else None,
        pod=row.last_pod if row.runtime == "pod" else None,
    )


def _next_run(serving: DagRow, row: JobRow) -> datetime | None:
    if row.source is None or row.last_tick is None or serving.absent:
        return None
    found = upcoming(row.source, row.last_tick)
    return None if found is None else found.astimezone(UTC)
