"""What changes between the version that serves and a document, in the terms of both. Pure; `decide` calls it.

Old and new values of fields come from deepdiff, over the jobs' documents that Postgres gave as different.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Final

import msgspec
from deepdiff import DeepDiff

from headrace.api.names import default_dataset_name
from headrace.compile.document import Compiled, PublishDocument
from headrace.compile.graph import positions
from headrace.plan.explain_contracts import broken, contract_notes
from headrace.plan.explanation import Change, Consumer, DatasetChange, Explanation, FieldChange, JobChange, Swap
from headrace.plan.observed import DifferingJob, Observed
from headrace.plan.steps import SameData

_MOST_FIELDS: Final = 32
_MOST_CAUSES: Final = 8
_MOST_DIFFS: Final = 100


def explain(
    compiled: Compiled, observed: Observed, same_data: tuple[SameData, ...], swap: Swap, approval: str = ""
) -> Explanation:
    """All that the plan would do."""
    if swap == "none":
        return Explanation(dag=compiled.document.dag, yaml_hash=compiled.yaml_hash, base_hash=observed.current_hash,
                           swap=swap, unchanged=len(compiled.jobs))  # fmt: skip
    jobs = tuple(_jobs(compiled, observed, {s.job for s in same_data}))
    built = {change.job: change for change in jobs if change.rebuilds}
    datasets = tuple(_datasets(compiled, observed, built))
    touched = {(d.job, d.output) for d in datasets}
    return Explanation(
        dag=compiled.document.dag,
        yaml_hash=compiled.yaml_hash,
        base_hash=observed.current_hash,
        swap=swap,
        restorable=observed.served and observed.intact,
        unchanged=len(compiled.jobs) - sum(change.change != "removed" for change in jobs),
        totals=dict(Counter(change.change for change in jobs)),
        jobs=jobs,
        datasets=datasets,
        consumers=tuple(
            Consumer(dataset=r.dataset, dag=r.dag, job=r.reader)
            for r in observed.readers
            if (r.job, r.output) in touched
        ),
        contracts=tuple(broken(compiled, observed)),
        partitions=sum(d.partitions for d in datasets),
        tasks=sum(change.units for change in jobs),
        approval=approval,
        forgotten=observed.forgotten,
        notes=(
            *_notes(observed),
            *_lists(compiled, jobs),
            *_acting(compiled, observed),
            *contract_notes(compiled, observed),
        ),
    )


def fields(old: Mapping[str, object], new: Mapping[str, object]) -> tuple[FieldChange, ...]:
    """The fields in which two documents of a job differ, in the order of their paths; the first so many."""
    # Zipped: to find the least difference of two long lists takes the square of their length.
    tree = DeepDiff(old, new, view="tree", zip_ordered_iterables=True, verbose_level=2).tree
    found = [
        FieldChange(path=_path(level.path(output_format="list")), old=_value(level.t1), new=_value(level.t2))
        for levels in tree.values()
        for level in levels
    ]
    return tuple(sorted(found, key=lambda f: f.path)[:_MOST_FIELDS])


def _path(parts: list[object]) -> str:
    path = "".join(f"[{p}]" if isinstance(p, int) else f".{p}" for p in parts)
    return path.removeprefix(".")


def _value(given: object) -> object:
    """What stands for "not there" in deepdiff is None here."""
    return None if type(given).__name__ == "NotPresent" else given


def _jobs(compiled: Compiled, observed: Observed, reused: set[str]) -> Iterator[JobChange]:
    counts = {count.job: count for count in observed.counts}
    # Equal are the rows of before documents had hashes of their own, which say nothing.
    new = {j.name: _plain(compiled, j.name) for j in observed.jobs if j.wanted and j.document is not None}
    changed = {job.name: job for job in observed.jobs if job.name in new and new[job.name] != job.document}
    told = {
        name: fields(_written(changed[name].document or {}), _written(new[name]))
        for name in islice(changed, _MOST_DIFFS)
    }
    causes = 0
    for job in observed.jobs:
        if job.wanted and (job.name in changed or job.fingerprint is None):
            causes |= 1 << compiled.jobs[job.name].position
    for job in observed.jobs:
        change = _change(compiled, job, changed)
        if change is None:
            continue
        differs = job.wanted and compiled.jobs[job.name].fingerprint != job.fingerprint
        rebuilds = differs and not compiled.document_of(job.name).side_effects
        count = counts.get(job.name)
        yield JobChange(
            job=job.name,
            change=change,
            fields=told.get(job.name, ()),
            because=_because(compiled, job, causes) if change == "downstream" else (),
            rebuilds=rebuilds,
            reuses=job.name in reused,
            units=count.units - count.done if rebuilds and count else 0,
        )


def _plain(compiled: Compiled, job: str) -> dict[str, object]:
    """A job's document as Postgres gives it."""
    plain: dict[str, object] = msgspec.json.decode(msgspec.json.encode(compiled.document_of(job)))
    return plain


