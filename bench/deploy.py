"""What a deploy costs before its first task: compile, plan, commit, by the number of jobs and by what was changed.

Needs a Postgres only, and takes one of its own. Each size is measured in a process of its own, as one operator would
meet it, so that the peak of memory is that size's. A change is measured as the reconcile makes it: compiled in the
compiler's process, observed and planned in one transaction, then committed in another, which plans once more.
"""

from __future__ import annotations

import argparse
import asyncio
import math
import multiprocessing
import statistics
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

from bench import peer
from bench.fill import analyze, fill
from bench.shape import Shape, dag_object, edited, job_objects, layered
from bench.table import Row
from harness.console import HarnessError, Progress
from harness.node.postgres import temporary
from headrace.compiler import Compiler, Rejected, collect_seldom
from headrace.plan.decide import decide, intent_of
from headrace.run.commit import commit
from headrace.state import orgs
from headrace.state.database import Database, Transaction
from headrace.state.migrate import migrate
from headrace.state.observe import observe
from headrace.state.orgs import Org

COMPILE, PLAN, COMMIT = STEPS = ("compile", "plan", "commit")
NEW, UNCHANGED, LEAF, ROOT = CHANGES = ("new", "unchanged", "a leaf edited", "a root edited")
PEER_JOBS = 1000
GOAL = 0.05
"""Seconds in which one job's change of the largest DAG is to be observed and planned."""

_KEYS = ("a", "b", "c")
_STORAGE = "file:///data"
_ASSIGNED = "SELECT pg_current_xact_id_if_assigned()::text AS id"


@dataclass(frozen=True)
class Size:
    """What one number of jobs took: seconds by (change, step), each in every round; peaks of memory in MiB."""

    jobs: int
    filled: bool
    seconds: dict[tuple[str, str], list[float]]
    writes: int
    peak: float
    compiler_peak: float

    def least(self, change: str, step: str) -> float:
        """The least of all rounds: what disturbs a machine only adds."""
        return min(self.seconds[change, step])


@dataclass
class _Operator:
    """The parts of an operator that a deploy goes through, with a watch on each."""

    db: Database
    compiler: Compiler
    org: Org
    seconds: dict[tuple[str, str], list[float]] = field(default_factory=dict)
    writes: int = 0

    async def deploy(self, change: str, dag: str, shape: Shape) -> None:
        """One change from its objects to the rows."""
        body, jobs = dag_object(dag, shape), job_objects(dag, shape)
        with self._watch(change, COMPILE):
            done = await self.compiler.compile(dag, body, jobs)
        if isinstance(done, Rejected):
            raise HarnessError(f"the DAG to measure with does not compile: {done.message}")
        found, compiled = done
        intent = intent_of(found.metadata.uid, found.spec)
        with self._watch(change, PLAN):
            async with self.db.transaction() as tx:
                decide(intent, await observe(tx, self.org, compiled, intent.reuse))
        with self._watch(change, COMMIT):
            async with self.db.transaction() as tx:
                await commit(tx, 0, self.org, _STORAGE, compiled, intent, {})
                wrote = await _wrote(tx)
        if change == UNCHANGED:
            self.writes += wrote

    @contextmanager
    def _watch(self, change: str, step: str) -> Iterator[None]:
        began = time.perf_counter()
        yield
        self.seconds.setdefault((change, step), []).append(time.perf_counter() - began)


async def _wrote(tx: Transaction) -> bool:
    """Whether the transaction has changed or locked any row: only then does it get an id."""
    row = await (await tx._connection.execute(_ASSIGNED)).fetchone()
    return row is not None and row["id"] is not None


def measured(jobs: int, rounds: int, *, filled: bool) -> Size:
    """Measure one size, in a process and a Postgres of its own."""
    with (
        temporary(fsync=True) as server,
        # Spawned, as the operator's own: nothing of this process adds to the peak.
        ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as alone,
    ):
        return alone.submit(_measure, server.url, jobs, rounds, filled).result()


def _measure(url: str, jobs: int, rounds: int, filled: bool) -> Size:
    return asyncio.run(_rounds(url, jobs, rounds, filled))


async def _rounds(url: str, jobs: int, rounds: int, filled: bool) -> Size:
    await migrate(url)
    collect_seldom()  # as the operator does
    compiler = Compiler()
    try:
        async with Database(url) as db:
            async with db.transaction() as tx:
                org = await orgs.ensure_org(tx, "bench", "uid-bench")
            await compiler.compile("warm", dag_object("warm", layered(10)), job_objects("warm", layered(10)))
            operator = _Operator(db, compiler, org)
            await _changes(operator, layered(jobs), rounds, filled)
            (child,) = multiprocessing.active_children()
            peaks = _peak("self"), _peak(str(child.pid))
    finally:
        compiler.close()
    return Size(jobs, filled, operator.seconds, operator.writes, *peaks)


