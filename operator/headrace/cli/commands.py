"""`approve`, `rollback`, `unpin`, `retry`: annotations on the DAG, given as the person through the API server.

The operator acknowledges each in `status.lastHandled`, which is watched; the status also tells what came of it.
"""

from __future__ import annotations

import asyncio
import sys
import time
from argparse import Namespace
from typing import Final
from uuid import uuid4

from msgspec import Struct, structs

from headrace.api.history import History, short_hash
from headrace.api.names import COMMAND_ANNOTATIONS, DAG
from headrace.api.runs import task_id
from headrace.cli.connection import connected
from headrace.cli.dags import Dag, NoSuchDag, follow, read_dag
from headrace.cli.gateway import reached
from headrace.cli.history import NoSuchVersion, read_history, whole_hash
from headrace.cli.output import machine_text
from headrace.cli.progress import Progress
from headrace.cli.style import clean
from headrace.cli.tasks import find_task
from headrace.cluster.client import Client
from headrace.cluster.objects import object_path
from headrace.errors import PermanentError, TimeIsUp

_ANSWER_SECONDS: Final = 30.0
_UNDER_WAY: Final = ("Building", "Ready")
_ENDED: Final = ("Failed", "Superseded", "Canceled")


class NotDone(PermanentError):
    """The operator did not answer, refused, or what was awaited cannot come."""


