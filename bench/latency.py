"""How long from a request until the process in the pod runs: a bare pod, and a task of the same image and command.

A bare pod's request is its creation; a task's is the annotation that asks for a run, or the DAG's creation. What lies
between is everything the operator does: notice, commit, claim, create the pod. Kinds alternate within a run.
"""

from __future__ import annotations

import argparse
import asyncio
import time
from collections.abc import Awaitable, Callable

from bench.place import Place
from bench.table import Row, compared
from harness.console import Progress

_CREATES = 32  # the operator's own bound


async def _measured(there: Place, count: int, act: Callable[[], Awaitable[None]]) -> float:
    """Seconds from before `act` until the last of the `count` pods that it brings about ran its command."""
    known = set(there.ran)
    began = time.time()
    await act()
    return (await there.run(count, known))[-1] - began


async def one_at_a_time(there: Place, chosen: argparse.Namespace) -> list[Row]:
    """One pod, then one task, and so on; nothing else is going on."""
    await there.apply("one", {"kind": "manual"}, 1)
    await there.settled("one", "Ready")
    bare: list[float] = []
    tasks: list[float] = []
    with Progress("one at a time", lambda: f"{len(tasks)} of {chosen.rounds}"):
        for number in range(chosen.rounds):
            name = f"bare-{number}"
            bare.append(await _measured(there, 1, lambda name=name: there.bare_pod(name)))  # type: ignore[misc]
            await there.delete_pods()
            tasks.append(await _measured(there, 1, lambda: there.ask("one")))
            await there.settled("one")
            await there.empty()
    note = "request until the process runs; floor: a bare pod"
    return [compared("one task at a time", tasks, bare, note)]


async def many_at_once(there: Place, chosen: argparse.Namespace) -> list[Row]:
    """So many pods at once, then as many tasks: until the last one's process runs."""
    count, gate = chosen.at_once, asyncio.Semaphore(_CREATES)
    keys = [f"k{number:03d}" for number in range(count)]
    bare: list[float] = []
    tasks: list[float] = []

    async def create(name: str) -> None:
        async with gate:
            await there.bare_pod(name)

    async def create_all(repeat: int) -> None:
        await asyncio.gather(*(create(f"many-{repeat}-{number}") for number in range(count)))

    with Progress(f"{count} at once", lambda: f"{len(tasks)} of {chosen.repeat}"):
        for repeat in range(chosen.repeat):
            bare.append(await _measured(there, count, lambda repeat=repeat: create_all(repeat)))  # type: ignore[misc]
            await there.delete_pods()
            dag = f"many-{repeat}"
            await there.apply(dag, {"kind": "manual", "partitions": {"values": keys}}, count)
            await there.settled(dag, "Ready")
            tasks.append(await _measured(there, count, lambda dag=dag: there.ask(dag)))  # type: ignore[misc]
            await there.settled(dag)
            await there.empty()
    note = f"request until the last process runs; {count / sorted(tasks)[len(tasks) // 2]:.1f} tasks a second"
    return [compared(f"{count} tasks at once", tasks, bare, note)]


async def apply_to_first_pod(there: Place, chosen: argparse.Namespace) -> list[Row]:
    """From the creation of a DAG, whose source runs at its registration, until its first pod's process runs."""
    source = {"kind": "cron", "schedule": "0 0 1 1 *", "catchUp": "none", "partitions": {"values": ["first"]}}
    bare: list[float] = []
    applied: list[float] = []
    with Progress("apply to first pod", lambda: f"{len(applied)} of {chosen.rounds}"):
        for number in range(chosen.rounds):
            dag, name = f"first-{number}", f"first-bare-{number}"
            bare.append(await _measured(there, 1, lambda name=name: there.bare_pod(name)))  # type: ignore[misc]
            await there.delete_pods()
            applied.append(
                await _measured(there, 1, lambda dag=dag: there.apply(dag, source, 1))  # type: ignore[misc]
            )
            await there.settled(dag)
            await there.empty()
    return [compared("apply to first pod", applied, bare, "a new DAG until its pod's process runs; floor: a bare pod")]
