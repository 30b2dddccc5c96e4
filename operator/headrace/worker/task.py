"""A task as its code sees it: partitions, inputs and outputs with their locations, config; and what it says it made."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

# What a report may have, in it and in each of its parts (docs/contract.md).
_REPORT = ("partitions", "columns", "cursor", "lineage")
_PARTITION = ("key", "rows", "bytes", "output")
_COLUMN = ("name", "type", "nullable", "output")
_NAMED = 8
_LONGEST = 4000

Fetch = Callable[[str], "Mapping[str, Any] | None"]
"""A page of a manifest by its path; None: the attempt is over."""


class Lost(Exception):
    """The attempt is not this worker's any more, or has taken too long: whatever it makes counts for nothing."""


class Failed(Exception):
    """The task failed for the reason that its words say: where in the code it was raised says no more."""


@dataclass(frozen=True)
class Part:
    """A part of a partition, as one task added it.

    `replaces`: filters, and what of the parts before matches one of them (`{}`: everything) is no more there.
    """

    location: str | None
    replaces: tuple[Mapping[str, Any], ...] = ()


@dataclass(frozen=True)
class Location:
    """A partition and where its contents are, or are to be written; None where a task of the operator made it.

    `parts`: of an input that tasks add to, where its contents are, in order. `replaces`: of an output, as of a part.
    """

    key: str
    location: str | None
    parts: tuple[Part, ...] = ()
    replaces: tuple[Mapping[str, Any], ...] = ()


class Input:
    """An input as it was when the task was claimed: the dataset's name, its version, the partitions that are read.

    `where`: what of it is to be read, by field the value, or the list of values, that it may have; empty: all.
    `unique_key`: where partitions have parts, the columns that tell rows apart: of the same rows the last one counts.
    `filters`: the rows that are wrong, if the task is about these alone; a row of which one matches.
    `range`: what came, if the task is about that alone: the rows after `from` (None: from the beginning) up to `to`, by
    `column` of `type`.

    There may be so many that the task's document leaves them out: iterating asks the gateway for some at a time.
    """

    def __init__(self, given: Mapping[str, Any], fetch: Fetch | None = None) -> None:
        self.dataset: str = given["dataset"]
        self.version: str = given["version"]
        self.where: Mapping[str, Any] = given.get("where", {})
        self.unique_key: tuple[str, ...] = tuple(given.get("uniqueKey", ()))
        self.filters: tuple[Mapping[str, Any], ...] = tuple(given.get("filters", ()))
        self.range: Mapping[str, Any] | None = given.get("range")
        self._given = given
        self._fetch = fetch
        self._partitions: tuple[Location, ...] | None = None

    def __len__(self) -> int:
        """How many partitions."""
        return int(self._given["count"]) if "manifest" in self._given else len(self._given["partitions"])

    def __iter__(self) -> Iterator[Location]:
        """Every partition, in the order of the keys. Lost when the attempt is over."""
        yield from (_location(one) for one in self.told())

    def told(self) -> Iterator[Mapping[str, Any]]:
        """The same, as the document and the pages of the gateway have it."""
        if "manifest" not in self._given:
            yield from self._given["partitions"]
            return
        following: str | None = self._given["manifest"]
        while following is not None:
            if self._fetch is None:
                raise ValueError(f"the partitions are at the gateway: GET HEADRACE_URL{following}")
            page = self._fetch(following)
            if page is None:
                raise Lost("the attempt is over: its inputs are not told any more")
            yield from page["partitions"]
            following = page["next"]

    @property
    def partitions(self) -> tuple[Location, ...]:
        """Every partition at once."""
        if self._partitions is None:
            self._partitions = tuple(self)
        return self._partitions

    @property
    def location(self) -> str | None:
        """Of the only partition; ValueError when there are none or several, or it has parts."""
        if self.unique_key:
            raise ValueError("the partition has parts: look at `partitions[0].parts`")
        return _only(self.partitions).location


@dataclass(frozen=True)
class Output:
    """An output of the job, counted from 0, with where each partition is to be written, or what is added to it."""

    index: int
    dataset: str
    version: str
    partitions: tuple[Location, ...]
    unique_key: tuple[str, ...] = ()

    @property
    def location(self) -> str:
        """Of the only partition; ValueError when there are none or several."""
        return _only(self.partitions).location or ""


