"""Random DAGs and random edits of them, and what an edit must make again: reckoned here by the graph, not by hashes."""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from typing import Any

from hypothesis import strategies as st

Job = dict[str, Any]


@dataclass
class Drawn:
    """A DAG by the names of its jobs; `data`: jobs whose edit changed what their data are."""

    jobs: dict[str, Job]
    data: set[str] = field(default_factory=set)

    def manifest(self) -> list[Job]:
        """The jobs, as a spec has them."""
        return list(self.jobs.values())

    def parents(self, name: str) -> set[str]:
        """The jobs that a job reads from."""
        return {i["from"]["job"] for i in self.jobs[name].get("inputs", [])}

    def downstream(self, names: set[str]) -> set[str]:
        """These jobs and all that follow from them."""
        found = set(names)
        while more := {job for job in self.jobs if job not in found and self.parents(job) & found}:
            found |= more
        return found

    def sources(self) -> list[str]:
        """The jobs that set the others off."""
        return [name for name, job in self.jobs.items() if "source" in job]

    def reached(self, running: set[str]) -> set[str]:
        """The jobs that have units when the sources `running` ran: all of whose inputs have them."""
        found: set[str] = set(running)
        for name in self.jobs:  # in the order of the graph
            if "inputs" in self.jobs[name] and self.parents(name) <= found:
                found.add(name)
        return found


def _input(job: str, output: int = 0) -> Job:
    return {"name": f"{job}-{output}", "from": {"job": job, "output": output}}


@st.composite
def dags(draw: st.DrawFn, most: int = 60) -> Drawn:
    """A DAG of at most `most` jobs, some of them triggers and pods that load, the others reading up to three."""
    size = draw(st.integers(2, most))
    jobs: dict[str, Job] = {}
    for n in range(size):
        name = f"j{n:02}"
        with_output = [j for j in jobs.values() if j.get("outputs", 1) > 0]
        if n == 0 or not with_output or draw(st.integers(0, 9)) == 0:
            jobs[name] = {"name": name, "source": {"kind": "manual"}}
            if draw(st.booleans()):
                jobs[name] |= {"image": "i", "config": {"n": 0}}
            continue
        read = draw(st.lists(st.sampled_from(with_output), min_size=1, max_size=3, unique_by=lambda j: j["name"]))
        jobs[name] = {
            "name": name,
            "image": "i",
            "inputs": [_input(j["name"], draw(st.integers(0, j.get("outputs", 1) - 1))) for j in read],
            "outputs": draw(st.sampled_from([1, 1, 1, 2, 0])),
            "config": {"n": 0},
            "scaling": {"maxConcurrency": 50},
        }
    return Drawn(jobs)


@st.composite
def edits(draw: st.DrawFn, drawn: Drawn, most: int = 4) -> Drawn:
    """The same DAG after a few edits, with the jobs whose data these change."""
    edited = Drawn(copy.deepcopy(drawn.jobs))
    for number in range(draw(st.integers(1, most))):
        _edit(draw, edited, number)
    return edited


def _edit(draw: st.DrawFn, edited: Drawn, number: int) -> None:
    pods = [name for name, job in edited.jobs.items() if "image" in job]
    kind = draw(st.sampled_from(["config", "command", "timeout", "scaling", "add", "remove", "rewire"]))
    if kind == "add" or not pods:
        read = draw(st.sampled_from([n for n, j in edited.jobs.items() if j.get("outputs", 1) > 0]))
        name = f"k{number}-{len(edited.jobs)}"
        edited.jobs[name] = {"name": name, "image": "i", "inputs": [_input(read)], "scaling": {"maxConcurrency": 50}}
        edited.data.add(name)
        return
    name = draw(st.sampled_from(pods))
    job = edited.jobs[name]
    if kind in ("config", "command"):
        change: Job = {"config": {"n": number + 1}} if kind == "config" else {"command": [f"c{number}"]}
        job |= change
        edited.data.add(name)
    elif kind == "timeout":
        job["timeoutSeconds"] = 100 + number
    elif kind == "scaling":
        job["scaling"] = {"maxConcurrency": 51 + number}
    elif kind == "remove" and not any(name in edited.parents(other) for other in edited.jobs) and len(edited.jobs) > 2:
        del edited.jobs[name]
        edited.data.discard(name)
    elif kind == "rewire" and len(job.get("inputs", [])) > 1:
        job["inputs"] = job["inputs"][:-1]
        edited.data.add(name)
