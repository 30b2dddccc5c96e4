"""The second example: the year's weather as a feed that goes on, and what is made of it update by update.

`observe` is a source of kind always_on. `tidy` and `daily` are given what came: a range of hours, or wrong rows.
"""

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb

from flights.database import columns, database, sql
from flights.lineage import told
from flights.parts import load
from flights.source import data_file
from flights.task import DATA_FILE, Task, local_path

CURSOR = {"column": "observed_hour", "type": "timestamp"}
# The feed begins here; events end at 23:00, so that each has whole days of UTC.
BEGINNING = datetime(2012, 12, 31, 23, tzinfo=UTC)
END = datetime(2013, 12, 31, 23, tzinfo=UTC)
# The feed has a gust of 1048 miles an hour at Newark, which later editions of the same data have not. It is taken back
# when this hour is reached.
WRONG = {"origin": {"eq": "EWR"}, "observed_hour": {"eq": "2013-02-12T08:00:00Z"}}
CORRECTED = datetime(2013, 3, 1, tzinfo=UTC)


def observe() -> None:
    """Tell the hours of the year one event after the other, from where the last attempt stopped; then wait for more."""
    from headrace.worker import Source  # noqa: PLC0415  the other steps do without it

    with Source() as source, database() as (db, _):
        db.execute(sql("observations"), {"weather": str(data_file("weather.csv"))})
        days, pause = int(source.config["daysPerEvent"]), float(source.config["secondsBetween"])
        told = source.cursor()
        for first, last in windows(BEGINNING if told is None else instant(told), timedelta(days=days)):
            event = f"until-{text(last)}"
            db.execute(
                "CREATE OR REPLACE TABLE result AS FROM observations"
                " WHERE observed_hour > ? AND observed_hour <= ? ORDER BY ALL",
                [first, last],
            )
            rows, size = write(db, local_path(source.location(event)))
            reached = {**CURSOR, "from": text(first), "to": text(last)}
            source.event(event, rows=rows, bytes=size, columns=columns(db, "result"), cursor=reached)
            print(f"{event}: {rows} rows", flush=True)
            correct(db, source, last)
            time.sleep(pause)
        correct(db, source, END)
        print("the year is over; waiting for more", flush=True)
        while True:
            time.sleep(3600)


def correct(db: duckdb.DuckDBPyConnection, source: Any, reached: datetime) -> None:
    """Take back the hour that was wrong, once it is time. To tell it again changes nothing."""
    if reached < CORRECTED:
        return
    event = "correction-2013-02-12"
    db.execute(
        "CREATE OR REPLACE TABLE result AS"
        " SELECT * REPLACE (CAST(NULL AS DOUBLE) AS wind_speed_mph) FROM observations"
        " WHERE origin = 'EWR' AND observed_hour = '2013-02-12T08:00:00Z'::TIMESTAMPTZ"
    )
    rows, size = write(db, local_path(source.location(event)))
    if source.event(event, rows=rows, bytes=size, columns=columns(db, "result"), replaces=[WRONG]):
        print(f"{event}: {rows} row", flush=True)


def windows(first: datetime, step: timedelta) -> Iterator[tuple[datetime, datetime]]:
    """From `first` to the end of the year, step by step."""
    while first < END:
        last = min(first + step, END)
        yield first, last
        first = last


def tidy(task: Task, _: str) -> list[dict[str, Any]]:
    """Observations in metric units."""
    return [made(task, "observations", "tidy", "observed_hour")]


def daily(task: Task, _: str) -> list[dict[str, Any]]:
    """For each airport and day of UTC: mean, least and greatest temperature, the strongest wind, precipitation."""
    return [made(task, "tidy", "daily", None)]


def made(task: Task, name: str, query: str, column: str | None) -> dict[str, Any]:
    """Run a query over what the task is given of an input; the line of its report, with how far it goes."""
    with database() as (db, _):
        given = load(db, task, name)
        made_from = told(sql(query), "result", {"given": (name, columns(db, "given"))})
        db.execute(sql(query))
        rows, size = write(db, task.output(0, "*"))
        line: dict[str, Any] = {"key": "*", "rows": rows, "bytes": size, "output": 0, "columns": columns(db, "result"),
                                "lineage": made_from}  # fmt: skip
        if column is not None and given is not None:
            (greatest,) = db.execute(f"SELECT epoch_us(max({column})) FROM given").fetchone() or (None,)
            upto = given.get("to") or (greatest and text(datetime.fromtimestamp(greatest / 1_000_000, UTC)))
            if upto is not None:
                line["cursor"] = {**CURSOR, "from": given.get("from"), "to": upto}
        return line


def write(db: duckdb.DuckDBPyConnection, directory: Path) -> tuple[int, int]:
    """Write the table `result`; rows and bytes."""
    directory.mkdir(parents=True, exist_ok=True)
    partial, target = directory / f".{DATA_FILE}", directory / DATA_FILE
    db.execute("COPY result TO $path (FORMAT parquet)", {"path": str(partial)})
    partial.rename(target)
    (rows,) = db.execute("SELECT count(*) FROM result").fetchone() or (0,)
    return int(rows), target.stat().st_size


def instant(written: str) -> datetime:
    """A time as cursors have it."""
    return datetime.fromisoformat(written).astimezone(UTC)


def text(at: datetime) -> str:
    """The same written down."""
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
