"""What the weather example must have made, recomputed from the package's file with pandas alone; how parts are read.

Nothing here uses the example's code. DuckDB appears only to read Parquet into a frame.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd

from tests.examples.oracle import raw

HOURS = 26_115
NEWARK_GALE = pd.Timestamp("2013-02-12T08:00:00Z")


@cache
def hourly() -> pd.DataFrame:
    """By airport and hour: metric, and without the gale of 1,048 miles an hour."""
    table = raw("weather.csv").drop_duplicates(["origin", "time_hour"])
    observed = pd.to_datetime(table["time_hour"], utc=True)
    wind = table["wind_speed"].mask((table["origin"] == "EWR") & (observed == NEWARK_GALE))
    return pd.DataFrame({
        "origin": table["origin"],
        "observed_hour": observed,
        "temp_c": (table["temp"] - 32) * 5 / 9,
        "wind_speed_ms": wind * 0.44704,
        "precipitation_mm": table["precip"] * 25.4,
        "pressure_hpa": table["pressure"],
    }).sort_values(["origin", "observed_hour"], ignore_index=True)  # fmt: skip


@cache
def daily() -> pd.DataFrame:
    """By airport and day of UTC."""
    table = hourly().assign(day=hourly()["observed_hour"].dt.floor("D").dt.tz_localize(None))
    groups = table.groupby(["origin", "day"])
    return pd.DataFrame({
        "hours": groups.size(),
        "mean_temp_c": groups["temp_c"].mean(),
        "least_temp_c": groups["temp_c"].min(),
        "greatest_temp_c": groups["temp_c"].max(),
        "strongest_wind_ms": groups["wind_speed_ms"].max(),
        "precipitation_mm": groups["precipitation_mm"].sum(min_count=1),
    }).reset_index()  # fmt: skip


def read(directory: Path) -> pd.DataFrame:
    """The rows of one part; instants are UTC."""
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        found = connection.execute("FROM read_parquet($file)", {"file": str(directory / "data.parquet")})
        frame = pd.DataFrame({name: pd.Series(values) for name, values in found.fetchnumpy().items()})
    if "observed_hour" in frame:
        frame["observed_hour"] = pd.to_datetime(frame["observed_hour"], utc=True)
    return frame


def contents(parts: Iterable[tuple[Path, list[Mapping[str, Any]]]], key: list[str]) -> pd.DataFrame:
    """The rows of a dataset's parts, each with the filters that it replaces, in their order."""
    rows = pd.DataFrame()
    for path, replaces in parts:
        new = read(path)
        for given in replaces:
            keep = pd.Series(data=False, index=rows.index)
            for column, bounds in given.items():
                ((_, value),) = [(sign, value) for sign, value in bounds.items() if sign == "eq"]
                keep |= rows[column] != (pd.Timestamp(value) if column == "observed_hour" else value)
            rows = rows[keep]
        rows = pd.concat([rows, new], ignore_index=True).drop_duplicates(key, keep="last")
    return rows.sort_values(key, ignore_index=True)


def check(found: pd.DataFrame, wanted: pd.DataFrame) -> None:
    """AssertionError where a value differs."""
    pd.testing.assert_frame_equal(found[list(wanted.columns)], wanted, check_dtype=False, rtol=1e-9, atol=1e-9)
