"""How long from a request until the process in the pod runs: a bare pod, and a task of the same image and command.

A bare pod's request is its creation; a task's is the annotation that asks for a run, or the DAG's creation. What lies
between is everything the operator does: notice, commit, claim, create the pod. Kinds alternate within a run. A second
floor tells how much of the difference is the volume that every task pod has.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import time
from collections.abc import Awaitable, Callable

from bench.place import Place
from bench.table import Row, compared
from harness.console import Progress

_CREATES = 32  # the operator's own bound
BARE, VOLUME = "a bare pod", "a pod with the same volume"
FLOORS = {BARE: False, VOLUME: True}
GOAL = 0.025
"""Seconds that a task may take longer to start than a pod like its own."""


async def _measured(there: Place, count: int, act: Callable[[], Awaitable[None]]) -> float:
    """Seconds from before `act` until the last of the `count` pods that it brings about ran its command."""
    known = set(there.ran)
    began = time.time()
    await act()
    return (await there.run(count, known))[-1] - began


async def _floors(there: Place, count: int, label: str) -> dict[str, float]:
    """The same number of pods without the operator, of each kind: what no task can be faster than."""
    found: dict[str, float] = {}
    gate = asyncio.Semaphore(_CREATES)

    async def create(name: str, volume: bool) -> None:
        async with gate:
            await there.bare_pod(name, volume=volume)

    for floor, volume in FLOORS.items():

        async def create_all(volume: bool = volume) -> None:
            kind = "volume" if volume else "bare"
            await asyncio.gather(*(create(f"{label}-{kind}-{number}", volume) for number in range(count)))

        found[floor] = await _measured(there, count, create_all)
        await there.delete_pods()
    return found


def _rows(what: str, figures: list[float], floors: list[dict[str, float]], note: str) -> list[Row]:
    return [compared(what, figures, [one[floor] for one in floors], f"{note}; floor: {floor}") for floor in FLOORS]


def _added(tasks: list[float], floors: list[dict[str, float]]) -> Row:
    """What is ours of a task's start, and not the pod's."""
    ours = statistics.median(tasks) - statistics.median(one[VOLUME] for one in floors)
    note = f"p50 over that of {VOLUME}; goal {GOAL * 1000:.0f} ms: {'met' if ours <= GOAL else 'missed'}"
    return Row("what we add to a bare pod's start", f"{ours * 1000:.0f} ms", f"goal: {GOAL * 1000:.0f} ms", None, note)


async def one_at_a_time(there: Place, chosen: argparse.Namespace) -> list[Row]:
    """One pod of each kind, then one task, and so on; nothing else is going on."""
    await there.apply("one", {"kind": "manual"}, 1)
    await there.settled("one", "Ready")
    floors: list[dict[str, float]] = []
    tasks: list[float] = []
    with Progress("one at a time", lambda: f"{len(tasks)} of {chosen.rounds}"):
        for number in range(chosen.rounds):
            floors.append(await _floors(there, 1, f"one-{number}"))
            tasks.append(await _measured(there, 1, lambda: there.ask("one")))
            await there.settled("one")
            await there.empty()
    return [*_rows("one task at a time", tasks, floors, "until the process runs"), _added(tasks, floors)]


async def many_at_once(there: Place, chosen: argparse.Namespace) -> list[Row]:
    """So many pods at once, then as many tasks: until the last one's process runs."""
    count = chosen.at_once
    keys = [f"k{number:03d}" for number in range(count)]
    floors: list[dict[str, float]] = []
    tasks: list[float] = []
    with Progress(f"{count} at once", lambda: f"{len(tasks)} of {chosen.repeat}"):
        for repeat in range(chosen.repeat):
            floors.append(await _floors(there, count, f"many-{repeat}"))
            dag = f"many-{repeat}"
            await there.apply(dag, {"kind": "manual", "partitions": {"values": keys}}, count)
            await there.settled(dag, "Ready")
            tasks.append(await _measured(there, count, lambda dag=dag: there.ask(dag)))  # type: ignore[misc]
            await there.settled(dag)
            await there.empty()
    note = f"until the last process runs, {count / statistics.median(tasks):.1f} a second"
    return _rows(f"{count} tasks at once", tasks, floors, note)


async def apply_to_first_pod(there: Place, chosen: argparse.Namespace) -> list[Row]:
    """From the creation of a DAG, whose source runs at its registration, until its first pod's process runs."""
    source = {"kind": "cron", "schedule": "0 0 1 1 *", "catchUp": "none", "partitions": {"values": ["first"]}}
    floors: list[dict[str, float]] = []
    applied: list[float] = []
    with Progress("apply to first pod", lambda: f"{len(applied)} of {chosen.rounds}"):
        for number in range(chosen.rounds):
            dag = f"first-{number}"
            floors.append(await _floors(there, 1, dag))
            applied.append(
                await _measured(there, 1, lambda dag=dag: there.apply(dag, source, 1))  # type: ignore[misc]
            )
            await there.settled(dag)
            await there.empty()
    return _rows("apply to first pod", applied, floors, "a new DAG until its pod's process runs")