async def _changes(operator: _Operator, shape: Shape, rounds: int, filled: bool) -> None:
    """Every change, `rounds` times each: new DAGs, then changes of the first of them."""
    for number in range(rounds):
        await operator.deploy(NEW, f"dag-{number}", shape)
    if filled:
        async with operator.db.transaction() as tx:
            await fill(tx, "dag-0", _KEYS)
    async with operator.db.transaction() as tx:
        await analyze(tx)
    for _ in range(rounds):
        await operator.deploy(UNCHANGED, "dag-0", shape)
    for edits in range(1, rounds + 1):
        await operator.deploy(LEAF, "dag-0", edited(shape, leaf=True, edits=edits))
    # Where there is nothing to build, the edited leaf serves by now.
    serving = shape if filled else edited(shape, leaf=True, edits=rounds)
    for edits in range(1, rounds + 1):
        await operator.deploy(ROOT, "dag-0", edited(serving, leaf=False, edits=edits))


def _peak(process: str) -> float:
    """The most memory that a process has held so far, in MiB."""
    told = Path(f"/proc/{process}/status").read_text()
    (line,) = [line for line in told.splitlines() if line.startswith("VmHWM:")]
    return int(line.split()[1]) / 1024


async def deploy(chosen: argparse.Namespace) -> list[Row]:
    """Every size without data, the largest with data too, and the same shape in SQLMesh."""
    sizes: list[Size] = []
    for jobs, filled in _sizes(chosen):
        with Progress(f"deploys of {jobs:,} jobs{', with data' if filled else ''}"):
            sizes.append(measured(jobs, chosen.deploys, filled=filled))
    rows = [row for size in sizes for row in _of_size(size)]
    rows += _growth([size for size in sizes if not size.filled])
    if chosen.peer:
        (ours,) = [size for size in sizes if size.filled and size.jobs == PEER_JOBS]
        rows += _beside(ours, peer.plans(PEER_JOBS, chosen.deploys))
    return rows


def _sizes(chosen: argparse.Namespace) -> list[tuple[int, bool]]:
    """How many jobs, and whether their datasets have partitions: SQLMesh plans against what is made, too."""
    with_data = {max(chosen.jobs), *([PEER_JOBS] if chosen.peer else [])}
    return [*((jobs, False) for jobs in sorted(chosen.jobs)), *((jobs, True) for jobs in sorted(with_data))]


def _beside(ours: Size, theirs: Mapping[str, Sequence[peer.Planned]]) -> Iterator[Row]:
    """Our compile and plan beside SQLMesh's load and plan: from files or objects to what would be done."""
    for change, planned in zip(CHANGES, theirs.values(), strict=True):
        whole = [sum(pair) for pair in zip(ours.seconds[change, COMPILE], ours.seconds[change, PLAN], strict=True)]
        parts = {
            "compile and plan": (whole, [one.told.load + one.told.plan for one in planned]),
            "plan alone": (ours.seconds[change, PLAN], [one.told.plan for one in planned]),
        }
        processes = statistics.median(one.whole for one in planned)
        note = f"floor: SQLMesh; its whole process {processes:.1f} s, {planned[0].told.peak_kib / 1024:.0f} MiB"
        for part, (our, their) in parts.items():
            ratio = statistics.median(our) / statistics.median(their)
            yield Row(f"{ours.jobs:,} beside SQLMesh: {change}: {part}", _ms(our), _ms(their), ratio, note)


def _of_size(size: Size) -> Iterator[Row]:
    data = f", {len(_KEYS)} partitions of each dataset" if size.filled else ""
    for change in CHANGES:
        plan = statistics.median(size.seconds[change, PLAN])
        what = f"{size.jobs:,} jobs{data}: {change}"
        steps = ", ".join(f"{step} {_ms(size.seconds[change, step])}" for step in STEPS)
        if change == LEAF:
            yield Row(what, steps, f"plan: goal {1000 * GOAL:.0f} ms", plan / GOAL, _met(plan <= GOAL))
        elif change == UNCHANGED:
            yield Row(what, steps, "goal: no write", None, _met(size.writes == 0, f"{size.writes} wrote"))
        else:
            yield Row(what, steps, "")
    peak = f"{size.peak:.0f} MiB, the compiler's process {size.compiler_peak:.0f} MiB"
    yield Row(f"{size.jobs:,} jobs{data}: peak of memory", peak, "")


def _growth(sizes: Sequence[Size]) -> Iterator[Row]:
    """By how much every step grew from one size to the next; nothing to say of a single size."""
    for less, more in pairwise(sizes):
        goal = more.jobs * math.log(more.jobs) / (less.jobs * math.log(less.jobs))
        for change in CHANGES:
            grown = {step: more.least(change, step) / less.least(change, step) for step in STEPS}
            worst = max(grown.values()) / goal
            steps = ", ".join(f"{step} {times:.1f}×" for step, times in grown.items())
            what = f"growth from {less.jobs:,} to {more.jobs:,} jobs: {change}"
            yield Row(what, steps, f"goal {goal:.1f}×, as n log n", worst, _met(worst <= 1))


def _ms(seconds: Sequence[float]) -> str:
    return f"{1000 * statistics.median(seconds):,.0f} ms"


def _met(fact: bool, otherwise: str = "missed") -> str:
    return "met" if fact else otherwise
