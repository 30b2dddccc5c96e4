"""A chain of blocks on a cluster: added range by range in pods, read update by update in a worker, and corrected."""

from __future__ import annotations

import json
from pathlib import Path

from tests.cluster import chain, example
from tests.cluster.kube import Namespace, Object, dag, sql, until
from tests.cluster.people import account, headrace

NAME = "blocks"
_ADD = """
import json, os, pathlib
task = json.loads(open(os.environ["HEADRACE_TASK_FILE"]).read())
first, last = task["params"]["first"], task["params"]["last"]
place = pathlib.Path(task["outputs"][0]["partitions"][0]["location"].removeprefix("file://"))
place.mkdir(parents=True)
rows = [{"number": n, "value": n * 10} for n in range(first, last + 1)]
(place / "data").write_text("".join(json.dumps(row) + "\\n" for row in rows))
report = {"partitions": [{"key": "*", "rows": len(rows)}],
          "cursor": {"column": "number", "type": "bigint", "to": last, **({"from": first - 1} if first > 1 else {})}}
open(os.environ["HEADRACE_REPORT_FILE"], "w").write(json.dumps(report))
"""
_READ = """
import json, pathlib
from headrace.worker import run, task
def rows(uri):
    return [json.loads(line) for line in (pathlib.Path(uri.removeprefix("file://")) / "data").open()]
def within(number, filters):
    return not filters or any(f["number"].get("gte", number) <= number <= f["number"].get("lte", number)
                              and f["number"].get("eq", number) == number for f in filters)
@task
def work(task):
    blocks = task.inputs["add"]
    found = {row["number"]: row for p in blocks for part in p.parts for row in rows(part.location)}
    if blocks.range:
        after, to = blocks.range["from"] or 0, blocks.range["to"]
        found = {n: row for n, row in found.items() if after < n <= to}
    made = [{"number": n, "seen": row["value"] + 1} for n, row in sorted(found.items()) if within(n, blocks.filters)]
    place = pathlib.Path(task.outputs[0].location.removeprefix("file://"))
    place.mkdir(parents=True)
    (place / "data").write_text("".join(json.dumps(row) + "\\n" for row in made))
    task.made(rows=len(made))
run()
"""


def blocks() -> Object:
    """add -> read: parts, each range read once by a worker."""
    (template,) = [chain.chain(NAME, [], 0)["spec"]["defaults"]["template"]]
    parts = {"updateStrategy": "append", "uniqueKey": ["number"], "image": chain.IMAGE}
    number = {"type": "integer", "minimum": 1}
    return dag(
        NAME,
        {"name": "add", "source": {"kind": "manual"}, "command": ["python", "-c", _ADD], **parts, "paramsSchema": {
            "type": "object", "properties": {"first": number, "last": number}, "required": ["first", "last"]}},
        {"name": "read", "inputs": [{"from": {"job": "add"}}], "command": ["python", "-c", _READ], **parts,
         "executionStrategy": "PerUpdate", "idleTimeout": "5m", "scaling": {"maxConcurrency": 3, "batch": 3}},
        defaults={"template": template},
    )  # fmt: skip


def told(*arguments: str) -> str:
    done = headrace(*arguments)
    assert done.returncode == 0, done.stderr
    return done.stdout


def contents(ns: Namespace, job: str) -> dict[int, int]:
    """The rows of a job by number, put together from its parts."""
    root, found = example.volume(ns), dict[int, int]()
    for location, replaces in _parts(ns, job):
        for one in replaces or ():
            low = one.get("number", {}).get("eq", 0)
            found = {number: value for number, value in found.items() if one and number != low}
        for row in map(json.loads, chain.data(root, location).splitlines()):
            found[row["number"]] = row.get("seen", row.get("value"))
    return found


def _parts(ns: Namespace, job: str) -> list[tuple[str, list[dict[str, dict[str, int]]] | None]]:
    return sql(
        "SELECT a.location, a.replaces FROM partition_parts a JOIN datasets d ON d.id = a.dataset_uuid"
        " WHERE d.org_id = %s AND d.producer_job_name = %s ORDER BY a.place", ns.org(), job
    )  # fmt: skip


def test_blocks_are_read_as_they_come_and_read_again_where_they_were_wrong(ns: Namespace) -> None:
    account(ns, "headrace-cli", "edit")
    chain.volume(ns)
    ns.apply(blocks())
    ns.wait(NAME, "Serving")
    for first in (1, 11, 21, 31):
        told("run", f"{NAME}/add", "--param", f"first={first}", "--param", f"last={first + 9}", "--wait", "-n", ns.name)
    until("all is read", lambda: contents(ns, "read") == {n: n * 10 + 1 for n in range(1, 41)}, 90)
    assert 1 <= len(_parts(ns, "read")) <= 4, "the first look at the whole may see several"
    until("it says how far", lambda: sql(
        "SELECT c.cursor_column, c.cursor_value FROM dataset_cursors c JOIN jobs j ON j.id = c.job_id"
        " WHERE j.org_id = %s", ns.org()) == [("number", "40")])  # fmt: skip
    _mend(example.volume(ns), _parts(ns, "add"), 15, 7)
    said = told("invalidate", f"{NAME}.add.0", "--where", "number=15", "--reason", "correction", "-n", ns.name)
    assert said == f"{NAME}.add.0: 1 of 1 partition out of date\n  {NAME}/read: 1 unit to make again\n"
    wanted = {n: n * 10 + 1 for n in range(1, 41)} | {15: 8}
    until("it is read again", lambda: contents(ns, "read") == wanted, 60)
    assert [replaces for _, replaces in _parts(ns, "read")][-1] == [{"number": {"eq": 15}}]
    open_ones = (
        "SELECT count(*) FROM data_invalidations i JOIN datasets d ON d.id = i.dataset_uuid"
        " WHERE i.processed_at IS NULL AND d.producer_job_name = 'add' AND d.org_id = %s"
    )
    until("nobody waits for it", lambda: sql(open_ones, ns.org()) == [(0,)])
    ns.wait(NAME, "UpToDate")


def _mend(root: Path, parts: list[tuple[str, list[dict[str, dict[str, int]]] | None]], number: int, value: int) -> None:
    """Another value where it was written."""
    for location, _ in parts:
        file = root / location.removeprefix("file:///data/") / "data"
        rows = [json.loads(line) for line in file.read_text().splitlines()]
        changed = [{**row, "value": value} if row["number"] == number else row for row in rows]
        file.write_text("".join(json.dumps(row) + "\n" for row in changed))
