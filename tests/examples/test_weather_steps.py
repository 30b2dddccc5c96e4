"""The weather example's steps without a cluster: the feed's events, of a range, of a correction, of all."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import duckdb
import pytest

from flights import live
from flights.database import database, sql
from flights.source import data_file
from flights.task import Task
from tests.examples import weather_oracle

KEY = ["origin", "observed_hour"]


def _hour(number: int) -> str:
    return f"2013-01-01T{number:02}:00:00Z"


class Feed:
    """What the source tells, in place of the gateway."""

    def __init__(self, volume: Path) -> None:
        self.volume = volume
        self.parts: list[dict[str, Any]] = []
        self.cursors: list[Mapping[str, Any]] = []

    def location(self, event: str) -> str:
        return (self.volume / "observations" / event).as_uri()

    def event(self, event: str, *, replaces: Any = (), cursor: Any = None, **_: Any) -> bool:
        part = {"location": self.location(event), "replaces": list(replaces)}
        new = part not in self.parts
        self.parts += [part] if new else []
        self.cursors += [cursor] if cursor else []
        return new


@pytest.fixture
def feed(tmp_path: Path) -> Feed:
    """The first ten weeks, with the hour that is taken back."""
    made = Feed(tmp_path)
    with database() as (db, _):
        db.execute(sql("observations"), {"weather": str(data_file("weather.csv"))})
        for first, last in list(live.windows(live.BEGINNING, live.timedelta(days=7)))[:10]:
            event = f"until-{live.text(last)}"
            db.execute(
                "CREATE OR REPLACE TABLE result AS FROM observations WHERE observed_hour > ? AND observed_hour <= ?",
                [first, last],
            )
            live.write(db, live.local_path(made.location(event)))
            made.event(event, cursor={"from": live.text(first), "to": live.text(last)})
            live.correct(db, made, last)
    return made


def task(feed: Feed, given: Mapping[str, Any], output: Mapping[str, Any], name: str = "observations") -> Task:
    partition = {"key": "*", "location": None, "parts": feed.parts}
    return Task({
        "partitions": ["*"],
        "inputs": {name: {"uniqueKey": KEY, "partitions": [partition], **given}},
        "outputs": [{"index": 0, "partitions": [
            {"key": "*", "location": (feed.volume / "tidy" / "x").as_uri(), **output}]}],
    })  # fmt: skip


def rows(feed: Feed) -> list[tuple[Any, ...]]:
    path = feed.volume / "tidy" / "x" / "data.parquet"
    return duckdb.sql(
        f"SET TimeZone = 'UTC'; SELECT count(*), count(wind_speed_ms) FROM read_parquet('{path}')"
    ).fetchall()


def test_all_of_it_is_what_the_file_says_without_the_hour_that_was_taken_back(feed: Feed) -> None:
    (line,) = live.tidy(task(feed, {}, {"replaces": [{}]}), "*")
    found = weather_oracle.contents([(feed.volume / "tidy" / "x", [])], KEY)
    wanted = weather_oracle.hourly()
    weather_oracle.check(found, wanted[wanted["observed_hour"] <= "2013-03-11T23:00:00Z"].reset_index(drop=True))
    assert line["cursor"]["to"] == "2013-03-11T23:00:00Z"
    assert line["rows"] == len(found)


def test_of_a_range_it_makes_these_hours(feed: Feed) -> None:
    asked = {"column": "observed_hour", "type": "timestamp", **feed.cursors[6]}
    (line,) = live.tidy(task(feed, {"range": asked}, {}), "*")
    wanted = weather_oracle.hourly()
    hours = wanted["observed_hour"].between(asked["from"], asked["to"], inclusive="right")
    assert rows(feed) == [(hours.sum(), wanted[hours]["wind_speed_ms"].count())]
    assert line["cursor"] == {**live.CURSOR, **feed.cursors[6]}


def test_of_rows_that_were_wrong_it_makes_these(feed: Feed) -> None:
    (line,) = live.tidy(task(feed, {"filters": [live.WRONG]}, {"replaces": [live.WRONG]}), "*")
    assert (rows(feed), "cursor" in line) == ([(1, 0)], False)


@pytest.mark.parametrize(
    ("rows_", "left"),
    [
        ({"origin": {"in": ["EWR", "JFK"]}, "observed_hour": {"gte": _hour(6), "lt": _hour(8)}}, 4),
        ({"observed_hour": {"gt": _hour(6), "lte": _hour(8)}}, 6),
    ],
)  # fmt: skip
def test_every_bound_of_a_filter_holds(feed: Feed, rows_: dict[str, Any], left: int) -> None:
    live.tidy(task(feed, {"filters": [rows_]}, {"replaces": [rows_]}), "*")
    assert rows(feed)[0][0] == left
