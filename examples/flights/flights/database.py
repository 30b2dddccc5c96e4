"""DuckDB, set up for a small pod: little memory, one thread, no network, nothing written outside the
temporary directory, and instants shown in UTC."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path

import duckdb


@contextmanager
def database() -> Iterator[tuple[duckdb.DuckDBPyConnection, Path]]:
    """An empty in-memory database, and a temporary directory that lives as long."""
    with tempfile.TemporaryDirectory(prefix="flights-") as scratch:
        connection = duckdb.connect(
            config={
                "threads": 1,
                "memory_limit": "256MB",
                "temp_directory": scratch,
                "home_directory": scratch,
                "autoinstall_known_extensions": False,
                "autoload_known_extensions": False,
            }
        )
        with connection:
            connection.execute("SET TimeZone = 'UTC'")
            yield connection, Path(scratch)


def columns(db: duckdb.DuckDBPyConnection, table: str) -> dict[str, str]:
    """The columns of a table, with their types."""
    return {name: kind for name, kind, *_ in db.execute(f"DESCRIBE {table}").fetchall()}


def sql(name: str) -> str:
    """The text of `sql/<name>.sql`."""
    return files("flights").joinpath("sql", f"{name}.sql").read_text()
