"""What Postgres has of a DAG, for its plan: read in one transaction. reconcile and the preview of a plan call it.

Nothing here writes. A document that serves already costs one look; otherwise what is alike is compared as sets of
hashes in SQL and not read.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from uuid import UUID

from msgspec import Struct
from msgspec.structs import replace

from headrace.api.identity import job_identity
from headrace.compile.document import Compiled, PublishDocument, SourceDocument
from headrace.compile.ticks import keys_between
from headrace.errors import TemporaryError
from headrace.plan.fingerprints import resolved
from headrace.plan.frontier import questions
from headrace.plan.observed import (
    Ancestry,
    DifferingJob,
    FailedRollout,
    Observed,
    Owner,
    Presence,
    Reader,
    UnderWay,
    UnitCount,
)
from headrace.plan.steps import SameData
from headrace.state.database import Transaction, jsonb, words
from headrace.state.orgs import Org


class _DagRow(Struct, frozen=True):
    object_uid: str | None
    suspended: bool | None
    absent: bool
    pinned_hash: str | None
    current_version: UUID | None
    current_hash: str | None
    base_publish: list[PublishDocument] | None
    wanted_version: UUID | None
    target_version: UUID | None
    pinned_names: list[str]
    served: bool
    intact: bool
    taken: bool
    rollout: UUID | None
    rollout_hash: str | None
    rollout_base: UUID | None
    rollout_strategy: str | None
    rollout_tasks: int | None
    rollout_builds: bool
    rollout_deadline: int | None
    failed: UUID | None
    failed_hash: str | None
    failed_cause: str | None


class _Name(Struct, frozen=True):
    name: str


class _Fingerprint(Struct, frozen=True):
    name: str
    fingerprint: str


class _Job(Struct, frozen=True):
    job: str


class _Differs(Struct, frozen=True):
    differs: bool


async def observe(tx: Transaction, org: Org, compiled: Compiled, reuse: Sequence[str] = ()) -> Observed:
    """What there is of the DAG of `compiled`. `reuse`: jobs whose data stay as they are, by the object's wish."""
    dag = compiled.document.dag
    row = await tx.row("observe_dag", _DagRow, org_id=org.id, dag=dag, yaml_hash=compiled.yaml_hash)
    if row is None:
        raise TemporaryError("Postgres gave no answer to observe_dag")
    base = _first_look(row, org, compiled)
    serving = row.current_hash == (row.pinned_hash or compiled.yaml_hash)
    if serving and row.wanted_version is not None and not row.taken:
        return base
    await tx.execute("lock_org", org_id=org.id)
    base = await _with_fingerprints(tx, org, base, reuse)
    under_way = base.under_way or base.failed
    if under_way is not None and under_way.yaml_hash == compiled.yaml_hash and base.wanted_version is not None:
        return await _with_names(tx, org, base)
    return await _with_units(tx, org, await _with_names(tx, org, base))


def _first_look(row: _DagRow, org: Org, compiled: Compiled) -> Observed:
    presence = None
    if row.object_uid is not None:
        presence = Presence(
            object_uid=row.object_uid,
            suspended=bool(row.suspended),
            absent=row.absent,
            pinned_hash=row.pinned_hash,
        )
    under_way = None
    if row.rollout is not None:
        under_way = UnderWay(
            id=row.rollout,
            yaml_hash=row.rollout_hash or "",
            base=row.rollout_base,
            strategy=row.rollout_strategy or "",
            planned_tasks=row.rollout_tasks or 0,
            builds=row.rollout_builds,
            deadline=row.rollout_deadline,
        )
    failed = None
    if row.failed is not None:
        failed = FailedRollout(id=row.failed, yaml_hash=row.failed_hash or "", cause=row.failed_cause or "")
    return Observed(
        org_id=org.id,
        compiled=compiled,
        presence=presence,
        current_version=row.current_version,
        current_hash=row.current_hash,
        base_publish=tuple(row.base_publish or ()),
        wanted_version=row.wanted_version,
        target_version=row.target_version,
        pinned_names=tuple(row.pinned_names),
        served=row.served,
        intact=row.intact,
        under_way=under_way,
        failed=failed,
    )


