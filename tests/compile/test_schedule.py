"""Instants of a schedule in its zone, above all on the days when the clocks change."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from headrace.compile import schedule
from headrace.compile.schedule import check_schedule, check_zone, instants, next_instant, shift

ZURICH, NEW_YORK = "Europe/Zurich", "America/New_York"


def at(text: str, zone: str) -> datetime:
    """A wall-clock time in a zone; the earlier one where there are two."""
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone))


@pytest.mark.parametrize(
    ("zone", "expression", "day", "times"),
    [
        pytest.param(ZURICH, "30 2 * * *", "2026-03-28", ["02:30+01:00"], id="Zurich, the day before"),
        pytest.param(ZURICH, "30 2 * * *", "2026-03-29", ["03:00+02:00"], id="Zurich, skipped hour: once, right after"),
        pytest.param(ZURICH, "30 2 * * *", "2026-10-25", ["02:30+02:00"], id="Zurich, repeated hour: once"),
        pytest.param(ZURICH, "0 1,2,3 * * *", "2026-10-25", ["01:00+02:00", "02:00+02:00", "03:00+01:00"],
                     id="Zurich, hours listed"),
        pytest.param(ZURICH, "30 */1 * * *", "2026-03-29", ["00:30+01:00", "01:30+01:00", "03:30+02:00"],
                     id="Zurich, hourly, skipped"),
        pytest.param(ZURICH, "*/30 * * * *", "2026-10-25", [
            "00:00+02:00", "00:30+02:00", "01:00+02:00", "01:30+02:00", "02:00+02:00", "02:30+02:00",
            "02:00+01:00", "02:30+01:00", "03:00+01:00", "03:30+01:00"], id="Zurich, half-hourly, repeated"),
        pytest.param(NEW_YORK, "30 2 * * *", "2026-03-08", ["03:00-04:00"], id="New York, skipped hour"),
        pytest.param(NEW_YORK, "30 1 * * *", "2026-11-01", ["01:30-04:00"], id="New York, repeated hour"),
        pytest.param(NEW_YORK, "0 */1 * * *", "2026-11-01", ["00:00-04:00", "01:00-04:00", "01:00-05:00",
                                                            "02:00-05:00", "03:00-05:00"], id="New York, hourly"),
        pytest.param("UTC", "30 2 * * *", "2026-03-29", ["02:30+00:00"], id="UTC has no summer"),
        pytest.param("Asia/Kathmandu", "0 3 * * *", "2026-03-29", ["03:00+05:45"], id="a quarter of an hour"),
    ],
)  # fmt: skip
def test_the_first_hours_of_a_day(zone: str, expression: str, day: str, times: list[str]) -> None:
    """A daily job runs once whatever the clocks do; an hourly one at every hour that there is."""
    midnight = at(day, zone)
    found = instants(expression, zone, midnight - timedelta(microseconds=1), at(f"{day}T03:59:59", zone))
    assert [f"{i:%H:%M}{i.isoformat()[-6:]}" for i in found] == times
    assert len({i.astimezone(UTC) for i in found}) == len(found)


@pytest.mark.parametrize("zone", [ZURICH, NEW_YORK])
@pytest.mark.parametrize(("expression", "count"), [("30 2 * * *", 365), ("15 */1 * * *", 8760), ("0 1 * * *", 365)])
def test_a_year_has_as_many_instants_as_days_and_hours(zone: str, expression: str, count: int) -> None:
    found = instants(expression, zone, at("2026-01-01", zone), at("2027-01-01", zone))
    assert len(found) == len({i.astimezone(UTC) for i in found}) == count
    assert sorted(found, key=lambda i: i.astimezone(UTC)) == list(found)


def test_looking_piece_by_piece_finds_what_one_look_finds() -> None:
    """The last instant is where the next look begins, also within a repeated hour."""
    start, end = at("2026-10-24T20:00", ZURICH), at("2026-10-25T06:00", ZURICH)
    whole = instants("*/20 * * * *", ZURICH, start, end)
    found, last, now = [], start, start.astimezone(UTC)
    while now < end:
        now += timedelta(minutes=7)
        seen = instants("*/20 * * * *", ZURICH, last.astimezone(UTC), min(now, end.astimezone(UTC)))
        found += seen
        last = seen[-1] if seen else last
    assert found == list(whole)
    assert len(whole) == 33


@pytest.mark.parametrize("fold", [0, 1])
def test_until_is_a_time_and_not_a_place_on_the_wall(fold: int) -> None:
    """Postgres may give its times in the schedule's own zone: 02:10 that comes again is an hour later."""
    until = at("2026-10-25T02:10", ZURICH).replace(fold=fold)
    found = instants("*/30 * * * *", ZURICH, at("2026-10-25T01:59", ZURICH), until)
    assert [i.astimezone(UTC).isoformat()[11:16] for i in found] == ["00:00", "00:30", "01:00"][: 1 + 2 * fold]


