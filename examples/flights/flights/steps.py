"""The four steps of the pipeline: each makes the Parquet of one period from the files of its inputs."""

import os
from pathlib import Path
from typing import Any

import duckdb

from flights.database import columns, database, sql
from flights.lineage import Told, told
from flights.source import data_file, extract_flights, period
from flights.task import DATA_FILE, Task, TaskError

LATE_AFTER_MINUTES = 15


def clean(task: Task, key: str) -> list[dict[str, Any]]:
    """The period's flights, typed, with instants; cancelled and diverted ones are flagged, not dropped."""
    with database() as (db, scratch):
        raw = scratch / "flights.csv"
        extract_flights(key, raw)
        db.execute(sql("clean"), {"flights": str(raw)})
        written = publish(db, task, key)
        if written["rows"] == 0:
            # A data check belongs last in a job: a task that fails publishes nothing.
            raise TaskError(f"there are no flights in {key}; the package holds the year 2013")
        return [written]


def weather(task: Task, key: str) -> list[dict[str, Any]]:
    """The period's hourly observations, one for each airport and hour; none at all is an answer too."""
    with database() as (db, _):
        parameters = {"weather": str(data_file("weather.csv")), **dict(zip("ymd", period(key), strict=False))}
        db.execute(sql("weather"), {"d": None, **parameters})
        return [publish(db, task, key)]


def join(task: Task, key: str) -> list[dict[str, Any]]:
    """The period's flights with airline, plane, airports and the weather at the origin."""
    with database() as (db, _):
        load_flights(db, task.input("clean", key))
        db.execute(
            sql("join"),
            {
                "weather": str(task.input("weather", key)),
                **{name: str(data_file(f"{name}.csv")) for name in ("airlines", "airports", "planes")},
            },
        )
        inputs = {"flights": ("clean", columns(db, "flights")), "weather": ("weather", weather_columns(db, task, key))}
        written = publish(db, task, key, made_from=told(sql("join"), "result", inputs))
        given = count(db, "flights")
        if written["rows"] != given:
            raise TaskError(
                f"the join made {written['rows']} rows of {given} flights: a looked-up table has duplicates"
            )
        return [written]


def rank(task: Task, key: str) -> list[dict[str, Any]]:
    """Two rankings by mean arrival delay: of carriers (output 0) and of destination airports (output 1)."""
    late_after = int(task.config.get("lateAfterMinutes", LATE_AFTER_MINUTES))
    with database() as (db, _):
        load_flights(db, task.input("join", key))
        db.execute("SET VARIABLE late_after = $minutes", {"minutes": late_after})
        db.execute(sql("rank"))
        inputs = {"flights": ("join", columns(db, "flights"))}
        return [
            publish(db, task, key, index, table, told(sql("rank"), table, inputs))
            for index, table in enumerate(("carriers", "airports"))
        ]


def load_flights(db: duckdb.DuckDBPyConnection, path: Path) -> None:
    """Make the table `flights` of a Parquet file."""
    db.execute("CREATE TABLE flights AS FROM read_parquet($path)", {"path": str(path)})


def weather_columns(db: duckdb.DuckDBPyConnection, task: Task, key: str) -> dict[str, str]:
    """The columns of the period's weather."""
    db.execute("CREATE VIEW weather AS FROM read_parquet('" + str(task.input("weather", key)).replace("'", "''") + "')")
    return columns(db, "weather")


def publish(
    db: duckdb.DuckDBPyConnection,
    task: Task,
    key: str,
    index: int = 0,
    table: str = "result",
    made_from: Told | None = None,
) -> dict[str, Any]:
    """Write a table as the partition `key` of an output and return its line of the report.

    `made_from`: which columns of the inputs its columns are made from, where the inputs have columns.

    The location belongs to this attempt alone and is pointed to only once the task is accepted; the rename
    is for whoever looks into the directory meanwhile.
    """
    directory = task.output(index, key)
    directory.mkdir(parents=True, exist_ok=True)
    target = directory / DATA_FILE
    temporary = directory / f".{DATA_FILE}.writing"
    db.table(table).write_parquet(str(temporary), compression="zstd")
    os.replace(temporary, target)
    line = {"key": key, "rows": count(db, table), "bytes": target.stat().st_size, "output": index}
    return {**line, "columns": columns(db, table), **({"lineage": made_from} if made_from else {})}


def count(db: duckdb.DuckDBPyConnection, table: str) -> int:
    """The number of rows of a table."""
    return len(db.table(table))
