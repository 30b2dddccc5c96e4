"""`headrace run` and `headrace cancel`: asked of the gateway, which makes and ends tasks; `--wait` follows them."""

from __future__ import annotations

import asyncio
import sys
import time
from argparse import Namespace
from typing import Final, TypeVar
from uuid import uuid4

import msgspec
from msgspec import Struct

from headrace.api.runs import Canceled, Followed, Ran, cancel_of, run_of, task_id
from headrace.api.words import counted
from headrace.cli.connection import connected
from headrace.cli.gateway import Gateway, reached
from headrace.cli.output import machine_text
from headrace.cli.progress import Progress
from headrace.cli.style import clean
from headrace.cli.tasks import entry_line, find_task
from headrace.errors import TemporaryError, TimeIsUp

T = TypeVar("T", bound=Struct)

_PATIENCE: Final = 30.0
_LOOK: Final = 0.5
_OPEN: Final = ("Queued", "Retrying", "Running")
_AT_ONCE: Final = 20_000


class _Waited(Struct, frozen=True, kw_only=True):
    """A run with what became of its tasks."""

    run: Ran
    tasks: Followed


def run(arguments: Namespace) -> int:
    """Run a job's partitions; with --wait, until all of its tasks are over."""
    return asyncio.run(_run(arguments))


def cancel(arguments: Namespace) -> int:
    """Cancel what waits, runs or has failed for good."""
    done = asyncio.run(_cancel(arguments))
    if arguments.output != "text":
        sys.stdout.write(machine_text(done, arguments.output))
        return 0
    parts = [
        counted(count, f"{state} task")
        for count, state in ((done.running, "running"), (done.waiting, "waiting"), (done.failed, "failed"))
        if count
    ]
    parts += [f"the rollout to {done.rollout.partition('-')[2][:10]}"] if done.rollout else []
    sys.stdout.write(clean(f"DAG {done.dag}: canceled {', '.join(parts)}") + "\n")
    return 0


async def _run(arguments: Namespace) -> int:
    dag, _, job = arguments.target.partition("/")
    wanted = run_of(arguments)
    async with (
        connected(arguments) as (client, connection, namespace),
        reached(arguments, client, connection, namespace) as gateway,
    ):
        path = f"/v1/namespaces/{namespace}/dags/{dag}/jobs/{job}/run"
        ran = await ask_once(gateway, path, Ran, wanted)
        if not arguments.wait:
            _tell(arguments, ran)
            return 0
        if arguments.output == "text":
            _tell(arguments, ran)
        for note in ran.notes if arguments.output != "text" else ():
            print(clean(note), file=sys.stderr, flush=True)
        states, over = await _follow(gateway, namespace, ran, arguments.timeout)
    if arguments.output != "text":
        sys.stdout.write(machine_text(_Waited(run=ran, tasks=states), arguments.output))
    if not over:
        left = sum(count for state, count in states.states.items() if state in _OPEN)
        raise TimeIsUp(
            f"{left} of {counted(len(ran.tasks), 'task')} are not over after {arguments.timeout:g} s; they go on"
        )
    return _outcome(arguments, states, len(ran.tasks))


def _tell(arguments: Namespace, ran: Ran) -> None:
    if arguments.output != "text":
        sys.stdout.write(machine_text(ran, arguments.output))
        return
    own = [task for task in ran.tasks if task.job == ran.job]
    made, joined = sum(1 for t in own if not t.joined), sum(1 for t in own if t.joined)
    told = [counted(made, "task") + " made"]
    told += [f"{joined} waiting already"] if joined else []
    told += [f"{ran.there} left as they are"] if ran.there else []
    told += [f"{len(ran.tasks) - len(own)} downstream"] if len(own) < len(ran.tasks) else []
    lines = [clean(f"{ran.dag}/{ran.job}: {', '.join(told)}"), *(clean(f"  {note}") for note in ran.notes)]
    lines += [clean(f"  {task.id}  {task.job}  {task.partition}") for task in ran.tasks[:20]]
    lines += [f"  and {len(ran.tasks) - 20} more"] if len(ran.tasks) > 20 else []
    sys.stdout.write("\n".join(lines) + "\n")
    sys.stdout.flush()


async def _follow(gateway: Gateway, namespace: str, ran: Ran, seconds: float | None) -> tuple[Followed, bool]:
    """Look until all tasks are over, or `seconds` are; what became of them, and whether they are."""
    ids = [task.id for task in ran.tasks]
    if not ids:
        return Followed(), True
    began = time.monotonic()
    path = f"/v1/namespaces/{namespace}/tasks/follow"
    with Progress(len(ids)) as progress:
        while True:
            found = await patient(gateway, path, Followed, {"tasks": ids[:_AT_ONCE]})
            over = sum(count for state, count in found.states.items() if state not in _OPEN)
            progress.show(over, ", ".join(f"{count} {state.lower()}" for state, count in found.states.items()))
            if over == sum(found.states.values()):
                return found, True
            if seconds is not None and time.monotonic() - began >= seconds:
                return found, False
            await asyncio.sleep(_LOOK)


def _outcome(arguments: Namespace, states: Followed, total: int) -> int:
    completed = states.states.get("Completed", 0)
    if arguments.output == "text":
        sys.stdout.write(f"{completed} of {counted(total, 'task')} completed\n")
        for entry in states.failed:
            sys.stdout.write(entry_line(entry) + "\n")
    return 0 if completed == total else 1


async def _cancel(arguments: Namespace) -> Canceled:
    task = task_id(arguments.target)
    dag, _, job = arguments.target.partition("/")
    wanted = cancel_of(job if task is None else arguments.target, arguments)
    async with (
        connected(arguments) as (client, connection, namespace),
        reached(arguments, client, connection, namespace) as gateway,
    ):
        if task is not None:
            dag = (await find_task(gateway, namespace, task)).dag
        return await ask_once(gateway, f"/v1/namespaces/{namespace}/dags/{dag}/cancel", Canceled, wanted)


async def ask_once(gateway: Gateway, path: str, shape: type[T], wanted: Struct) -> T:
    """Ask for something that is to happen once, as often as it takes to be answered."""
    body = {**msgspec.to_builtins(wanted), "id": uuid4().hex}
    return await patient(gateway, path, shape, body)


async def patient(gateway: Gateway, path: str, shape: type[T], body: object) -> T:
    """The answer to a request that may be repeated, as often as it takes, for half a minute."""
    until = time.monotonic() + _PATIENCE
    while True:
        try:
            return await gateway.ask("POST", path, shape, body)
        except TemporaryError:
            if time.monotonic() > until:
                raise
            await asyncio.sleep(1.0)
