"""DAG versions in Postgres: the steps of a plan carried out. reconcile calls it, in the transaction that observed.

Applying decides nothing. Every statement is set-based: the number of round trips does not depend on the DAG's size.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import assert_never
from uuid import UUID

from msgspec import Struct

from headrace.api.identity import job_identity
from headrace.compile.document import Compiled, JobDocument
from headrace.errors import TemporaryError
from headrace.plan.outputs import DatasetRow, dataset_rows
from headrace.plan.steps import (
    AddVersion,
    AdjustRollout,
    ClaimNames,
    Cutover,
    EndRollout,
    MarkPresent,
    Repoint,
    SameData,
    StartRollout,
    Step,
)
from headrace.state import orgs, purge, rollouts
from headrace.state.cutover import cut_over, follow_whole
from headrace.state.database import Transaction, jsonb, words
from headrace.state.locks import fence
from headrace.state.orgs import Org
from headrace.state.units import create_missing, revive_absent


class _Id(Struct, frozen=True):
    id: UUID


class _Named(Struct, frozen=True):
    id: UUID
    name: str


class _Output(Struct, frozen=True):
    id: UUID
    job: str
    output: int


class PresentDag(Struct, frozen=True, kw_only=True):
    """A DAG that Postgres takes to be there."""

    namespace: str
    namespace_uid: str
    org_id: UUID
    name: str
    object_uid: str


async def lock_dag(tx: Transaction, org: Org, dag: str) -> None:
    """Wait for the DAG's lock, exclusively, until the transaction ends. OrgMoved when its namespace has another org."""
    await tx.execute("lock_tenant", org_id=org.id)
    await tx.execute("lock_dag", org_id=org.id, dag=dag)
    await orgs.confirm(tx, org)


async def serves(tx: Transaction, org: Org, dag: str) -> bool:
    """Whether any version of the DAG is current."""
    return bool(await tx.rows("current_version", _Id, org_id=org.id, dag=dag))


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
                    await tx.execute("tell_readers", org_id=org.id, dag=dag)
                    await create_missing(tx, [(org.id, dag)])
            case ClaimNames():
                await _claim_names(tx, org, dag, step)
            case AddVersion():
                await _add_version(tx, org, storage_base, step)
            case Repoint():
                await _repoint(tx, org, storage_base, step)
            case EndRollout():
                await rollouts.end(tx, org.id, dag, step)
            case StartRollout():
                await rollouts.start(tx, org.id, dag, step)
            case AdjustRollout():
                await rollouts.adjust(tx, step)
            case Cutover():
                version = await rollouts.record_cutover(tx, org.id, dag, step)
                await cut_over(tx, org.id, dag, step.base, version)
            case _:
                assert_never(step)


async def stop(tx: Transaction, epoch: int | None, gone: PresentDag) -> bool:
    """This very object is gone: end its DAG's rollout, cancel its unfinished tasks, keep every row. `epoch`: of the
    operator; None: it is the gateway that stops it.

    False when that was known already, or when a namesake has taken its place.
    """
    await tx.execute("lock_dag", org_id=gone.org_id, dag=gone.name)
    if not await tx.execute("mark_absent", org_id=gone.org_id, dag=gone.name, object_uid=gone.object_uid):
        return False
    if epoch is not None:
        await fence(tx, epoch)
    await rollouts.cancel(tx, gone.org_id, gone.name, "the DAG was deleted")
    await tx.execute("cancel_absent", org_id=gone.org_id, dag=gone.name)
    await tx.execute("tell_readers", org_id=gone.org_id, dag=gone.name)
    return True


async def present_dags(tx: Transaction) -> list[PresentDag]:
    """Every DAG that is not marked absent, over all orgs."""
    return await tx.rows("present_dags", PresentDag)


async def _claim_names(tx: Transaction, org: Org, dag: str, step: ClaimNames) -> None:
    claimed = await tx.execute("claim_names", org_id=org.id, dag=dag, names=list(step.names))
    if claimed != len(step.names):
        raise TemporaryError(f"DAG {dag}: another DAG has claimed a name meanwhile")


