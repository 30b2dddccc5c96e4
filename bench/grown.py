"""What each step costs where a DAG has very many partitions, beside the same in an empty database.

Needs a Postgres only, and takes one of its own. The DAG is the one that deploys are measured on; its tasks are
completed by hand, one after another, as an operator would.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import msgspec

from bench.fill import analyze, fill
from bench.shape import Shape, dag_object, dataset_name, edited, job_objects, layered
from bench.table import Row
from harness.console import HarnessError, Progress
from harness.node.postgres import temporary
from headrace.api.invalidations import Invalidation
from headrace.compiler import Compiler, Rejected
from headrace.plan.decide import decide, intent_of
from headrace.run.commit import commit
from headrace.state import attempts, invalidations, orgs, queue, runs, units
from headrace.state.attempts import Completion
from headrace.state.database import Database
from headrace.state.migrate import migrate
from headrace.state.observe import observe
from headrace.state.orgs import Org

PASS, PLAN, SLOWER = 2.0, 1.0, 2.0
"""Goals: seconds of a look for missing work, of the plan of an edit; how many times slower a completion may be."""

_DAG = "dag-0"
_NEW = ("a", "b", "c")
_ROUNDS = 5


@dataclass
class Taken:
    """Seconds of everything that was measured; `units`: made for one partition that was invalidated."""

    completions: list[float] = field(default_factory=list)
    passes: list[float] = field(default_factory=list)
    plans: list[float] = field(default_factory=list)
    invalidation: float = 0.0
    units: int = 0


@dataclass
class _Ground:
    db: Database
    compiler: Compiler
    org: Org

    async def plan(self, shape: Shape, *, carry_out: bool = False) -> float:
        """Seconds to observe and plan the DAG in this shape; `carry_out`: it then serves."""
        done = await self.compiler.compile(_DAG, dag_object(_DAG, shape), job_objects(_DAG, shape))
        if isinstance(done, Rejected):
            raise HarnessError(f"the DAG to measure with does not compile: {done.message}")
        found, compiled = done
        intent = intent_of(found.metadata.uid, found.spec)
        began = time.perf_counter()
        async with self.db.transaction() as tx:
            decide(intent, await observe(tx, self.org, compiled, intent.reuse))
        took = time.perf_counter() - began
        if carry_out:
            async with self.db.transaction() as tx:
                await commit(tx, 0, self.org, "file:///data", compiled, intent, {})
        return took

    async def complete_all(self) -> list[float]:
        """Complete what runs and comes to run, one task after another; the seconds of each."""
        took: list[float] = []
        while True:
            async with self.db.transaction() as tx:
                await queue.claim(tx, 0, [self.org.id], 100)
            async with self.db.transaction() as tx:
                names = [name.name for name in await attempts.running_names(tx)]
                pods = await attempts.running_pods(tx, names)
            if not pods:
                return took
            for pod in pods:
                done = Completion(id=pod.id, attempt=pod.attempt, token=pod.token, namespace=pod.org, pod=pod.pod_name)
                began = time.perf_counter()
                async with self.db.transaction() as tx:
                    await attempts.complete(tx, 0, [done], [])
                took.append(time.perf_counter() - began)


@asynccontextmanager
async def _ground() -> AsyncIterator[_Ground]:
    compiler = Compiler()
    try:
        with temporary(fsync=True) as server:
            await migrate(server.url)
            async with Database(server.url) as db:
                async with db.transaction() as tx:
                    org = await orgs.ensure_org(tx, "bench", "uid-bench")
                yield _Ground(db, compiler, org)
    finally:
        compiler.close()


async def _measure(jobs: int, partitions: int) -> Taken:
    shape, taken = layered(jobs), Taken()
    async with _ground() as ground:
        await ground.plan(shape, carry_out=True)
        if partitions:
            async with ground.db.transaction() as tx:
                await fill(tx, _DAG, [f"p{number:06}" for number in range(partitions)])
            async with ground.db.transaction() as tx:
                await analyze(tx)
        for node in shape:
            if not node.reads:
                async with ground.db.transaction() as tx:
                    source = await runs.runnable(tx, ground.org.id, _DAG, node.name)
                    if source is None:
                        raise HarnessError(f"{node.name} does not serve")
                    await units.create_source_tasks(tx, source.job_id, _NEW)
        async with ground.db.transaction() as tx:
            await queue.dispatch(tx, 0, 1000)
        taken.completions = await ground.complete_all()
        for number in range(_ROUNDS):
            began = time.perf_counter()
            async with ground.db.transaction() as tx:
                missing = await units.create_missing(tx, [(ground.org.id, _DAG)])
            taken.passes.append(time.perf_counter() - began)
            if missing:
                raise HarnessError(f"{missing} units were missing though all was done")
            taken.plans.append(await ground.plan(edited(shape, leaf=True, edits=number + 1)))
        name = dataset_name(_DAG, shape, shape[0])
        began = time.perf_counter()
        async with ground.db.transaction() as tx:
            place = await invalidations.find(tx, ground.org.id, name)
            wrong = msgspec.convert({"partition": _NEW[0]}, Invalidation)
            told = await invalidations.invalidate(tx, ground.org.id, name, place, wrong)
        taken.invalidation = time.perf_counter() - began
        taken.units = sum(consumer.units for consumer in told.consumers)
    return taken


async def grown(chosen: argparse.Namespace) -> list[Row]:
    """So many partitions of each of so many jobs, beside none."""
    jobs, partitions = chosen.grown_jobs, chosen.partitions
    what = f"{partitions:,} partitions of {jobs} jobs"
    with Progress("an empty database"):
        empty = await _measure(jobs, 0)
    with Progress(what):
        full = await _measure(jobs, partitions)
    ratio = statistics.median(full.completions) / statistics.median(empty.completions)
    return [
        Row(f"{what}: a completion, to the tasks that follow", _ms(full.completions),
            f"empty: {_ms(empty.completions)}", ratio, _met(ratio <= SLOWER, f"goal {SLOWER:g}")),
        Row(f"{what}: a look for missing work", _ms(full.passes), f"goal {1000 * PASS:,.0f} ms",
            statistics.median(full.passes) / PASS, _met(statistics.median(full.passes) <= PASS)),
        Row(f"{what}: the plan of an edit", _ms(full.plans), f"goal {1000 * PLAN:,.0f} ms",
            statistics.median(full.plans) / PLAN, _met(statistics.median(full.plans) <= PLAN)),
        Row(f"{what}: a partition is invalidated", _ms([full.invalidation]), f"empty: {_ms([empty.invalidation])}",
            full.invalidation / empty.invalidation, f"{full.units} units of those that read it"),
    ]  # fmt: skip


def _ms(seconds: list[float]) -> str:
    return f"{1000 * statistics.median(seconds):,.1f} ms"


def _met(fact: bool, goal: str = "") -> str:
    return "met" if fact else f"missed {goal}".strip()
