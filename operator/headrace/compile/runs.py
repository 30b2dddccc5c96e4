"""Which partitions a run of a source job makes, and whether its parameters are what the job takes. Pure; `run.requests`
carries it out.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo

from cronsim import CronSim
from jsonschema import Draft202012Validator
from jsonschema.exceptions import SchemaError
from referencing import Registry
from referencing.exceptions import Unresolvable

from headrace.api.runs import MOST_KEYS, NotUnderstood, Run
from headrace.api.schema_words import asked
from headrace.compile.document import CronDocument, SourceDocument, TickPartition
from headrace.compile.sources import listed_keys

_LOOKED_AT: Final = 20_000
"""Instants of a schedule that a range may span."""


def source_keys(source: SourceDocument, run: Run) -> tuple[str, ...]:
    """The partitions that a run of this source is about; NotUnderstood, with the way out, when it has no such."""
    if source.kind == "always_on":
        raise NotUnderstood("an always_on source runs by itself; delete its pod to have it started again")
    if run.first is not None and run.last is not None:
        return _between(source, run.first, run.last)
    if run.partitions:
        for key in run.partitions:
            _check(source, key)
        return run.partitions
    keys = listed_keys(source)
    if not keys:
        raise NotUnderstood("its partitions are those of its instants: name some with --partition, or --from and --to")
    return keys


def _check(source: SourceDocument, key: str) -> None:
    """A partition that the source could never make by itself would stay beside the others for ever."""
    listed = _listed(source)
    if listed is not None:
        if key not in listed and not (source.partition and _is_written_as(source.partition, key)):
            raise NotUnderstood(f"partition {key} is none of those that the source lists: add it to the list")
    elif source.partition is not None:
        if not _is_written_as(source.partition, key):
            raise NotUnderstood(_misspelt(source.partition, key))
    elif source.kind in ("cron", "webhook") and key != "*":
        raise NotUnderstood(f"the source has no partitions: leave {key} out, or give it a partition pattern")


def _listed(source: SourceDocument) -> tuple[str, ...] | None:
    return listed_keys(source) if source.values is not None or source.range is not None else None


def _between(source: SourceDocument, first: str, last: str) -> tuple[str, ...]:
    listed = _listed(source)
    if source.partition is not None and source.cron is not None:
        return _of_instants(source.cron, source.partition, first, last)
    if listed is None:
        raise NotUnderstood("the source has no partitions that a range could be of: name each with --partition")
    for end in (first, last):
        if end not in listed:
            raise NotUnderstood(f"partition {end} is none of those that the source lists, {listed[0]} to {listed[-1]}")
    start, end_ = listed.index(first), listed.index(last)
    if start > end_:
        raise NotUnderstood(f"the range is empty: {last} comes before {first}")
    return listed[start : end_ + 1]


def _of_instants(cron: CronDocument, partition: TickPartition, first: str, last: str) -> tuple[str, ...]:
    """The keys of the schedule's instants from one to the other, whether they have passed or not."""
    begin, end = _time_of(partition, first), _time_of(partition, last)
    if begin > end:
        raise NotUnderstood(f"the range is empty: {last} comes before {first}")
    keys: dict[str, None] = {}
    for number, key in enumerate(_keys_from(cron, partition, begin)):
        if _time_of(partition, key) > end:
            break
        if len(keys) >= MOST_KEYS or number >= _LOOKED_AT:
            raise NotUnderstood(
                f"the range has more than {MOST_KEYS} partitions, or {_LOOKED_AT} instants: give a shorter one"
            )
        keys[key] = None
    if not keys:
        raise NotUnderstood(f"the schedule has no instant from {first} to {last}")
    return tuple(keys)


def _keys_from(cron: CronDocument, partition: TickPartition, begin: datetime) -> Iterator[str]:
    try:
        after = begin.replace(tzinfo=ZoneInfo(cron.time_zone)) - timedelta(seconds=1)
        for instant in CronSim(cron.schedule, after):
            yield instant.strftime(partition.format)
    except (OverflowError, ValueError):
        raise NotUnderstood("the range leaves the years that a schedule has") from None


def _time_of(partition: TickPartition, key: str) -> datetime:
    try:
        return datetime.strptime(key, partition.format).replace(tzinfo=None)
    except (ValueError, re.error):
        raise NotUnderstood(_misspelt(partition, key)) from None


def _misspelt(partition: TickPartition, key: str) -> str:
    return f"partition {key} is not written as those of the source are, {partition.format}"


def _is_written_as(partition: TickPartition, key: str) -> bool:
    try:
        return datetime.strptime(key, partition.format).strftime(partition.format) == key
    except (ValueError, re.error):
        return False


NO_PARAMETERS: Final = "the job takes no parameters: give it a paramsSchema, or leave them out"


def check_params(params: Mapping[str, object], schema: dict[str, object]) -> None:
    """NotUnderstood when a job with this paramsSchema does not take these parameters. `compiler` bounds its time."""
    found = wrong_values(params, schema)
    if found:
        raise NotUnderstood("; ".join(f"params{where}: {message}" for where, message in found[:8]))


def wrong_schema(schema: dict[str, object]) -> str | None:
    """What is wrong with a JSON Schema, in words."""
    try:
        Draft202012Validator.check_schema(schema)
    except SchemaError as error:
        return f"not a JSON Schema (2020-12): {error.json_path.removeprefix('$.')} {asked(error)}"
    return None


def wrong_values(value: Mapping[str, object], schema: dict[str, object]) -> list[tuple[str, str]]:
    """Where and why a value is not as its good schema asks, without the value. NotUnderstood: a `$ref` leads nowhere.

    An empty registry: a `$ref` to elsewhere would have us fetch any URL or file that a user names.
    """
    try:
        found = sorted(Draft202012Validator(schema, registry=Registry()).iter_errors(value), key=lambda e: e.json_path)
    except (Unresolvable, RecursionError) as error:
        raise NotUnderstood(f"has a $ref that leads nowhere within the schema: {error}") from None
    except (AttributeError, TypeError, ValueError, LookupError) as error:
        raise NotUnderstood(f"has a $ref or $id that is none: {error}") from None
    return [(wrong.json_path.removeprefix("$"), asked(wrong)) for wrong in found]
