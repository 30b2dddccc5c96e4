"""Rollouts in Postgres: begun, approved, held, ended. `versions` carries out plans by it, `run.rollouts` moves them on.

Every function is called under the DAG's exclusive lock, unless it says otherwise.
"""

from __future__ import annotations

from functools import partial
from uuid import UUID

from msgspec import Struct

from headrace import metrics
from headrace.errors import TemporaryError
from headrace.plan.explanation import Explanation, kept
from headrace.plan.observed import Obstacle
from headrace.plan.obstacles import told
from headrace.plan.rollout import Left, Underway
from headrace.plan.steps import AdjustRollout, Cutover, EndRollout, StartRollout
from headrace.state.cutover import cut_over
from headrace.state.database import Transaction, jsonb


class DueRollout(Struct, frozen=True, kw_only=True):
    """A rollout under way; `due_in`: seconds until it is to be looked at though nothing happened, None if never."""

    org_id: UUID
    dag: str
    namespace: str
    due_in: float | None


class FailedRow(Struct, frozen=True, kw_only=True):
    """A DAG's last rollout, which failed, or which a person gave up."""

    id: UUID
    yaml_hash: str


class _Rolled(Struct, frozen=True):
    dag_version_id: UUID
    state: str
    took: float | None = None


class _Restorable(Struct, frozen=True):
    version: UUID
    current: UUID
    current_hash: str


class _Id(Struct, frozen=True):
    id: UUID


async def start(tx: Transaction, org_id: UUID, dag: str, step: StartRollout) -> None:
    """A version begins to be built; what failed for good in an earlier build of the same is tried again."""
    version = await _record(
        tx, org_id, dag, step, "Building", planned_tasks=step.explanation.tasks, build_approved=step.build_approved,
        cutover_approved=step.cutover_approved, deadline=step.deadline,
    )  # fmt: skip
    await tx.execute("retry_build", version=version, base=step.base)


async def record_cutover(tx: Transaction, org_id: UUID, dag: str, step: Cutover) -> UUID:
    """A version is about to become current without a build; its id."""
    return await _record(
        tx, org_id, dag, step, "Done", planned_tasks=0, build_approved=True, cutover_approved=True, deadline=None
    )


async def _record(
    tx: Transaction, org_id: UUID, dag: str, step: StartRollout | Cutover, state: str, **more: object
) -> UUID:
    """The row of a rollout; the id of its version."""
    found = await tx.row(
        "start_rollout",
        _Rolled,
        org_id=org_id,
        dag=dag,
        base=step.base,
        yaml_hash=step.yaml_hash,
        state=state,
        strategy=step.strategy,
        plan=jsonb(kept(step.explanation)),
        **more,
    )
    if found is None:
        raise TemporaryError(f"DAG {dag}: the version {step.yaml_hash} is not there")
    if found.state == "done":
        tx.after(partial(metrics.tell_rollout, found.state))
    return found.dag_version_id


async def adjust(tx: Transaction, step: AdjustRollout) -> None:
    """The object's settings for the rollout under way changed."""
    await tx.execute(
        "adjust_rollout",
        id=step.id,
        strategy=step.strategy,
        build_approved=step.build_approved,
        deadline=step.deadline,
    )


async def end(tx: Transaction, org_id: UUID, dag: str, step: EndRollout) -> None:
    """A rollout is over; unfinished work goes over to the version of `keep`, where that has it too, or ends.

    That of a failed one stays as it is, to be resumed.
    """
    ended = await tx.row("end_rollout", _Rolled, id=step.id, state=step.state, cause=step.cause, stopped=step.stopped)
    if ended is not None:
        tx.after(partial(metrics.tell_rollout, ended.state, ended.took))
    if ended is None or step.state == "Failed":
        return
    version = ended.dag_version_id
    if step.keep is not None:
        kept = await tx.row("version_of_hash", _Id, org_id=org_id, dag=dag, yaml_hash=step.keep)
        if kept is not None:
            await tx.execute("keep_build", version=version, keep=kept.id)
    await tx.execute("drop_build", version=version)


async def cancel(tx: Transaction, org_id: UUID, dag: str, cause: str, *, stopped: bool = False) -> str | None:
    """Whatever rollout of the DAG is under way is given up; the hash of its version, None if none was.

    `stopped`: a person wants it so, and it does not begin again by itself.
    """
    found = await under_way(tx, org_id, dag)
    if found is None:
        return None
    await end(tx, org_id, dag, EndRollout(id=found.id, state="Canceled", cause=cause, stopped=stopped))
    return found.yaml_hash


