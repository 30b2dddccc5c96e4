"""A task as its code sees it: partitions, inputs and outputs with their locations, config; and what it says it made."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


class Lost(Exception):
    """The attempt is not this worker's any more, or has taken too long: whatever it makes counts for nothing."""


@dataclass(frozen=True)
class Location:
    """A partition and where its contents are, or are to be written; None where a task of the operator made it."""

    key: str
    location: str | None


@dataclass(frozen=True)
class Input:
    """An input as it was when the task was claimed: the dataset's name, its version, the partitions that are read."""

    dataset: str
    version: str
    partitions: tuple[Location, ...]

    @property
    def location(self) -> str | None:
        """Of the only partition; ValueError when there are none or several."""
        return _only(self.partitions).location


@dataclass(frozen=True)
class Output:
    """An output of the job, counted from 0, with where each partition is to be written."""

    index: int
    dataset: str
    version: str
    partitions: tuple[Location, ...]

    @property
    def location(self) -> str:
        """Of the only partition; ValueError when there are none or several."""
        return _only(self.partitions).location or ""


class Task:
    """One attempt of a task. `document` is the whole of it, as docs/contract.md describes."""

    def __init__(self, claimed: Mapping[str, Any]) -> None:
        document = claimed["task"]
        self.document: Mapping[str, Any] = document
        self.id: str = claimed["id"]
        self.attempt: int = claimed["attempt"]
        self.token: str = claimed["token"]
        self.timeout_seconds: int = claimed["timeout_seconds"]
        self.org: str = document["org"]
        self.dag: str = document["dag"]
        self.job: str = document["job"]
        self.operator: str = document["operator"]
        self.partitions: tuple[str, ...] = tuple(document["partitions"])
        self.config: Mapping[str, Any] = document["config"]
        self.params: Mapping[str, Any] = document["params"]
        self.inputs: Mapping[str, Input] = {
            name: Input(given["dataset"], given["version"], _locations(given))
            for name, given in document["inputs"].items()
        }
        self.outputs: tuple[Output, ...] = tuple(
            Output(made["index"], made["dataset"], made["version"], _locations(made)) for made in document["outputs"]
        )
        self.reported: dict[tuple[int, str], dict[str, Any]] = {}
        self._lost = threading.Event()

    @property
    def key(self) -> str:
        """The partition that the task is about; ValueError when there are several."""
        if len(self.partitions) != 1:
            raise ValueError(f"the task is about {len(self.partitions)} partitions: look at `partitions`")
        return self.partitions[0]

    @property
    def lost(self) -> bool:
        """Whether it is in vain to go on: the attempt was taken away, or its time is up."""
        return self._lost.is_set()

    def check(self) -> None:
        """Raise Lost when it is in vain to go on. Code that runs long calls it now and then."""
        if self.lost:
            raise Lost(f"task {self.id} is not this worker's any more")

    def made(
        self, *, rows: int | None = None, bytes: int | None = None, key: str | None = None, output: int = 0
    ) -> None:
        """Say how much an output has; without `key` of the partition that the task is about. The last word counts."""
        key = self.key if key is None else key
        self.reported[output, key] = {"key": key, "output": output, "rows": rows, "bytes": bytes}

    def give_up(self) -> None:
        """From now on it is in vain; the loop calls it."""
        self._lost.set()

    @property
    def fence(self) -> dict[str, Any]:
        """What every call about the attempt carries."""
        return {"id": self.id, "attempt": self.attempt, "token": self.token}


def _locations(of: Mapping[str, Any]) -> tuple[Location, ...]:
    return tuple(Location(p["key"], p["location"]) for p in of["partitions"])


def _only(partitions: tuple[Location, ...]) -> Location:
    if len(partitions) != 1:
        raise ValueError(f"there are {len(partitions)} partitions: look at `partitions`")
    return partitions[0]
