"""Runs and cancellations that people ask for, in Postgres; and tasks as people look at them. `run.requests` calls it.

Changes are made under the DAG's lock, shared at least, so that no cutover comes between.
"""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from msgspec import Struct

from headrace.api.runs import Canceled, Followed, RunTask, TaskEntry
from headrace.compile.document import SourceDocument
from headrace.state.database import Transaction, jsonb
from headrace.state.locks import fence


class Runnable(Struct, frozen=True, kw_only=True):
    """A job of the version that serves, as far as a run of it asks."""

    job_id: UUID
    activation: str
    source: SourceDocument | None
    params_schema: dict[str, object] | None
    runtime: str
    suspended: bool


class Request(Struct, frozen=True, kw_only=True):
    """A request that was taken on; `answer`: None while it is being carried out."""

    kind: str
    user_name: str
    asked: str
    answer: dict[str, object] | None = None


class _Key(Struct, frozen=True):
    key: str


class _Jobs(Struct, frozen=True):
    jobs: int


class _Place(Struct, frozen=True):
    seq: int


class _There(Struct, frozen=True):
    there: bool


class _State(Struct, frozen=True):
    state: str
    tasks: int


class _Counts(Struct, frozen=True):
    waiting: int
    running: int
    failed: int


async def runnable(tx: Transaction, org_id: UUID, dag: str, job: str) -> Runnable | None:
    """The job of this name in the version that serves; None if there is none, or the DAG's object is gone."""
    return await tx.row("runnable_job", Runnable, org_id=org_id, dag=dag, job=job)


async def is_known(tx: Transaction, org_id: UUID, dag: str, job: str | None = None) -> bool:
    """Whether a DAG has any version, or any of its versions a job of this name."""
    found = await tx.row("is_known", _There, org_id=org_id, dag=dag, job=job)
    return found is not None and found.there


async def ready_keys(
    tx: Transaction, job_id: UUID, most: int, keys: Sequence[str] | None, first: str | None, last: str | None
) -> list[str]:
    """Partitions that every `same` input of a reactive job has: of `keys`, of a range in the order of bytes, or all."""
    rows = await tx.rows(
        "ready_keys", _Key, job_id=job_id, keys=None if keys is None else list(keys), first=first, last=last, most=most
    )
    return [row.key for row in rows]


async def absent_keys(tx: Transaction, job_id: UUID, keys: Sequence[str]) -> list[str]:
    """Of these partitions of a job, those that are neither there nor on their way."""
    return [row.key for row in await tx.rows("absent_keys", _Key, job_id=job_id, keys=list(keys))]


async def run_units(
    tx: Transaction,
    target: tuple[UUID, str],
    keys: Sequence[str],
    *,
    params: dict[str, object],
    digest: str,
    low: bool,
    user: str,
) -> list[RunTask]:
    """Tasks of the job `target` (row and name) for all of these partitions, made or joined."""
    job_id, job = target
    return await tx.rows(
        "run_units", RunTask, job_id=job_id, job=job, keys=list(keys), params=jsonb(params), digest=digest, low=low,
        user=user,
    )  # fmt: skip


async def count_downstream(tx: Transaction, job_id: UUID) -> int:
    """How many jobs are downstream of one."""
    found = await tx.row("count_downstream", _Jobs, job_id=job_id)
    return found.jobs if found else 0


async def run_downstream(
    tx: Transaction, target: tuple[UUID, str], keys: Sequence[str], *, low: bool, user: str
) -> list[RunTask]:
    """Tasks of everything downstream of the job for these partitions, as far as their other inputs are there."""
    job_id, job = target
    return await tx.rows("run_downstream", RunTask, job_id=job_id, job=job, keys=list(keys), low=low, user=user)


async def cancel_tasks(
    tx: Transaction,
    org_id: UUID,
    dag: str,
    reason: str,
    *,
    job: str | None = None,
    keys: Sequence[str] | None = None,
    task: UUID | None = None,
) -> Canceled:
    """Give up what waits, runs or has failed for good in the version that serves: of all, a job, partitions, a task."""
    found = await tx.row(
        "cancel_tasks", _Counts, org_id=org_id, dag=dag, reason=reason, job=job, task=task,
        keys=list(keys) if keys else None,
    )  # fmt: skip
    counts = found or _Counts(0, 0, 0)
    return Canceled(dag=dag, waiting=counts.waiting, running=counts.running, failed=counts.failed)


async def show_task(tx: Transaction, org_id: UUID, task: UUID) -> TaskEntry | None:
    """One task of the org."""
    return await tx.row("show_task", TaskEntry, org_id=org_id, task=task)


async def list_tasks(
    tx: Transaction,
    org_id: UUID,
    dag: str,
    most: int,
    *,
    job: str | None = None,
    key: str | None = None,
    states: Sequence[str] | None = None,
    before: UUID | None = None,
) -> list[TaskEntry]:
    """Tasks of a DAG, newest first; `before`: those older than this task."""
    place = None if before is None else await tx.row("place_of_task", _Place, org_id=org_id, task=before)
    if before is not None and place is None:
        return []
    return await tx.rows(
        "list_tasks", TaskEntry, org_id=org_id, dag=dag, most=most, job=job, key=key,
        states=list(states) if states else None, before=place and place.seq,
    )  # fmt: skip


async def follow(tx: Transaction, org_id: UUID, tasks: Sequence[UUID]) -> Followed:
    """How many of these tasks of the org are in each state."""
    states = await tx.rows("count_states", _State, org_id=org_id, tasks=list(tasks))
    failed = await tx.rows("failed_among", TaskEntry, org_id=org_id, tasks=list(tasks))
    return Followed(states={row.state: row.tasks for row in states}, failed=tuple(failed))


async def begin_request(tx: Transaction, org_id: UUID, request_id: str, kind: str, user: str, asked: str) -> bool:
    """Take a request on; False if one of this id was before."""
    made = await tx.execute("begin_request", org_id=org_id, request_id=request_id, kind=kind, user=user, asked=asked)
    return bool(made)


async def forget_requests(tx: Transaction, epoch: int) -> None:
    """Requests of more than a week ago are no more known."""
    old = await tx.row("old_requests", _There)
    if old is not None and old.there:
        await fence(tx, epoch)
        await tx.execute("delete_old_requests")


async def find_request(tx: Transaction, org_id: UUID, request_id: str) -> Request | None:
    """A request that was taken on."""
    return await tx.row("find_request", Request, org_id=org_id, request_id=request_id)


async def answer_request(tx: Transaction, org_id: UUID, request_id: str, answer: Struct) -> None:
    """Note what came of a request."""
    await tx.execute("answer_request", org_id=org_id, request_id=request_id, answer=jsonb(answer))