async def under_way(tx: Transaction, org_id: UUID, dag: str) -> Underway | None:
    """The rollout of a DAG that builds or waits, if there is one. No lock is needed to look."""
    return await tx.row("rollout_under_way", Underway, org_id=org_id, dag=dag)


async def all_under_way(tx: Transaction) -> list[DueRollout]:
    """Every rollout under way of a DAG that is there. No lock."""
    return await tx.rows("rollouts_under_way", DueRollout)


async def left(tx: Transaction, org_id: UUID, dag: str, base: UUID) -> Left:
    """What is left of the build, among the tasks that exist."""
    return await tx.row("build_left", Left, org_id=org_id, dag=dag, base=base) or Left()


async def obstacles(tx: Transaction, org_id: UUID, dag: str, version: UUID) -> list[Obstacle]:
    """Why this version may not serve now; nothing if it may. The caller holds the org's lock, if it acts on it."""
    return await tx.rows("obstacles", Obstacle, org_id=org_id, dag=dag, version=version)


async def become_ready(tx: Transaction, rollout: UUID) -> bool:
    """Everything is done; False if that was known."""
    return bool(await tx.execute("become_ready", id=rollout))


async def hold(tx: Transaction, rollout: UUID, seconds: int) -> None:
    """Hold live work of the jobs being replaced for so long."""
    await tx.execute("hold_live", id=rollout, seconds=seconds)


async def arm(tx: Transaction, rollout: UUID, seconds: int) -> None:
    """Live work may be held after so long."""
    await tx.execute("arm_hold", id=rollout, seconds=seconds)


async def done(tx: Transaction, rollout: UUID) -> None:
    """Its version has become current."""
    ended = await tx.row("end_rollout", _Rolled, id=rollout, state="Done", cause=None, stopped=False)
    if ended is not None:
        tx.after(partial(metrics.tell_rollout, ended.state, ended.took))


async def approve(tx: Transaction, org_id: UUID, dag: str, yaml_hash: str) -> bool:
    """A person approves what the rollout of this document waits for; False if there is nothing of the kind."""
    return bool(await tx.execute("approve_rollout", org_id=org_id, dag=dag, yaml_hash=yaml_hash))


async def resume(tx: Transaction, org_id: UUID, dag: str) -> bool:
    """The last rollout, which failed or was given up, goes on; False if it was not."""
    failed = await tx.row("failed_rollout", FailedRow, org_id=org_id, dag=dag)
    return failed is not None and bool(await tx.execute("resume_rollout", id=failed.id))


async def pin(tx: Transaction, org_id: UUID, dag: str, yaml_hash: str) -> str | None:
    """Keep the DAG at a version that has served, and have it serve at once; why that cannot be, if so."""
    await tx.execute("lock_org", org_id=org_id)
    found = await tx.row("restorable_version", _Restorable, org_id=org_id, dag=dag, yaml_hash=yaml_hash)
    if found is None:
        named = f"no version of {yaml_hash[:20]}" if yaml_hash else "no version is named that"
        return f"{named} has served and has all of its data still"
    if in_the_way := await obstacles(tx, org_id, dag, found.version):
        return told(dag, in_the_way)
    await tx.execute("pin_version", org_id=org_id, dag=dag, yaml_hash=yaml_hash)
    await cancel(tx, org_id, dag, "another version was pinned")
    failed = await tx.row("failed_rollout", FailedRow, org_id=org_id, dag=dag)
    if failed is not None:
        await end(tx, org_id, dag, EndRollout(id=failed.id, state="Superseded", keep=yaml_hash))
    if found.version != found.current:
        explanation = Explanation(
            dag=dag, yaml_hash=yaml_hash, base_hash=found.current_hash, swap="swap only", restorable=True,
            notes=("it was pinned",),
        )  # fmt: skip
        step = Cutover(base=found.current, yaml_hash=yaml_hash, strategy="WhenReady", explanation=explanation)
        await record_cutover(tx, org_id, dag, step)
        await cut_over(tx, org_id, dag, found.current, found.version)
    return None


async def unpin(tx: Transaction, org_id: UUID, dag: str) -> bool:
    """Let the object's own document be wanted again; False if it was."""
    return bool(await tx.execute("unpin_version", org_id=org_id, dag=dag))