class Done(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What came of a command; `serves`: the hash of the version that serves after it."""

    namespace: str
    dag: str
    command: str
    request: str
    argument: str = ""
    outcome: str
    serves: str | None = None


def approve(arguments: Namespace) -> int:
    """Let a version that waits go on."""
    return _print(arguments, asyncio.run(_move(arguments, "approve")))


def rollback(arguments: Namespace) -> int:
    """Return to a version and stay there."""
    return _print(arguments, asyncio.run(_move(arguments, "pin")))


def unpin(arguments: Namespace) -> int:
    """Let the spec decide again."""
    return _print(arguments, asyncio.run(_simple(arguments, arguments.dag, "unpin", "")))


def retry(arguments: Namespace) -> int:
    """Run again what failed for good."""
    return _print(arguments, asyncio.run(_retry(arguments)))


async def _retry(arguments: Namespace) -> Done:
    dag, _, target = arguments.target.partition("/")
    task = task_id(arguments.target)
    async with connected(arguments) as (client, connection, namespace):
        if task is not None:
            async with reached(arguments, client, connection, namespace) as gateway:
                dag, target = (await find_task(gateway, namespace, task)).dag, str(task)
        return await give(client, namespace, dag, "retry", target, arguments.timeout)


async def _simple(arguments: Namespace, dag: str, command: str, argument: str) -> Done:
    async with connected(arguments) as (client, _, namespace):
        return await give(client, namespace, dag, command, argument, arguments.timeout)


async def _move(arguments: Namespace, command: str) -> Done:
    """A command about a version; its hash is found in the history."""
    dag = arguments.dag
    async with connected(arguments) as (client, connection, namespace):
        now = await read_dag(client, namespace, dag)
        async with reached(arguments, client, connection, namespace) as gateway:
            history = await read_history(gateway, namespace, dag)
        wanted = chosen(command, arguments.hash, now, history)
        began = time.monotonic()
        done = await give(client, namespace, dag, command, wanted, arguments.timeout)
        if not arguments.wait:
            return done
        left = None if arguments.timeout is None else max(0.0, arguments.timeout - (time.monotonic() - began))
        return structs.replace(done, serves=await _until_serving(client, namespace, dag, wanted, left, now))


def chosen(command: str, given: str | None, dag: Dag, history: History) -> str:
    """The hash that a command is about: the one given, whole; else for `pin` the version before, for `approve` the one
    that waits. NoSuchVersion when there is none.
    """
    if given:
        return whole_hash(given, [v.yaml_hash for v in history.versions])
    if command == "pin":
        if history.previous is None:
            raise NoSuchVersion(f"no version of DAG {history.dag} served before: headrace history shows all; name one")
        return history.previous
    rollout = dag.status.rollout
    if rollout is None or rollout.state not in _UNDER_WAY:
        raise NoSuchVersion(f"nothing of DAG {history.dag} waits for approval: no rollout of it is under way")
    return rollout.yaml_hash


async def give(
    client: Client, namespace: str, dag: str, command: str, argument: str, seconds: float | None = None
) -> Done:
    """Set the annotation and wait for the operator's answer, 30 s by default; NotDone when none comes or it refuses."""
    within = _ANSWER_SECONDS if seconds is None else seconds
    request = uuid4().hex[:12]
    annotation, text = COMMAND_ANNOTATIONS[command], f"{request} {argument}".strip()
    body = {"metadata": {"annotations": {annotation: text}}}
    if await client.patch(object_path(DAG, namespace, dag), body, Dag) is None:
        raise NoSuchDag(namespace, dag)

    def answered(seen: Dag) -> Dag | None:
        return seen if seen.status.last_handled.get(command) == request else None

    seen = await follow(client, namespace, dag, answered, within)
    if seen is None:
        there = (await read_dag(client, namespace, dag)).metadata.annotations.get(annotation)
        if there != text:
            raise NotDone(f"{command} {request} was replaced by another request, {there!r}, before it was handled")
        raise NotDone(
            f"the operator has not answered within {within:g} s. The request stays: it is handled when the"
            f" operator is there and the DAG's spec is one that it takes (kubectl describe dag {dag} -n {namespace})"
        )
    outcome = seen.status.last_outcome.get(command) or "handled"
    if outcome.startswith("refused"):
        raise NotDone(f"{command}: {outcome}")
    return Done(namespace=namespace, dag=dag, command=command, request=request, argument=argument, outcome=outcome)


async def _until_serving(
    client: Client, namespace: str, dag: str, wanted: str, seconds: float | None, before: Dag
) -> str:
    """Wait until the version serves, telling on standard error what is waited for; NotDone when it cannot,
    TimeIsUp after `seconds`.

    `before`: the object before the command. What was wrong then says nothing of what comes of the command: a version
    that cannot be is what people roll back from.
    """
    progress = Progress(0)

    def decided(seen: Dag) -> str | None:
        if seen.status.version is not None and seen.status.version.yaml_hash == wanted:
            return wanted
        stalled, rollout = seen.condition("Stalled"), seen.status.rollout
        if stalled is not None and stalled != before.condition("Stalled"):
            raise NotDone(f"DAG {dag} is stalled, {stalled.reason}: {stalled.message}")
        ended = rollout is not None and rollout.yaml_hash == wanted and rollout.state in _ENDED
        if rollout is not None and ended and rollout != before.status.rollout:
            raise NotDone(f"the rollout to {short_hash(wanted)} is {rollout.state}: {rollout.cause}")
        under_way = rollout if rollout is not None and rollout.yaml_hash == wanted else None
        if seen.status.message:
            done, total = (under_way.tasks_done, under_way.tasks_total) if under_way else (0, 0)
            progress.show(done, clean(seen.status.message), max(total, 1))
        return None

    with progress:
        found = await follow(client, namespace, dag, decided, seconds)
    if found is None:
        raise TimeIsUp(f"version {short_hash(wanted)} of DAG {dag} does not serve yet; it goes on without this wait")
    return found


def _print(arguments: Namespace, done: Done) -> int:
    if arguments.output != "text":
        sys.stdout.write(machine_text(done, arguments.output))
        return 0
    about = f" {short_hash(done.argument) or done.argument}" if done.argument else ""
    serves = f"; version {short_hash(done.serves)} serves" if done.serves else ""
    sys.stdout.write(clean(f"DAG {done.dag}: {arguments.command}{about}: {done.outcome}{serves}") + "\n")
    return 0
