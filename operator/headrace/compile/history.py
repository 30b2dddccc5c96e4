"""Which units a changed source is built over, when its partitions have other names than before. Pure.

The plan counts them, a build and a cutover make them (`state.catch_up`). Where the names are the same, the partitions
that it had are built, and nothing of this is asked.
"""

from __future__ import annotations

from collections.abc import Set
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from headrace.compile.document import SourceDocument
from headrace.compile.sources import listed_keys
from headrace.compile.ticks import instants_before, key_of

MAX_HISTORY: Final = 5_000
_LEAST: Final = 50


@dataclass(frozen=True)
class History:
    """The keys to build, and whether they stand for everything that was there."""

    keys: tuple[str, ...]
    complete: bool


def lists(source: SourceDocument) -> bool:
    """Whether a source lists its partitions."""
    return source.values is not None or source.range is not None


def same_names(old: SourceDocument | None, new: SourceDocument) -> bool:
    """Whether partitions of the one are partitions of the other, by their names."""
    if old is None or old.partition != new.partition or "always_on" in (old.kind, new.kind):
        return False
    return new.partition is not None or lists(old) == lists(new)


def share(sources: int) -> int:
    """How many instants each of so many sources is looked back on: what one document takes is bounded."""
    return max(_LEAST, MAX_HISTORY // max(1, sources))


def history(
    old: SourceDocument | None,
    new: SourceDocument,
    last_tick: datetime | None,
    had: Set[str],
    most: int,
    told: Set[str] = frozenset(),
) -> History:
    """What to build of a source that was `old` (None: no source) and `had` these partitions, over `most` instants.

    Its list, of a cron source in full and of another as far as it was there; the instants behind the old names, by
    their new ones; the whole, where it has no partitions now. What no name leads to is lost, and the history not
    complete. `told`: those of a webhook that its stored events stand for; the events are built apart from these keys.
    Of one that runs on and on nobody makes anything but itself, from the beginning if it can.
    """
    if new.kind == "always_on":
        return History(keys=(), complete=new.replay or not had)
    if not lists(new) and new.partition is None:
        return History(keys=("*",) if had else (), complete=True)
    listed = listed_keys(new) if lists(new) else ()
    keys = dict.fromkeys(key for key in listed if new.kind == "cron" or key in had)
    left = set(had) - set(listed) - (set(told) if new.kind == "webhook" else set())
    if old is not None and old.cron is not None and old.partition and new.partition and last_tick is not None:
        for instant, key in instants_before(old, last_tick, most):
            if not left:
                break
            if key in left:
                left.discard(key)
                renamed = key_of(new, instant)
                if renamed is not None:
                    keys[renamed] = None
    return History(keys=tuple(keys), complete=not left)
