"""DAGs whose tasks are pure functions of rows, and what a full rebuild of them would give, reckoned from the graph.

A source reads what the world has of a key; a log has rows of its own, which come in order and are corrected; what reads
a log update by update makes a row of each of its rows; every other job makes a digest of what it reads. Jobs differ by
their names and configs.
"""

from __future__ import annotations

import copy
import hashlib
import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, cast

from hypothesis import strategies as st

from headrace.plan.cursors import Range
from headrace.state.attempts import RunningPod

Job = dict[str, Any]
Rows = dict[int, str]
"""By id, what a row says; a digest is the row 0."""
Contents = dict[str, Rows]
"""What each partition of a dataset has."""
KEYS = ("a", "b", "c")
_MANY = {"maxAttempts": 50, "scaling": {"maxConcurrency": 50}}
_PARTS = {"updateStrategy": "append", "uniqueKey": ["id"]}


def said(*of: object) -> str:
    """Something else for everything else."""
    return hashlib.sha256(repr(of).encode()).hexdigest()[:8]


def made(job: Job, read: Mapping[str, Mapping[str, Rows]]) -> Rows:
    """What a job makes of what it reads: by input the rows of each partition that it was given."""
    given = {name: sorted((key, sorted(rows.items())) for key, rows in parts.items()) for name, parts in read.items()}
    if not follows(job):
        return {0: said(job["name"], job["config"], sorted(given.items()))}
    first = job["inputs"][0]["name"]
    others = sorted((name, parts) for name, parts in given.items() if name != first)
    (rows,) = read[first].values()
    return {id_: said(job["name"], job["config"], text, others) for id_, text in rows.items()}


def is_log(job: Job) -> bool:
    """Whether it is a source of rows that come in order."""
    return "source" in job and "partitions" not in job["source"]


def follows(job: Job) -> bool:
    """Whether it makes a row of each row of a log, update by update."""
    return job.get("executionStrategy") == "PerUpdate"


@dataclass
class Made:
    """What an attempt writes, by location, and the range that it reports; of a log, how it was when it was read."""

    job: Job
    written: dict[str, Rows]
    range: Range | None = None
    seen: tuple[str, Rows] | None = None


@dataclass
class World:
    """What the sources would find, what tasks wrote, by location, and what each generation of a log has."""

    truth: dict[tuple[str, str], Rows] = field(default_factory=dict)
    written: dict[str, Rows] = field(default_factory=dict)
    of: dict[str, Job] = field(default_factory=dict)
    seen: dict[str, Rows] = field(default_factory=dict)

    def run(self, job: Job, pod: RunningPod) -> Made:
        """What an attempt makes of what it was given when it was claimed."""
        (output,) = pod.outputs
        location, (key,) = str(_partitions(output)[0]["location"]), pod.partitions
        if not is_log(job):
            if "source" in job:
                return Made(job, {location: made(job, {"": {key: self.truth[job["name"], key]}})})
            read = {name: self._read(given) for name, given in pod.inputs.items()}
            return Made(job, {location: made(job, read)})
        rows, before = self.truth[job["name"], key], self.seen.get(str(output["version"]), {})
        changed = [id_ for id_, text in rows.items() if before.get(id_) != text]
        seen = (str(output["version"]), dict(rows))
        if not changed:
            return Made(job, {location: {}}, None, seen)
        after = min(changed) - 1
        new = {id_: said(job["config"], text) for id_, text in rows.items() if id_ > after}
        return Made(job, {location: new}, Range("id", "bigint", str(after) if after else None, str(max(rows))), seen)

    def accepted(self, what: Made) -> None:
        """It is there."""
        self.there(what)
        if what.seen is not None:
            self.seen[what.seen[0]] = what.seen[1]

    def there(self, what: Made) -> None:
        """It is written, be it accepted or not."""
        self.written |= what.written
        self.of |= dict.fromkeys(what.written, what.job)

    def spoil(self, name: str, key: str, rows: Rows) -> None:
        """Rows of a source are others than before, also where they were written already."""
        self.truth[name, key] |= rows
        for location, job in self.of.items():
            if job["name"] == name and is_log(job):
                here = self.written[location]
                here |= {id_: said(job["config"], text) for id_, text in rows.items() if id_ in here}
            elif job["name"] == name and f"/{key}/" in location:
                self.written[location] = made(job, {"": {key: self.truth[name, key]}})
        for before in self.seen.values():
            before |= {id_: text for id_, text in rows.items() if id_ in before}

    def folded(self, partition: Mapping[str, Any]) -> Rows:
        """The rows of a partition, put together from its parts."""
        if "parts" not in partition:
            return self.written[partition["location"]]
        rows: Rows = {}
        for part in partition["parts"]:
            rows = {
                id_: text for id_, text in rows.items() if not any(_in(id_, one) for one in part.get("replaces", ()))
            }
            rows |= self.written[part["location"]]
        return rows

    def _read(self, given: Mapping[str, Any]) -> dict[str, Rows]:
        """What a task reads of an input: what it is told to."""
        found = {str(p["key"]): self.folded(p) for p in _partitions(given)}
        range_, filters = given.get("range"), given.get("filters")
        if range_ is not None:
            return {k: {i: t for i, t in rows.items() if (range_["from"] or 0) < i <= range_["to"]}
                    for k, rows in found.items()}  # fmt: skip
        if filters is not None and all("id" in one for one in filters):
            return {k: {i: t for i, t in rows.items() if any(_in(i, one) for one in filters)}
                    for k, rows in found.items()}  # fmt: skip
        return found

    def rebuilt(self, jobs: Mapping[str, Job]) -> dict[str, Contents]:
        """What every job of a DAG would have if all was made anew now; `jobs` in the order of the graph."""
        found: dict[str, Contents] = {}
        for name, job in jobs.items():
            if "source" in job:
                arrived = {key: rows for (source, key), rows in self.truth.items() if source == name}
                found[name] = {
                    key: {i: said(job["config"], t) for i, t in rows.items()} if is_log(job)
                    else made(job, {"": {key: rows}})
                    for key, rows in arrived.items()
                }  # fmt: skip
                continue
            whole_only = follows(job)
            read = {i["name"]: (i.get("match", "latest" if whole_only else "same"), found[i["from"]["job"]])
                    for i in job["inputs"]}  # fmt: skip
            same = [rows for match, rows in read.values() if match == "same"]
            whole = [rows for match, rows in read.values() if match == "latest"]
            keys = set.intersection(*(set(rows) for rows in same)) if same else {"*"}
            found[name] = {
                key: made(job, {n: {key: rows[key]} if match == "same" else rows for n, (match, rows) in read.items()})
                for key in keys
                if all(whole)
            }
        return found


