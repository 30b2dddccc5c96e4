"""What people ask for is carried out: runs and cancellations, whether given as annotations or at the gateway.

`run.commands` and the gateway call it, in a transaction that holds the DAG's lock.
"""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, TypeVar
from uuid import UUID

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from headrace.api.runs import (
    MOST_KEYS,
    Cancel,
    Canceled,
    NothingToDo,
    NotThere,
    NotUnderstood,
    Ran,
    Run,
    checked_cancel,
    checked_run,
)
from headrace.api.words import counted
from headrace.compile.hashes import canonical_json
from headrace.compile.runs import NO_PARAMETERS, source_keys
from headrace.errors import PermanentError, TemporaryError
from headrace.state import rollouts, runs
from headrace.state.database import Transaction
from headrace.state.runs import Runnable

T = TypeVar("T", bound=Struct)
_SUSPENDED: Final = "the DAG is suspended, and nothing of it begins: set spec.suspend to false"


class OtherRequest(PermanentError):
    """An id that was given to another request."""


Schema = dict[str, object]


async def schema_of(tx: Transaction, org_id: UUID, dag: str, job: str) -> Schema | None:
    """The paramsSchema of a job that serves, if it has one."""
    found = await runs.runnable(tx, org_id, dag, job)
    return found.params_schema if found else None


async def missing(tx: Transaction, org_id: UUID, dag: str, job: str | None = None) -> NotThere:
    """Why nothing can be asked of a DAG, or of its job, in words."""
    if not await runs.is_known(tx, org_id, dag):
        return NotThere(f"there is no DAG {dag} in this namespace, or it has no version yet")
    return NotThere(f"{job!r} is no job of the version of DAG {dag} that serves")


async def run_job(
    tx: Transaction, org_id: UUID, dag: str, job: str, run: Run, user: str, checked: Schema | None = None
) -> Ran:
    """Make the tasks of a run; NotUnderstood when the job, its partitions or its parameters cannot be.

    `checked`: the schema by which its parameters were found good. That is done before, in a process of its own: a
    pattern can take for ever. The caller holds the DAG's lock, shared at least.
    """
    run = checked_run(run)
    found = await runs.runnable(tx, org_id, dag, job)
    if found is None:
        raise await missing(tx, org_id, dag, job)
    _check_params(run, found, checked)
    keys = await _keys(tx, found, run)
    named = bool(run.partitions or run.first)
    wanted = keys
    if run.missing or (not named and found.activation == "source"):
        whole = [key for key in keys if key == "*" and not run.missing]
        wanted = whole + await runs.absent_keys(tx, found.job_id, [key for key in keys if key not in whole])
    target, low = (found.job_id, job), run.first is not None
    digest = hashlib.sha256(canonical_json(run.params).encode()).hexdigest()[:32] if run.params else ""
    tasks = await runs.run_units(tx, target, wanted, params=run.params, digest=digest, low=low, user=user)
    if run.downstream and wanted:
        jobs = await runs.count_downstream(tx, found.job_id)
        if jobs * len(wanted) > MOST_KEYS:
            raise NotUnderstood(
                f"{len(wanted)} partitions of {jobs} jobs downstream are more than {MOST_KEYS} tasks: give fewer"
            )
        tasks += await runs.run_downstream(tx, target, wanted, low=low, user=user)
    notes = (_SUSPENDED,) if tasks and found.suspended else ()
    return Ran(dag=dag, job=job, tasks=tuple(tasks), there=len(keys) - len(wanted), notes=notes)


def _check_params(run: Run, found: Runnable, checked: Schema | None) -> None:
    if not run.params:
        needed = (found.params_schema or {}).get("required")
        if needed:
            raise NotUnderstood(f"the job needs parameters: {needed}")
        return
    if found.params_schema is None:
        raise NotUnderstood(NO_PARAMETERS)
    if checked is None:
        raise NotUnderstood("parameters are given with `headrace run`, or at the gateway")
    if checked != found.params_schema:
        raise TemporaryError(f"the parameters of job {found.job_id} have another schema by now")


