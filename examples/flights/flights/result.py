"""The year's answer, from the rankings of its periods.

It is given the locations of accepted partitions, never a directory to scan: beside them lie the files of
attempts that were superseded.
"""

import json
from collections.abc import Iterable
from typing import Any

from flights.database import database, sql
from flights.task import DATA_FILE, TaskError, local_path

USAGE = 'give the partitions as JSON: [{"key": …, "location": …}], or an object of such lists by dataset'
ROW = "{rank:>4}  {code:<4}  {name:<32}  {flights:>7}  {dep:>7}  {arr:>7}  {late:>5}"


def datasets(document: Any) -> dict[str, list[str]]:
    """The locations of each dataset in what `flights result` was given."""
    named = document if isinstance(document, dict) else {"": document}
    try:
        return {
            str(name): [str(partition["location"]) for partition in partitions] for name, partitions in named.items()
        }
    except (TypeError, KeyError):
        raise TaskError(USAGE) from None


def relocate(location: str, moves: Iterable[tuple[str, str]]) -> str:
    """The location as seen from here, when the volume is mounted elsewhere than in the pods."""
    for prefix, replacement in moves:
        if location.startswith(prefix):
            return replacement + location.removeprefix(prefix)
    return location


def ranking(locations: list[str]) -> list[dict[str, Any]]:
    """One row for each carrier or airport over all the partitions, most delayed first."""
    if not locations:
        raise TaskError("there are no partitions to rank")
    paths = [str(local_path(location) / DATA_FILE) for location in locations]
    with database() as (db, _):
        found = db.execute(sql("result"), {"files": paths})
        names = [column[0] for column in found.description or ()]
        return [dict(zip(names, row, strict=True)) for row in found.fetchall()]


def table(title: str, rows: list[dict[str, Any]], top: int) -> str:
    """The first `top` rows as text of at most 80 columns."""
    head = ROW.format(
        rank="rank", code="code", name="name", flights="flights", dep="dep min", arr="arr min", late="late"
    )
    lines = [f"{title} (most delayed on arrival; {len(rows)} in all)", head, "-" * len(head)]
    for row in rows[:top]:
        lines.append(
            ROW.format(
                rank=row["rank"],
                code=row["code"],
                name=(row["name"] or "")[:32],
                flights=f"{row['flights']:,}",
                dep=number(row["mean_dep_delay"], "{:.1f}"),
                arr=number(row["mean_arr_delay"], "{:.1f}"),
                late=number(row["share_late"], "{:.0%}"),
            )
        )
    return "\n".join(lines)


def number(value: float | None, pattern: str) -> str:
    """A number as text; nothing that flew has no mean."""
    return "-" if value is None else pattern.format(value)


def render(document: Any, moves: list[tuple[str, str]], top: int, as_json: bool) -> str:
    """What `flights result` prints."""
    ranked = {
        name: ranking([relocate(location, moves) for location in locations])
        for name, locations in datasets(document).items()
    }
    if as_json:
        return json.dumps(ranked if isinstance(document, dict) else ranked[""], indent=1)
    return "\n\n".join(table(name or "ranking", rows, top) for name, rows in ranked.items())
