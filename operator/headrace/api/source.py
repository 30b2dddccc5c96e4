"""How a source job is set off: by the clock, a webhook, a person, or itself; a field of the job in `job`."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from headrace.api.base import LIST_ATOMIC, Format, PartitionKey, Strict
from headrace.api.duration import EVERY_PATTERN

SourceKind = Literal["cron", "webhook", "manual", "always_on"]
CatchUp = Literal["none", "latest", "all"]

INSTANT_PATTERN = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}(T[0-9]{2}:[0-9]{2}(:[0-9]{2})?(Z|[+-][0-9]{2}:[0-9]{2})?)?\Z"
TIME_ZONE_PATTERN = r"^[A-Za-z][A-Za-z0-9_+-]*(/[A-Za-z0-9_+-]+){0,2}\Z"

# A name of another API's object: dots are fine there.
SUBDOMAIN_PATTERN = r"^[a-z0-9]([a-z0-9.-]*[a-z0-9])?\Z"

SecretName = Annotated[str, Meta(pattern=SUBDOMAIN_PATTERN, max_length=253)]
Instant = Annotated[str, Meta(pattern=INSTANT_PATTERN, max_length=32)]
RangeEnd = Annotated[str, Meta(min_length=1, max_length=64)]


class CronPartition(Strict, frozen=True, kw_only=True):
    """Which partition a tick of the clock makes, or an event belongs to."""

    format: Annotated[
        Format,
        Meta(description="strftime format that turns the instant into the partition's key, such as %Y-%m-%d."),
    ]
    offset: (
        Annotated[
            int,
            Meta(
                ge=-1000,
                le=1000,
                description="cron: periods to move the instant by. Default -1: the period before the tick.",
            ),
        ]
        | None
    ) = None


class PartitionRange(Strict, frozen=True, kw_only=True):
    """Keys from start to end, both included, one for each step."""

    start: Annotated[RangeEnd, Meta(description="First key, written in `format`.")]
    end: Annotated[RangeEnd, Meta(description="Last key, written in `format`; included.")]
    every: Annotated[
        str,
        Meta(
            pattern=EVERY_PATTERN,
            max_length=32,
            description="Step: a whole number and one of s m h d w mo y, such as 1mo.",
        ),
    ]
    format: Annotated[Format, Meta(description="strftime format of the keys, such as %Y-%m.")]


class Partitions(Strict, frozen=True, kw_only=True):
    """The keys that a run makes, one task for each that is not there yet: a list or a range."""

    values: (
        Annotated[
            list[PartitionKey],
            Meta(
                min_length=1,
                max_length=10_000,
                extra_json_schema=LIST_ATOMIC,
                description="The keys, listed.",
            ),
        ]
        | None
    ) = None
    range: Annotated[PartitionRange | None, Meta(description="The keys, as a range of times.")] = None


class Source(Strict, frozen=True, kw_only=True):
    """What sets off a source job."""

    kind: Annotated[SourceKind, Meta(description="What sets the job off: cron, webhook, manual or always_on.")]
    schedule: (
        Annotated[
            str,
            Meta(
                min_length=1,
                max_length=128,
                description="cron: five fields, as in crontab(5), such as 30 2 * * *.",
            ),
        ]
        | None
    ) = None
    time_zone: (
        Annotated[
            str,
            Meta(
                pattern=TIME_ZONE_PATTERN,
                max_length=64,
                description="cron: IANA name of the schedule's time zone. Default UTC.",
            ),
        ]
        | None
    ) = None
    start: Annotated[Instant | None, Meta(description="cron: no tick before this date or RFC 3339 time.")] = None
    end: Annotated[Instant | None, Meta(description="cron: no tick after this date or RFC 3339 time.")] = None
    catch_up: Annotated[
        CatchUp | None,
        Meta(description="cron: which missed ticks are made up for. Default latest: the last one."),
    ] = None
    partition: Annotated[
        CronPartition | None,
        Meta(
            description="cron: the partition that a tick makes; webhook: that an event belongs to, by its time in UTC."
            " Without it the whole is rewritten."
        ),
    ] = None
    partitions: Annotated[
        Partitions | None, Meta(description="Keys that a run makes, one task for each not there yet.")
    ] = None
    secret_name: Annotated[
        SecretName | None,
        Meta(description="webhook: the Secret that holds the keys of the signature (Standard Webhooks)."),
    ] = None
    replay: Annotated[
        bool | None,
        Meta(
            description="always_on: true if the job can start over from the beginning. A changed one does so"
            " beside the version that serves, and takes its place once it has come as far."
        ),
    ] = None
