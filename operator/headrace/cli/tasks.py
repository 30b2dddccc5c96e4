"""`headrace tasks` and `headrace logs`: what was done and is to be done, and what a task said.

Tasks come from the gateway; logs from the API server, as the person who asks.
"""

from __future__ import annotations

import asyncio
import sys
from argparse import Namespace
from datetime import UTC, datetime
from typing import Final
from urllib.parse import urlencode
from uuid import UUID

import msgspec
from msgspec import Struct, field

from headrace.api.runs import NotUnderstood, TaskEntry, Tasks, task_id
from headrace.cli.connection import connected
from headrace.cli.gateway import Gateway, reached
from headrace.cli.output import machine_text
from headrace.cli.service import GatewayError
from headrace.cli.style import Paint, clean, colours, paint, plain, wrapped
from headrace.cluster.client import Client, Refused, path_of
from headrace.errors import PermanentError, TemporaryError

_COLOURS: Final = {"Completed": "green", "Failed": "red", "Retrying": "yellow", "Running": "bold", "Canceled": "dim"}
_SUPERSEDED: Final = "superseded: a newer task of this partition decides"
_SILENCE: Final = 3600.0


class _Waiting(Struct, frozen=True):
    reason: str = ""
    message: str = ""


class _State(Struct, frozen=True):
    waiting: _Waiting | None = None


class _Container(Struct, frozen=True):
    state: _State = field(default_factory=_State)


class _Condition(Struct, frozen=True):
    type: str
    status: str
    reason: str = ""
    message: str = ""


class _Status(Struct, frozen=True, rename="camel"):
    conditions: list[_Condition] = field(default_factory=list)
    container_statuses: list[_Container] = field(default_factory=list)
    init_container_statuses: list[_Container] = field(default_factory=list)


class Pod(Struct, frozen=True):
    """What of a pod says why it has no log."""

    status: _Status = field(default_factory=_Status)


class Log(Struct, frozen=True):
    """What the pod of a task said, for programs."""

    task: UUID
    job: str
    partition: str
    pod: str
    log: str


class NoLog(PermanentError):
    """There is no log of a task, or not any more."""


def tasks(arguments: Namespace) -> int:
    """Print tasks, newest first; one alone with all that is known of it."""
    found = asyncio.run(_tasks(arguments))
    if arguments.output != "text":
        sys.stdout.write(machine_text(found, arguments.output))
        return 0
    look = paint if colours() else plain
    sys.stdout.write(show_tasks(found, look) if isinstance(found, Tasks) else show_task(found))
    return 0


def logs(arguments: Namespace) -> int:
    """Print what a task's pod said."""
    asyncio.run(_logs(arguments))
    return 0


async def find_task(gateway: Gateway, namespace: str, task: UUID) -> TaskEntry:
    """One task; GatewayError when there is none."""
    return await gateway.ask("GET", f"/v1/namespaces/{namespace}/tasks/{task}", TaskEntry)


async def _list(gateway: Gateway, namespace: str, target: str, **query: object) -> Tasks:
    dag, _, job = target.partition("/")
    given = {name: str(value) for name, value in {"job": job or None, **query}.items() if value is not None}
    return await gateway.ask("GET", f"/v1/namespaces/{namespace}/dags/{dag}/tasks?{urlencode(given)}", Tasks)


async def _tasks(arguments: Namespace) -> Tasks | TaskEntry:
    async with (
        connected(arguments) as (client, connection, namespace),
        reached(arguments, client, connection, namespace) as gateway,
    ):
        task = task_id(arguments.target)
        if task is not None:
            return await find_task(gateway, namespace, task)
        return await _list(
            gateway, namespace, arguments.target, partition=arguments.partition, most=arguments.most,
            state=arguments.state.capitalize() if arguments.state else None,
        )  # fmt: skip


def show_tasks(found: Tasks, look: Paint = plain, now: datetime | None = None) -> str:
    """A table: what failed has its reason below it, what is done what is wrong with its report."""
    if not found.tasks:
        return "no tasks\n"
    now = now or datetime.now(UTC)
    widths = [
        max(len(text) for text in column) for column in zip(*(_cells(task, now) for task in found.tasks), strict=True)
    ]
    heads = ("JOB", "PARTITION", "STATE", "TRIES", "AGE", "TOOK", "TASK")
    widths = [max(width, len(head)) for width, head in zip(widths, heads, strict=True)]
    lines = [look("  ".join(f"{head:{width}}" for head, width in zip(heads, widths, strict=True)).rstrip(), "bold")]
    for task in found.tasks:
        line = "  ".join(f"{cell:{width}}" for cell, width in zip(_cells(task, now), widths, strict=True)).rstrip()
        lines.append(look(line, _COLOURS[task.state]) if task.state in _COLOURS else line)
        if task.superseded:
            lines.append(f"    {_SUPERSEDED}")
        elif task.message and task.state not in ("Queued", "Running"):
            lines += wrapped(task.message, "    ")
    lines += [look("older ones: --most N", "dim")] if found.more else []
    return "\n".join(lines) + "\n"


def show_task(task: TaskEntry) -> str:
    """All that is known of one."""
    facts = {
        "task": task.id,
        "job": f"{task.dag}/{task.job}",
        "partition": task.partition,
        "state": task.state + (f", {_SUPERSEDED}" if task.superseded else ""),
        "attempts": task.attempts,
        "created": _time(task.created),
        "started": _time(task.started),
        "ended": _time(task.ended),
        "retries": _time(task.retry),
        "pod": task.worker,
        "params": msgspec.json.encode(task.params, order="sorted").decode() if task.params else None,
        "asked by": task.requested_by,
        "version": task.version and task.version.partition("-")[2][:10],
        "message": task.message,
    }
    return "".join(f"{name + ':':11}{clean(str(value))}\n" for name, value in facts.items() if value is not None)


