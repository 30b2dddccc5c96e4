"""Worker pods in Postgres: who they are, what they claim and hold. The gateway and `run.workers` call it.

A worker is a pod that the operator recorded. It claims under its job's claim lock like the operator itself, and what it
says of an attempt is fenced by the attempt's lease token.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from msgspec import Struct

from headrace.errors import PermanentError
from headrace.plan.standing import Standing
from headrace.state.attempts import Attempt
from headrace.state.database import Transaction, jsonb
from headrace.state.locks import fence
from headrace.state.queue import Started, pick, start, tell_waited


class NoWorker(PermanentError):
    """A pod that the operator did not make as a worker, or not of this namespace."""


class WorkerJob(Struct, frozen=True, kw_only=True):
    """A job that workers work on: what it has to do, who does it, and all that another worker's pod is made from.

    `waiting`: at most `most` are counted. `fruitless`: how many pods in a row, within the hour, ended without having
    claimed anything.
    """

    job_id: UUID
    identity: UUID
    org_id: UUID
    org: str
    dag: str
    job: str
    operator: str
    pod: dict[str, object]
    idle_timeout: str
    heartbeat_timeout_seconds: int
    most: int
    batch: int
    dag_uid: str
    suspended: bool
    waiting: int
    running: int
    workers: int
    fruitless: int
    last_fruitless: datetime | None


class WorkerPod(Struct, frozen=True, kw_only=True):
    """A worker whose pod is not known to be over; `seen`: it has claimed, `retired`: it gets nothing more.

    `stuck`: it should have ended, and holds nothing. `unneeded`: it has never claimed, and need not.
    """

    pod_uid: str
    name: str
    namespace: str
    dag: str
    created_at: datetime
    heartbeat_timeout_seconds: int
    seen: bool
    retired: bool
    stuck: bool
    unneeded: bool


class Worker(Struct, frozen=True, kw_only=True):
    """A worker that has proven who it is; `job_id`: the job's row now, None when its form is not worked on any more.

    `incarnation`, `epoch` and `mark` say where Postgres stands.
    """

    incarnation: UUID
    epoch: int
    mark: int
    pod_uid: str
    pod_name: str
    org_id: UUID
    org: str
    identity: UUID
    dag: str
    job: str
    batch: int
    retired: bool
    seen: bool
    job_id: UUID | None

    @property
    def standing(self) -> Standing:
        """Where Postgres stands."""
        return Standing(incarnation=self.incarnation, epoch=self.epoch, mark=self.mark)


class Claimable(Struct, frozen=True, kw_only=True):
    """A job whose claim lock is held, with what all its tasks are told; `config` as JSON."""

    id: UUID
    org: str
    dag: str
    job: str
    operator: str
    config: str
    timeout_seconds: int


class Claimed(Struct, frozen=True, kw_only=True):
    """What a claim gave, of `job`; `retire`: the worker is to finish what it holds and to end."""

    job: Claimable | None = None
    tasks: tuple[Started, ...] = ()
    retire: bool = False


class Held(Struct, frozen=True, kw_only=True):
    """An attempt as its worker names it."""

    id: UUID
    attempt: int
    token: UUID


class _Claimable(Struct, frozen=True):
    job_id: UUID
    tasks: int


class _Stale(Struct, frozen=True):
    absent: bool
    old: bool


class _Id(Struct, frozen=True):
    id: UUID


class _Kept(Struct, frozen=True):
    pod_uid: str


class _Ended(Struct, frozen=True):
    id: UUID
    status: str


class _Buried(Attempt, frozen=True, kw_only=True):
    pod_uid: str


async def record(tx: Transaction, epoch: int, job_id: UUID, pod_uid: str, pod_name: str) -> None:
    """This pod is a worker of the job: from now on it may claim."""
    await fence(tx, epoch)
    await tx.execute("record_worker", pod_uid=pod_uid, pod_name=pod_name, job_id=job_id, epoch=epoch)


async def jobs(tx: Transaction, orgs: Sequence[UUID]) -> list[WorkerJob]:
    """The jobs of these orgs that may need workers."""
    return await tx.rows("worker_jobs", WorkerJob, orgs=list(orgs))


async def claimable(tx: Transaction, jobs: Sequence[UUID]) -> dict[UUID, int]:
    """Of these jobs those that have waiting tasks which a worker could begin now, with how many."""
    return {row.job_id: row.tasks for row in await tx.rows("claimable_work", _Claimable, jobs=list(jobs))}


async def forget(tx: Transaction, epoch: int) -> None:
    """Workers of DAGs that are long gone are over; those that have been over for a day are no more known."""
    stale = await tx.row("stale_workers", _Stale)
    if stale is None or not (stale.absent or stale.old):
        return
    await fence(tx, epoch)
    await tx.execute("end_absent_workers")
    await tx.execute("delete_old_workers")


async def here(tx: Transaction) -> list[WorkerPod]:
    """The workers that are not known to be over."""
    return await tx.rows("workers_here", WorkerPod)


async def find(tx: Transaction, namespace: str, pod_uid: str, pod_name: str) -> Worker:
    """Who a pod is. NoWorker when the operator did not record it."""
    found = await tx.row("find_worker", Worker, namespace=namespace, pod_uid=pod_uid, pod_name=pod_name)
    if found is None:
        raise NoWorker(f"pod {namespace}/{pod_name} is no worker that the operator made, or not yet")
    return found


async def claim(tx: Transaction, worker: Worker, most: int) -> Claimed:
    """Start attempts of at most `most` tasks of its job, as far as job, org and `batch` have room."""
    if worker.retired or worker.job_id is None:
        await tx.execute("retire_worker", pod_uid=worker.pod_uid)
        return Claimed(retire=True)
    job = await tx.row("lock_worker_job", Claimable, job=worker.job_id)
    # After the claim lock: two calls of one worker that take both take them in one order.
    if not worker.seen and not await tx.execute("see_worker", pod_uid=worker.pod_uid):
        return Claimed(retire=True)
    picked = await pick(tx, [job.id], most, worker.pod_name, worker.batch) if job else []
    if not picked:
        return Claimed()
    started = await start(tx, picked, None, worker)
    tell_waited(tx, started)
    return Claimed(job=job, tasks=tuple(started), retire=not started)


async def recall(tx: Transaction, worker: Worker, held: Sequence[Held]) -> Claimed:
    """What a worker holds beside `held`: it was claimed, and the answer was lost on its way."""
    job = await tx.row("job_of_worker", Claimable, pod_uid=worker.pod_uid)
    rest = await tx.rows(
        "held_besides", Started, identity=worker.identity, pod_name=worker.pod_name, held=jsonb(list(held))
    )
    return Claimed(job=job, tasks=tuple(rest))


async def leave(tx: Transaction, worker: Worker) -> bool:
    """The worker has nothing to do and wants to end; False when it is to stay: there is work by now, or its job keeps a
    worker, and no other is there."""
    if worker.job_id is not None and not worker.retired:
        job = await tx.row("lock_worker_job", Claimable, job=worker.job_id)
        if job and await pick(tx, [job.id], 1):
            return False
        if await tx.row("kept_worker", _Kept, pod_uid=worker.pod_uid):
            return False
    await tx.execute("retire_worker", pod_uid=worker.pod_uid)
    return True


async def renew(tx: Transaction, worker: Worker, held: Sequence[Held]) -> set[UUID]:
    """Renew the leases of what a worker holds; the ids of what is still its own."""
    rows = await tx.rows("renew_held", _Id, held=jsonb(list(held)), pod_name=worker.pod_name, org_id=worker.org_id)
    return {row.id for row in rows}


async def release(tx: Transaction, worker: Worker, held: Sequence[Held]) -> set[UUID]:
    """Attempts that never began wait in the queue again, in their old place and at no cost; the ids of them."""
    rows = await tx.rows("release_held", _Id, held=jsonb(list(held)), pod_name=worker.pod_name, org_id=worker.org_id)
    return {row.id for row in rows}


async def ended_before(tx: Transaction, worker: Worker, attempts: Sequence[Held]) -> dict[UUID, str]:
    """How those of these attempts that ended already ended: the task's state."""
    rows = await tx.rows(
        "answered_before", _Ended, attempts=jsonb(list(attempts)), pod_name=worker.pod_name, org_id=worker.org_id
    )
    return {row.id: row.status for row in rows}


