"""Which units a source is built over when its partitions get other names; bounded, whatever a schedule says."""

from __future__ import annotations

import time
from datetime import UTC, datetime

import pytest

from headrace.compile.document import CronDocument, RangeDocument, SourceDocument, TickPartition
from headrace.compile.history import MAX_HISTORY, History, history, same_names, share

LAST = datetime(2026, 4, 1, tzinfo=UTC)


def cron(
    pattern: str | None, schedule: str = "0 0 1 * *", start: str | None = None, **fields: object
) -> SourceDocument:
    """A cron source that names the month before its tick."""
    partition = TickPartition(format=pattern, offset=-1) if pattern else None
    when = CronDocument(schedule=schedule, time_zone="UTC", catch_up="all", start=start)
    return SourceDocument(kind="cron", cron=when, partition=partition, **fields)  # type: ignore[arg-type]


def manual(*values: str) -> SourceDocument:
    """A source over a list, or the whole."""
    return SourceDocument(kind="manual", values=values or None)


MONTHS = frozenset({"2026-01", "2026-02", "2026-03"})


@pytest.mark.parametrize(
    ("old", "new", "had", "keys", "complete"),
    [
        pytest.param(cron("%Y-%m"), cron("%Y.%m"), MONTHS, {"2026.01", "2026.02", "2026.03"}, True, id="instants"),
        pytest.param(cron("%Y-%m"), cron("%Y.%m"), {"2026-02"}, {"2026.02"}, True, id="only those that were made"),
        pytest.param(cron("%Y-%m"), cron("%Y"), MONTHS, {"2026"}, True, id="many become one"),
        pytest.param(cron("%Y-%m"), cron("%Y.%m"), {"2026-02", "x"}, {"2026.02"}, False, id="no instant made one"),
        pytest.param(cron("%Y-%m"), manual("2026-01", "2026-09"), MONTHS, {"2026-01"}, False, id="a list"),
        pytest.param(cron("%Y-%m"), manual("x"), MONTHS, set(), False, id="nothing that was there"),
        pytest.param(cron("%Y-%m"), manual(), MONTHS, {"*"}, True, id="the whole"),
        pytest.param(manual(), manual("x"), {"*"}, set(), False, id="the whole in parts"),
        pytest.param(manual("a", "b"), cron(None, values=("a", "b", "c")), {"a"}, {"a", "b", "c"}, True,
                     id="a cron source's list in full"),
        pytest.param(cron("%Y-%m", values=("x",)), cron("%Y.%m", values=("x",)), {"x", "2026-02"}, {"x", "2026.02"},
                     True, id="a list and instants"),
        pytest.param(None, manual("a", "b"), {"a", "c"}, {"a"}, False, id="it was no source"),
        pytest.param(None, manual("a", "b"), set(), set(), True, id="it had nothing"),
    ],
)  # fmt: skip
def test_what_is_built(
    old: SourceDocument | None, new: SourceDocument, had: set[str], keys: set[str], complete: bool
) -> None:
    found = history(old, new, LAST, had, MAX_HISTORY)
    assert (set(found.keys), found.complete) == (keys, complete)


@pytest.mark.parametrize(
    ("old", "new", "same"),
    [
        pytest.param(cron("%Y-%m"), cron("%Y-%m", "0 0 2 * *"), True, id="another schedule"),
        pytest.param(cron("%Y-%m"), cron("%Y.%m"), False, id="another pattern"),
        pytest.param(manual("a"), manual("b"), True, id="another list"),
        pytest.param(manual("a"), manual(), False, id="a list no more"),
        pytest.param(manual("a"), SourceDocument(kind="manual", range=RangeDocument(
            start="2026", end="2027", every="1y", format="%Y")), True, id="a range for a list"),
        pytest.param(None, manual("a"), False, id="it was no source"),
    ],
)  # fmt: skip
def test_which_names_stay(old: SourceDocument | None, new: SourceDocument, same: bool) -> None:
    assert same_names(old, new) is same


def test_a_schedule_of_minutes_is_looked_back_on_for_so_many_instants_only() -> None:
    """From 1970, every minute: 30 million instants. What lies further back is said to be lost."""
    every = "* * * * *"
    old = cron("%Y-%m-%dT%H-%M", every, "1970-01-01T00:00:00+00:00")
    new = cron("%Y%m%dT%H%M", every, "1970-01-01T00:00:00+00:00")
    began = time.process_time()
    assert history(old, new, LAST, {"1970-01-02T00-00"}, share(1)) == History(keys=(), complete=False)
    assert time.process_time() - began < 2.0
    assert share(1) == MAX_HISTORY <= 10_000
    assert 500 * share(500) <= 50_000