class Task:
    """One attempt of a task. `document` is as docs/contract.md describes; `fetch` gets what that leaves out."""

    def __init__(self, claimed: Mapping[str, Any], fetch: Fetch | None = None) -> None:
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
        self.inputs: Mapping[str, Input] = {name: Input(given, fetch) for name, given in document["inputs"].items()}
        self.outputs: tuple[Output, ...] = tuple(
            Output(made["index"], made["dataset"], made["version"], _locations(made), tuple(made.get("uniqueKey", ())))
            for made in document["outputs"]
        )
        self.reported: dict[tuple[int, str], dict[str, Any]] = {}
        self._columns: dict[int, list[dict[str, Any]]] = {}
        self._more: dict[str, Any] = {}
        self._note = ""
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
        self,
        *,
        rows: int | None = None,
        bytes: int | None = None,
        key: str | None = None,
        output: int = 0,
        columns: Mapping[str, str] | Sequence[Mapping[str, Any]] | None = None,
        cursor: Mapping[str, Any] | None = None,
        lineage: Mapping[str, Sequence[tuple[str, str]]] | None = None,
    ) -> None:
        """Say how much an output has; without `key` of the partition that the task is about. The last word counts.

        `columns` of the output: name to SQL type, or `{"name": …, "type": …, "nullable": …}` of each. `cursor`: how far
        it goes, `{"column": …, "type": …, "from": …, "to": …}`. `lineage`: by column of the output, the (input, column)
        pairs that it is made from.
        """
        key = self.key if key is None else key
        self.reported[output, key] = {"key": key, "output": output, "rows": rows, "bytes": bytes}
        if columns is not None:
            listed = [{"name": n, "type": t} for n, t in columns.items()] if isinstance(columns, Mapping) else columns
            self._columns[output] = [{**one, "output": output} for one in listed]
        if cursor is not None:
            self._more["cursor"] = [c for c in self._more.get("cursor", ()) if c["output"] != output]
            self._more["cursor"].append({**cursor, "output": output})
        if lineage is not None:
            self._more["lineage"] = [one for one in self._more.get("lineage", ()) if one.get("output", 0) != output]
            self._more["lineage"] += lineage_of(lineage, output)

    def report(self, said: Mapping[str, Any]) -> None:
        """Take a whole report, as a termination message has it; what it has no fields for is left out, and noted.
        ValueError, TypeError for what is none.
        """
        partitions, columns = said.get("partitions", []), said.get("columns", [])
        if not all(isinstance(listed, list) and all(isinstance(one, dict) for one in listed)
                   for listed in (partitions, columns)):  # fmt: skip
            raise ValueError("partitions and columns are lists of objects")
        if not all("key" in one for one in partitions):
            raise ValueError("a partition has no key")
        made = {
            (one.get("output", 0), one["key"]): {
                name: one.get(name, 0 if name == "output" else None) for name in _PARTITION
            }
            for one in partitions
        }
        listed: dict[int, list[dict[str, Any]]] = {}
        for one in columns:
            listed.setdefault(one.get("output", 0), []).append({name: one[name] for name in _COLUMN if name in one})
        self.reported.update(made)
        for output, more in listed.items():
            self._columns.setdefault(output, []).extend(more)
        self._more.update({name: said[name] for name in ("cursor", "lineage") if said.get(name) is not None})
        unknown = [name for name in said if name not in _REPORT]
        for part, entries, known in (("partitions", partitions, _PARTITION), ("columns", columns, _COLUMN)):
            names = dict.fromkeys(name for one in entries for name in one)
            unknown += [f"{part}[].{name}" for name in names if name not in known]
        if unknown:
            self.note(f"its report has fields that are not known and count for nothing: {_named(unknown)}")

    def note(self, words: str) -> None:
        """Say what is wrong with the report: the last message of a task that is done all the same."""
        printed = "".join(c if c.isprintable() else "?" for c in words)
        self._note = "; ".join(told for told in (self._note, printed) if told)[:_LONGEST]

    @property
    def result(self) -> dict[str, Any]:
        """The fence, and all that was said of outputs: what completes the attempt."""
        made = [{k: v for k, v in one.items() if v is not None} for one in self.reported.values()]
        columns = [one for listed in self._columns.values() for one in listed]
        note = {"note": self._note} if self._note else {}
        return {**self.fence, "partitions": made, **({"columns": columns} if columns else {}), **self._more, **note}

    @property
    def whole(self) -> dict[str, Any]:
        """The document with every partition of every input in it, whatever was left out."""
        inputs = {
            name: given
            if "manifest" not in given
            else {
                **{field: value for field, value in given.items() if field not in ("manifest", "count")},
                "partitions": list(self.inputs[name].told()),
            }
            for name, given in self.document["inputs"].items()
        }
        return {**self.document, "inputs": inputs}

    def give_up(self) -> None:
        """From now on it is in vain; the loop calls it."""
        self._lost.set()

    @property
    def fence(self) -> dict[str, Any]:
        """What every call about the attempt carries."""
        return {"id": self.id, "attempt": self.attempt, "token": self.token}


def lineage_of(told: Mapping[str, Sequence[tuple[str, str]]], output: int) -> list[dict[str, Any]]:
    """What columns of an output are made from, as a report has it."""
    return [
        {"output": output, "column": column, "from": [{"input": name, "column": one} for name, one in sources]}
        for column, sources in told.items()
    ]


def _locations(of: Mapping[str, Any]) -> tuple[Location, ...]:
    return tuple(_location(one) for one in of["partitions"])


def _location(given: Mapping[str, Any]) -> Location:
    parts = tuple(Part(one["location"], tuple(one.get("replaces", ()))) for one in given.get("parts", ()))
    return Location(given["key"], given["location"], parts, tuple(given.get("replaces", ())))


def _named(names: Sequence[str]) -> str:
    more = len(names) - _NAMED
    return ", ".join(name[:64] for name in names[:_NAMED]) + (f" and {more} more" if more > 0 else "")


def _only(partitions: tuple[Location, ...]) -> Location:
    if len(partitions) != 1:
        raise ValueError(f"there are {len(partitions)} partitions: look at `partitions`")
    return partitions[0]
