"""Which instants of a cron source are due, and which partitions they make; time is an argument."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from headrace.compile.document import CronDocument, SourceDocument, TickPartition
from headrace.compile.ticks import Ticks, due, first_tick, upcoming

GRACE = timedelta(seconds=60)


def at(text: str) -> datetime:
    """A time in UTC."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def cron(format_: str | None = "%d", offset: int = 0, zone: str = "UTC", schedule: str = "0 6 * * *",
         catch_up: str = "latest", start: str | None = None, end: str | None = None) -> SourceDocument:  # fmt: skip
    """A source that ticks, daily at six unless told otherwise; its keys are days of the month."""
    return SourceDocument(
        kind="cron",
        cron=CronDocument(schedule=schedule, time_zone=zone, catch_up=catch_up, start=start, end=end),  # type: ignore[arg-type]
        partition=None if format_ is None else TickPartition(format=format_, offset=offset),
    )


def ticks(found: Ticks | None) -> tuple[list[str], str] | None:
    """Keys and until, in short."""
    return None if found is None else (list(found.keys), f"{found.until.astimezone(UTC):%d %H:%M}")


@pytest.mark.parametrize(
    ("catch_up", "keys"),
    [("none", []), ("latest", ["09"]), ("all", ["06", "07", "08", "09"])],
)
def test_what_was_missed_is_made_up_as_the_source_says(catch_up: str, keys: list[str]) -> None:
    """Four days without an operator; whatever is made up, everything up to the last is decided."""
    found = due(cron(catch_up=catch_up), at("2026-01-05T06:00"), at("2026-01-09T12:00"), GRACE)
    assert ticks(found) == (keys, "09 06:00")


@pytest.mark.parametrize("catch_up", ["none", "latest", "all"])
@pytest.mark.parametrize(("late", "runs"), [(0, True), (59, True), (60, True), (61, False)])
def test_what_is_within_grace_always_runs(catch_up: str, late: int, runs: bool) -> None:
    """An instant seen a moment late was not missed."""
    now = at("2026-01-06T06:00") + timedelta(seconds=late)
    found = due(cron(catch_up=catch_up), at("2026-01-05T06:00"), now, GRACE)
    assert ticks(found) == (["06"] if runs or catch_up != "none" else [], "06 06:00")


def test_latest_makes_up_one_and_runs_what_is_fresh() -> None:
    now = at("2026-01-06T06:02")
    found = due(cron("%H-%M", schedule="*/1 * * * *"), at("2026-01-06T05:30"), now, GRACE)
    assert ticks(found) == (["06-00", "06-01", "06-02"], "06 06:02")


def test_nothing_is_due_before_the_next_instant() -> None:
    assert due(cron(), at("2026-01-05T06:00"), at("2026-01-06T05:59"), GRACE) is None
    assert due(cron(), at("2026-01-05T06:00"), at("2026-01-05T06:00"), GRACE) is None
    assert due(SourceDocument(kind="manual"), at("2026-01-05T06:00"), at("2026-02-05T06:00"), GRACE) is None


@pytest.mark.parametrize(
    ("missed", "looks"),
    [
        pytest.param(9_999, [["*"]], id="one look reaches the latest"),
        pytest.param(10_000, [["*"]], id="one look just reaches the latest"),
        pytest.param(10_001, [[], ["*"]], id="the latest is in the next look"),
    ],
)
def test_latest_is_the_last_of_all_that_was_missed_not_of_one_look(missed: int, looks: list[list[str]]) -> None:
    """A week of minutes takes two looks; only the second makes something up."""
    source, last = cron(None, schedule="*/1 * * * *"), at("2026-01-01T00:00")
    now, found = last + timedelta(minutes=missed, seconds=30), []
    while (look := due(source, last, now, timedelta(0))) is not None:
        found.append(list(look.keys))
        last = look.until
    assert found == looks
    assert last == at("2026-01-01T00:00") + timedelta(minutes=missed)


@pytest.mark.parametrize(
    ("start", "end", "last", "keys"),
    [
        pytest.param("2026-01-07T06:00:00+00:00", None, "2026-01-01T06:00", ["07", "08", "09"], id="start included"),
        pytest.param("2026-01-07T06:00:01+00:00", None, "2026-01-01T06:00", ["08", "09"], id="after start"),
        pytest.param("2026-01-01T00:00:00+00:00", None, "2026-01-07T06:00", ["08", "09"], id="start long past"),
        pytest.param(None, "2026-01-08T06:00:00+00:00", "2026-01-06T06:00", ["07", "08"], id="end included"),
        pytest.param(None, "2026-01-08T05:59:59+00:00", "2026-01-06T06:00", ["07"], id="before end"),
        pytest.param("2026-01-08T00:00:00+00:00", "2026-01-08T23:00:00+00:00", "2026-01-01T06:00", ["08"], id="both"),
        pytest.param(None, "2026-01-05T00:00:00+00:00", "2026-01-06T06:00", None, id="ended before"),
        pytest.param("2026-02-01T00:00:00+00:00", None, "2026-01-06T06:00", None, id="not begun"),
        pytest.param("2026-01-08T08:00:00+02:00", None, "2026-01-01T06:00", ["08", "09"], id="start in another zone"),
        pytest.param(None, "9999-12-31T23:00:00-10:00", "2026-01-07T06:00", ["08", "09"], id="an end beyond time"),
    ],
)
def test_nothing_ticks_outside_of_start_and_end(
    start: str | None, end: str | None, last: str, keys: list[str] | None
) -> None:
    found = due(cron(start=start, end=end, catch_up="all"), at(last), at("2026-01-09T12:00"), GRACE)
    assert (None if found is None else list(found.keys)) == keys


