"""What Postgres has of a DAG, for its plan: read in one transaction. reconcile and the preview of a plan call it.

Nothing here writes. A document that serves already costs one look; otherwise what is alike is compared as sets of
hashes in SQL and not read.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from uuid import UUID

from msgspec import Struct
from msgspec.structs import replace

from headrace.api.identity import job_identity
from headrace.compile.document import Compiled, PublishDocument, SourceDocument
from headrace.compile.history import History, history, share
from headrace.errors import TemporaryError
from headrace.plan.fingerprints import resolved
from headrace.plan.frontier import questions
from headrace.plan.observed import (
    Ancestry,
    DifferingJob,
    FailedRollout,
    LastColumns,
    Observed,
    Owner,
    Presence,
    Reader,
    UnderWay,
    UnitCount,
    Use,
)
from headrace.plan.steps import SameData
from headrace.state import rollouts, webhooks
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
    served: bool
    intact: bool
    taken: bool
    rollout: UUID | None
    rollout_hash: str | None
    rollout_base: UUID | None
    rollout_strategy: str | None
    rollout_tasks: int | None
    rollout_builds: bool
    rollout_bounded: bool
    rollout_deadline: int | None
    failed: UUID | None
    failed_hash: str | None
    failed_cause: str | None
    stopped: bool = False


class _Name(Struct, frozen=True):
    name: str


class _Reused(Struct, frozen=True):
    name: str
    fingerprint: str
    outputs: int
    activation: str


class _Job(Struct, frozen=True):
    job: str


class _Differs(Struct, frozen=True):
    differs: bool


async def observe(
    tx: Transaction, org: Org, compiled: Compiled, reuse: Sequence[str] = (), *, to_act: bool = False
) -> Observed:
    """What there is of the DAG of `compiled`. `reuse`: jobs whose data stay as they are, by the object's wish.

    `to_act`: what comes of it is carried out, so that nobody else may give out names meanwhile, and no more is read
    than that takes.
    """
    dag = compiled.document.dag
    row = await tx.row("observe_dag", _DagRow, org_id=org.id, dag=dag, yaml_hash=compiled.yaml_hash)
    if row is None:
        raise TemporaryError("Postgres gave no answer to observe_dag")
    base = _first_look(row, org, compiled)
    pinned = to_act and row.pinned_hash is not None and row.wanted_version is not None
    back = row.absent and row.current_version is not None
    if (row.current_hash == compiled.yaml_hash or pinned) and not row.taken and not back:
        return base
    if to_act:
        await tx.execute("lock_org", org_id=org.id)
    if back and row.current_version is not None:
        found = await rollouts.obstacles(tx, org.id, dag, row.current_version)
        same = row.current_hash == compiled.yaml_hash
        # Another document mends the rest: only a circle would turn while that is built.
        base = replace(base, obstacles=tuple(o for o in found if same or o.reason == "CycleAcrossDAGs"))
        if same:
            return base
    base = await _with_fingerprints(tx, org, base, reuse)
    base = await _with_columns(tx, org, base)
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
            bounded=row.rollout_bounded,
            deadline=row.rollout_deadline,
        )
    failed = None
    if row.failed is not None:
        failed = FailedRollout(
            id=row.failed, yaml_hash=row.failed_hash or "", cause=row.failed_cause or "", stopped=row.stopped
        )
    return Observed(
        org_id=org.id,
        compiled=compiled,
        presence=presence,
        current_version=row.current_version,
        current_hash=row.current_hash,
        base_publish=tuple(row.base_publish or ()),
        wanted_version=row.wanted_version,
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
        "observe_reused", _Reused, version=base.current_version, jobs=list(reuse)
    ) if reuse else []  # fmt: skip
    alike = {row.name for row in serving if row.name in compiled.jobs and _alike(row, compiled)}
    wished = {row.name: row.fingerprint for row in serving if row.name in alike}
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
    unlike = tuple(sorted(row.name for row in serving if row.name in compiled.jobs and row.name not in alike))
    return replace(base, compiled=found, same_data=new, repoints=repoints, unlike=unlike)


def _alike(row: _Reused, compiled: Compiled) -> bool:
    """Whether what a job makes has the form of what it made: as many outputs, and from a source or not."""
    job = compiled.document_of(row.name)
    return (row.outputs, row.activation) == (job.outputs, job.activation)


async def _with_names(tx: Transaction, org: Org, base: Observed) -> Observed:
    """Whose the names are that it asks for, who reads what it publishes, and what it reads of others."""
    compiled, dag = base.compiled, base.compiled.document.dag
    names = [p.name for p in compiled.document.publish]
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


async def _with_columns(tx: Transaction, org: Org, base: Observed) -> Observed:
    """Of contracts that are new or others: what columns the data have, and who uses which."""
    before = {p.name: p.columns for p in base.base_publish}
    changed = [p for p in base.compiled.document.publish if p.columns != before.get(p.name, ())]
    if not changed:
        return base
    named = jsonb(
        [{"name": p.name, "job": p.job, "output": p.output, "fingerprint": base.compiled.jobs[p.job].outputs[p.output]}
         for p in changed]
    )  # fmt: skip
    dag = base.compiled.document.dag
    columns = await tx.rows("observe_columns", LastColumns, org_id=org.id, dag=dag, published=named)
    uses = await tx.rows("observe_uses", Use, org_id=org.id, names=[p.name for p in changed])
    return replace(base, columns=tuple(columns), uses=tuple(uses))


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
    forgotten: tuple[str, ...] = ()
    if base.current_version is not None:
        builds = {
            j.name: j.fingerprint
            for j in jobs
            if j.wanted
            and compiled.jobs[j.name].fingerprint != j.fingerprint
            and not compiled.document_of(j.name).side_effects
        }
        sources = await _sources(tx, base, list(builds))
        documents = {name: row.source for name, row in sources.items() if row.source is not None}
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
        more, forgotten = _renamed(compiled, sources, renamed, await _of_events(tx, compiled, sources, renamed))
        counts += more
    return replace(base, jobs=tuple(jobs), counts=tuple(counts), forgotten=forgotten)


def _renamed(
    compiled: Compiled,
    sources: Mapping[str, _Source],
    renamed: Mapping[str, frozenset[str]],
    of_events: Mapping[str, frozenset[str]],
) -> tuple[list[UnitCount], tuple[str, ...]]:
    """Units of sources whose partitions have other names now, where what follows has them at most; and the sources of
    which something is lost."""
    found: dict[str, History] = {}
    names = frozenset().union(*renamed.values()) if renamed else frozenset()
    for name in names:
        row, wanted = sources.get(name), compiled.document_of(name).source
        if row is None or wanted is None:
            found[name] = History(keys=(), complete=True)  # it is new
        else:
            had, told = frozenset(row.had), frozenset(row.told)
            kept = history(row.source, wanted, row.last_tick, had, share(len(names)), told)
            keys = dict.fromkeys((*kept.keys, *of_events.get(name, ())))
            if wanted.kind == "always_on" and wanted.replay:
                keys = dict.fromkeys(sorted(had))  # what it will tell again is what it has told
            found[name] = History(keys=tuple(keys), complete=kept.complete)
    counts = [
        UnitCount(job=job, units=min(len(found[name].keys) for name in among), done=0) for job, among in renamed.items()
    ]
    return counts, tuple(sorted(name for name, one in found.items() if not one.complete))


async def _of_events(
    tx: Transaction, compiled: Compiled, sources: Mapping[str, _Source], renamed: Mapping[str, frozenset[str]]
) -> dict[str, frozenset[str]]:
    """The partitions that stored events give, by webhook source whose pattern is another."""
    found: dict[str, frozenset[str]] = {}
    for name in sorted(frozenset().union(*renamed.values()) if renamed else ()):
        row, wanted = sources.get(name), compiled.document_of(name).source
        if row is not None and row.told and wanted is not None and wanted.kind == "webhook":
            found[name] = await webhooks.event_keys(tx, row.identity, wanted)
    return found


class _Source(Struct, frozen=True):
    name: str
    identity: UUID
    source: SourceDocument | None
    last_tick: datetime | None
    had: list[str]
    told: list[str]


async def _sources(tx: Transaction, base: Observed, builds: list[str]) -> dict[str, _Source]:
    names = [name for name in builds if base.compiled.document_of(name).source is not None]
    if not names:
        return {}
    rows = await tx.rows("observe_sources", _Source, version=base.current_version, jobs=names)
    return {row.name: row for row in rows}
