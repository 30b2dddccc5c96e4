"""DAG versions in Postgres: observe them, and apply a plan's steps. reconcile calls both in one transaction.

Applying decides nothing. Every statement is set-based: the number of round trips does not depend on the DAG's size.
"""

from __future__ import annotations

from typing import assert_never
from uuid import UUID

import msgspec
from msgspec import Struct

from headrace.api.identity import job_identity
from headrace.compile.document import Compiled, JobDocument
from headrace.errors import TemporaryError
from headrace.plan.decide import dataset_rows
from headrace.plan.observed import Observed, ObservedDataset, ObservedJob, Presence
from headrace.plan.steps import AddVersion, Cutover, MarkPresent, NameDatasets, Step
from headrace.state.database import Transaction, jsonb
from headrace.state.orgs import Org
from headrace.state.tasks import create_missing, fence, revive_absent


class _DagRow(Struct, frozen=True):
    object_uid: str | None
    suspended: bool | None
    absent: bool
    current_version: UUID | None
    current_hash: str | None
    wanted_version: UUID | None


class _Id(Struct, frozen=True):
    id: UUID


class PresentDag(Struct, frozen=True, kw_only=True):
    """A DAG that Postgres takes to be there."""

    namespace: str
    namespace_uid: str
    org_id: UUID
    name: str
    object_uid: str


async def lock_dag(tx: Transaction, org: Org, dag: str) -> None:
    """Wait for the DAG's lock, exclusively, until the transaction ends."""
    await tx.execute("lock_dag", org_id=org.id, dag=dag)


async def observe(tx: Transaction, org: Org, compiled: Compiled) -> Observed:
    """What Postgres has of the DAG of `compiled`; only the first look when that document serves already."""
    dag = compiled.document.dag
    row = await tx.row("observe_dag", _DagRow, org_id=org.id, dag=dag, yaml_hash=compiled.yaml_hash)
    if row is None:
        raise TemporaryError("Postgres gave no answer to observe_dag")
    presence = None
    if row.object_uid is not None:
        presence = Presence(object_uid=row.object_uid, suspended=bool(row.suspended), absent=row.absent)
    base = Observed(
        org_id=org.id,
        presence=presence,
        current_version=row.current_version,
        current_hash=row.current_hash,
        wanted_version=row.wanted_version,
    )
    if row.current_hash == compiled.yaml_hash:
        return base
    await tx.execute("lock_org", org_id=org.id)
    wanted = dataset_rows(compiled)
    datasets = await tx.rows(
        "observe_datasets", ObservedDataset, org_id=org.id, dag=dag, names=[w.name for w in wanted]
    )
    jobs = await tx.rows(
        "observe_jobs",
        ObservedJob,
        version=row.current_version,
        jobs=[w.job for w in wanted],
        outputs=[w.output for w in wanted],
        fingerprints=[w.fingerprint for w in wanted],
        own_jobs=list(compiled.jobs),
        own=[job.fingerprint for job in compiled.jobs.values()],
    )
    return msgspec.structs.replace(base, datasets=tuple(datasets), jobs=tuple(jobs))


async def apply(tx: Transaction, org: Org, dag: str, storage_base: str, steps: tuple[Step, ...]) -> None:
    """Execute the steps of a plan in order. TemporaryError when another version serves by now: plan again."""
    for step in steps:
        match step:
            case MarkPresent():
                await tx.execute(
                    "mark_present", org_id=org.id, dag=dag, object_uid=step.object_uid, suspended=step.suspended
                )
                if step.returns:
                    await revive_absent(tx, org.id, dag)
                    await create_missing(tx, [(org.id, dag)])
            case NameDatasets():
                ids, names = zip(*step.renamed, strict=True)
                await tx.execute("rename_datasets", ids=list(ids), names=list(names))
            case AddVersion():
                await _add_version(tx, org, storage_base, step)
            case Cutover():
                await _cut_over(tx, org, dag, step)
            case _:
                assert_never(step)