async def once(
    tx: Transaction,
    org_id: UUID,
    request: str,
    asked: tuple[str, str, str],
    act: Callable[[Transaction], Awaitable[T]],
    shape: type[T],
) -> T:
    """Carry a request out, or give its first answer; OtherRequest when its id was that of something else.

    `asked`: its kind, who asks, and for what. Two at once: the second waits for the first's transaction.
    """
    kind, user, text = asked
    if not await runs.begin_request(tx, org_id, request, kind, user, text):
        before = await runs.find_request(tx, org_id, request)
        if before is None or (before.kind, before.user_name, before.asked) != asked:
            raise OtherRequest(f"the id {request} was another request's: take a new one")
        return msgspec.convert(before.answer, shape)
    answer = await act(tx)
    await runs.answer_request(tx, org_id, request, answer)
    return answer


async def _keys(tx: Transaction, found: Runnable, run: Run) -> Sequence[str]:
    """The partitions that a run is about."""
    if found.source is not None:
        return source_keys(found.source, run)
    named = run.partitions or None
    keys = await runs.ready_keys(tx, found.job_id, MOST_KEYS + 1, named, run.first, run.last)
    if len(keys) > MOST_KEYS:
        raise NotUnderstood(f"these are more than {MOST_KEYS} partitions: give a shorter range")
    lacking = sorted(set(run.partitions) - set(keys))
    if lacking:
        raise NothingToDo(f"its inputs do not have {_some(lacking)}: what reads runs on partitions that are there")
    if not keys:
        raise NothingToDo("its inputs have no partition in this range" if run.first else "its inputs have nothing yet")
    if not (named or run.first or run.missing) and keys != ["*"]:
        raise NotUnderstood(
            "its inputs have many partitions: name some with --partition, or --from and --to, or take those that it"
            " lacks with --missing"
        )
    return keys


def _some(keys: Sequence[str]) -> str:
    more = f" and {len(keys) - 8} more" if len(keys) > 8 else ""
    return ", ".join(keys[:8]) + more


async def cancel(tx: Transaction, org_id: UUID, dag: str, wanted: Cancel, user: str) -> Canceled:
    """Give up what a person no longer wants; NotUnderstood when there is nothing of the kind.

    The caller holds the DAG's lock, exclusively where all of a DAG is meant.
    """
    if not await runs.is_known(tx, org_id, dag):
        raise await missing(tx, org_id, dag)
    wanted = checked_cancel(wanted)
    reason = f"canceled by {user}"
    whole = wanted.everything or wanted.rollout
    gone = await rollouts.cancel(tx, org_id, dag, reason, stopped=True) if whole else None
    if wanted.rollout:
        if gone is None:
            raise NothingToDo(f"no rollout of DAG {dag} is under way")
        return Canceled(dag=dag, rollout=gone)
    if wanted.job and await runs.runnable(tx, org_id, dag, wanted.job) is None:
        raise await missing(tx, org_id, dag, wanted.job)
    done = await runs.cancel_tasks(tx, org_id, dag, reason, job=wanted.job, keys=wanted.partitions, task=wanted.task)
    if not (done.waiting or done.running or done.failed or gone):
        raise NothingToDo("nothing of it waits, runs or has failed for good in the version that serves")
    return replace(done, rollout=gone)


def told_run(ran: Ran) -> str:
    """What came of a run, in words."""
    made = sum(1 for task in ran.tasks if not task.joined and task.job == ran.job)
    below = sum(1 for task in ran.tasks if task.job != ran.job)
    of = ran.there + sum(1 for task in ran.tasks if task.job == ran.job)
    rest = "; the others are there or on their way" if made < of else ""
    more = f"; {counted(below, 'task')} downstream" if below else ""
    return "; ".join((f"made {made} of {counted(of, 'task')}{rest}{more}", *ran.notes))


def told_cancel(done: Canceled) -> str:
    """What was canceled, in words."""
    counts = ((done.running, "running"), (done.waiting, "waiting"), (done.failed, "failed"))
    parts = [counted(count, f"{state} task") for count, state in counts if count]
    tasks = f"canceled {', '.join(parts)}" if parts else ""
    rollout = "gave up the rollout" if done.rollout else ""
    return "; ".join(part for part in (tasks, rollout) if part)