@pytest.mark.parametrize(
    ("source", "now", "keys"),
    [
        pytest.param(cron("%Y-%m-%d", -1), "2026-01-01T06:00", ["2025-12-31"], id="the day before"),
        pytest.param(cron("%Y-%m-%d", 0), "2026-01-01T06:00", ["2026-01-01"], id="the same day"),
        pytest.param(cron("%Y-%m-%d", -2), "2026-01-01T06:00", ["2025-12-30"], id="two days before"),
        pytest.param(cron("%Y-%m-%d", 1), "2026-01-01T06:00", ["2026-01-02"], id="the day after"),
        pytest.param(cron("%Y-%m", -1, schedule="0 6 1 * *"), "2026-01-01T06:00", ["2025-12"], id="the month before"),
        pytest.param(cron("%Y-%m-%d", -1, zone="Asia/Tokyo"), "2025-12-31T21:00", ["2025-12-31"], id="in its zone"),
        pytest.param(cron("%d-%H", -1, zone="Europe/Zurich", schedule="0 */1 * * *"), "2026-03-29T01:00", ["29-01"],
                     id="the hour before a skipped one"),
        pytest.param(cron(None), "2026-01-01T06:00", ["*"], id="the whole"),
    ],
)  # fmt: skip
def test_a_tick_makes_the_partition_of_the_period_it_names(source: SourceDocument, now: str, keys: list[str]) -> None:
    assert ticks(due(source, at(now) - timedelta(seconds=1), at(now), GRACE)) == (keys, f"{at(now):%d %H:%M}")


@pytest.mark.parametrize(
    ("format_", "keys"), [("%d", ["06", "07"]), (None, ["*"]), ("%Y", ["2026"]), ("%d-%H", ["06-06", "07-06"])]
)
def test_two_instants_of_one_key_are_one_task(format_: str | None, keys: list[str]) -> None:
    found = due(cron(format_, catch_up="all"), at("2026-01-05T06:00"), at("2026-01-07T12:00"), GRACE)
    assert ticks(found) == (keys, "07 06:00")


@pytest.mark.parametrize("zone", ["UTC", "Europe/Zurich"])
@pytest.mark.parametrize("fold", [0, 1])
def test_the_zone_in_which_postgres_tells_the_time_does_not_matter(zone: str, fold: int) -> None:
    """02:35 comes twice on that night: before the second, the instants of the second are not due."""
    now = datetime(2026, 10, 25, 2, 35, tzinfo=ZoneInfo("Europe/Zurich"), fold=fold)
    last = datetime(2026, 10, 25, 1, 59, tzinfo=ZoneInfo("Europe/Zurich"))
    source = cron("%Hh%M-%Z", zone="Europe/Zurich", schedule="*/30 * * * *", catch_up="all")
    found = due(source, last.astimezone(ZoneInfo(zone)), now.astimezone(ZoneInfo(zone)), GRACE)
    keys = ["02h00-CEST", "02h30-CEST", "02h00-CET", "02h30-CET"][: 2 + 2 * fold]
    assert ticks(found) == (keys, f"25 0{fold}:30")


@pytest.mark.parametrize(
    ("start", "after"),
    [
        pytest.param(None, "2026-01-05T12:00:00", id="now"),
        pytest.param("2026-01-01T00:00:00+00:00", "2025-12-31T23:59:59.999999", id="its start, itself included"),
        pytest.param("2026-03-01T00:00:00+00:00", "2026-01-05T12:00:00", id="now, before its start"),
    ],
)
def test_a_new_source_ticks_after_its_start_or_now(start: str | None, after: str) -> None:
    source = cron(start=start).cron
    assert source is not None
    assert first_tick(source, at("2026-01-05T12:00")) == at(after)


def test_a_new_source_with_a_past_start_makes_its_history_up() -> None:
    source, now = cron(start="2026-01-03T06:00:00+00:00", catch_up="all"), at("2026-01-05T12:00")
    assert source.cron is not None
    assert ticks(due(source, first_tick(source.cron, now), now, GRACE)) == (["03", "04", "05"], "05 06:00")


@pytest.mark.parametrize(
    ("source", "last", "next_"),
    [
        pytest.param(cron(), "2026-01-05T06:00", "2026-01-06T06:00", id="the next"),
        pytest.param(cron(), "2026-01-05T05:59", "2026-01-05T06:00", id="today"),
        pytest.param(cron(start="2026-02-01T06:00:00+00:00"), "2026-01-05T06:00", "2026-02-01T06:00", id="its start"),
        pytest.param(cron(end="2026-01-06T06:00:00+00:00"), "2026-01-05T06:00", "2026-01-06T06:00", id="its end"),
        pytest.param(cron(end="2026-01-06T05:59:00+00:00"), "2026-01-05T06:00", None, id="after its end"),
        pytest.param(cron(schedule="0 0 29 2 *"), "2096-03-01T00:00", "2104-02-29T00:00", id="years ahead"),
        pytest.param(SourceDocument(kind="manual"), "2026-01-05T06:00", None, id="no cron"),
    ],
)
def test_upcoming(source: SourceDocument, last: str, next_: str | None) -> None:
    assert upcoming(source, at(last)) == (None if next_ is None else at(next_))