async def stop(tx: Transaction, epoch: int, gone: PresentDag) -> bool:
    """This very object is gone: cancel its DAG's unfinished tasks, keep every row.

    False when that was known already, or when a namesake has taken its place.
    """
    await tx.execute("lock_dag", org_id=gone.org_id, dag=gone.name)
    if not await tx.execute("mark_absent", org_id=gone.org_id, dag=gone.name, object_uid=gone.object_uid):
        return False
    await fence(tx, epoch)
    await tx.execute("cancel_absent", org_id=gone.org_id, dag=gone.name)
    return True


async def present_dags(tx: Transaction) -> list[PresentDag]:
    """Every DAG that is not marked absent, over all orgs."""
    return await tx.rows("present_dags", PresentDag)


async def _add_version(tx: Transaction, org: Org, storage_base: str, step: AddVersion) -> None:
    compiled, dag = step.compiled, step.compiled.document.dag
    made = await tx.row(
        "add_version", _Id, org_id=org.id, dag=dag, yaml_hash=compiled.yaml_hash, document=jsonb(compiled.document)
    )
    if made is None:
        raise TemporaryError(f"DAG {dag}: another operator added this version first")
    datasets = jsonb(step.datasets)
    await tx.execute("add_datasets", org_id=org.id, dag=dag, datasets=datasets)
    await tx.execute(
        "add_dataset_versions", org_id=org.id, dag=dag, slug=org.slug, base=storage_base, datasets=datasets
    )
    await tx.execute("add_pointers", org_id=org.id, dag=dag, version=made.id, datasets=datasets)
    names = {(row.job, row.output): row.name for row in step.datasets}
    rows = [_job_row(job, org, compiled, names) for job in compiled.document.jobs]
    await tx.execute("add_jobs", org_id=org.id, dag=dag, version=made.id, jobs=jsonb(rows))
    inputs = [
        {"job": job.name, "name": i.name, "position": position, "from_job": i.job, "output": i.output, "match": i.match}
        for job in compiled.document.jobs
        for position, i in enumerate(job.inputs)
        if i.dataset is None
    ]
    await tx.execute("add_job_inputs", org_id=org.id, dag=dag, version=made.id, inputs=jsonb(inputs))


def _job_row(job: JobDocument, org: Org, compiled: Compiled, names: dict[tuple[str, int], str]) -> dict[str, object]:
    dag, facts = compiled.document.dag, compiled.jobs[job.name]
    return {
        "name": job.name,
        "activation": job.activation,
        "runtime": job.runtime,
        "operator": job.operator,
        "source": job.source,
        "execution_strategy": job.execution_strategy,
        "idle_timeout": job.idle_timeout,
        "config": job.config,
        "config_hash": facts.config_hash,
        "input_datasets": [i.dataset or names[i.job, i.output] for i in job.inputs],
        "output_datasets": [names[job.name, output] for output in range(job.outputs)],
        "update_strategy": job.update_strategy,
        "unique_key": job.unique_key,
        "scaling": job.scaling,
        "timeout_seconds": job.timeout_seconds,
        "heartbeat_timeout_seconds": job.heartbeat_timeout_seconds,
        "max_attempts": job.max_attempts,
        "identity": job_identity(org.id, dag, job.name),
        "fingerprint": facts.fingerprint,
        "upstream": sorted(job_identity(org.id, dag, name) for name in compiled.upstream_of(job.name)),
        "pod": None if job.pod is None else {"template": job.pod, "container": job.container},
    }


async def _cut_over(tx: Transaction, org: Org, dag: str, step: Cutover) -> None:
    version = await tx.row("version_of_hash", _Id, org_id=org.id, dag=dag, yaml_hash=step.yaml_hash)
    if version is None:
        raise TemporaryError(f"DAG {dag}: the version {step.yaml_hash} is not there")
    if not await tx.rows("cut_over", _Version, org_id=org.id, dag=dag, version=version.id, base=step.base):
        raise TemporaryError(f"DAG {dag}: another version became current meanwhile")
    if step.base is not None:
        await tx.execute("restart_ticks", base=step.base, version=version.id)
        await tx.execute("move_tasks", base=step.base, version=version.id)
        if await tx.execute("cancel_replaced", base=step.base):
            await tx.execute("requeue_sources", base=step.base, version=version.id)
    await create_missing(tx, [(org.id, dag)])


class _Version(Struct, frozen=True):
    dag_version_id: UUID
