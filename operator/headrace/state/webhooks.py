"""Webhook sources in Postgres: events are stored with the tasks that they make, before anybody is answered.

The gateway stores, under the DAG's shared lock; rollouts name and catch up under the exclusive one, so that no event is
accepted meanwhile.
"""

from __future__ import annotations

from datetime import datetime
from typing import Final
from uuid import UUID

from msgspec import Struct

from headrace.compile.document import SourceDocument
from headrace.compile.history import lists
from headrace.compile.sources import event_key, listed_keys
from headrace.state import units
from headrace.state.database import Transaction
from headrace.state.locks import lock_dags_shared

_PAGE: Final = 10_000


class Webhook(Struct, frozen=True, kw_only=True):
    """A webhook source that serves; `trouble`: why it can take no delivery, as far as is known."""

    job_id: UUID
    identity: UUID
    org_id: UUID
    namespace_uid: str
    source: SourceDocument
    trouble: str | None = None


class Event(Struct, frozen=True, kw_only=True):
    """What was delivered: the sender's id of it, when it was sent, the JSON text of its body."""

    id: str
    sent: datetime
    body: str


class Stored(Struct, frozen=True, kw_only=True):
    """How an event is kept."""

    id: str
    partition: str
    received_at: datetime


class _Unnamed(Struct, frozen=True):
    identity: UUID
    format: str
    up_to: int


class _Sent(Struct, frozen=True):
    seq: int
    sent: datetime


async def find(tx: Transaction, namespace: str, dag: str, job: str) -> Webhook | None:
    """The webhook source of this name in the version that serves. Whose namespace it is, only the uid tells."""
    return await tx.row("find_webhook", Webhook, namespace=namespace, org_id=None, dag=dag, job=job)


async def store(tx: Transaction, org_id: UUID, dag: str, job: str, secret: str, event: Event) -> Stored | None:
    """Keep an event, signed with a key of `secret`, and make its task; a repeated one changes nothing.

    How it is kept, as at first. None: no such webhook serves any more, or it has another Secret by now.
    """
    await lock_dags_shared(tx, [(org_id, dag)])
    hook = await tx.row("find_webhook", Webhook, namespace=None, org_id=org_id, dag=dag, job=job)
    if hook is None or hook.source.secret != secret:
        return None
    pattern = _pattern(hook.source)
    key = event_key(pattern, event.sent)
    # One after the other, for each partition: an attempt that was given some of its events was given the first ones.
    await tx.execute("lock_events", identity=hook.identity, key=key)
    new = await tx.execute(
        "store_event", identity=hook.identity, id=event.id, sent=event.sent, key=key, body=event.body, format=pattern
    )
    if new and not pattern and lists(hook.source):
        await units.create_source_tasks(tx, hook.job_id, listed_keys(hook.source))
    elif new:
        await tx.execute("create_event_task", job_id=hook.job_id, key=key)
    return await tx.row("stored_event", Stored, identity=hook.identity, id=event.id)


async def note(tx: Transaction, hook: Webhook, trouble: str | None) -> bool:
    """Keep why a webhook can take no delivery, or that it can; False when that is known."""
    if trouble == hook.trouble:
        return False
    if trouble is None:
        return bool(await tx.execute("end_trouble", identity=hook.identity))
    return bool(await tx.execute("tell_trouble", identity=hook.identity, reason=trouble))


async def name_events(tx: Transaction, version: UUID) -> None:
    """Have every event named by the patterns of a version's webhook sources. Under the DAG's exclusive lock."""
    for source in await tx.rows("unnamed_webhooks", _Unnamed, version=version):
        up_to = source.up_to
        while found := await tx.rows("events_after", _Sent, identity=source.identity, up_to=up_to, most=_PAGE):
            keys = [event_key(source.format, event.sent) for event in found]
            await tx.execute(
                "name_events", identity=source.identity, format=source.format, seqs=[e.seq for e in found], keys=keys
            )
            up_to = found[-1].seq


async def catch_up_events(tx: Transaction, base: UUID, version: UUID, *, serves: bool) -> int:
    """Make the units of changed webhook sources that lack events: those that `base` has dealt with, or, once `version`
    serves, any; how many. Under the DAG's exclusive lock."""
    await name_events(tx, version)
    return await tx.execute("catch_up_events", base=base, version=version, serves=serves)


async def event_keys(tx: Transaction, identity: UUID, source: SourceDocument) -> frozenset[str]:
    """The partitions that a webhook's stored events have by the pattern of `source`; none for one that only lists."""
    pattern = _pattern(source)
    if not pattern and lists(source):
        return frozenset()
    keys: set[str] = set()
    up_to = 0
    while found := await tx.rows("events_after", _Sent, identity=identity, up_to=up_to, most=_PAGE):
        keys |= {event_key(pattern, event.sent) for event in found}
        up_to = found[-1].seq
    return frozenset(keys)


def _pattern(source: SourceDocument) -> str:
    return source.partition.format if source.partition is not None else ""
