"""Attempts of tasks in Postgres: what runs, and how it ends; a completion in one transaction with all that follows.

The fence is the lease token of each attempt, checked by every call about it.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from functools import partial
from typing import Final
from uuid import UUID

import msgspec
from msgspec import Struct

from headrace import metrics
from headrace.compile.document import ColumnDocument
from headrace.plan.contracts import schema_hash
from headrace.plan.cursors import Range
from headrace.state import updates
from headrace.state.contracts import check_contracts, keep_schemas
from headrace.state.database import Busy, Transaction, jsonb
from headrace.state.lineage import MadeFrom, report_lineage
from headrace.state.locks import fence, lock_dags_shared, try_lock_dag_shared
from headrace.state.notes import not_made
from headrace.state.updates import Brought

MOST_EVENT_BYTES: Final = 128 * 1024
"""What a task may be given of events: a pod's annotations, which carry its task, hold 256 KiB."""


class _Id(Struct, frozen=True):
    id: UUID


class _Place(Struct, frozen=True):
    org_id: UUID
    dag: str


class _Ended(_Id, frozen=True):
    outcome: str


class _Accepted(Struct, frozen=True):
    id: UUID
    makes: bool
    adds: bool
    reads: bool
    corrects: bool
    answers: bool
    partitions: list[str]
    outputs: int
    ran: float


class _Published(Struct, frozen=True):
    counted: bool


class Attempt(Struct, frozen=True, kw_only=True):
    """One attempt of a task, named by what fences it: its lease token, and the pod that it is."""

    id: UUID
    attempt: int
    token: UUID
    namespace: str
    pod: str


class Completion(Attempt, frozen=True, kw_only=True):
    """An attempt that ended well; `note`: what the user should know of it, if anything.

    By output: `columns` that it reported, `cursors`: the range of rows. `lineage`: what columns are made from.
    """

    note: str | None = None
    columns: dict[int, tuple[ColumnDocument, ...]] = {}
    cursors: dict[int, Range] = {}
    lineage: tuple[MadeFrom, ...] = ()


class Said(Struct, frozen=True, kw_only=True):
    """The same of a task that is no attempt."""

    id: UUID
    columns: dict[int, tuple[ColumnDocument, ...]] = {}
    cursors: dict[int, Range] = {}
    lineage: tuple[MadeFrom, ...] = ()


class Failure(Attempt, frozen=True, kw_only=True):
    """An attempt that ended without a result.

    `lost`: by its infrastructure, not by its own doing. `postponed`: it never began, and costs nothing.
    """

    reason: str
    lost: bool
    postponed: bool = False


class Reported(Struct, frozen=True, kw_only=True):
    """What a task said of one partition of one output; counts are None where it said nothing."""

    task: UUID
    output: int
    key: str
    rows: int | None = None
    bytes: int | None = None


class TaskEvent(Struct, frozen=True):
    """An event of a webhook as a task is given it; `body` is JSON text."""

    id: str
    timestamp: datetime
    body: str


