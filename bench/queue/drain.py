"""Rows of draining: our worker process, at Postgres and through a gateway, beside its peers on the same Postgres."""

from __future__ import annotations

import statistics
from dataclasses import dataclass, replace

from bench.queue import peers, statements
from bench.queue.gateway import gateway
from bench.queue.ground import Ground, fresh, ground
from bench.queue.load import Load
from bench.table import Row
from harness.console import HarnessError, Progress

SLOW = 20_000
"""Peers that take one task at a time get no more than this: their rate does not grow with more."""


@dataclass(frozen=True)
class Drained:
    """The rows; and our tasks a second, by SQL."""

    rows: list[Row]
    rate: float


async def rows(server: str, tasks: int, *, others: bool) -> Drained:
    """Each figure in tasks a second, just before what stands beside it: a machine is not the same for long."""
    load, rates = Load(server, tasks), list[float]()

    async def ours() -> float:
        rates.append(await _sql(server, load))
        return rates[-1]

    sql, bare = await ours(), await _pgbench(server, load)
    found = [_row("by SQL", sql, f"pgbench, the same statements: {bare:,.0f}/s", sql / bare, 0.6)]
    sql, through = await ours(), await _gateway(server, load)
    found.append(_row("through the gateway", through, f"by SQL: {sql:,.0f}/s", through / sql, None))
    if others:
        for name, goal in (("procrastinate", 40.0), ("pgqueuer", None)):
            sql, theirs = await ours(), await _library(server, name, replace(load, tasks=min(tasks, SLOW)))
            found.append(_row("by SQL", sql, f"{name}: {theirs:,.0f}/s", sql / theirs, goal))
        sql, theirs = await ours(), await _river(server, load)
        found.append(_row("by SQL", sql, f"River: {theirs:,.0f}/s", sql / theirs, 1.0))
    return Drained(found, statistics.median(rates))


def _row(how: str, rate: float, floor: str, ratio: float, goal: float | None) -> Row:
    note = "" if goal is None else f"goal {goal:g}: {'met' if ratio >= goal else 'missed'}"
    return Row(f"drain {how}", f"{rate:,.0f} tasks/s", floor, ratio, note)


async def _filled(there: Ground, load: Load) -> Load:
    await there.enqueue(load.tasks)
    await there.worker("w")
    await there.settle()
    return replace(load, url=there.db.url)


async def _checked(there: Ground, load: Load, seconds: float) -> float:
    done = await there.count("Completed")
    if done != load.tasks:
        raise HarnessError(f"{load.tasks - done} of {load.tasks} tasks are left")
    return load.tasks / seconds


async def _sql(server: str, load: Load) -> float:
    with Progress("drain by SQL"):
        async with ground(server, "ours_sql") as there:
            given = await _filled(there, load)
            return await _checked(there, load, peers.own("drain_sql", given))


async def _gateway(server: str, load: Load) -> float:
    with Progress("drain through the gateway"):
        async with ground(server, "ours_gateway") as there:
            given = await _filled(there, load)
            with gateway(given.url, load.connections) as address:
                return await _checked(there, load, peers.own("library", given, address, "w", "drain"))


async def _pgbench(server: str, load: Load) -> float:
    with Progress("drain by pgbench"):
        async with ground(server, "ours_pgbench") as there:
            return load.tasks / await statements.drained(there, await _filled(there, load))


async def _library(server: str, name: str, load: Load) -> float:
    with Progress(f"drain by {name}"):
        return load.tasks / peers.library(name, replace(load, url=await fresh(server, name)))


async def _river(server: str, load: Load) -> float:
    with Progress("drain by River"):
        return load.tasks / peers.river(replace(load, url=await fresh(server, "river")))
