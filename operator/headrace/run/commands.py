"""Commands given as annotations, `headrace.dev/<command>: "<request-id> <argument>"`. `run.commit` calls it.

Each request is carried out once, in the transaction that records it, so that whoever repeats it, or takes the
annotation back, changes nothing.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Final
from uuid import UUID

from headrace.api.names import ANNOTATION_REVISION, COMMAND_ANNOTATIONS, GROUP
from headrace.api.runs import NotUnderstood, read_cancel, read_run, task_id
from headrace.api.words import counted
from headrace.errors import LostLeadership, PermanentError, TemporaryError
from headrace.run.requests import cancel, run_job, told_cancel, told_run
from headrace.run.sources import make_listed
from headrace.state import locks, rollouts, runs, sources, units
from headrace.state.database import Transaction

logger = logging.getLogger(__name__)

Act = Callable[[Transaction, UUID, str, str], Awaitable[str]]

_LONGEST_ID: Final = 128
_ANNOTATION: Final = "annotation"
"""Who asks by one: whoever may patch the object; the API server's audit log knows."""


async def handle_commands(
    tx: Transaction, epoch: int, org_id: UUID, dag: str, annotations: Mapping[str, str], commands: Iterable[str]
) -> dict[str, str]:
    """Carry out the requests for these `commands` among `annotations` that were not handled before.

    Command to, in words, what came of it. The caller holds the DAG's lock.
    """
    done: dict[str, str] = {}
    for command in commands:
        act = _ACTS[command]
        given = annotations.get(COMMAND_ANNOTATIONS[command])
        if given is None:
            continue
        request, _, argument = given.strip().partition(" ")
        request_id, argument = request[:_LONGEST_ID], argument.strip()
        if not request_id or await sources.command_outcome(tx, org_id, dag, command, request_id) is not None:
            continue
        await locks.fence(tx, epoch)
        if not await sources.begin_command(tx, org_id, dag, command, request_id, argument):
            continue
        if len(request) > _LONGEST_ID:
            done[command] = f"refused: the request id is longer than {_LONGEST_ID} characters"
        else:
            done[command] = await _acted(tx, act, org_id, dag, argument)
        await sources.settle_command(tx, org_id, dag, command, request_id, done[command])
    return done


async def _acted(tx: Transaction, act: Act, org_id: UUID, dag: str, argument: str) -> str:
    """What came of a command. One that nobody foresaw is refused: it must not keep its DAG from all else."""
    try:
        async with tx.savepoint():
            return await act(tx, org_id, dag, argument)
    except (TemporaryError, LostLeadership):
        raise
    except PermanentError as error:
        return f"refused: {error}"
    except Exception as error:
        # A defect that one request sets off: raised, it would undo the whole commit, and again with each try.
        logger.exception("DAG %s: a command failed", dag)
        return f"refused: it cannot be carried out ({type(error).__name__})"


def are_given(annotations: Mapping[str, str]) -> bool:
    """Whether any command is among them, handled or not."""
    return any(name in annotations for name in COMMAND_ANNOTATIONS.values())


def not_understood(annotations: Mapping[str, str]) -> list[str]:
    """A warning for each annotation of our group on a DAG that this release does not act on."""
    commands = {COMMAND_ANNOTATIONS[command] for command in _ACTS}
    known = {ANNOTATION_REVISION, *commands}
    empty = [
        f"annotation {name} is empty and does nothing: write '<request-id> <argument>', the id a new word each time"
        for name in sorted(commands & annotations.keys())
        if not annotations[name].strip()
    ]
    return empty + [
        f"annotation {name} is not known, or not supported yet, and does nothing: remove it"
        for name in sorted(annotations)
        if name.startswith(f"{GROUP}/") and name not in known
    ]


async def _run(tx: Transaction, org_id: UUID, dag: str, argument: str) -> str:
    try:
        job, run = read_run(argument)
        return told_run(await run_job(tx, org_id, dag, job, run, _ANNOTATION))
    except NotUnderstood as error:
        return f"refused: {error}; the annotation is '<id> JOB [--partition KEY]'"


async def _cancel(tx: Transaction, org_id: UUID, dag: str, argument: str) -> str:
    try:
        return told_cancel(await cancel(tx, org_id, dag, read_cancel(argument), _ANNOTATION))
    except NotUnderstood as error:
        return f"refused: {error}; the annotation is '<id> [JOB|TASK] [--partition KEY] [--rollout]'"


async def _retry(tx: Transaction, org_id: UUID, dag: str, target: str) -> str:
    task = task_id(target)
    if target and not task and not await runs.is_known(tx, org_id, dag, target):
        return f"refused: no version of DAG {dag} has a job {target}"
    resumed = await rollouts.resume(tx, org_id, dag)
    queued = await units.retry_failed(tx, org_id, dag, None if task else target or None, task)
    if not queued and not resumed:
        named = f" as task {task}" if task else f" in job {target!r}" if target else ""
        return f"nothing has failed for good{named}"
    return f"queued {counted(queued, 'task')} again{'; the rollout goes on' if resumed else ''}"


async def _approve(tx: Transaction, org_id: UUID, dag: str, yaml_hash: str) -> str:
    if not await rollouts.approve(tx, org_id, dag, yaml_hash):
        return f"refused: no rollout of {_named(yaml_hash)} waits for approval; its annotation is '<id> <yaml_hash>'"
    return "approved"


def _named(yaml_hash: str) -> str:
    """A hash as people are shown it."""
    return yaml_hash.partition("-")[2][:10] or yaml_hash[:20] or "a document without a hash"


async def _pin(tx: Transaction, org_id: UUID, dag: str, yaml_hash: str) -> str:
    refused = await rollouts.pin(tx, org_id, dag, yaml_hash)
    if refused is not None:
        return f"refused: {refused}; its annotation is '<id> <yaml_hash>'"
    await make_listed(tx, org_id, dag)
    return "pinned until unpin"


async def _unpin(tx: Transaction, org_id: UUID, dag: str, _: str) -> str:
    return "unpinned" if await rollouts.unpin(tx, org_id, dag) else "refused: no version is pinned"


_ACTS: Final[dict[str, Act]] = {
    "approve": _approve,
    "cancel": _cancel,
    "pin": _pin,
    "retry": _retry,
    "run": _run,
    "unpin": _unpin,
}
BEFORE: Final = ("unpin", "pin", "cancel", "retry")
"""Those that a plan depends on."""
AFTER: Final = ("approve", "run")
"""Those that depend on what a plan has registered."""
