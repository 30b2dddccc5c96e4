"""Rows as `state.report` reads them; the tests of the three statuses share them."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any, TypeVar
from uuid import UUID

import msgspec

from headrace.api.status import DagStatus, DatasetStatus, JobStatus
from headrace.state.report import BuildRow, DagRow, DatasetRow, JobRow
from tests.kstatus import Seen, check

S = TypeVar("S", DagStatus, JobStatus, DatasetStatus)

HASH = "v1-" + "ab" * 32
NOW = datetime(2026, 1, 5, 12, 0, 0, 123456, UTC)
LONG = "ü" * 4096


def dag(**fields: object) -> DagRow:
    """A version that serves."""
    base: dict[str, Any] = {"version": UUID(int=1), "yaml_hash": HASH, "since": NOW, "suspended": False,
                            "absent": False, "now": NOW}  # fmt: skip
    return DagRow(**(base | fields))


def job(name: str = "clean", **fields: object) -> JobRow:
    """A job that serves and has nothing to do."""
    counts = dict.fromkeys(("waiting", "running", "failed", "held", "done"), 0)
    nothing = dict.fromkeys(f for f in JobRow.__struct_fields__ if f.startswith("last_") or "fail" in f)
    base: dict[str, Any] = {**nothing, **counts, "name": name, "activation": "reactive", "runtime": "pod",
                            "source": None, "container": None, "pod": None, "retry_at": None,
                            "scaling": {"max_concurrency": 2}}  # fmt: skip
    return JobRow(**(base | fields))


def build(name: str = "clean", **fields: object) -> BuildRow:
    """A job of a version that is being built."""
    base: dict[str, Any] = {"name": name, "yaml_hash": "v1-" + "cd" * 32, "waiting": 0, "running": 0, "failed": 0,
                            "retry_at": None, "failure": None, "failed_key": None}  # fmt: skip
    return BuildRow(**(base | fields))


def dataset(name: str = "rows", **fields: object) -> DatasetRow:
    """A dataset without contents."""
    base: dict[str, Any] = {"name": name, "job": "clean", "output": 0, "version": UUID(int=2), "partitions": 0,
                            "location": "file:///data/air/rows/2", "rows": None, "bytes": None, "updated": None,
                            "consumers": []}  # fmt: skip
    return DatasetRow(**(base | fields))


def written(status: S) -> Any:
    """The status as the API server gets it, checked against every bound of the CRD, and as a watcher sees it."""
    text = msgspec.json.encode(status)
    assert msgspec.json.decode(text, type=type(status)) == status
    made = json.loads(text)
    look(made)
    return made


def look(made: Any) -> Seen | None:
    """How a watcher sees an object with this status, of the generation that the status was made for.

    None for parts of a status, which say nothing of a generation.
    """
    of = [c["observedGeneration"] for c in made.get("conditions", ()) if "observedGeneration" in c]
    if not of:
        return None
    seen = check({"metadata": {"generation": max(of)}, "status": {"observedGeneration": -1, **made}})
    told = {c["type"]: c["status"] for c in made["conditions"]}
    waits = "Reconciling" in told or ("Stalled" not in told and told.get("Ready", "True") != "True")
    assert seen == ("InProgress" if waits else "Failed" if "Stalled" in told else "Current")
    return seen


def body(status: Any = None) -> dict[str, object]:
    """An object with a status that was written before."""
    return {"metadata": {"name": "flights"}} | ({} if status is None else {"status": status})


def truths(status: Any) -> dict[str, tuple[str, str]]:
    """The conditions: type to status and reason; each type once."""
    assert len({c["type"] for c in status["conditions"]}) == len(status["conditions"])
    return {c["type"]: (c["status"], c["reason"]) for c in status["conditions"]}


def condition_of(status: Any, type_: str) -> Any:
    """The condition of a type."""
    return next(c for c in status["conditions"] if c["type"] == type_)
