"""What a document does to the contracts of published datasets, and whom that hurts. Pure; `explain` calls it.

A contract is what those who read rely on: giving up a part of it is told, with who is known to use that part.
"""

from __future__ import annotations

from collections.abc import Iterator

from headrace.compile.document import Compiled, PublishDocument
from headrace.plan.contracts import breaks, difference
from headrace.plan.explanation import ContractChange, Hurt
from headrace.plan.observed import Observed


def broken(compiled: Compiled, observed: Observed) -> Iterator[ContractChange]:
    """What of the contracts that serve the document gives up, by dataset."""
    before = {p.name: p for p in observed.base_publish}
    for wanted in compiled.document.publish:
        old = before.get(wanted.name)
        found = tuple(breaks(old.columns, wanted.columns)) if old and old.columns else ()
        if not found:
            continue
        columns = {one.column for one in found}
        uses: dict[tuple[str, str], set[str]] = {}
        for use in observed.uses:
            if use.dataset == wanted.name:
                uses.setdefault((use.dag, use.job), set()).add(use.column)
        hurts = [
            Hurt(dag=dag, job=job, columns=tuple(sorted(columns & uses.get((dag, job), set()))))
            for dag, job in sorted(_readers(compiled, observed, wanted))
        ]
        yield ContractChange(dataset=wanted.name, breaks=found, hurts=tuple(hurts))


def _readers(compiled: Compiled, observed: Observed, published: PublishDocument) -> Iterator[tuple[str, str]]:
    """The jobs, of this DAG and of others, that read a published dataset."""
    for job in compiled.document.jobs:
        if any(i.dataset is None and (i.job, i.output) == (published.job, published.output) for i in job.inputs):
            yield compiled.document.dag, job.name
    for reader in observed.readers:
        if reader.dataset == published.name:
            yield reader.dag, reader.reader


def contract_notes(compiled: Compiled, observed: Observed) -> Iterator[str]:
    """Contracts that are dropped, and such as what is there does not keep."""
    before, there = {p.name: p for p in observed.base_publish}, {c.dataset: c.columns for c in observed.columns}
    for wanted in compiled.document.publish:
        old = before.get(wanted.name)
        if old is not None and old.columns and not wanted.columns:
            yield (
                f"dataset {wanted.name}: its contract is dropped, and nothing checks its columns any more; what it"
                " promised may go"
            )
        had = there.get(wanted.name)
        wrong = difference(wanted.columns, had) if had else ""
        if wrong:
            yield (
                f"dataset {wanted.name}: what is there does not keep its contract ({wrong}), and stays; a task that"
                " reports such columns fails"
            )