def test_after_is_excluded_and_until_included() -> None:
    six, seven = datetime(2026, 1, 1, 6, tzinfo=UTC), datetime(2026, 1, 1, 7, tzinfo=UTC)
    assert instants("0 * * * *", "UTC", six, seven) == (seven,)
    assert instants("0 * * * *", "UTC", six, seven - timedelta(microseconds=1)) == ()
    assert instants("0 * * * *", "UTC", six - timedelta(microseconds=1), six) == (six,)


def test_one_look_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    assert schedule.MAX_CATCH_UP == 10_000
    monkeypatch.setattr(schedule, "MAX_CATCH_UP", 3)
    found = instants("0 * * * *", "UTC", datetime(2026, 1, 1, tzinfo=UTC), datetime(2027, 1, 1, tzinfo=UTC))
    assert [i.hour for i in found] == [1, 2, 3]


@pytest.mark.parametrize(
    ("expression", "start", "offset", "lands"),
    [
        pytest.param("0 6 * * *", "2026-03-30T06:00", -1, "2026-03-29T06:00+02:00", id="the tick before"),
        pytest.param("0 6 * * *", "2026-03-29T06:00", -1, "2026-03-28T06:00+01:00", id="over a change of time"),
        pytest.param("0 6 * * *", "2026-03-29T06:00", 0, "2026-03-29T06:00+02:00", id="itself"),
        pytest.param("0 6 * * *", "2026-03-29T06:00", 2, "2026-03-31T06:00+02:00", id="two ahead"),
        pytest.param("0 0 1 * *", "2026-03-01T00:00", -1, "2026-02-01T00:00+01:00", id="a month back"),
        pytest.param("0 0 29 2 *", "2028-02-29T00:00", -1, "2024-02-29T00:00+01:00", id="a leap year back"),
        pytest.param("0 6 * * 1-5", "2026-01-05T06:00", -1, "2026-01-02T06:00+01:00", id="over a weekend"),
    ],
)
def test_shift(expression: str, start: str, offset: int, lands: str) -> None:
    assert shift(expression, at(start, ZURICH), offset) == datetime.fromisoformat(lands)


def test_a_shift_beyond_time_is_an_overflow() -> None:
    with pytest.raises(OverflowError):
        shift("0 0 29 2 *", at("2024-02-29", ZURICH), -1000)


def test_the_next_instant_is_after() -> None:
    six = datetime(2026, 1, 1, 6, tzinfo=UTC)
    assert next_instant("0 6 * * *", ZURICH, six) == datetime(2026, 1, 2, 5, tzinfo=UTC)
    assert next_instant("0 6 * * *", "UTC", six - timedelta(microseconds=1)) == six


@pytest.mark.parametrize("expression", ["30 2 * * *", "*/5 8-17 * * MON-FRI", "0 0 29 2 *", "0 0 L * *", "0 0 * * 5#3"])
def test_is_a_schedule(expression: str) -> None:
    assert check_schedule(expression) is None


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ("", "five fields"), ("* * * *", "five fields"), ("0 * * * * *", "five fields"), ("@daily", "five fields"),
        ("60 * * * *", "Bad minute"), ("0 24 * * *", "Bad hour"), ("0 0 0 * *", "Bad day-of-month"),
        ("0 0 * 13 *", "Bad month"), ("0 0 * * 9", "Bad day-of-week"), ("0 0 31 2,4 *", "Bad day-of-month"),
        ("x 0 * * *", "Bad minute"), ("*/0 * * * *", "Bad minute"),
    ],
)  # fmt: skip
def test_is_no_schedule(expression: str, message: str) -> None:
    assert message in (check_schedule(expression) or "")


@pytest.mark.parametrize("zone", ["UTC", ZURICH, NEW_YORK, "Etc/GMT+5"])
def test_is_a_zone(zone: str) -> None:
    assert check_zone(zone) is None


@pytest.mark.parametrize("zone", ["", "Mars/Base", "Europe", "../../etc/passwd", "/etc/passwd", "x" * 300])
def test_is_no_zone(zone: str) -> None:
    assert "IANA" in (check_zone(zone) or "")
