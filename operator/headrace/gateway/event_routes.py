"""The route of sources that run on and on: what they made, while they run. `serve` adds it.

Who asks is the pod of the source's attempt, whose token it is.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Annotated, Final

import msgspec
from msgspec import Meta, Struct

from headrace.api.base import Column, Output, PartitionKey
from headrace.api.invalidations import Bound
from headrace.gateway.errors import RequestError, forbidden
from headrace.gateway.identity import PodIdentity
from headrace.gateway.restores import Restores
from headrace.gateway.routes import MIB, WORKERS, Call, Route, pod_of
from headrace.gateway.wake import Waker
from headrace.run.reports import Count, ReportedColumn, columns_of, cursors, lineage_of
from headrace.state import events
from headrace.state.attempts import ToldPartition
from headrace.state.database import Database
from headrace.state.events import Event, Kept
from headrace.state.leader import standing
from headrace.state.task_pods import NoAttempt, SeenPod

MOST: Final = 100
EventName = Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._:=-]{0,127}\Z")]


class MadeOutput(Struct, frozen=True, forbid_unknown_fields=True):
    """How much an event made of an output."""

    output: Output = 0
    rows: Count | None = None
    bytes: Count | None = None


class SourceEvent(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What a source has made at one time, below its outputs' locations, in `<location>/<id>`.

    `id`: another one for each event; whoever repeats one changes nothing. `cursor`, `lineage`: as in a report.
    `replaces`: filters of rows; those of former parts that one of them matches are no more.
    """

    id: EventName
    partition: PartitionKey = "*"
    outputs: Annotated[tuple[MadeOutput, ...], Meta(min_length=1, max_length=16)] = (MadeOutput(),)
    columns: Annotated[tuple[ReportedColumn, ...], Meta(max_length=10_000)] = ()
    cursor: msgspec.Raw = msgspec.field(default_factory=msgspec.Raw)
    lineage: msgspec.Raw = msgspec.field(default_factory=msgspec.Raw)
    replaces: (
        Annotated[
            tuple[Annotated[dict[Column, Bound], Meta(min_length=1, max_length=16)], ...],
            Meta(min_length=1, max_length=16),
        ]
        | None
    ) = None


class EventsRequest(Struct, frozen=True, forbid_unknown_fields=True):
    """Events, in their order: all of them count, or none.

    `after`: the event before the first, as far as the source knows. Where another one is the last that is known, as in
    a Postgres that was restored, none of these count, and the source is to begin anew.
    """

    events: Annotated[list[SourceEvent], Meta(min_length=1, max_length=MOST)]
    after: EventName | None = None


class EventsAnswer(Struct, frozen=True):
    """How many of the events were new; the others were told before. `last`: the last event that is known by now."""

    accepted: int
    last: str


class Events:
    """What sources report, over Postgres."""

    def __init__(self, db: Database, waker: Waker, restores: Restores | None = None) -> None:
        self._db = db
        self._waker = waker
        self._restores = restores or Restores()

    async def accept(self, pod: PodIdentity, told: Sequence[SourceEvent], after: str | None = None) -> EventsAnswer:
        """Take them on; RequestError when the attempt is over, or what they say makes no sense there.

        TemporaryError while Postgres is an earlier one than was seen before.
        """
        seen, before = SeenPod(pod.namespace, pod.name, pod.uid), self._restores.seen
        try:
            async with self._db.transaction() as tx:
                self._restores.check(await standing(tx), before)
                source = await events.find_source(tx, seen)
                kept = await events.lock_source(tx, source, seen)
                if kept is None:
                    raise RequestError(409, "Stale", "this attempt is over: what it reports counts for nothing")
                if after is not None and not await events.follows(tx, source, after, told[0].id):
                    raise RequestError(409, "Stale", f"{after} is not the last event that is known: begin anew")
                new = await events.accept(tx, source, seen, kept, [_event(one, kept) for one in told])
                last = await events.last(tx, source)
        except NoAttempt as error:
            raise forbidden(str(error)) from None
        self._waker.touch(pod.namespace, source.dag)
        return EventsAnswer(new, last)


def _event(told: SourceEvent, kept: Kept) -> Event:
    """The event as it is kept; RequestError for what its job has not."""
    made = {one.output: one for one in told.outputs}
    beyond = sorted(output for output in made if output >= kept.outputs)
    if beyond:
        raise _wrong(told, f"its job has {kept.outputs} outputs, counted from 0, and none {beyond[0]}")
    if told.replaces is not None and not kept.adds:
        raise _wrong(told, "replaces is about parts: the job needs updateStrategy: append")
    if any(bound == Bound() for rows in told.replaces or () for bound in rows.values()):
        raise _wrong(told, "a filter says nothing of its column: give gte, gt, lte, lt, eq or in")
    ranges, wrong = cursors(told.cursor)
    if wrong:
        raise _wrong(told, wrong)
    lineage, wrong = lineage_of(told.lineage)
    if wrong:
        raise _wrong(told, wrong)
    columns = columns_of(told.columns)
    stray = sorted((ranges.keys() | columns.keys() | {one.output for one in lineage}) - made.keys())
    if stray:
        raise _wrong(told, f"it tells of output {stray[0]}, which it did not make")
    filters = None if told.replaces is None else msgspec.to_builtins(list(told.replaces))
    return Event(
        id=told.id,
        key=told.partition,
        made=tuple(
            ToldPartition(output=one.output, key=told.partition, rows=one.rows, bytes=one.bytes)
            for one in made.values()
        ),
        columns=columns,
        lineage=lineage,
        cursors=ranges,
        replaces=filters,
    )  # fmt: skip


def _wrong(told: SourceEvent, why: str) -> RequestError:
    return RequestError(422, "Invalid", f"event {told.id}: {why}")


Accept = Callable[[PodIdentity, Sequence[SourceEvent], str | None], Awaitable[EventsAnswer]]


def event_routes(accept: Accept) -> tuple[Route, ...]:
    """The route of events."""

    async def report_events(call: Call) -> object:
        return await accept(pod_of(call), call.body.events, call.body.after)

    return (
        Route(
            name="events",
            method="POST",
            path=f"{WORKERS}events",
            summary="What an always_on source has made: it is there at once, and what follows from it is on its way.",
            right=None,
            body=EventsRequest,
            answer=EventsAnswer,
            act=report_events,
            limit=4 * MIB,
            seconds=30.0,
            at_once=16,
        ),
    )
