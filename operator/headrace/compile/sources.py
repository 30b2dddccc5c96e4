"""A job's source: from the object's fields to the document, with its problems. Pure; `compile.jobs` calls it."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from headrace.api.names import PARTITION_KEY_RE
from headrace.api.source import Partitions, Source
from headrace.compile.document import CronDocument, RangeDocument, SourceDocument, TickPartition
from headrace.compile.periods import range_keys
from headrace.compile.problems import Problems
from headrace.compile.schedule import check_schedule, check_zone, shift

# Instants whose parts differ in width: a format that pads with spaces is found out by the second.
_SAMPLES = (datetime(2024, 2, 29, 23, 59, 59), datetime(2024, 9, 4, 1, 2, 3))
_YEARS = range(1900, 3000)  # within these no step of a schedule leaves what a datetime can hold


def compile_source(source: Source, path: str, problems: Problems) -> SourceDocument | None:
    """The document of a source, or None with the reasons added to `problems`."""
    values, range_ = _partitions(source.partitions, f"{path}.partitions", problems)
    cron = _cron(source, path, problems) if source.kind == "cron" else None
    partition = None
    if source.partition is not None:
        none = 0 if source.kind == "webhook" else -1
        offset = none if source.partition.offset is None else source.partition.offset
        partition = TickPartition(format=source.partition.format, offset=offset)
        _check_partition(partition, cron, f"{path}.partition", problems)
    if source.kind == "webhook":
        if source.secret_name is None:
            problems.add(f"{path}.secretName", None, "a webhook source needs the name of the Secret with its keys")
        if partition is not None and partition.offset:
            problems.add(
                f"{path}.partition.offset", partition.offset, "a webhook has no periods to count: leave it out"
            )
    return SourceDocument(
        kind=source.kind, cron=cron, partition=partition, values=values, range=range_, secret=source.secret_name,
        replay=bool(source.replay),
    )  # fmt: skip


def _check_partition(partition: TickPartition, cron: CronDocument | None, path: str, problems: Problems) -> None:
    """Every tick must give a key: one that does not would only be found out when it is due."""
    zone = ZoneInfo(cron.time_zone) if cron and check_zone(cron.time_zone) is None else None
    for key in (sample.replace(tzinfo=zone).strftime(partition.format) for sample in _SAMPLES):
        if PARTITION_KEY_RE.match(key) is None:
            problems.add(
                f"{path}.format", partition.format,
                f"gives {key!r}, which is no partition key: use letters, digits and . _ : = - only",
            )  # fmt: skip
            break
    if cron is None or check_schedule(cron.schedule) is not None:
        return
    try:
        shift(cron.schedule, _SAMPLES[0].replace(tzinfo=zone), partition.offset)
    except (OverflowError, ValueError):
        problems.add(f"{path}.offset", partition.offset, "the schedule does not reach that far: use a smaller offset")


def event_key(pattern: str, sent: datetime) -> str:
    """The partition of a webhook's event by the source's pattern (empty: none, the event is one of the whole)."""
    return sent.astimezone(UTC).strftime(pattern) if pattern else "*"


def listed_keys(source: SourceDocument) -> tuple[str, ...]:
    """The partitions that a run of the source makes: its list, or `*` for the whole when it has none and no pattern.

    None of one that runs on and on.
    """
    if source.kind == "always_on":
        return ()
    if source.values is not None:
        return source.values
    if source.range is not None:
        return range_keys(source.range.start, source.range.end, source.range.every, source.range.format)
    return () if source.partition is not None else ("*",)


def _cron(source: Source, path: str, problems: Problems) -> CronDocument:
    zone = source.time_zone or "UTC"
    wrong_zone = check_zone(zone)
    if wrong_zone is not None:
        problems.add(f"{path}.timeZone", zone, wrong_zone)
    if source.schedule is None:
        problems.add(f"{path}.schedule", None, "a cron source needs a schedule such as 30 2 * * *")
    else:
        wrong = check_schedule(source.schedule)
        if wrong is not None:
            problems.add(f"{path}.schedule", source.schedule, f"{wrong}; write it as in crontab(5), 30 2 * * *")
    bounds: list[str | None] = []
    for name, text in (("start", source.start), ("end", source.end)):
        try:
            bounds.append(None if text is None else _instant(text, "UTC" if wrong_zone else zone))
        except ValueError:
            problems.add(f"{path}.{name}", text, "no such date or time: write it as 2026-01-31 or 2026-01-31T06:00:00Z")
            bounds.append(None)
    start, end = bounds
    if start is not None and datetime.fromisoformat(start).year not in _YEARS:
        problems.add(f"{path}.start", source.start, f"lies outside of the years {_YEARS[0]} to {_YEARS[-1]}: move it")
    if start is not None and end is not None and datetime.fromisoformat(start) > datetime.fromisoformat(end):
        problems.add(f"{path}.end", source.end, f"lies before start, {source.start}: exchange them")
    return CronDocument(
        schedule=" ".join((source.schedule or "").split()),
        time_zone=zone,
        catch_up=source.catch_up or "latest",
        start=start,
        end=end,
    )


def _instant(text: str, zone: str) -> str:
    """An ISO date or time with its offset, in the source's zone where it has none; ValueError if it is no time."""
    point = datetime.fromisoformat(text)
    return (point if point.tzinfo else point.replace(tzinfo=ZoneInfo(zone))).isoformat()


def _partitions(
    partitions: Partitions | None, path: str, problems: Problems
) -> tuple[tuple[str, ...] | None, RangeDocument | None]:
    if partitions is None:
        return None, None
    if (partitions.values is None) == (partitions.range is None):
        problems.add(path, None, "give either values or range")
        return None, None
    if partitions.values is not None:
        for key in sorted(key for key, count in Counter(partitions.values).items() if count > 1):
            problems.add(f"{path}.values", key, "this key is listed twice: leave one out")
        return tuple(partitions.values), None
    r = partitions.range
    assert r is not None  # noqa: S101 - one of the two, by the check above
    try:
        range_keys(r.start, r.end, r.every, r.format)
    except ValueError as error:
        problems.add(f"{path}.range", None, str(error))
    return None, RangeDocument(start=r.start, end=r.end, every=r.every, format=r.format)
