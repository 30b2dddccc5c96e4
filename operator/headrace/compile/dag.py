"""A DAG's spec and the objects that belong to it to the canonical document and its hashes: the pure entry of `compile`.

reconcile calls it, by way of `compiler`. Whether a job or dataset is written inline or as an object of its own changes
nothing: `compile.parts` makes one list of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final

import msgspec

from headrace.api import names
from headrace.api.dag import DagSpec, Defaults
from headrace.api.dataset import DatasetSpec
from headrace.api.job import JobSpec
from headrace.compile.columns import check_contract, columns_of
from headrace.compile.document import Compiled, CompiledJob, Document, JobDocument, PublishDocument
from headrace.compile.graph import ancestors, find_cycle, read_whole, topological
from headrace.compile.hashes import digest, external_fingerprint, job_fingerprint, output_fingerprint
from headrace.compile.jobs import compile_job, hashed
from headrace.compile.parts import JobPart, PublishPart, check_names, job_parts, publish_parts
from headrace.compile.problems import Problems
from headrace.compile.template import Bases, container
from headrace.compile.written_out import written_out

_NONE: Final[Mapping[str, Any]] = MappingProxyType({})


def compile_dag(
    dag: str, spec: DagSpec, jobs: Mapping[str, JobSpec] = _NONE, datasets: Mapping[str, DatasetSpec] = _NONE
) -> Compiled:
    """The document of the DAG called `dag` and its hashes; CompileError with every problem of every object.

    `jobs` and `datasets`: the specs of the authored objects that belong to the DAG, by the objects' names. A dataset
    that the DAG publishes itself is always an edge of its own graph, whoever else publishes the name; an input that
    names any other dataset reads another DAG's.
    """
    problems = Problems(f"{names.DAG} {dag}")
    written, publish = job_parts(spec, jobs, problems), publish_parts(spec, datasets, problems)
    published = {p.name: (p.job, p.output) for p in publish}
    defaults = spec.defaults or Defaults()
    bases = Bases(defaults.template or {})
    compiled = [compile_job(w.name, w.fields, defaults, bases, published, w.path, w.problems) for w in written]
    if len(written) > names.MAX_JOBS:
        problems.add("spec", len(written), f"more jobs than the {names.MAX_JOBS} of a DAG: make several DAGs of it",
                     between=True)  # fmt: skip
    check_names(dag, written, "jobs")
    check_names(dag, publish, "datasets")
    _check_edges(written, compiled, problems)
    _check_publish(publish, compiled)
    _check_reuse(spec, compiled, problems)
    problems.raise_if_any()
    document = Document(
        dag=dag,
        jobs=tuple(sorted(compiled, key=lambda j: j.name)),
        publish=tuple(sorted(map(_publish, publish), key=lambda p: p.name)),
    )
    yaml_hash, texts = written_out(document, problems)
    return Compiled(
        document=document,
        yaml_hash=yaml_hash,
        jobs=_hashes(document, texts),
        external=tuple(sorted({i.dataset for job in document.jobs for i in job.inputs if i.dataset is not None})),
        warnings=(*size_warnings(spec), *_warnings(document)),
    )


def _publish(part: PublishPart) -> PublishDocument:
    given = part.fields
    return PublishDocument(
        name=part.name,
        job=part.job,
        output=part.output,
        storage_base=given.storage.base.rstrip("/") if given.storage and given.storage.base else None,
        description=given.description or "",
        columns=columns_of(given),
    )


def _edges(jobs: Iterable[JobDocument]) -> dict[str, set[str]]:
    """Each job's name to the names of the jobs of this DAG that it reads from, whether they exist or not."""
    return {job.name: {i.job for i in job.inputs if i.dataset is None} for job in jobs}


def _hashes(document: Document, texts: Mapping[str, str]) -> dict[str, CompiledJob]:
    parents = _edges(document.jobs)
    order = topological(parents)
    above = ancestors(parents, order)
    # What came with an update is there: its task waits for nothing else that is on its way to the same dataset.
    whole = read_whole(order, {job.name: [(i.job if i.dataset is None else None, i.match) for i in job.inputs
                                          if i.on_change != "update"]
                               for job in document.jobs}, above)  # fmt: skip
    place = {job.name: index for index, job in enumerate(document.jobs)}
    found: dict[str, CompiledJob] = {}
    for name in order:
        job = document.jobs[place[name]]
        config_hash = digest("config", hashed(job))
        read = [
            found[i.job].outputs[i.output] if i.dataset is None else external_fingerprint(i.dataset) for i in job.inputs
        ]
        own = job_fingerprint(config_hash, read)
        found[name] = CompiledJob(
            config_hash=config_hash,
            document_hash=texts[name],
            pod="" if job.pod is None else digest("pod", [job.made_from(), job.timeout_seconds]),
            fingerprint=own,
            outputs=tuple(output_fingerprint(own, index) for index in range(job.outputs)),
            position=place[name],
            upstream=above[name],
            awaited=whole[name],
        )
    return {job.name: found[job.name] for job in document.jobs}


