"""Tasks in Postgres: made, claimed, completed, failed. `run` calls this; every function is one set of statements.

The two fences: a lease token for each attempt, checked by every call about it, and the operator's epoch, checked by
every claim.
"""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

import msgspec
from msgspec import Struct

from headrace.errors import LostLeadership
from headrace.state.database import Transaction, jsonb


class Attempt(Struct, frozen=True, kw_only=True):
    """One attempt of a task, named by what fences it: its lease token, and the pod that it is."""

    id: UUID
    attempt: int
    token: UUID
    namespace: str
    pod: str


class Completion(Attempt, frozen=True, kw_only=True):
    """An attempt that ended well; `note`: what the user should know of it, if anything."""

    note: str | None = None


class Failure(Attempt, frozen=True, kw_only=True):
    """An attempt that ended without a result.

    `lost`: by its infrastructure, not by its own doing. `postponed`: it never began, and costs nothing.
    """

    reason: str
    lost: bool
    postponed: bool = False


class Reported(Struct, frozen=True, kw_only=True):
    """What a task said of one partition of one output; counts are None where it said nothing."""

    task: UUID
    output: int
    key: str
    rows: int | None = None
    bytes: int | None = None


class RunningPod(Struct, frozen=True, kw_only=True):
    """A Running task with all that its pod is made from; `inputs` and `outputs` as they were resolved at claim.

    `epoch` is that of the operator which claimed it.
    """

    id: UUID
    attempt: int
    token: UUID
    pod_name: str
    partitions: list[str]
    inputs: dict[str, dict[str, object]]
    outputs: list[dict[str, object]]
    org_id: UUID
    org: str
    dag: str
    job: str
    operator: str
    config: dict[str, object]
    pod: dict[str, object]
    timeout_seconds: int
    dag_uid: str
    epoch: int

    @property
    def as_attempt(self) -> Attempt:
        """What fences it."""
        return Attempt(id=self.id, attempt=self.attempt, token=self.token, namespace=self.org, pod=self.pod_name)


class PodName(Struct, frozen=True):
    """A pod that should be there."""

    name: str
    namespace: str


class Expired(Attempt, frozen=True, kw_only=True):
    """A Running attempt whose lease has run out; or that is `late`: well beyond its timeout."""

    late: bool


class _Id(Struct, frozen=True):
    id: UUID


class _Picked(Struct, frozen=True):
    id: UUID
    org_id: UUID
    dag: str


class Left(Struct, frozen=True, kw_only=True):
    """Whether any task waits, whether any runs, any rollout is under way, any DAG is to look for work."""

    waiting: bool
    running: bool
    rollouts: bool = False
    looks: bool = False


class _Dag(Struct, frozen=True):
    org_id: UUID
    dag: str


class _Place(Struct, frozen=True):
    id: UUID
    org_id: UUID
    dag: str
    key: str


class _Held(Struct, frozen=True):
    held: bool


class _Epoch(Struct, frozen=True):
    epoch: int


async def fence(tx: Transaction, epoch: int) -> None:
    """Hold the epoch until the transaction ends; LostLeadership if another operator leads by now."""
    if not await tx.rows("fence", _Epoch, epoch=epoch):
        raise LostLeadership(f"epoch {epoch} is over: another operator leads")


async def create_missing(
    tx: Transaction, dags: Sequence[tuple[UUID, str]], *, backfill: bool = False, building: bool = False
) -> int:
    """Make the units that should be worked on and are not, of these DAGs (org, name); the number made.

    Those of versions being built are work of the build; with `backfill`, all are; with `building`, no others are made.
    The caller holds the DAGs' locks, shared at least: a cutover in between would leave tasks of a former version.
    """
    orgs, names = [org for org, _ in dags], [dag for _, dag in dags]
    return await tx.execute("create_missing", org_ids=orgs, dags=names, backfill=backfill, building=building)


async def consumers_told(tx: Transaction) -> list[tuple[UUID, str]]:
    """The DAGs (org, name) that are to look for work, since their inputs from other DAGs changed."""
    return [(row.org_id, row.dag) for row in await tx.rows("consumers_told", _Dag)]


async def look_for_work(tx: Transaction, epoch: int, org_id: UUID, dag: str) -> int | None:
    """A DAG whose inputs from other DAGs changed makes its units; how many. Its lock first, then the outbox.

    None, at once, while it is being committed or cut over: it stays in the outbox.
    """
    if not await try_lock_dag_shared(tx, org_id, dag):
        return None
    await fence(tx, epoch)
    await tx.execute("consumer_looked", org_id=org_id, dag=dag)
    return await create_missing(tx, [(org_id, dag)])


async def retry_failed(tx: Transaction, org_id: UUID, dag: str, job: str | None) -> int:
    """Queue again what failed for good in the current version, of one job or of all; how many units. Under the lock."""
    return await tx.execute("retry_failed", org_id=org_id, dag=dag, job=job)


async def revive_absent(tx: Transaction, org_id: UUID, dag: str) -> int:
    """Queue again what the DAG's absence canceled; how many units. Under the DAG's lock."""
    return await tx.execute("revive_absent", org_id=org_id, dag=dag)


async def lock_dags_shared(tx: Transaction, dags: Sequence[tuple[UUID, str]]) -> None:
    """Keep these DAGs (org, name) from being cut over until the transaction ends."""
    await tx.execute("lock_dag_shared", org_ids=[org for org, _ in dags], dags=[dag for _, dag in dags])


async def lock_dag_soon(tx: Transaction, org_id: UUID, dag: str) -> None:
    """The DAG's lock, exclusively, until the transaction ends. Busy when a lock is not to be had soon."""
    await tx.execute("wait_briefly")
    await tx.execute("lock_dag", org_id=org_id, dag=dag)