async def _with_fingerprints(tx: Transaction, org: Org, base: Observed, reuse: Sequence[str]) -> Observed:
    """What the fingerprints stand for: by what was recorded, and by the wish to reuse where that is still possible.

    A fingerprint that has served with data of its own keeps them; then nothing is left to reuse.
    """
    compiled, dag = base.compiled, base.compiled.document.dag
    rows = await tx.rows("observe_same_data", SameData, org_id=org.id, dag=dag)
    known = {(row.job, row.fingerprint): row.same_as for row in rows}
    serving = await tx.rows(
        "observe_reused", _Fingerprint, version=base.current_version, jobs=list(reuse)
    ) if reuse else []  # fmt: skip
    wished = {row.name: row.fingerprint for row in serving if row.name in compiled.jobs}
    while True:
        found, new = resolved(compiled, known, wished)
        own = await tx.rows(
            "observe_generations", _Job, jobs=[s.job for s in new], fingerprints=[s.fingerprint for s in new],
            identities=[job_identity(org.id, dag, s.job) for s in new],
        ) if new else []  # fmt: skip
        if not own:
            break
        wished = {job: fingerprint for job, fingerprint in wished.items() if job not in {row.job for row in own}}
    repoints = False
    if base.wanted_version is not None and (known or new):
        differs = await tx.row(
            "observe_repoints", _Differs, version=base.wanted_version, names=words(found.jobs),
            fingerprints=words(job.fingerprint for job in found.jobs.values()),
        )  # fmt: skip
        repoints = differs is not None and differs.differs
    return replace(base, compiled=found, same_data=new, repoints=repoints)


async def _with_names(tx: Transaction, org: Org, base: Observed) -> Observed:
    """Whose the names are that it asks for, who reads what it publishes, and what it reads of others."""
    compiled, dag = base.compiled, base.compiled.document.dag
    names = [*(p.name for p in compiled.document.publish), *base.pinned_names]
    external = list(compiled.external)
    owners = await tx.rows("observe_names", Owner, org_id=org.id, names=names)
    readers = await tx.rows("observe_readers", Reader, org_id=org.id, dag=dag)
    absent = await tx.rows("observe_absent", _Name, org_id=org.id, names=external) if external else []
    ancestry = await tx.rows("observe_ancestry", Ancestry, org_id=org.id, dag=dag, names=external) if external else []
    return replace(
        base,
        owners=tuple(owners),
        readers=tuple(readers),
        absent=tuple(row.name for row in absent),
        ancestry=tuple(ancestry),
    )


async def _with_units(tx: Transaction, org: Org, base: Observed) -> Observed:
    """Which jobs differ from those that serve, and how much is to be done for those whose data do."""
    compiled = base.compiled
    jobs = await tx.rows(
        "observe_jobs",
        DifferingJob,
        base=base.current_version,
        names=words(compiled.jobs),
        fingerprints=words(job.fingerprint for job in compiled.jobs.values()),
        documents=words(job.document_hash for job in compiled.jobs.values()),
    )
    counts: list[UnitCount] = []
    if base.current_version is not None:
        builds = {
            j.name: j.fingerprint for j in jobs if j.wanted and compiled.jobs[j.name].fingerprint != j.fingerprint
        }
        sources = await _sources(tx, base, list(builds))
        documents = {name: row.source for name, row in sources.items()}
        asked, frontiers, renamed = questions(org.id, compiled, builds, documents)
        if asked:
            counts = await tx.rows(
                "observe_units",
                UnitCount,
                org_id=org.id,
                dag=compiled.document.dag,
                base=base.current_version,
                questions=jsonb(asked),
                frontiers=jsonb(frontiers),
            )
        counts += _renamed(compiled, sources, renamed)
    return replace(base, jobs=tuple(jobs), counts=tuple(counts))


def _renamed(
    compiled: Compiled, sources: Mapping[str, _Source], renamed: Mapping[str, frozenset[str]]
) -> Iterator[UnitCount]:
    """Units of sources whose partitions are named in another way, by their instants; what follows has them at most."""
    units: dict[str, int] = {}
    for name in frozenset().union(*renamed.values()) if renamed else ():
        row, wanted = sources.get(name), compiled.document_of(name).source
        units[name] = 0
        if row is not None and row.source.cron and wanted is not None and row.since and row.last_tick:
            units[name] = len(keys_between(wanted, row.since, row.last_tick))
    for job, among in renamed.items():
        yield UnitCount(job=job, units=min(units[name] for name in among), done=0)


class _Source(Struct, frozen=True):
    name: str
    source: SourceDocument
    since: datetime | None
    last_tick: datetime | None


async def _sources(tx: Transaction, base: Observed, builds: list[str]) -> dict[str, _Source]:
    names = [name for name in builds if base.compiled.document_of(name).source is not None]
    if not names:
        return {}
    rows = await tx.rows("observe_sources", _Source, version=base.current_version, jobs=names)
    return {row.name: row for row in rows}
