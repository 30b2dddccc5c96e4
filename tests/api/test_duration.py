"""Durations: what is one, how long it is, and that the parser and the pattern agree."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from headrace.api.duration import Every, parse_duration, parse_every, parse_idle_timeout


@pytest.mark.parametrize(
    ("text", "seconds"), [("1s", 1), ("5m", 300), ("26h", 93_600), ("7d", 604_800), ("6w", 3_628_800)]
)
def test_length(text: str, seconds: int) -> None:
    assert parse_duration(text) == timedelta(seconds=seconds)
    assert parse_every(text) == Every(fixed=timedelta(seconds=seconds))


@pytest.mark.parametrize("text", ["", "0", "0s", "5", "m", "-5m", "5 m", "1.5h", "05m", "5m\n", "1mo", "1y", "1h30m"])
def test_is_no_duration(text: str) -> None:
    with pytest.raises(ValueError, match="is no duration"):
        parse_duration(text)


def test_steps_of_ranges_know_months_and_years() -> None:
    assert parse_every("1mo") == Every(months=1)
    assert parse_every("2y") == Every(months=24)
    with pytest.raises(ValueError, match="is no step"):
        parse_every("0mo")


def test_idle_timeout() -> None:
    assert parse_idle_timeout("0") == timedelta(0)
    assert parse_idle_timeout("5m") == timedelta(minutes=5)
    assert parse_idle_timeout("never") is None


def test_the_longest_reaches_no_end_of_time() -> None:
    assert datetime(2026, 1, 1) + parse_duration("9999w") > datetime(2200, 1, 1)