async def _add_version(tx: Transaction, org: Org, storage_base: str, step: AddVersion) -> None:
    compiled, dag = step.compiled, step.compiled.document.dag
    document = {"dag": dag, "publish": compiled.document.publish}
    made = await tx.row(
        "add_version", _Id, org_id=org.id, dag=dag, yaml_hash=compiled.yaml_hash, document=jsonb(document)
    )
    if made is None:
        raise TemporaryError(f"DAG {dag}: another operator added this version first")
    outputs = dataset_rows(compiled)
    datasets = await _point(tx, org, storage_base, dag, made.id, outputs, step.same_data)
    names = {(row.job, row.output): row.name for row in outputs}
    contracts: dict[str, dict[int, object]] = {}
    for published in compiled.document.publish:
        if published.columns:
            contracts.setdefault(published.job, {})[published.output] = published.columns
    rows = [_job_row(job, org, compiled, names, contracts.get(job.name)) for job in compiled.document.jobs]
    jobs = await tx.rows("add_jobs", _Named, org_id=org.id, dag=dag, version=made.id, jobs=jsonb(rows))
    ids = {job.name: job.id for job in jobs}
    inputs = [
        {"job": ids[job.name], "name": i.name, "position": position, "dataset": datasets.get((i.job, i.output)),
         "external": i.dataset, "match": i.match, "filter": i.where, "on_change": i.on_change}
        for job in compiled.document.jobs
        for position, i in enumerate(job.inputs)
    ]  # fmt: skip
    await tx.execute("add_job_inputs", org_id=org.id, inputs=jsonb(inputs))
    await purge.forget_told(tx, made.id)
    await follow_whole(tx, org.id, dag)


async def _repoint(tx: Transaction, org: Org, storage_base: str, step: Repoint) -> None:
    """Give a version that does not serve the data that it is to have now; what it was building for others ends."""
    compiled, dag = step.compiled, step.compiled.document.dag
    version = await tx.row("version_of_hash", _Id, org_id=org.id, dag=dag, yaml_hash=compiled.yaml_hash)
    if version is None:
        raise TemporaryError(f"DAG {dag}: the version {compiled.yaml_hash} is not there")
    await _point(tx, org, storage_base, dag, version.id, dataset_rows(compiled), step.same_data)
    await tx.execute(
        "set_fingerprints", version=version.id, names=words(compiled.jobs),
        fingerprints=words(job.fingerprint for job in compiled.jobs.values()),
    )  # fmt: skip
    await tx.execute("drop_stray_cursors", version=version.id)
    await tx.execute("drop_stray_build", version=version.id)
    await purge.forget_told(tx, version.id)
    await follow_whole(tx, org.id, dag)


async def _point(
    tx: Transaction,
    org: Org,
    storage_base: str,
    dag: str,
    version: UUID,
    rows: Sequence[DatasetRow],
    same: Sequence[SameData],
) -> dict[tuple[str, int], UUID]:
    """The datasets, their generations and the pointer set of a version; the datasets' ids by (job, output)."""
    if same:
        await tx.execute(
            "add_same_data", org_id=org.id, dag=dag, jobs=[s.job for s in same],
            fingerprints=[s.fingerprint for s in same], same_as=[s.same_as for s in same],
        )  # fmt: skip
    await tx.execute("add_datasets", org_id=org.id, dag=dag, datasets=jsonb(rows))
    ids = {(row.job, row.output): row.id for row in await tx.rows("dataset_ids", _Output, org_id=org.id, dag=dag)}
    datasets = jsonb(
        [{"dataset": ids[row.job, row.output], "name": row.name, "storage_base": row.storage_base,
          "fingerprint": row.fingerprint, "unique_key": row.unique_key} for row in rows]
    )  # fmt: skip
    await tx.execute("add_dataset_versions", slug=org.slug, base=storage_base, datasets=datasets)
    await tx.execute("add_pointers", version=version, datasets=datasets)
    return ids


def _job_row(
    job: JobDocument, org: Org, compiled: Compiled, names: dict[tuple[str, int], str], contracts: object
) -> dict[str, object]:
    dag, facts = compiled.document.dag, compiled.jobs[job.name]
    size = (len(compiled.jobs) + 7) // 8
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
        "position": facts.position,
        "upstream": _bits(facts.upstream, size),
        "awaited": None if facts.awaited is None else _bits(facts.awaited, size),
        "pod": job.made_from(),
        "document": job,
        "document_hash": facts.document_hash,
        "side_effects": job.side_effects,
        "contracts": contracts,
        "lineage": job.lineage or None,
    }


def _bits(places: int, size: int) -> str:
    return base64.b64encode(places.to_bytes(size, "little")).decode()
