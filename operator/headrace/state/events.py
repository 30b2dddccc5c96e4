"""What sources that run on and on report while they run. The gateway asks, on behalf of their pods.

Each event is a task of its own that is done: what it made is there, and what follows is on its way, in one transaction.
"""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from msgspec import Struct

from headrace.compile.document import ColumnDocument
from headrace.errors import PermanentError
from headrace.plan.cursors import Range
from headrace.state.attempts import Attempt, Reported, Said, ToldPartition, publish
from headrace.state.contracts import ContractBroken, check_contracts
from headrace.state.database import Busy, Transaction, jsonb
from headrace.state.lineage import MadeFrom
from headrace.state.locks import try_lock_dag_shared
from headrace.state.task_pods import NoAttempt, SeenPod


class EventRefused(PermanentError):
    """What an event says breaks a contract; the text says how."""


class Event(Struct, frozen=True, kw_only=True):
    """One event: its name, the partition it is about, how much it made of each output; the others as in a completion.

    `replaces`: filters of the rows of former parts that are no more.
    """

    id: str
    key: str
    made: tuple[ToldPartition, ...]
    columns: dict[int, tuple[ColumnDocument, ...]] = {}
    cursors: dict[int, Range] = {}
    lineage: tuple[MadeFrom, ...] = ()
    replaces: list[dict[str, object]] | None = None


class Source(Struct, frozen=True):
    """The source that a pod is an attempt of."""

    id: UUID
    attempt: int
    org_id: UUID
    dag: str


class Kept(Struct, frozen=True):
    """Where events went; `outputs`: how many its job has, `adds`: whether they have parts."""

    outputs: int
    adds: bool
    held: bool


class _Event(Struct, frozen=True):
    event: str


class _Added(Struct, frozen=True):
    id: UUID
    event: str


async def find_source(tx: Transaction, pod: SeenPod) -> Source:
    """The source that a pod is an attempt of; NoAttempt."""
    found = await tx.row("speaking_source", Source, namespace=pod.namespace, pod_uid=pod.uid)
    if found is None:
        raise NoAttempt(f"pod {pod.namespace}/{pod.name} is no always_on source that the operator made, or not yet")
    return found


async def lock_source(tx: Transaction, source: Source, pod: SeenPod) -> Kept | None:
    """No other attempt of the source begins, and its DAG is not cut over, until the transaction ends.

    None: the attempt is over. Busy while the DAG is being cut over, or about to be.
    """
    if not await try_lock_dag_shared(tx, source.org_id, source.dag):
        raise Busy(f"DAG {source.dag} is being committed or cut over")
    found = await tx.row("lock_source", Kept, id=source.id, attempt=source.attempt, pod=pod.name)
    if found is not None and found.held:
        raise Busy(f"DAG {source.dag}: a version that replaces this source is about to take its place")
    return found


async def last(tx: Transaction, source: Source) -> str:
    """The last event of a source that is locked; empty when there is none."""
    found = await tx.row("last_event", _Event, id=source.id)
    return "" if found is None else found.event


async def follows(tx: Transaction, source: Source, after: str, first: str) -> bool:
    """Whether `after` is the last event of a source that is locked; or `first`, which is to follow, is known."""
    if await last(tx, source) == after:
        return True
    return await tx.row("known_event", _Event, id=source.id, event=first) is not None


async def accept(tx: Transaction, source: Source, pod: SeenPod, kept: Kept, events: Sequence[Event]) -> int:
    """Take on these events, in their order, of a source that is locked; how many were new. EventRefused: none."""
    listed = [
        {"id": e.id, "key": e.key, "outputs": sorted({p.output for p in e.made}), "replaces": e.replaces}
        for e in events
    ]  # fmt: skip
    added = {row.event: row.id for row in await tx.rows("add_events", _Added, id=source.id, events=jsonb(listed))}
    if not added:
        return 0
    first = {e.id: e for e in reversed(events)}
    done = [
        Said(id=id_, columns=first[name].columns, cursors=first[name].cursors, lineage=first[name].lineage)
        for name, id_ in added.items()
    ]
    named = {id_: name for name, id_ in added.items()}
    made = {id_: frozenset(p.output for p in first[name].made) for id_, name in named.items()}
    try:
        await check_contracts(tx, done, made)
    except ContractBroken as error:
        id_ = next(one for one in named if one in error.breaches)
        raise EventRefused(f"event {named[id_]}: {error.breaches[id_]}") from None
    reported = [
        Reported(task=id_, output=p.output, key=p.key, rows=p.rows, bytes=p.bytes)
        for name, id_ in added.items()
        for p in first[name].made
    ]
    ids = list(added.values())
    correcting = [id_ for name, id_ in added.items() if first[name].replaces is not None]
    await publish(tx, ids, reported, done, adding=ids if kept.adds else (), correcting=correcting)
    return len(added)


async def paused(tx: Transaction) -> list[Attempt]:
    """Running attempts of sources that run on and on, of DAGs that are suspended."""
    return await tx.rows("paused_sources", Attempt)