def _in(id_: int, rows: Mapping[str, Mapping[str, int]]) -> bool:
    """Whether a filter matches."""
    bound = rows.get("id")
    return bound is None or (id_ == bound["eq"] if "eq" in bound else bound["gte"] <= id_ <= bound["lte"])


def _partitions(of: Mapping[str, object]) -> list[dict[str, Any]]:
    return cast("list[dict[str, Any]]", of["partitions"])


@st.composite
def dags(draw: st.DrawFn) -> dict[str, Job]:
    """Up to seven jobs by name, in the order of the graph; what is read as a whole is followed (`onChange: rerun`)."""
    jobs: dict[str, Job] = {}
    for n in range(draw(st.integers(2, 7))):
        name = f"j{n}"
        base: Job = {"name": name, "image": "i", "config": {"n": 0}, **_MANY}
        logs = sorted(one for one, job in jobs.items() if is_log(job))
        kind = draw(st.integers(0, 7)) if n else draw(st.integers(0, 1))
        if kind == 0:
            jobs[name] = {**base, "source": {"kind": "manual", "partitions": {"values": list(KEYS)}}}
        elif kind == 1:
            jobs[name] = {**base, "source": {"kind": "manual"}, **_PARTS}
        elif kind in (2, 3) and logs:
            others = [one for one in jobs if one not in logs]
            also = [draw(st.sampled_from(sorted(others)))] if others and draw(st.booleans()) else []
            inputs = [_input(draw(st.sampled_from(logs)), False), *(_input(one, True) for one in also)]
            jobs[name] = {**base, "inputs": inputs, "executionStrategy": "PerUpdate", **_PARTS,
                          "coalesce": draw(st.booleans())}  # fmt: skip
        else:
            parents = draw(st.lists(st.sampled_from(sorted(jobs)), min_size=1, max_size=3, unique=True))
            inputs = [_input(parent, draw(st.booleans())) for parent in parents]
            if len(inputs) > 1 and all("match" in given for given in inputs):
                inputs[0] = _input(parents[0], False)
            jobs[name] = {**base, "inputs": inputs, **(_PARTS if draw(st.booleans()) else {})}
    return jobs


def _input(job: str, whole: bool) -> Job:
    given: Job = {"name": f"of-{job}", "from": {"job": job}}
    return {**given, "match": "latest", "onChange": "rerun"} if whole else given


def edited(dice: random.Random, jobs: Mapping[str, Job], number: int) -> dict[str, Job]:
    """The same DAG with one or two jobs that do something else, or read in another way."""
    after = copy.deepcopy(dict(jobs))
    for name in dice.sample(sorted(after), min(len(after), dice.randint(1, 2))):
        job = after[name]
        inputs = [] if follows(job) else job.get("inputs", [])
        kind = dice.choice(["config", "match", "drop"])
        if kind == "match" and inputs:
            place = dice.randrange(len(inputs))
            turned = _input(inputs[place]["from"]["job"], "match" not in inputs[place])
            if len(inputs) == 1 or any("match" not in i for n, i in enumerate(inputs) if n != place):
                inputs[place] = turned
        elif kind == "drop" and len(inputs) > 1 and "match" not in inputs[0]:
            inputs.pop()
        else:
            job["config"] = {"n": number}
    return after
