"""Where the units of jobs that are to be built come from: the questions that a plan asks of the data. Pure.

A job that is built has the units that its inputs give, and an input that is built itself has those of its own inputs;
the frontier of a job is where that ends, at datasets that stay, at sources, and at other DAGs.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final
from uuid import UUID

from msgspec import Struct
from msgspec.structs import replace

from headrace.api.identity import job_identity
from headrace.compile.document import Compiled, JobDocument, SourceDocument
from headrace.compile.history import same_names

_RENAMED: Final = -1
"""Stands for an output of a source whose partitions are named in another way than before."""


class Place(Struct, frozen=True, kw_only=True, order=True):
    """A dataset where keys come from: an output of a job as it serves, or, with `dataset`, one of another DAG.

    `whole`: it gives one key, `*`, as soon as it has anything.
    """

    job: str = ""
    output: int = 0
    dataset: str | None = None
    whole: bool = False


Frontier = frozenset[Place]


class Question(Struct, frozen=True, kw_only=True):
    """How many units a job has over the frontier number `frontier`, and how many are done: by its fingerprint, in the
    generation of its first output (`output`: that one's fingerprint, None for a job without)."""

    job: str
    frontier: int
    identity: UUID
    fingerprint: str
    output: str | None


class Numbered(Struct, frozen=True, kw_only=True):
    """One place of the frontier number `id`."""

    id: int
    job: str
    output: int
    dataset: str | None
    whole: bool


def questions(
    org_id: UUID, compiled: Compiled, builds: Mapping[str, str | None], sources: Mapping[str, SourceDocument]
) -> tuple[list[Question], list[Numbered], dict[str, frozenset[str]]]:
    """What to ask for the jobs that are built, the frontiers; and the jobs that get their units from sources whose
    partitions are named in another way, with these sources: no data can tell how many.

    `builds`: each job to be built with the fingerprint that it serves with, None for a new one; `sources`: how those of
    them that were sources before serve.
    """
    found: dict[str, Frontier] = {}
    ordered = sorted(builds, key=lambda name: (compiled.jobs[name].upstream.bit_count(), name))
    for name in ordered:
        found[name] = _frontier(compiled.document_of(name), builds, found, sources)
    numbers: dict[Frontier, int] = {}
    asked: list[Question] = []
    unknown: dict[str, frozenset[str]] = {}
    for name in ordered:
        frontier, job = found[name], compiled.jobs[name]
        renamed = frozenset(place.job for place in frontier if place.output == _RENAMED)
        if renamed:
            unknown[name] = renamed
        elif frontier:
            asked.append(
                Question(
                    job=name,
                    frontier=numbers.setdefault(frontier, len(numbers)),
                    identity=job_identity(org_id, compiled.document.dag, name),
                    fingerprint=job.fingerprint,
                    output=job.outputs[0] if job.outputs else None,
                )
            )
    return (
        asked,
        [
            Numbered(id=number, job=p.job, output=p.output, dataset=p.dataset, whole=p.whole)
            for frontier, number in numbers.items()
            for p in sorted(frontier)
        ],
        unknown,
    )


def _frontier(
    job: JobDocument,
    builds: Mapping[str, str | None],
    found: Mapping[str, Frontier],
    sources: Mapping[str, SourceDocument],
) -> Frontier:
    """The places of one job's keys."""
    if job.source is not None:
        before = sources.get(job.name)
        return frozenset([Place(job=job.name, output=0 if same_names(before, job.source) else _RENAMED)])
    keyed = [given for given in job.inputs if given.match == "same"]
    places: set[Place] = set()
    for given in keyed or job.inputs:
        if given.dataset is not None:
            places.add(Place(dataset=given.dataset))
        elif given.job in builds:
            places |= found[given.job]
        else:
            places.add(Place(job=given.job, output=given.output))
    return frozenset(places if keyed else (replace(place, whole=True) for place in places))
