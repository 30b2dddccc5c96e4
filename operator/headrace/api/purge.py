"""Purges that people ask for: how they are written, and what is answered.

The same on the command line (`headrace purge`) and, as JSON, at the gateway.
"""

from __future__ import annotations

import argparse
from datetime import datetime, timedelta
from typing import Annotated, Final

from msgspec import Meta, Struct

from headrace.api.duration import DURATION_PATTERN, parse_duration
from headrace.api.runs import NotUnderstood

LEAST_AGE: Final = timedelta(minutes=10)
"""Longer than any transaction: what one that goes on has read of the pointers may be as old as it is."""
DEFAULT_AGE: Final = "24h"
MOST_LISTED: Final = 10_000


class Purge(Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """What is to be done: nothing but show it; `confirm`: do it; `forget`: what was listed up to then is deleted.

    `older_than`: for so long nothing must have served it, or pointed to it.
    """

    confirm: bool = False
    older_than: Annotated[str, Meta(pattern=DURATION_PATTERN)] = DEFAULT_AGE
    forget: datetime | None = None


class PurgedGeneration(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The contents of a dataset that no version needs; everything of them lies below `location`.

    `versions`: the beginnings of the hashes of those that had them, the newest 8; `retired`: since when they are no
    more, None where `confirm` would do that.
    """

    dataset: str
    location: str
    versions: tuple[str, ...] = ()
    partitions: int = 0
    rows: int | None = None
    bytes: int | None = None
    retired: datetime | None = None


class SupersededOutput(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What one attempt may have written, within contents that stay; nothing has pointed to it since `superseded`."""

    dataset: str
    partition: str
    location: str
    superseded: datetime


class Purged(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What there is to delete. `listed`: when that was; by it the owner says later that it is done.

    `kept`: how many generations stay, by the reason; `more`: there is more than a list has; `forgotten`: how many
    locations are not listed any more.
    """

    dag: str
    confirmed: bool
    listed: datetime
    generations: tuple[PurgedGeneration, ...] = ()
    superseded: tuple[SupersededOutput, ...] = ()
    kept: dict[str, int] = {}
    more: bool = False
    forgotten: int = 0


def checked_purge(wanted: Purge) -> timedelta:
    """How old what goes must be; NotUnderstood when what is wanted cannot be."""
    if wanted.confirm and wanted.forget is not None:
        raise NotUnderstood("say either that it is to be done, or that what was listed is deleted")
    if wanted.forget is not None and wanted.forget.tzinfo is None:
        raise NotUnderstood("the time of a list has its zone: give it as it was told")
    age = parse_duration(wanted.older_than)
    if age < LEAST_AGE:
        raise NotUnderstood(
            "what served or was pointed to within 10 minutes may be about to be read: give 10m at least"
        )
    return age


def add_purge_options(parser: argparse.ArgumentParser) -> None:
    """What is to be done, and with what."""
    parser.add_argument("--confirm", action="store_true", help="do it; without this it is only shown")
    parser.add_argument(
        "--older-than", metavar="DURATION", default=DEFAULT_AGE,
        help=f"what has not served, or been pointed to, for so long: 10m at least (default: {DEFAULT_AGE})",
    )  # fmt: skip
    parser.add_argument(
        "--forget", metavar="LISTED", help="what the list of that time had is deleted: it is not listed any more"
    )


def purge_of(options: argparse.Namespace) -> Purge:
    """What these options ask for; NotUnderstood."""
    try:
        parse_duration(options.older_than)
        forget = None if options.forget is None else datetime.fromisoformat(options.forget)
    except ValueError as error:
        raise NotUnderstood(str(error)) from None
    wanted = Purge(confirm=options.confirm, older_than=options.older_than, forget=forget)
    checked_purge(wanted)
    return wanted
