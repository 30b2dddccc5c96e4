"""Instants of a cron schedule. Pure: times come in as arguments; compile checks with it and the sources tick by it.

Schedules are five-field cron expressions in a named time zone, by cronsim, which follows Debian's cron over changes of
daylight saving: a daily job in a skipped hour runs once right after it, one in a repeated hour runs once.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from cronsim import CronSim, CronSimError

MAX_CATCH_UP = 10_000
"""Instants that one look back returns at most; the next look goes on from there."""


def check_schedule(expression: str) -> str | None:
    """What is wrong with a cron expression, in words; None if it is good and has an instant to come."""
    if len(expression.split()) != 5:
        return "a schedule has five fields: minute, hour, day of month, month, day of week"
    try:
        next(CronSim(expression, datetime(2024, 1, 1, tzinfo=UTC)))
    except CronSimError as error:
        return str(error)
    except StopIteration:
        return "the schedule never fires"
    return None


def check_zone(name: str) -> str | None:
    """What is wrong with a time zone's name, in words; None if it is known."""
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return "no such time zone: use a name of the IANA database such as Europe/Zurich"
    return None


def instants(expression: str, zone: str, after: datetime, until: datetime) -> tuple[datetime, ...]:
    """The instants in (after, until], oldest first, in the schedule's zone; at most MAX_CATCH_UP. Both are aware."""
    found: list[datetime] = []
    until = until.astimezone(UTC)  # times of one zone compare by the clock on the wall, which a change of time repeats
    for instant in CronSim(expression, after.astimezone(ZoneInfo(zone))):
        if instant > until or len(found) == MAX_CATCH_UP:
            break
        found.append(instant)
    return tuple(found)


def next_instant(expression: str, zone: str, after: datetime) -> datetime | None:
    """The first instant after `after`, in the schedule's zone; None if the schedule has ended."""
    return next(CronSim(expression, after.astimezone(ZoneInfo(zone))), None)


def instants_back(expression: str, zone: str, before: datetime) -> Iterator[datetime]:
    """The instants before `before`, newest first, in the schedule's zone, as far as the schedule reaches."""
    yield from CronSim(expression, before.astimezone(ZoneInfo(zone)), reverse=True)


def shift(expression: str, instant: datetime, offset: int) -> datetime:
    """The instant `offset` ticks from `instant` (negative: before it), both in the schedule's zone.

    OverflowError if the schedule does not reach that far.
    """
    walk, found = CronSim(expression, instant, reverse=offset < 0), instant
    for _ in range(abs(offset)):
        step = next(walk, None)
        if step is None:
            raise OverflowError("the schedule fires too seldom")
        found = step
    return found
