"""Which partitions a cron source's instants make. Pure: times come in; `run.sources` carries it out, the
status tells the next one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import islice
from zoneinfo import ZoneInfo

from headrace.compile.document import CronDocument, SourceDocument
from headrace.compile.schedule import MAX_CATCH_UP, instants, instants_back, next_instant, shift


@dataclass(frozen=True)
class Ticks:
    """What is due: the partition keys to make, in order, and the instant up to which everything is decided."""

    keys: tuple[str, ...]
    until: datetime


def first_tick(cron: CronDocument, now: datetime) -> datetime:
    """After which time a source that is registered now ticks: its start if that has passed, else now."""
    if cron.start is None:
        return now
    start = datetime.fromisoformat(cron.start) - timedelta(microseconds=1)
    return min(start, now)


def due(source: SourceDocument, last_tick: datetime, now: datetime, grace: timedelta) -> Ticks | None:
    """The instants in (last_tick, now], by the source's `catch_up`; None when there are none.

    An instant is missed when it is older than `grace`: `none` skips what was missed, `latest` makes the last of it up,
    `all` makes up everything. What is not missed always runs.
    """
    cron = source.cron
    if cron is None:
        return None
    now = now.astimezone(UTC)
    after, until = last_tick, now
    if cron.start is not None:
        after = max(after, datetime.fromisoformat(cron.start) - timedelta(microseconds=1))
    if cron.end is not None:
        until = min(until, datetime.fromisoformat(cron.end))
    passed = instants(cron.schedule, cron.time_zone, after, until)
    if not passed:
        return None
    fresh = tuple(i for i in passed if i >= now - grace)
    missed = passed[: len(passed) - len(fresh)]
    # A full look may not reach the latest that was missed: then a look to come does.
    following = upcoming(source, passed[-1]) if len(passed) == MAX_CATCH_UP else None
    latest = missed[-1:] if following is None or following > now else ()
    kept = {"none": fresh, "latest": (*latest, *fresh), "all": passed}[cron.catch_up]
    keys = dict.fromkeys(_key(source, cron, instant) for instant in kept)
    return Ticks(keys=tuple(keys), until=passed[-1])


def instants_before(source: SourceDocument, last_tick: datetime, most: int) -> Iterator[tuple[datetime, str]]:
    """The last `most` instants of a cron source up to `last_tick` with their keys, newest first."""
    cron = source.cron
    if cron is None:
        return
    start = None if cron.start is None else datetime.fromisoformat(cron.start)
    walk = instants_back(cron.schedule, cron.time_zone, last_tick + timedelta(microseconds=1))
    for instant in islice(walk, most):
        if start is not None and instant < start:
            return
        yield instant, _key(source, cron, instant)


def key_of(source: SourceDocument, instant: datetime) -> str | None:
    """The partition of an instant; None for what is no cron source."""
    return None if source.cron is None else _key(source, source.cron, instant)


def upcoming(source: SourceDocument, last_tick: datetime) -> datetime | None:
    """The next instant after `last_tick`; None if there is none any more."""
    cron = source.cron
    if cron is None:
        return None
    after = last_tick
    if cron.start is not None:
        after = max(after, datetime.fromisoformat(cron.start) - timedelta(microseconds=1))
    found = next_instant(cron.schedule, cron.time_zone, after)
    if found is not None and cron.end is not None and found > datetime.fromisoformat(cron.end):
        return None
    return found


def _key(source: SourceDocument, cron: CronDocument, instant: datetime) -> str:
    if source.partition is None:
        return "*"
    local = instant.astimezone(ZoneInfo(cron.time_zone))
    return shift(cron.schedule, local, source.partition.offset).strftime(source.partition.format)