def _written(document: Mapping[str, object]) -> Mapping[str, object]:
    """A job's document with its inputs in the form that people write, and its lineage by column."""
    inputs, lineage = document.get("inputs"), document.get("lineage")
    told = dict(document)
    if isinstance(inputs, list):
        told["inputs"] = [_input(given) for given in inputs]
    if isinstance(lineage, list):
        told["lineage"] = {
            _column(one): ", ".join(f"{s['input']}.{s['column']}" for s in one["from"]) for one in lineage
        }
    return told


def _column(lineage: Mapping[str, object]) -> str:
    """The column that it is about; of another output than the first with its number."""
    return f"{lineage['output']}.{lineage['column']}" if "output" in lineage else str(lineage["column"])


def _input(given: Mapping[str, object]) -> dict[str, object]:
    rest = {key: value for key, value in given.items() if key not in ("job", "output", "dataset")}
    dataset = given.get("dataset")
    source = {"job": given.get("job"), "output": given.get("output")} if dataset is None else {"dataset": dataset}
    return {**rest, "from": source}


def _change(compiled: Compiled, job: DifferingJob, changed: Mapping[str, DifferingJob]) -> Change | None:
    if not job.wanted:
        return "removed"
    if job.fingerprint is None:
        return "added"
    if job.name in changed:
        return "changed"
    return "downstream" if compiled.jobs[job.name].fingerprint != job.fingerprint else None


def _because(compiled: Compiled, job: DifferingJob, causes: int) -> tuple[str, ...]:
    above = compiled.jobs[job.name].upstream & causes
    return tuple(compiled.document.jobs[place].name for place in islice(positions(above), _MOST_CAUSES))


def _datasets(compiled: Compiled, observed: Observed, built: Mapping[str, JobChange]) -> Iterator[DatasetChange]:
    dag, before = compiled.document.dag, _published(observed.base_publish)
    names = _published(compiled.document.publish)
    counts = {count.job: count for count in observed.counts}
    for job, change in built.items():
        count = counts.get(job)
        for output in range(len(compiled.jobs[job].outputs)):
            default = default_dataset_name(dag, job, output)
            name, was = names.get((job, output), default), before.get((job, output), default)
            yield DatasetChange(
                dataset=name,
                job=job,
                output=output,
                action="added" if change.change == "added" else "caught up" if count and count.done else "rebuilt",
                partitions=change.units,
                was=None if was == name or change.change == "added" else was,
            )
    for place in sorted(before.keys() | names.keys()):
        job, output = place
        if job in built or before.get(place) == names.get(place):
            continue
        default = default_dataset_name(dag, job, output)
        gone = job not in compiled.jobs or output >= len(compiled.jobs[job].outputs)
        yield DatasetChange(
            dataset=before.get(place, default) if gone else names.get(place, default),
            job=job,
            output=output,
            action="removed" if gone else "reused",
            was=None if gone else before.get(place, default),
        )


def _published(publish: tuple[PublishDocument, ...]) -> dict[tuple[str, int], str]:
    return {(p.job, p.output): p.name for p in publish}


def _lists(compiled: Compiled, jobs: tuple[JobChange, ...]) -> Iterator[str]:
    """Of sources whose list of partitions is another, and whose data stay: what becomes of the list."""
    lists = {"source.values", "source.range"}
    for change in jobs:
        if change.rebuilds or not any(f.path.startswith(tuple(lists)) for f in change.fields):
            continue
        source = compiled.document_of(change.job).source
        if source is not None and (source.values or source.range):
            when = {"manual": "by its next run", "webhook": "by its next event"}.get(source.kind, "once it serves")
            yield f"job {change.job}: what is new in its list is made {when}; what left it keeps its data"


def _acting(compiled: Compiled, observed: Observed) -> Iterator[str]:
    """Of jobs that act on the world, and differ: what they begin with."""
    for job in observed.jobs:
        differs = job.wanted and compiled.jobs[job.name].fingerprint != job.fingerprint
        if differs and compiled.document_of(job.name).side_effects:
            yield f"job {job.name} has side effects: it begins with what comes once this version serves"


def _notes(observed: Observed) -> Iterator[str]:
    for name in observed.forgotten:
        yield f"job {name}: its partitions have other names now, and not all that were there can be made again"
    for name in observed.unlike:
        yield f"job {name}: rollout.reuse has no effect, since it has other outputs now"
