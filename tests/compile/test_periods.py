"""Ranges of partition keys: both ends included, months held within their month, and what is no range."""

from __future__ import annotations

from datetime import datetime

import pytest

from headrace.compile import periods
from headrace.compile.periods import MAX_KEYS, add_months, parse_point, range_keys
from headrace.compile.sources import listed_keys
from tests.compile.documents import compiled, source


@pytest.mark.parametrize(
    ("start", "end", "every", "pattern", "keys"),
    [
        pytest.param("2013-01", "2013-03", "1mo", "%Y-%m", ["2013-01", "2013-02", "2013-03"], id="both ends"),
        pytest.param("2013-01", "2013-01", "1mo", "%Y-%m", ["2013-01"], id="one key"),
        pytest.param("2013-01", "2013-06", "4mo", "%Y-%m", ["2013-01", "2013-05"], id="end between two steps"),
        pytest.param(
            "2023-11-30", "2024-03-30", "1mo", "%Y-%m-%d",
            ["2023-11-30", "2023-12-30", "2024-01-30", "2024-02-29", "2024-03-30"], id="end of a month, clamped",
        ),
        pytest.param(
            "2024-01-31", "2024-05-31", "1mo", "%m-%d", ["01-31", "02-29", "03-31", "04-30", "05-31"],
            id="a clamp does not stick",
        ),
        pytest.param("2024-02-29", "2028-02-29", "1y", "%Y-%m-%d",
                     ["2024-02-29", "2025-02-28", "2026-02-28", "2027-02-28", "2028-02-29"], id="leap day by years"),
        pytest.param("2013-12-31", "2014-01-14", "1w", "%G-W%V", ["2014-W01", "2014-W02", "2014-W03"], id="ISO weeks"),
        pytest.param("2013-01-01", "2013-01-01T06:00:00", "3h", "%Y-%m-%dt%H",
                     ["2013-01-01t00", "2013-01-01t03", "2013-01-01t06"], id="ISO ends and hours"),
        pytest.param("2026-03-29T01:00", "2026-03-29T04:00", "1h", "%H", ["01", "02", "03", "04"],
                     id="a key is a name, so no hour is skipped"),
        pytest.param("20130101", "20130102", "1d", "%Y%m%d", ["20130101", "20130102"], id="ends in the format"),
        pytest.param("9999-11", "9999-12", "1mo", "%Y-%m", ["9999-11", "9999-12"], id="up to the end of time"),
        pytest.param("9999-12-31", "9999-12-31", "9999w", "%Y", ["9999"], id="a step beyond the end of time"),
        pytest.param("2013-01-01", "2015-01-01", "1y", "y=%Y:a.b_c", ["y=2013:a.b_c", "y=2014:a.b_c", "y=2015:a.b_c"],
                     id="every character of a key"),
    ],
)  # fmt: skip
def test_keys(start: str, end: str, every: str, pattern: str, keys: list[str]) -> None:
    assert list(range_keys(start, end, every, pattern)) == keys


@pytest.mark.parametrize(
    ("start", "end", "every", "pattern", "message"),
    [
        pytest.param("2013-02", "2013-01", "1mo", "%Y-%m", "the range is empty", id="ends before it starts"),
        pytest.param("2013-13", "2014-01", "1mo", "%Y-%m", "'2013-13' is neither", id="no such month"),
        pytest.param("2023-02-29", "2023-03-01", "1d", "%Y-%m-%d", "'2023-02-29' is neither", id="no such day"),
        pytest.param("soon", "2013", "1y", "%Y", "'soon' is neither", id="no date"),
        pytest.param("2013-01-01", "2013-01-02", "1h", "%Y-%m-%d", "must tell every 1h apart", id="repeats keys"),
        pytest.param("2013-01", "2013-02", "1q", "%Y-%m", "'1q' is no step", id="no step"),
        pytest.param("2013-01", "2013-02", "0mo", "%Y-%m", "'0mo' is no step", id="a step of nothing"),
        pytest.param("2013-01-01", "2013-01-02", "1d", "%Y %m %d", "which is no partition key", id="blank in a key"),
        pytest.param("2013-01-01", "2013-01-02", "1d", "%e/%m", "which is no partition key", id="slash in a key"),
        pytest.param("2013-01-01", "2014-01-01", "1y", "%Y" * 33, "which is no partition key", id="key too long"),
        pytest.param("x", "y", "1d", "%Y%Y", "is neither in the format", id="directive twice"),
        pytest.param("x", "y", "1d", "%", "is neither in the format", id="stray percent"),
    ],
)
def test_is_no_range(start: str, end: str, every: str, pattern: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        range_keys(start, end, every, pattern)


def test_the_most_keys_are_accepted_and_one_more_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    assert MAX_KEYS == 100_000
    monkeypatch.setattr(periods, "MAX_KEYS", 12)
    assert len(range_keys("2013-01", "2013-12", "1mo", "%Y-%m")) == 12
    with pytest.raises(ValueError, match="more than 12 keys: take a larger `every` or a shorter range"):
        range_keys("2013-01", "2014-01", "1mo", "%Y-%m")


@pytest.mark.parametrize(
    ("months", "lands"), [(1, "2024-02-29"), (13, "2025-02-28"), (-1, "2023-12-31"), (0, "2024-01-31")]
)
def test_months_are_held_within_the_month(months: int, lands: str) -> None:
    assert add_months(datetime(2024, 1, 31), months) == datetime.fromisoformat(lands)


@pytest.mark.parametrize("months", [-24_300, 100_000])
def test_months_beyond_time(months: int) -> None:
    with pytest.raises(OverflowError, match="beyond the years"):
        add_months(datetime(2024, 1, 31), months)


def test_a_point_is_a_name_without_a_zone() -> None:
    assert parse_point("2013-01-01T06:00:00+05:00", "%Y") == datetime(2013, 1, 1, 6)
    assert parse_point("2013-01-01 +0500", "%Y-%m-%d %z") == datetime(2013, 1, 1)


@pytest.mark.parametrize(
    ("fields", "keys"),
    [
        pytest.param({"kind": "manual"}, ("*",), id="no list: the whole"),
        pytest.param({"kind": "manual", "partitions": {"values": ["b", "a"]}}, ("b", "a"), id="as listed"),
        pytest.param({"kind": "manual", "partitions": {"range": {"start": "2013", "end": "2014", "every": "1y",
                                                                "format": "%Y"}}}, ("2013", "2014"), id="range"),
        pytest.param({"kind": "cron", "schedule": "0 6 * * *"}, ("*",), id="cron over the whole"),
        pytest.param({"kind": "cron", "schedule": "0 6 * * *", "partition": {"format": "%Y"}}, (), id="cron by ticks"),
    ],
)  # fmt: skip
def test_what_a_run_of_a_source_makes(fields: dict[str, object], keys: tuple[str, ...]) -> None:
    (job,) = compiled(source(**fields)).document.jobs
    assert job.source is not None
    assert listed_keys(job.source) == keys
