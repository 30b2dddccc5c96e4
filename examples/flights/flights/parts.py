"""What a task is given of a dataset that is added to: its parts put together, as docs/contract.md says."""

from typing import Any

import duckdb

from flights.task import DATA_FILE, Task, TaskError, local_path

_SIGNS = {"gte": ">=", "gt": ">", "lte": "<=", "lt": "<", "eq": "="}


def load(db: duckdb.DuckDBPyConnection, task: Task, name: str) -> dict[str, Any] | None:
    """Make the table `given`: the rows of the input `name` that the task is about; its range, `{}` for the whole.

    None: the task is about rows that were wrong.
    """
    document = task.document["inputs"][name]
    [partition] = document["partitions"]
    for part in partition["parts"]:
        path = str(local_path(part["location"]) / DATA_FILE)
        exists = db.execute("SELECT 1 FROM duckdb_tables() WHERE table_name = 'given'").fetchone()
        if not exists:
            db.execute("CREATE TABLE given AS FROM read_parquet($path)", {"path": path})
            continue
        for rows in part.get("replaces", ()):
            condition, values = where(db, rows)
            db.execute(f"DELETE FROM given WHERE {condition}", values)
        same = " AND ".join(f"given.{quoted(column)} = new.{quoted(column)}" for column in document["uniqueKey"])
        db.execute(f"DELETE FROM given USING read_parquet($path) AS new WHERE {same}", {"path": path})
        db.execute("INSERT INTO given FROM read_parquet($path)", {"path": path})
    [output] = task.document["outputs"]
    replaces = output["partitions"][0].get("replaces")
    if replaces and replaces != [{}]:
        conditions = [where(db, rows) for rows in replaces]
        keep = " OR ".join(f"({condition})" for condition, _ in conditions)
        db.execute(
            f"DELETE FROM given WHERE NOT coalesce({keep}, false)", [v for _, values in conditions for v in values]
        )
        return None
    asked = document.get("range")
    if asked is None:
        return {}
    column = quoted(asked["column"])
    db.execute(f"DELETE FROM given WHERE {column} > CAST(? AS TIMESTAMPTZ)", [asked["to"]])
    if asked["from"] is not None:
        db.execute(f"DELETE FROM given WHERE {column} <= CAST(? AS TIMESTAMPTZ)", [asked["from"]])
    return dict(asked)


def where(db: duckdb.DuckDBPyConnection, rows: dict[str, dict[str, Any]]) -> tuple[str, list[Any]]:
    """A filter as a condition, with its values: of several columns and bounds all hold."""
    types = dict(
        db.execute("SELECT column_name, data_type FROM duckdb_columns() WHERE table_name = 'given'").fetchall()
    )
    terms, values = ["true"], []
    for column, bounds in rows.items():
        if column not in types:
            raise TaskError(f"a filter is about {column}, which the rows do not have")
        for sign, value in bounds.items():
            of = value if sign == "in" else [value]
            cast = ", ".join(f"CAST(? AS {types[column]})" for _ in of)
            terms.append(f"{quoted(column)} IN ({cast})" if sign == "in" else f"{quoted(column)} {_SIGNS[sign]} {cast}")
            values += of
    return " AND ".join(terms), values


def quoted(name: str) -> str:
    """A name as SQL has it, whatever is in it."""
    return '"' + name.replace('"', '""') + '"'