class ToldPartition(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How much an attempt's pod said at the gateway that it made of a partition."""

    output: int
    key: str
    rows: int | None = None
    bytes: int | None = None


class Told(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What an attempt's pod reported at the gateway, as far as it counts; the others as in a completion."""

    partitions: tuple[ToldPartition, ...] = ()
    columns: dict[int, tuple[ColumnDocument, ...]] = {}
    cursors: dict[int, Range] = {}
    lineage: tuple[MadeFrom, ...] = ()
    note: str = ""


class _ToldBy(Struct, frozen=True):
    id: UUID
    reported: Told | None


class Last(Struct, frozen=True, kw_only=True):
    """Where a source that runs on and on has come to: its last event, if any, and the ends of its outputs' cursors."""

    task: UUID
    event: str | None
    partition: str | None
    cursors: list[dict[str, object]]


class RunningPod(Struct, frozen=True, kw_only=True):
    """A Running task with all that its pod is made from; `inputs` and `outputs` as they were resolved at claim.

    `epoch` is that of the operator which claimed it. `told`: it is given the events of a webhook; `event_bytes` of all
    of them, `events` themselves only if these are not more than MOST_EVENT_BYTES. `runs_on`: it has no end, and is told
    where it has come to, `last`.
    """

    id: UUID
    attempt: int
    token: UUID
    pod_name: str
    partitions: list[str]
    inputs: dict[str, dict[str, object]]
    outputs: list[dict[str, object]]
    org_id: UUID
    org: str
    dag: str
    job: str
    operator: str
    config: dict[str, object]
    params: dict[str, object] = {}
    pod: dict[str, object]
    timeout_seconds: int
    dag_uid: str
    epoch: int
    told: bool = False
    event_bytes: int = 0
    events: tuple[TaskEvent, ...] = ()
    runs_on: bool = False
    last: Last | None = None

    @property
    def as_attempt(self) -> Attempt:
        """What fences it."""
        return Attempt(id=self.id, attempt=self.attempt, token=self.token, namespace=self.org, pod=self.pod_name)


class PodName(Struct, frozen=True):
    """A pod that should be there."""

    name: str
    namespace: str


class _Events(Struct, frozen=True):
    task: UUID
    bytes: int
    ids: list[str]
    sent: list[datetime]
    bodies: list[str]


class Expired(Attempt, frozen=True, kw_only=True):
    """A Running attempt whose lease has run out; or that is `late`: well beyond its timeout."""

    late: bool


async def running_names(tx: Transaction) -> list[PodName]:
    """The pods that should be there: one for each Running task that has one, oldest first."""
    return await tx.rows("running_names", PodName)


async def running_pods(tx: Transaction, names: Sequence[str]) -> list[RunningPod]:
    """Of the Running tasks, those with these pods' names, with all that their pods are made from."""
    found = await tx.rows("running_pods", RunningPod, names=list(names))
    endless = [task.id for task in found if task.runs_on]
    if endless:
        last = {row.task: row for row in await tx.rows("last_events", Last, ids=endless)}
        found = [msgspec.structs.replace(task, last=last.get(task.id)) for task in found]
    told = [task.id for task in found if task.told]
    if not told:
        return found
    rows = {row.task: row for row in await tx.rows("events_of_tasks", _Events, ids=told, most=MOST_EVENT_BYTES)}
    return [_given(task, rows[task.id]) if task.id in rows else task for task in found]


def _given(task: RunningPod, found: _Events) -> RunningPod:
    given = zip(found.ids, found.sent, found.bodies, strict=True)
    return msgspec.structs.replace(
        task, event_bytes=found.bytes, events=tuple(TaskEvent(id_, at, body) for id_, at, body in given)
    )


async def complete(tx: Transaction, epoch: int, done: Sequence[Completion], reported: Sequence[Reported]) -> set[UUID]:
    """Accept these completions, publish their outputs, make what follows. The ids accepted; the others were stale.

    ContractBroken: none is accepted, since some have made what their contracts do not allow.
    """
    await lock_for_completion(tx, [d.id for d in done])
    await fence(tx, epoch)
    done, reported = await _as_told(tx, done, reported)
    return await _accept(tx, done, reported)


async def complete_of(
    tx: Transaction, org_id: UUID, dag: str, done: Sequence[Completion], reported: Sequence[Reported]
) -> set[UUID]:
    """The same of what a worker of a DAG says itself, fenced by its tokens. Busy at once while the DAG is cut over;
    ContractBroken as above."""
    if not await try_lock_dag_shared(tx, org_id, dag):
        raise Busy(f"DAG {dag} is being committed or cut over")
    return await _accept(tx, done, reported)


async def _accept(tx: Transaction, done: Sequence[Completion], reported: Sequence[Reported]) -> set[UUID]:
    await check_contracts(tx, done)
    fenced = [
        {"id": d.id, "attempt": d.attempt, "token": d.token, "namespace": d.namespace, "pod": d.pod, "note": d.note}
        for d in done
    ]
    accepted = await tx.rows("accept_completions", _Accepted, done=jsonb(fenced))
    if accepted and (notes := _notes(accepted, done, reported)):
        await tx.execute("add_notes", notes=jsonb(notes))
    makers, readers = [row.id for row in accepted if row.makes], [row.id for row in accepted if row.reads]
    if makers:
        await publish(
            tx, makers, reported, done, adding=[row.id for row in accepted if row.adds], reading=readers,
            correcting=[row.id for row in accepted if row.corrects],
        )  # fmt: skip
    elif readers:
        await tx.execute("lock_counters", ids=readers)
    if readers:
        await updates.settle(tx, readers)
    answers = [row.id for row in accepted if row.answers]
    if answers:
        await tx.execute("settle_invalidations", tasks=answers, org_ids=None, dags=None)
    tx.after(partial(metrics.tell_attempts, ["completed"] * len(accepted), [row.ran for row in accepted]))
    return {row.id for row in accepted}


def _notes(
    accepted: Sequence[_Accepted], done: Sequence[Completion], reported: Sequence[Reported]
) -> list[dict[str, object]]:
    """Of the tasks that are done, what they said of partitions and outputs that are not theirs."""
    named: dict[UUID, list[tuple[int, str]]] = {}
    for made in reported:
        named.setdefault(made.task, []).append((made.output, made.key))
    columns = {d.id: d.columns.keys() for d in done if d.columns}
    found = (
        (row.id, not_made(named.get(row.id, ()), columns.get(row.id, ()), row.partitions, row.outputs))
        for row in accepted if row.id in named or row.id in columns
    )  # fmt: skip
    return [{"id": id_, "note": note} for id_, note in found if note]


async def fail(tx: Transaction, epoch: int | None, failed: Sequence[Failure], backoff_seconds: float) -> set[UUID]:
    """End these attempts as failures; the ids that were still theirs to end."""
    if epoch is not None:
        await fence(tx, epoch)
    # A reason ends with what a container wrote, and Postgres keeps no NUL.
    told = [msgspec.structs.replace(f, reason=f.reason.replace("\0", "")) for f in failed]
    rows = await tx.rows("fail_attempts", _Ended, failed=jsonb(told), backoff=backoff_seconds)
    tx.after(partial(metrics.tell_attempts, [row.outcome for row in rows]))
    return {row.id for row in rows}


async def renew(tx: Transaction, epoch: int, alive: Sequence[PodName]) -> int:
    """Renew the leases of attempts whose pods live; the number renewed."""
    await fence(tx, epoch)
    return await tx.execute("renew_leases", namespaces=[p.namespace for p in alive], pods=[p.name for p in alive])


async def expired(tx: Transaction, *, workers: bool = False) -> list[Expired]:
    """Running attempts whose lease has run out, or whose timeout has long passed: of pods, or of `workers`."""
    return await tx.rows("expired_leases", Expired, workers=workers)


async def lock_for_completion(tx: Transaction, ids: Sequence[UUID]) -> None:
    """No cutover of the DAGs of these tasks until the transaction ends."""
    places = await tx.rows("locate_tasks", _Place, ids=list(ids))
    await lock_dags_shared(tx, [(p.org_id, p.dag) for p in places])


async def _as_told(
    tx: Transaction, done: Sequence[Completion], reported: Sequence[Reported]
) -> tuple[Sequence[Completion], Sequence[Reported]]:
    """What pods told the gateway counts in place of their termination messages. No more is told until the end of tx."""
    named = jsonb([{"id": d.id, "attempt": d.attempt} for d in done])
    told = {t.id: t.reported for t in await tx.rows("told_by_pods", _ToldBy, done=named) if t.reported is not None}
    if not told:
        return done, reported
    ended = [
        msgspec.structs.replace(
            d, note=(said := told[d.id]).note or None, columns=said.columns, cursors=said.cursors, lineage=said.lineage
        ) if d.id in told else d
        for d in done
    ]  # fmt: skip
    made = [r for r in reported if r.task not in told]
    made += [
        Reported(task=id_, output=p.output, key=p.key, rows=p.rows, bytes=p.bytes)
        for id_, said in told.items()
        for p in said.partitions
    ]
    return ended, made


async def publish(
    tx: Transaction,
    ids: Sequence[UUID],
    reported: Sequence[Reported],
    done: Sequence[Completion | Said] = (),
    adding: Sequence[UUID] = (),
    reading: Sequence[UUID] = (),
    correcting: Sequence[UUID] = (),
) -> None:
    """What these tasks have made is there, and what follows from it is on its way.

    `adding`: those that add parts; `correcting`: those that replace rows by it; `reading`: those that read update by
    update.

    For each key one completion at a time. Their rows are locked before: nobody who has the lock of a key waits for rows
    of tasks that run.
    """
    schemas = [{"task": d.id, "output": o, "hash": schema_hash(c)} for d in done for o, c in d.columns.items()]
    brought = [
        Brought(task=d.id, output=o, column=r.column, type=r.type, from_value=r.from_value, to_value=r.to_value)
        for d in done
        for o, r in d.cursors.items()
    ]
    await tx.execute("lock_keys", ids=list(ids))
    if reading:
        await tx.execute("lock_counters", ids=[*ids, *reading])
    published = await tx.row(
        "publish_outputs", _Published, ids=list(ids), reported=jsonb(list(reported)), schemas=jsonb(schemas)
    )
    if adding:
        await tx.execute("add_parts", ids=list(adding), reported=jsonb(list(reported)), cursors=jsonb(brought))
        await tx.execute("sum_parts", ids=list(adding), reported=jsonb(list(reported)))
    if correcting:
        await tx.execute("pass_on", ids=list(correcting))
    counted = brought or (published is not None and published.counted)
    if counted:
        await updates.record(tx, ids, brought)
    if schemas:
        await tx.execute("tell_schemas", ids=list(ids), schemas=jsonb(schemas))
        await keep_schemas(tx, (columns for d in done for columns in d.columns.values()))
    if any(d.lineage for d in done):
        await report_lineage(tx, [(d.id, d.lineage) for d in done if d.lineage])
    await tx.execute("create_downstream", ids=list(ids))
    if counted:
        await updates.tell_readers(tx, ids)
    await tx.execute("tell_consumers", ids=list(ids))
