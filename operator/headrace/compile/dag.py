"""A DAG's spec to its canonical document and hashes: the one pure entry of `compile`; reconcile calls it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

import msgspec

from headrace.api import names
from headrace.api.dag import DagSpec, Defaults
from headrace.api.dataset import Publish
from headrace.compile.document import Compiled, CompiledJob, Document, JobDocument, PublishDocument
from headrace.compile.graph import ancestors, find_cycle, topological
from headrace.compile.hashes import digest, job_fingerprint, output_fingerprint
from headrace.compile.jobs import compile_job, hashed
from headrace.compile.problems import Problems
from headrace.compile.template import container


def compile_dag(dag: str, spec: DagSpec) -> Compiled:
    """The document of the DAG called `dag` and its hashes; CompileError with every problem if there is any."""
    problems = Problems(f"DAG {dag}")
    written, publish = spec.jobs or [], spec.publish or []
    published = {p.name: (p.from_.job, p.from_.output or 0) for p in publish}
    defaults = spec.defaults or Defaults()
    jobs = [compile_job(j.name, j, defaults, published, f"spec.jobs[{j.name}]", problems) for j in written]
    _check_names(dag, jobs, publish, problems)
    _check_edges(jobs, problems)
    _check_publish(jobs, publish, problems)
    problems.raise_if_any()
    document = Document(
        dag=dag,
        jobs=tuple(sorted(jobs, key=lambda j: j.name)),
        publish=tuple(sorted(map(_publish, publish), key=lambda p: p.name)),
    )
    return Compiled(
        document=document,
        yaml_hash=digest("document", msgspec.to_builtins(document)),
        jobs=_fingerprints(document),
        warnings=(*_size_warnings(spec), *_warnings(document)),
    )


def _publish(given: Publish) -> PublishDocument:
    return PublishDocument(
        name=given.name,
        job=given.from_.job,
        output=given.from_.output or 0,
        storage_base=given.storage.base.rstrip("/") if given.storage and given.storage.base else None,
        description=given.description or "",
    )


def _fingerprints(document: Document) -> dict[str, CompiledJob]:
    jobs = {job.name: job for job in document.jobs}
    parents = {job.name: {i.job for i in job.inputs} for job in document.jobs}
    above = ancestors(parents)
    compiled: dict[str, CompiledJob] = {}
    for name in topological(parents):
        job = jobs[name]
        config_hash = digest("config", hashed(job))
        own = job_fingerprint(config_hash, [compiled[i.job].outputs[i.output] for i in job.inputs])
        compiled[name] = CompiledJob(
            config_hash=config_hash,
            fingerprint=own,
            outputs=tuple(output_fingerprint(own, index) for index in range(job.outputs)),
            ancestors=above[name],
        )
    return compiled


def _repeated(values: Iterable[str]) -> list[str]:
    return sorted(value for value, count in Counter(values).items() if count > 1)


def _check_names(dag: str, jobs: Sequence[JobDocument], publish: Sequence[Publish], problems: Problems) -> None:
    for name in _repeated(j.name for j in jobs):
        problems.add("spec.jobs", name, "two jobs have this name: rename one")
    for name in _repeated(p.name for p in publish):
        problems.add("spec.publish", name, "two datasets have this name: rename one")
    for kind, given in (("jobs", {j.name for j in jobs}), ("publish", {p.name for p in publish})):
        clashing = set(_repeated(names.project_name(dag, name) for name in given))
        for name in sorted(name for name in given if names.project_name(dag, name) in clashing):
            problems.add(
                f"spec.{kind}", name,
                f"it and another would both be shown as {names.project_name(dag, name)}: rename one",
            )  # fmt: skip


def _check_edges(jobs: Sequence[JobDocument], problems: Problems) -> None:
    known = {job.name: job for job in jobs}
    for job in jobs:
        for index, given in enumerate(job.inputs):
            at = f"spec.jobs[{job.name}].inputs[{index}].from"
            if given.job not in known:
                problems.add(f"{at}.job", given.job, f"no job of this DAG has this name: {_choices(known)}")
            elif given.output >= known[given.job].outputs:
                count = known[given.job].outputs
                problems.add(f"{at}.output", given.output, f"the job {given.job} has outputs 0 to {count - 1}"
                             if count else f"the job {given.job} has no outputs")  # fmt: skip
    cycle = find_cycle({job.name: {i.job for i in job.inputs if i.job in known} for job in jobs})
    if cycle is not None:
        problems.add("spec.jobs", " -> ".join(cycle), "these jobs read from one another in a circle: cut one input")


def _check_publish(jobs: Sequence[JobDocument], publish: Sequence[Publish], problems: Problems) -> None:
    known = {job.name: job for job in jobs}
    taken: dict[tuple[str, int], str] = {}
    for given in publish:
        at, job, output = f"spec.publish[{given.name}].from", given.from_.job, given.from_.output or 0
        if job not in known:
            problems.add(f"{at}.job", job, f"no job of this DAG has this name: {_choices(known)}")
        elif output >= known[job].outputs:
            problems.add(f"{at}.output", output, f"the job {job} has {known[job].outputs} outputs, counted from 0")
        elif (job, output) in taken:
            problems.add(at, f"{job}[{output}]", f"already published as {taken[job, output]}: publish it once")
        taken.setdefault((job, output), given.name)


def _choices(known: Iterable[str]) -> str:
    listed = sorted(known)
    return "use one of " + ", ".join(listed[:8]) + (", ..." if len(listed) > 8 else "")


def _size_warnings(spec: DagSpec) -> Iterable[str]:
    size = len(msgspec.json.encode(spec))
    if size > names.DAG_SPEC_WARN_BYTES:
        yield (
            f"the spec is {size} bytes of JSON, of {names.DAG_SPEC_MAX_BYTES} allowed: apply it with kubectl apply"
            " --server-side, since plain apply keeps a copy in an annotation, which has room for 262144"
        )


def _warnings(document: Document) -> Iterable[str]:
    for job in document.jobs:
        image = container(job.pod or {}, job.container).get("image")
        if isinstance(image, str) and "@sha256:" not in image:
            yield f"job {job.name}: the image {image} has no digest, so its contents can change unseen"