async def try_lock_dag_shared(tx: Transaction, org_id: UUID, dag: str) -> bool:
    """Keep a DAG from being cut over until the transaction ends; False, at once, while it is being cut over."""
    found = await tx.row("try_lock_dag_shared", _Held, org_id=org_id, dag=dag)
    return found is not None and found.held


async def create_source_tasks(
    tx: Transaction, job_id: UUID, keys: Sequence[str], *, again: bool = False, backfill: bool = False
) -> int:
    """Tasks of a source job for those `keys` that are not there (`again`: for all); the number made."""
    return await tx.execute("create_source_tasks", job_id=job_id, keys=list(keys), again=again, backfill=backfill)


async def left(tx: Transaction) -> Left:
    """Whether any task waits or runs: the one question of an idle operator."""
    found = await tx.row("work_left", Left)
    return found or Left(waiting=False, running=False)


async def claim(tx: Transaction, epoch: int, orgs: Sequence[UUID], most: int) -> list[tuple[UUID, str]]:
    """Start attempts of at most `most` pod tasks of these orgs; the DAG (org, name) of each. Idle: no write."""
    await tx.execute("lock_claims")
    picked = await tx.rows("pick_tasks", _Picked, runtime="pod", orgs=list(orgs), among=None, most=most)
    if picked:
        await fence(tx, epoch)
        await tx.execute("start_tasks", ids=[p.id for p in picked], epoch=epoch)
    return [(p.org_id, p.dag) for p in picked]


async def dispatch(tx: Transaction, epoch: int, most: int) -> list[tuple[UUID, str]]:
    """Run at most `most` tasks of the operator's own (triggers), there at once; the DAG (org, name) of each."""
    waiting = [row.id for row in await tx.rows("waiting_dispatched", _Id, most=most)]
    if not waiting:
        return []
    await _lock_for_completion(tx, waiting)  # before the rows: a cutover takes the DAG's lock first, too
    await tx.execute("lock_claims")
    picked = await tx.rows("pick_tasks", _Picked, runtime="dispatcher", orgs=None, among=waiting, most=most)
    if picked:
        await fence(tx, epoch)
        ids = [p.id for p in picked]
        await tx.execute("start_tasks", ids=ids, epoch=epoch)
        await tx.execute("finish_dispatched", ids=ids)
        await _publish(tx, ids, ())
    return [(p.org_id, p.dag) for p in picked]


async def running_names(tx: Transaction) -> list[PodName]:
    """The pods that should be there: one for each Running task that has one, oldest first."""
    return await tx.rows("running_names", PodName)


async def running_pods(tx: Transaction, names: Sequence[str]) -> list[RunningPod]:
    """Of the Running tasks, those with these pods' names, with all that their pods are made from."""
    return await tx.rows("running_pods", RunningPod, names=list(names))


async def complete(tx: Transaction, epoch: int, done: Sequence[Completion], reported: Sequence[Reported]) -> set[UUID]:
    """Accept these completions, publish their outputs, make what follows. The ids accepted; the others were stale."""
    await _lock_for_completion(tx, [d.id for d in done])
    await fence(tx, epoch)
    accepted = [row.id for row in await tx.rows("accept_completions", _Id, done=jsonb(list(done)))]
    if accepted:
        await _publish(tx, accepted, reported)
    return set(accepted)


async def fail(tx: Transaction, epoch: int, failed: Sequence[Failure], backoff_seconds: float) -> set[UUID]:
    """End these attempts as failures; the ids that were still theirs to end."""
    await fence(tx, epoch)
    # A reason ends with what a container wrote, and Postgres keeps no NUL.
    told = [msgspec.structs.replace(f, reason=f.reason.replace("\0", "")) for f in failed]
    rows = await tx.rows("fail_attempts", _Id, failed=jsonb(told), backoff=backoff_seconds)
    return {row.id for row in rows}


async def renew(tx: Transaction, epoch: int, alive: Sequence[PodName]) -> int:
    """Renew the leases of attempts whose pods live; the number renewed."""
    await fence(tx, epoch)
    return await tx.execute("renew_leases", namespaces=[p.namespace for p in alive], pods=[p.name for p in alive])


async def expired(tx: Transaction) -> list[Expired]:
    """Running attempts whose lease has run out, or whose timeout has long passed, by Postgres' clock."""
    return await tx.rows("expired_leases", Expired)


async def _lock_for_completion(tx: Transaction, ids: Sequence[UUID]) -> None:
    places = await tx.rows("locate_tasks", _Place, ids=list(ids))
    orgs, dags = [p.org_id for p in places], [p.dag for p in places]
    await tx.execute("lock_dag_shared", org_ids=orgs, dags=dags)
    await tx.execute("lock_keys", org_ids=orgs, dags=dags, keys=[p.key for p in places])


async def _publish(tx: Transaction, ids: Sequence[UUID], reported: Sequence[Reported]) -> None:
    await tx.execute("publish_outputs", ids=list(ids), reported=jsonb(list(reported)))
    await tx.execute("record_units", ids=list(ids))
    await tx.execute("create_downstream", ids=list(ids))
    await tx.execute("tell_consumers", ids=list(ids))


async def raise_epoch(tx: Transaction, holder: str) -> int:
    """Take the dispatch over: from here on every write of an older epoch fails. The new epoch."""
    found = await tx.row("raise_epoch", _Epoch, holder=holder)
    if found is None:
        raise LostLeadership("the epoch's row is missing: run headrace migrate")
    return found.epoch