def _check_edges(written: Sequence[JobPart], jobs: Sequence[JobDocument], problems: Problems) -> None:
    known = {job.name: job for job in jobs}
    choices = _choices(known)
    for part, job in zip(written, jobs, strict=True):
        for index, given in enumerate(job.inputs):
            at = f"{part.path}.inputs[{index}].from"
            if given.dataset is not None:
                continue
            if given.job not in known:
                part.problems.add(f"{at}.job", given.job, f"no job of this DAG has this name: {choices}",
                                  absent=True)  # fmt: skip
            elif given.output >= known[given.job].outputs:
                count = known[given.job].outputs
                part.problems.add(f"{at}.output", given.output, f"the job {given.job} has outputs 0 to {count - 1}"
                                  if count else f"the job {given.job} has no outputs", between=True)  # fmt: skip
    cycle = find_cycle({name: above & known.keys() for name, above in _edges(jobs).items()})
    if cycle is not None:
        told = "these jobs read from one another in a circle: cut one input"
        problems.add("spec.jobs", " -> ".join(cycle), told, between=True)


def _check_publish(publish: Sequence[PublishPart], jobs: Sequence[JobDocument]) -> None:
    known = {job.name: job for job in jobs}
    choices = _choices(known)
    taken: dict[tuple[str, int], str] = {}
    for part in publish:
        at, job, output = f"{part.path}.from", part.job, part.output
        if job not in known:
            told = f"no job of this DAG has this name: {choices}"
            part.problems.add(f"{at}.job", job, told, absent=True)
        elif output >= known[job].outputs:
            told = f"the job {job} has {known[job].outputs} outputs, counted from 0"
            part.problems.add(f"{at}.output", output, told, between=True)
        elif (job, output) in taken:
            told = f"already published as {taken[job, output]}: publish it once"
            part.problems.add(at, f"{job}[{output}]", told, between=True)
        else:
            check_contract(part, known[job])
        taken.setdefault((job, output), part.name)


def _check_reuse(spec: DagSpec, jobs: Sequence[JobDocument], problems: Problems) -> None:
    """`rollout.reuse` is no part of the document, but a name that no job has is a mistake all the same."""
    known = {job.name for job in jobs}
    for name in (spec.rollout and spec.rollout.reuse) or ():
        if name not in known:
            told = f"no job of this DAG has this name: {_choices(known)}"
            problems.add("spec.rollout.reuse", name, told, absent=True)


def _choices(known: Iterable[str]) -> str:
    listed = sorted(known)
    return "use one of " + ", ".join(listed[:8]) + (", ..." if len(listed) > 8 else "")


def size_warnings(spec: DagSpec) -> Iterable[str]:
    """What is to be minded of a large spec."""
    size = len(msgspec.json.encode(spec))
    if size > names.DAG_SPEC_WARN_BYTES:
        yield (
            f"the spec is {size} bytes of JSON, of {names.DAG_SPEC_MAX_BYTES} allowed: apply it with kubectl apply"
            " --server-side, since plain apply keeps a copy in an annotation, which has room for 262144"
        )


def unpinned(document: Document) -> dict[str, list[str]]:
    """Each image without a digest, to the jobs that run it."""
    images: dict[str, list[str]] = {}
    for job in document.jobs:
        image = container(job.pod or {}, job.container).get("image")
        if isinstance(image, str) and "@sha256:" not in image:
            images.setdefault(image, []).append(job.name)
    return images


def _warnings(document: Document) -> Iterable[str]:
    images = unpinned(document)
    if images:
        told = [
            f"{image} (job {', '.join(jobs[:4])}{', ...' if len(jobs) > 4 else ''})" for image, jobs in images.items()
        ]
        more = f" and {len(told) - 4} more" if len(told) > 4 else ""
        yield f"images without a digest, whose contents can change unseen: {', '.join(told[:4])}{more}"
