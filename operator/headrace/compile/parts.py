"""The jobs and published datasets of a DAG from all three ways of writing them, as one list of parts. Pure.

A part is written inline in its DAG or as an object of its own, and means the same either way: `compile.dag` works on
parts and knows the difference only where a problem must say in which object it is.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from headrace.api import names
from headrace.api.dag import DagSpec
from headrace.api.dataset import DatasetFields, DatasetSpec
from headrace.api.job import JobFields, JobSpec
from headrace.compile.problems import Problems


@dataclass(frozen=True)
class JobPart:
    """A job called `name`: its fields are at `path` of the object that `problems` are about, its name at `named`."""

    name: str
    fields: JobFields
    problems: Problems
    path: str
    named: str
    inline: bool


@dataclass(frozen=True)
class PublishPart:
    """Output number `output` of `job` published as `name`; the rest as in JobPart."""

    name: str
    job: str
    output: int
    fields: DatasetFields
    problems: Problems
    path: str
    named: str
    inline: bool


P = TypeVar("P", JobPart, PublishPart)


def job_name(object_name: str, given: object) -> str:
    """The name of the job that a Job object writes; `given` is its `jobName`."""
    return given if isinstance(given, str) else object_name


def dataset_name(object_name: str, given: object) -> str:
    """The name of the dataset that a Dataset object writes; `given` is its `datasetName`."""
    return given if isinstance(given, str) else object_name.replace("-", "_")


def job_parts(spec: DagSpec, authored: Mapping[str, JobSpec], problems: Problems) -> list[JobPart]:
    """Every job: the inline ones as written, then the objects by name."""
    return [
        *(JobPart(j.name, j, problems, f"spec.jobs[{j.name}]", "spec.jobs", True) for j in spec.jobs or ()),
        *(
            JobPart(
                name=job_name(name, given.job_name),
                fields=given,
                problems=problems.of(f"{names.JOB} {name}"),
                path="spec",
                named="spec.jobName" if given.job_name else "metadata.name",
                inline=False,
            )
            for name, given in sorted(authored.items())
        ),
    ]


def publish_parts(spec: DagSpec, authored: Mapping[str, DatasetSpec], problems: Problems) -> list[PublishPart]:
    """Every published dataset: the inline ones as written, then the objects by name."""
    return [
        *(
            PublishPart(
                p.name, p.from_.job, p.from_.output or 0, p, problems, f"spec.publish[{p.name}]", "spec.publish", True
            )
            for p in spec.publish or ()
        ),
        *(
            PublishPart(
                name=dataset_name(name, given.dataset_name),
                job=given.from_.job,
                output=given.from_.output or 0,
                fields=given,
                problems=problems.of(f"{names.DATASET} {name}"),
                path="spec",
                named="spec.datasetName" if given.dataset_name else "metadata.name",
                inline=False,
            )
            for name, given in sorted(authored.items())
        ),
    ]


def check_names(dag: str, parts: Sequence[P], what: str) -> None:
    """Note names given twice and inline names that would be shown alike; `what` they are: jobs or datasets.

    A name with a dot is reserved for what the operator shows, so an object of its own is never in the way.
    """
    by_name: dict[str, list[P]] = defaultdict(list)
    shown: dict[str, set[str]] = defaultdict(set)
    for part in parts:
        by_name[part.name].append(part)
        if part.inline:
            shown[names.project_name(dag, part.name)].add(part.name)
    for name, group in sorted(by_name.items()):
        if len(group) == 1:
            continue
        if all(part.inline for part in group):
            group[0].problems.add(group[0].named, name, f"two {what} have this name: rename one")
        for part in group:
            if not part.inline:
                others = sorted({_written(other) for other in group if other is not part})
                told = f"also the name of {' and of '.join(others)}: rename one"
                part.problems.add(part.named, name, told, between=True)
    for alike, found in sorted(shown.items()):
        for part in parts if len(found) > 1 else ():
            if part.inline and part.name in found:
                part.problems.add(part.named, part.name, f"it and another would both be shown as {alike}: rename one")


def _written(part: JobPart | PublishPart) -> str:
    return f"{part.path} of {part.problems.about}" if part.inline else part.problems.about
