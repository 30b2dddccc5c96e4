"""DAGs whose tasks are pure functions of rows, and what a full rebuild of them would give, reckoned from the graph.

A source reads what the world has of a key; every other job makes a digest of what it reads, under its name and config.
"""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, cast

from hypothesis import strategies as st

from headrace.state.attempts import RunningPod

Job = dict[str, Any]
Rows = dict[str, str]
"""What each partition of a dataset has."""
KEYS = ("a", "b", "c")
_MANY = {"maxAttempts": 50, "scaling": {"maxConcurrency": 50}}


def rows_of(job: Job, read: Mapping[str, Iterable[tuple[str, str]]]) -> str:
    """What a job makes of what it reads: by input the rows of each partition that it was given."""
    text = repr((job["name"], job["config"], sorted((name, sorted(given)) for name, given in read.items())))
    return hashlib.sha256(text.encode()).hexdigest()[:8]


@dataclass
class World:
    """What the sources would find, and what tasks wrote, by location."""

    truth: dict[tuple[str, str], int] = field(default_factory=dict)
    written: dict[str, str] = field(default_factory=dict)

    def run(self, job: Job, pod: RunningPod) -> dict[str, str]:
        """What an attempt writes, by location, of what it was given when it was claimed."""
        if "source" in job:
            (key,) = pod.partitions
            made = rows_of(job, {"": [(key, str(self.truth[job["name"], key]))]})
        else:
            read = {name: _partitions(given) for name, given in pod.inputs.items()}
            made = rows_of(
                job, {name: [(p["key"], self.written[p["location"]]) for p in given] for name, given in read.items()}
            )
        return {_partitions(output)[0]["location"]: made for output in pod.outputs}

    def rebuilt(self, jobs: Mapping[str, Job]) -> dict[str, Rows]:
        """What every job of a DAG would have if all was made anew now; `jobs` in the order of the graph."""
        found: dict[str, Rows] = {}
        for name, job in jobs.items():
            if "source" in job:
                arrived = {key: str(n) for (source, key), n in self.truth.items() if source == name}
                found[name] = {key: rows_of(job, {"": [(key, n)]}) for key, n in arrived.items()}
                continue
            read = {i["name"]: (i.get("match", "same"), found[i["from"]["job"]]) for i in job["inputs"]}
            same = [rows for match, rows in read.values() if match == "same"]
            whole = [rows for match, rows in read.values() if match == "latest"]
            keys = set.intersection(*(set(rows) for rows in same)) if same else {"*"}
            found[name] = {
                key: rows_of(job, {n: [(key, rows[key])] if match == "same" else rows.items()
                                   for n, (match, rows) in read.items()})
                for key in keys
                if all(whole)
            }  # fmt: skip
        return found


def _partitions(of: Mapping[str, object]) -> list[dict[str, str]]:
    return cast("list[dict[str, str]]", of["partitions"])


@st.composite
def dags(draw: st.DrawFn) -> dict[str, Job]:
    """Up to seven jobs by name, in the order of the graph; what is read as a whole is followed (`onChange: rerun`)."""
    jobs: dict[str, Job] = {}
    for n in range(draw(st.integers(2, 7))):
        name = f"j{n}"
        if n == 0 or draw(st.integers(0, 3)) == 0:
            source = {"kind": "manual", "partitions": {"values": list(KEYS)}}
            jobs[name] = {"name": name, "image": "i", "source": source, "config": {"n": 0}, **_MANY}
        else:
            parents = draw(st.lists(st.sampled_from(sorted(jobs)), min_size=1, max_size=3, unique=True))
            inputs = [_input(parent, draw(st.booleans())) for parent in parents]
            if len(inputs) > 1 and all("match" in given for given in inputs):
                inputs[0] = _input(parents[0], False)
            jobs[name] = {"name": name, "image": "i", "inputs": inputs, "config": {"n": 0}, **_MANY}
    return jobs


def _input(job: str, whole: bool) -> Job:
    given: Job = {"name": f"of-{job}", "from": {"job": job}}
    return {**given, "match": "latest", "onChange": "rerun"} if whole else given


@st.composite
def edited(draw: st.DrawFn, jobs: Mapping[str, Job], number: int) -> dict[str, Job]:
    """The same DAG with one or two jobs that do something else, or read in another way."""
    after = copy.deepcopy(dict(jobs))
    for name in draw(st.lists(st.sampled_from(sorted(after)), min_size=1, max_size=2, unique=True)):
        job = after[name]
        inputs = job.get("inputs", [])
        kind = draw(st.sampled_from(["config", "match", "drop"]))
        if kind == "match" and inputs:
            place = draw(st.integers(0, len(inputs) - 1))
            turned = _input(inputs[place]["from"]["job"], "match" not in inputs[place])
            if len(inputs) == 1 or any("match" not in i for n, i in enumerate(inputs) if n != place):
                inputs[place] = turned
        elif kind == "drop" and len(inputs) > 1 and "match" not in inputs[0]:
            inputs.pop()
        else:
            job["config"] = {"n": number}
    return after