def entry_line(task: TaskEntry) -> str:
    """A task and why it failed, on one line."""
    told = f"{task.job} {task.partition} {task.state.lower()}: {task.message or 'no reason is known'}"
    return "\n".join(wrapped(told, "  ", "    "))


def _cells(task: TaskEntry, now: datetime) -> tuple[str, ...]:
    took = "" if task.started is None else _span(task.started, task.ended or now)
    if task.state in ("Queued", "Retrying"):
        took = ""
    cells = (task.job, task.partition, task.state, str(task.attempts), _span(task.created, now), took, str(task.id))
    return tuple(clean(cell) for cell in cells)


def _span(start: datetime, end: datetime) -> str:
    """As kubectl writes ages: 5s, 3m10s, 2h5m, 3d4h."""
    seconds = max(0, int((end - start).total_seconds()))
    for size, unit, small, less in ((86400, "d", 3600, "h"), (3600, "h", 60, "m"), (60, "m", 1, "s")):
        if seconds >= size:
            rest = seconds % size // small
            return f"{seconds // size}{unit}" + (f"{rest}{less}" if rest else "")
    return f"{seconds}s"


def _time(at: datetime | None) -> str | None:
    return None if at is None else f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%S}Z"


async def _logs(arguments: Namespace) -> None:
    if arguments.follow and arguments.output != "text":
        raise NotUnderstood("--follow shows a log as text: leave out -o, or --follow")
    async with connected(arguments) as (client, connection, namespace):
        async with reached(arguments, client, connection, namespace) as gateway:
            task = await _of_target(gateway, namespace, arguments)
        await _print_log(client, namespace, task, arguments)


async def _of_target(gateway: Gateway, namespace: str, arguments: Namespace) -> TaskEntry:
    """The task named; of a job the one that runs, or began last."""
    task = task_id(arguments.target)
    if task is not None:
        return await find_task(gateway, namespace, task)
    found = await _list(gateway, namespace, arguments.target, partition=arguments.partition, most=200)
    began = [one for one in found.tasks if one.worker is not None]
    if not began:
        raise NoLog(f"no task of {arguments.target} has begun")
    return max(began, key=lambda one: (one.state == "Running", one.started or one.created))


async def _print_log(client: Client, namespace: str, task: TaskEntry, arguments: Namespace) -> None:
    said: list[bytes] = []
    if task.worker is None or task.container is None:
        raise NoLog(f"task {task.id} has no pod: it {_pod_less(task)}")
    query = {"container": task.container}
    if arguments.tail is not None:
        query["tailLines"] = str(arguments.tail)
    if task.in_worker and task.started is not None:
        # A worker's log has what its other tasks say, too.
        print(f"pod {task.worker} works on many tasks: its log since this one began", file=sys.stderr)
        query["sinceTime"] = f"{task.started.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"
    if arguments.follow and task.state == "Running":
        query["follow"] = "true"
    path = path_of("v1", namespace, "pods", task.worker, "log")
    try:
        response = await client.stream(path, _SILENCE, **query)
    except Refused as error:
        if error.status == 404:
            raise NoLog(gone(task)) from error
        if error.status == 204 or "is waiting to start" in str(error):
            raise NoLog(not_started(task.worker, await _pod(client, namespace, task.worker))) from error
        raise GatewayError(f"the log of pod {task.worker} cannot be read: {error}") from error
    try:
        async for piece in response.content.iter_any():
            if arguments.output != "text":
                said.append(piece)
                continue
            sys.stdout.write(clean_lines(piece))
            sys.stdout.flush()
    except (OSError, TimeoutError) as error:
        raise TemporaryError(f"the log broke off: {error}") from error
    finally:
        response.close()
    if arguments.output != "text":
        text = b"".join(said).decode(errors="replace")
        told = Log(task=task.id, job=task.job, partition=task.partition, pod=task.worker, log=text)
        sys.stdout.write(machine_text(told, arguments.output))


async def _pod(client: Client, namespace: str, name: str) -> Pod | None:
    try:
        return await client.get(path_of("v1", namespace, "pods", name), Pod)
    except Refused:
        return None


def gone(task: TaskEntry) -> str:
    """Why there is no log of a task's pod."""
    told = f"pod {task.worker} is gone"
    if task.state == "Completed":
        return f"{told}: pods of completed tasks are removed, with their logs; -f shows what a running one says"
    return f"{told}; it ended with: {task.message}" if task.message else told


def not_started(name: str, pod: Pod | None) -> str:
    """Why a pod has no log yet; `pod` None where one may not look at it."""
    told = f"pod {name} has not started"
    if pod is None:
        return told
    for container in (*pod.status.init_container_statuses, *pod.status.container_statuses):
        waiting = container.state.waiting
        if waiting is not None and waiting.reason not in ("", "PodInitializing"):
            return f"{told}: {waiting.reason}" + (f": {waiting.message}" if waiting.message else "")
    for condition in pod.status.conditions:
        if condition.type == "PodScheduled" and condition.status == "False":
            return f"{told}: {condition.reason}: {condition.message}"
    return told


def clean_lines(piece: bytes) -> str:
    """What a pod wrote, with nothing that a terminal would obey but tabs and ends of lines, where it is one."""
    text = piece.decode(errors="replace")
    return text if not sys.stdout.isatty() else "\n".join(clean(line) for line in text.split("\n"))


def _pod_less(task: TaskEntry) -> str:
    return "has not begun" if task.state in ("Queued", "Retrying") else "ran in the operator"
