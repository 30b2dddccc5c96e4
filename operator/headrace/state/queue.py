"""The queue in Postgres: what waits for its turn is claimed in its order, as far as jobs have room."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Protocol
from uuid import UUID

from msgspec import Struct

from headrace import metrics
from headrace.state import updates
from headrace.state.attempts import lock_for_completion, publish
from headrace.state.database import Transaction
from headrace.state.locks import fence


class _Id(Struct, frozen=True):
    id: UUID


class Picked(Struct, frozen=True):
    """A task that may start, its row locked; `turn`: the job's identity where live and low work take turns; `told`: it
    is given the events of a webhook; `made`: what it was to make is there, made from the same inputs; `merges`: waiting
    updates of its job become part of it."""

    id: UUID
    job: UUID
    org_id: UUID
    dag: str
    low: bool = False
    turn: UUID | None = None
    told: bool = False
    made: bool = False
    merges: bool = False


class Holder(Protocol):
    """A worker, by its pod."""

    @property
    def pod_uid(self) -> str: ...
    @property
    def pod_name(self) -> str: ...


class Started(Struct, frozen=True):
    """An attempt that has begun; `inputs` and `outputs` as JSON, as they were resolved. `waited`: for how many seconds,
    if it is the first.
    """

    id: UUID
    attempt: int
    token: UUID
    partitions: list[str]
    inputs: str
    outputs: str
    params: dict[str, object]
    waited: float | None = None


class Left(Struct, frozen=True, kw_only=True):
    """Whether any task waits, is due again, or runs; any rollout is under way; any DAG is to look for work;
    any job has a worker, or keeps one; any news is to be sent.
    """

    waiting: bool
    running: bool
    due: bool = False
    workers: bool = False
    rollouts: bool = False
    looks: bool = False
    notices: bool = False


async def left(tx: Transaction) -> Left:
    """The one question of an idle operator."""
    found = await tx.row("work_left", Left)
    return found or Left(waiting=False, running=False)


async def requeue_due(tx: Transaction, epoch: int) -> int:
    """Put what is due to be tried again back into the queue; how many tasks."""
    await fence(tx, epoch)
    return await tx.execute("requeue_due")


async def claim(tx: Transaction, epoch: int, orgs: Sequence[UUID], most: int) -> list[tuple[UUID, str]]:
    """Start attempts of at most `most` pod tasks of these orgs; the DAG (org, name) of each. Idle: no write."""
    jobs = await tx.rows("lock_claimable", _Id, runtime="pod", orgs=list(orgs))
    if not jobs:
        return []
    picked = await pick(tx, [job.id for job in jobs], most)
    if picked:
        await fence(tx, epoch)
        tell_waited(tx, await start(tx, picked, epoch))
    return [(p.org_id, p.dag) for p in picked]


def tell_waited(tx: Transaction, started: Sequence[Started]) -> None:
    """Have it measured how long these waited, once they have begun for good."""
    tx.after(partial(metrics.tell_waited, [one.waited for one in started if one.waited is not None]))


async def dispatch(tx: Transaction, epoch: int, most: int) -> list[tuple[UUID, str]]:
    """Run at most `most` tasks of the operator's own (triggers), there at once; the DAG (org, name) of each."""
    waiting = [row.id for row in await tx.rows("waiting_dispatched", _Id, most=most)]
    if not waiting:
        return []
    await lock_for_completion(tx, waiting)  # before the rows: a cutover takes the DAG's lock first, too
    picked = await tx.rows("pick_dispatched", Picked, among=waiting)
    if picked:
        await fence(tx, epoch)
        await start(tx, picked, epoch)
        ids = [p.id for p in picked]
        await tx.execute("finish_dispatched", ids=ids)
        await publish(tx, ids, ())
    return [(p.org_id, p.dag) for p in picked]


async def pick(
    tx: Transaction, jobs: Sequence[UUID], most: int, worker: str | None = None, batch: int | None = None
) -> list[Picked]:
    """What may start of these jobs, whose claim locks are held; for a `worker`, which holds at most `batch`.

    What is made already ends here, and others come in its place.
    """
    while True:
        picked = await tx.rows("pick_tasks", Picked, jobs=list(jobs), most=most, worker=worker, batch=batch)
        made = [task.id for task in picked if task.made]
        if not made:
            return picked
        await tx.execute("settle_made", ids=made)
        if len(made) < len(picked):
            return [task for task in picked if not task.made]


async def start(
    tx: Transaction, picked: Sequence[Picked], epoch: int | None, worker: Holder | None = None
) -> list[Started]:
    """An attempt of each begins: in a pod of its own, or held by `worker`; `epoch` None: the present one.

    None of them does when the worker's pod is over; nor does what has become part of another one.
    """
    merged = await updates.merge(tx, [(p.id, p.job) for p in picked if p.merges])
    picked = [p for p in picked if p.id not in merged]
    turns = [p for p in picked if p.turn is not None]
    if turns:
        await tx.execute("take_turns", identities=[p.turn for p in turns], low=[p.low for p in turns])
    started = await tx.rows(
        "start_tasks",
        Started,
        ids=[p.id for p in picked],
        jobs=list({p.job for p in picked}),
        epoch=epoch,
        worker=worker and worker.pod_name,
        pod_uid=worker and worker.pod_uid,
    )
    told = [p.id for p in picked if p.told]
    if told:
        await tx.execute("record_events", ids=told)
    return started


class _Identity(Struct, frozen=True):
    identity: UUID


async def waiting_among(tx: Transaction, identities: Sequence[UUID]) -> list[UUID]:
    """Of these jobs, by identity, those that have waiting work."""
    return [row.identity for row in await tx.rows("waiting_among", _Identity, identities=list(identities))]


async def tell_touched(tx: Transaction, dags: Sequence[str]) -> None:
    """Tell the operator that workers have done something of these DAGs, `NAMESPACE/NAME`."""
    await tx.execute("tell_touched", dags=list(dags))
