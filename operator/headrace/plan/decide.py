"""Desired document and observed rows to a plan. Pure: no I/O, no clock; reconcile calls `decide` under the DAG's lock.

Deciding twice, with the first plan applied in between, gives an empty plan.
"""

from __future__ import annotations

from collections.abc import Sequence

from headrace.api.names import default_dataset_name
from headrace.compile.document import Compiled, Document
from headrace.plan.observed import Observed
from headrace.plan.steps import AddVersion, Blocked, Cutover, DatasetRow, MarkPresent, NameDatasets, Plan, Step


def decide(compiled: Compiled, object_uid: str, suspended: bool, observed: Observed) -> Plan:
    """What to do so that `compiled` serves, given what is `observed`."""
    presence = _presence(object_uid, suspended, observed)
    if observed.current_hash == compiled.yaml_hash:
        return Plan(steps=presence)
    wanted = dataset_rows(compiled)
    blocked = _taken(compiled, wanted, observed) or _rebuild(compiled, observed)
    if blocked is not None:
        return Plan(steps=presence, blocked=blocked)
    steps: list[Step] = [*presence]
    renamed = _renamed(wanted, observed)
    if renamed.renamed:
        steps.append(renamed)
    if observed.wanted_version is None:
        steps.append(AddVersion(compiled=compiled, datasets=wanted))
    steps.append(Cutover(base=observed.current_version, yaml_hash=compiled.yaml_hash))
    return Plan(steps=tuple(steps))


def dataset_rows(compiled: Compiled) -> tuple[DatasetRow, ...]:
    """Every output of the document: published under its name, or under the name made of its producer."""
    document: Document = compiled.document
    published = {(p.job, p.output): p for p in document.publish}
    rows: list[DatasetRow] = []
    for job in document.jobs:
        for output, fingerprint in enumerate(compiled.jobs[job.name].outputs):
            p = published.get((job.name, output))
            rows.append(
                DatasetRow(
                    job=job.name,
                    output=output,
                    name=p.name if p else default_dataset_name(document.dag, job.name, output),
                    storage_base=p.storage_base if p else None,
                    fingerprint=fingerprint,
                )
            )
    return tuple(rows)


def _presence(object_uid: str, suspended: bool, observed: Observed) -> tuple[Step, ...]:
    seen = observed.presence
    if seen and (seen.object_uid, seen.suspended, seen.absent) == (object_uid, suspended, False):
        return ()
    return (MarkPresent(object_uid=object_uid, suspended=suspended, returns=bool(seen and seen.absent)),)


def _taken(compiled: Compiled, wanted: Sequence[DatasetRow], observed: Observed) -> Blocked | None:
    """A name belongs to the DAG that published it first, also after that DAG is gone."""
    dag, asked = compiled.document.dag, {row.name for row in wanted}
    others = sorted((d.name, d.dag) for d in observed.datasets if d.dag != dag and d.name in asked)
    if not others:
        return None
    listed = ", ".join(f"{name} (of DAG {owner})" for name, owner in others)
    return Blocked(
        reason="NameTaken",
        message=f"spec.publish: these dataset names belong to another DAG: {listed}. Publish under other names.",
    )


def _rebuild(compiled: Compiled, observed: Observed) -> Blocked | None:
    """Data that serve would have to be made again first: that is a rollout, and rollouts are not there yet."""
    stale = sorted(
        job.name
        for job in observed.jobs
        if job.undone and job.name in compiled.jobs and compiled.jobs[job.name].fingerprint != job.fingerprint
    )
    if not stale:
        return None
    listed = ", ".join(stale[:8]) + (", ..." if len(stale) > 8 else "")
    return Blocked(
        reason="RebuildNotSupported",
        message=f"this change makes the data of these jobs stale: {listed}. Rebuilding data that already exist is not "
        "supported yet; the version that serves goes on. Apply the former document again, or give the DAG a new name.",
    )


def _renamed(wanted: Sequence[DatasetRow], observed: Observed) -> NameDatasets:
    """Existing outputs whose name changes: to their wanted one, or away from a name that another output now gets."""
    names = {(row.job, row.output): row.name for row in wanted}
    asked = set(names.values())
    renamed = []
    for dataset in observed.datasets:
        name = names.get((dataset.job, dataset.output))
        if name is None:
            name = (
                default_dataset_name(dataset.dag, dataset.job, dataset.output)
                if dataset.name in asked
                else dataset.name
            )
        if name != dataset.name:
            renamed.append((dataset.id, name))
    return NameDatasets(renamed=tuple(renamed))