async def retire(tx: Transaction, epoch: int, pods: Sequence[Attempt]) -> int:
    """The workers of these attempts have not renewed them: they get no more, and do not count; how many are new."""
    await fence(tx, epoch)
    names = {(attempt.namespace, attempt.pod) for attempt in pods}
    return await tx.execute("retire_workers", namespaces=[n for n, _ in names], pods=[p for _, p in names])


async def retire_silent(tx: Transaction, epoch: int, pods: Sequence[str]) -> int:
    """These workers, by uid, run and have never claimed: they get nothing; how many are new."""
    await fence(tx, epoch)
    return await tx.execute("retire_silent", uids=list(pods))


async def forget_unneeded(tx: Transaction, epoch: int, pods: Sequence[str]) -> int:
    """These workers, by uid, have never claimed and need not: they are known no more; how many."""
    await fence(tx, epoch)
    return await tx.execute("forget_unneeded", uids=list(pods))


async def retire_idle(tx: Transaction, epoch: int, job: UUID) -> bool:
    """A worker of the job that has claimed before and has room gets nothing more; False when there is none."""
    await fence(tx, epoch)
    return bool(await tx.execute("retire_idle", job=job))


async def bury(tx: Transaction, epoch: int, over: Sequence[str]) -> list[tuple[str, Attempt]]:
    """These pods are over, by uid; with the uid of each, the attempts that it still held."""
    await fence(tx, epoch)
    rows = await tx.rows("bury_workers", _Buried, over=jsonb([{"pod_uid": uid} for uid in over]))
    return [
        (row.pod_uid, Attempt(id=row.id, attempt=row.attempt, token=row.token, namespace=row.namespace, pod=row.pod))
        for row in rows
    ]
