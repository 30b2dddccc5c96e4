"""A namespace as the API server would give it, made in a few words; the tests of `status` and `why` share it."""

from __future__ import annotations

from typing import Any

import msgspec

from headrace.cli.objects import Dag, Dataset, Job, View, view

HASH, OTHER = "v1-" + "0123456789abcdef" * 4, "v1-" + "fedcba9876543210" * 4


def conditions(**given: str | tuple[str, str]) -> list[dict[str, str]]:
    """Conditions that are True with a message, or a reason and a message; of a name that ends in `_`, False."""
    told = {type_: one if isinstance(one, tuple) else ("Reason", one) for type_, one in given.items()}
    return [
        {"type": type_.rstrip("_"), "status": "False" if type_.endswith("_") else "True", "reason": reason,
         "message": message, "lastTransitionTime": "2026-01-05T12:00:00Z"}
        for type_, (reason, message) in told.items()
    ]  # fmt: skip


def dag(name: str = "flights", jobs: Any = (), spec: Any = None, generation: int = 1, **status: Any) -> Any:
    """A DAG that serves and is up to date, where nothing else is said; `jobs`: name to what it reads."""
    written = [{"name": job, "inputs": [{"from": one} for one in reads]} for job, reads in dict(jobs).items()]
    base = {"observedGeneration": 1, "version": {"id": "i", "yamlHash": HASH, "short": "0123456789"},
            "conditions": conditions(Ready="", Serving="", UpToDate="")}  # fmt: skip
    return {"metadata": {"name": name, "generation": generation}, "spec": {"jobs": written, **(spec or {})},
            "status": {**base, **status}}  # fmt: skip


def job(name: str, of: str = "flights", spec: Any = None, **status: Any) -> Any:
    """A job as the operator shows it."""
    base = {"observedGeneration": 1, "state": "Idle", "units": {"done": 3, "stale": 0},
            "conditions": conditions(Ready="")}  # fmt: skip
    shown = {"dag": of, "jobName": name, "projected": True} if spec is None else {"dag": of, **spec}
    return {"metadata": {"name": f"{of}.{name}" if spec is None else name, "generation": 1}, "spec": shown,
            "status": {**base, **status}}  # fmt: skip


def dataset(name: str, by: str, of: str = "flights", **status: Any) -> Any:
    """A dataset as the operator shows it."""
    base = {"observedGeneration": 1, "name": name, "partitions": 3, "rows": 1200,
            "lastUpdated": "2026-01-05T11:53:00Z", "conditions": conditions(Ready="")}  # fmt: skip
    return {"metadata": {"name": f"{of}.{name}".replace("_", "-"), "generation": 1},
            "spec": {"from": {"dag": of, "job": by, "output": 0}, "projected": True},
            "status": {**base, **status}}  # fmt: skip


def namespace(*, dags: Any = (), jobs: Any = (), datasets: Any = ()) -> View:
    """All of it."""
    return view(
        "air",
        msgspec.convert(list(dags), list[Dag]),
        msgspec.convert(list(jobs), list[Job]),
        msgspec.convert(list(datasets), list[Dataset]),
    )
