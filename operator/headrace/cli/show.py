"""A plan as text, in 80 columns: per job `+ ~ - ↳`, fields old → new, datasets, consumers, totals, what is waited for.

Pure; `plan` prints it.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from typing import Final

from headrace.api.history import short_hash
from headrace.api.words import counted
from headrace.cli.style import WIDTH, Paint, clean, plain, table, values
from headrace.plan.explanation import Explanation, FieldChange, JobChange

_MARKS: Final = {
    "added": ("+", "green"),
    "changed": ("~", "yellow"),
    "removed": ("-", "red"),
    "downstream": ("↳", "dim"),
}
_SWAPS: Final = {
    "none": "nothing moves",
    "swap only": "the pointers swap at once, nothing is built",
    "build first": "what is new is built first, then the pointers swap",
    "first version": "the first version: nothing is built before it serves",
}


def changes_anything(one: Explanation) -> bool:
    """Whether applying it would do anything."""
    return one.base_hash != one.yaml_hash or one.swap != "none" or bool(one.jobs or one.datasets)


def show_plans(explanations: Sequence[Explanation], paint: Paint = plain) -> str:
    """All of them, one after the other."""
    return "\n\n".join("\n".join(_lines(one, paint)) for one in explanations) + "\n"


def _lines(one: Explanation, paint: Paint) -> Iterator[str]:
    yield _header(one, paint)
    if not changes_anything(one) and not one.blocked:
        yield f"  No changes: {counted(one.unchanged, 'job')} as they are." if one.unchanged else "  No changes."
    elif not one.blocked:
        yield f"  {_SWAPS[one.swap][0].upper()}{_SWAPS[one.swap][1:]}."
    if one.jobs:
        yield ""
        for job in one.jobs:
            yield from _job(job, paint)
        if one.unchanged:
            yield paint(f"    {counted(one.unchanged, 'job')} unchanged", "dim")
    yield from _datasets(one, paint)
    yield from _consumers(one, paint)
    yield from _contracts(one, paint)
    yield from _end(one, paint)


def _header(one: Explanation, paint: Paint) -> str:
    new = short_hash(one.yaml_hash)
    if one.base_hash is None:
        versions = f"(no version) → {new}"
    elif one.base_hash == one.yaml_hash:
        versions = new
    else:
        versions = f"{short_hash(one.base_hash)} → {new}"
    return f"{paint(f'DAG {clean(one.dag)}', 'bold')}  {versions}"


def _job(job: JobChange, paint: Paint) -> Iterator[str]:
    mark, colour = _MARKS[job.change]
    facts: list[str] = [job.change]
    if job.because:
        facts = ["downstream of " + ", ".join(map(clean, job.because))]
    if job.reuses:
        facts.append("its data are kept (rollout.reuse)")
    if job.change == "added" and job.units:
        facts.append(counted(job.units, "unit"))
    elif job.rebuilds and job.change != "added":
        facts.append(f"rebuilds {counted(job.units, 'unit')}" if job.units else "rebuilds its data")
    told = textwrap.wrap("; ".join(facts), WIDTH - 8, break_long_words=False) or [""]
    name = clean(job.job)
    if len(told) == 1 and 4 + max(len(name), 24) + 2 + len(told[0]) <= WIDTH:
        yield f"  {paint(mark, colour)} {paint(f'{name:24}', colour)}  {told[0]}"
    else:
        yield f"  {paint(mark, colour)} {paint(name, colour)}"
        yield from (f"        {line}" for line in told)
    for change in job.fields:
        yield from _field(change)


def _field(change: FieldChange) -> Iterator[str]:
    """`path: old → new` on one line where it fits, else the values below one another."""
    path = clean(change.path)
    old, new = values(change.old, change.new, WIDTH - 12)
    line = f"        {path}: {old} → {new}"
    if len(line) <= WIDTH:
        yield line
        return
    yield f"        {path}:"
    yield f"          - {old}"
    yield f"          + {new}"


def _datasets(one: Explanation, paint: Paint) -> Iterator[str]:
    if not one.datasets:
        return
    yield ""
    yield paint("  Datasets", "bold")
    rows = []
    for dataset in one.datasets:
        named = f" (was {clean(dataset.was)})" if dataset.was and dataset.was != dataset.dataset else ""
        made = counted(dataset.partitions, "partition") if dataset.partitions else ""
        rows.append((clean(dataset.dataset), dataset.action, made + named))
    yield from table(rows, "    ")


def _consumers(one: Explanation, paint: Paint) -> Iterator[str]:
    if not one.consumers:
        return
    yield ""
    yield paint("  Read by other DAGs", "bold")
    yield from table([(clean(c.dataset), clean(f"{c.dag}/{c.job}")) for c in one.consumers], "    ")


def _contracts(one: Explanation, paint: Paint) -> Iterator[str]:
    """What of contracts is given up, and who relies on it."""
    if not one.contracts:
        return
    yield ""
    yield paint("  Contracts broken", "bold")
    for contract in one.contracts:
        for broken in contract.breaks:
            now = {"removed": "is promised no more", "type": f"becomes {broken.new}", "nullable": "may be null"}[
                broken.change
            ]
            column = clean(f"{contract.dataset}.{broken.column}")
            for number, line in enumerate(_wrapped(f"{column} ({broken.old}) {now}")):
                yield f"  {paint('!' if number == 0 else ' ', 'red')} {line}"
        for hurt in contract.hurts:
            used = f"uses {', '.join(hurt.columns)}" if hurt.columns else "reads it, and is not known to use these"
            yield from (f"      {line}" for line in _wrapped(f"{hurt.dag}/{hurt.job} {used}"))


def _end(one: Explanation, paint: Paint) -> Iterator[str]:
    """Totals, then what stands in the way, then what to mind."""
    told: list[tuple[str, str, str]] = []
    restorable = "It has served before, and all of its data are there." if one.restorable else ""
    if one.partitions or one.tasks:
        total = f"{counted(one.partitions, 'partition')} in {counted(one.tasks, 'task')}."
        told.append(("", f"{total} {restorable}".rstrip(), "bold"))
    elif restorable:
        told.append(("", restorable, "dim"))
    if one.approval:
        way = f" To let it go on: headrace approve {one.dag} {short_hash(one.yaml_hash)}"
        told.append(("Waits for approval: ", one.approval.rstrip(". ") + "." + way, "yellow"))
    if one.blocked:
        told.append(("Blocked: ", one.blocked, "red"))
    told += [("Note: ", note, "dim") for note in one.notes]
    if told:
        yield ""
    for what, words, colour in told:
        for number, line in enumerate(_wrapped(what + words)):
            yield f"  {'' if number == 0 else '  '}{paint(line, colour)}"


def _wrapped(text: str) -> Iterator[str]:
    for line in clean(text).splitlines():
        yield from textwrap.wrap(line, WIDTH - 4, break_long_words=False, break_on_hyphens=False) or [""]
