"""Whatever arrives, is corrected, invalidated, edited, rolled back, dies: at rest the rows are those of a full rebuild.

`HEADRACE_RUNS` for more runs than a hundred.
"""

from __future__ import annotations

import contextlib
import os
import random
from collections.abc import AsyncIterator
from itertools import count
from typing import Any, cast
from unittest import mock

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from headrace.api.invalidations import Bound, Invalidation
from headrace.api.runs import NothingToDo
from headrace.errors import TemporaryError
from headrace.state import attempts, invalidations, runs, units, updates
from headrace.state.attempts import Completion, RunningPod
from headrace.state.database import Database
from tests.compile.documents import compiled
from tests.state import metamorphic
from tests.state.metamorphic import KEYS, Job, Made, dags, edited
from tests.state.world import World

pytestmark = pytest.mark.long
RUNS = int(os.environ.get("HEADRACE_RUNS", "100"))
PARTS = 4
STEPS = ("arrive", "arrive", "arrive", "correct", "spoil", "claim", "claim", "finish", "finish", "finish", "fail",
         "die", "edit", "revert", "advance", "look")  # fmt: skip
NUMBER = count()
UNDOUBTED = """
SELECT m.name, m.key FROM missing_units m WHERE m.key NOT IN (SELECT * FROM doubtful_units(m.job_id))
"""
CONTENTS = """
SELECT d.producer_job_name, pv.partition_key, given_partition(pv, g.unique_key IS NOT NULL)
FROM dag_current_versions c
JOIN dag_version_datasets v USING (dag_version_id)
JOIN datasets d ON d.id = v.dataset_uuid
JOIN dataset_versions g ON g.id = v.dataset_version
JOIN partition_versions pv ON pv.dataset_uuid = v.dataset_uuid AND pv.dataset_version = v.dataset_version
WHERE c.dag_name = %(dag)s
"""


@pytest.fixture
async def world(url: str) -> AsyncIterator[World]:
    async with Database(url) as db:
        yield World(db)


class Died(Exception):
    """The process was killed before its commit."""


class History:
    """One DAG's life. What happens is chosen by dice, since what there is to choose from depends on the rows."""

    def __init__(self, world: World, jobs: dict[str, Job], dice: random.Random) -> None:
        self.world = world
        self.dag = f"d{next(NUMBER)}"
        self.versions = [jobs]
        self.wanted = jobs
        self.data = metamorphic.World()
        self.running: dict[tuple[object, int], tuple[RunningPod, Made]] = {}
        self._dice = dice
        self._numbers = count(1)

    async def begin(self) -> None:
        await self.world.apply(self.dag, *self.wanted.values())

    async def step(self, kind: str) -> None:
        await getattr(self, f"_{kind}")()

    async def rest(self) -> None:
        """Until nothing moves any more, with the looks that the operator makes from time to time.

        What reads a whole of which nothing was ever made goes on waiting.
        """
        for _ in range(500):
            await self._claim(1000)
            if self.running:
                for name in list(self.running):
                    await self._finish(name)
            elif not await self._move():
                return
        raise AssertionError("it never comes to rest")

    async def serves(self) -> bool:
        """Whether what is wanted serves."""
        found = await self.world.rows(
            "SELECT v.yaml_hash FROM dag_current_versions c JOIN dag_versions v ON v.id = c.dag_version_id"
            " WHERE c.dag_name = %(dag)s", dag=self.dag,
        )  # fmt: skip
        return found == [(compiled({"jobs": list(self.wanted.values())}, dag=self.dag).yaml_hash,)]

    async def contents(self) -> dict[str, metamorphic.Contents]:
        """What is read of every job."""
        found: dict[str, metamorphic.Contents] = {name: {} for name in self.wanted}
        for job, key, partition in await self.world.rows(CONTENTS, dag=self.dag):
            found[str(job)][str(key)] = self.data.folded(cast("dict[str, Any]", partition))
        return found

    async def _move(self) -> bool:
        """A look and a move of the rollout; whether that changed anything."""
        before = await self._rollouts()
        if await self._look():
            return True
        await self._advance()
        return before != await self._rollouts() or await self._pass_time()

    async def _pass_time(self) -> bool:
        """What is held for a while is not any more; whether anything was."""
        return bool(await self.world.rows(
            "UPDATE rollouts SET held_until = NULL, next_hold_at = NULL WHERE dag_name = %(dag)s"
            " AND state IN ('Building', 'Ready') AND coalesce(held_until, next_hold_at) IS NOT NULL RETURNING 1",
            dag=self.dag,
        ))  # fmt: skip

    async def _rollouts(self) -> list[tuple[object, ...]]:
        return await self.world.rows(
            "SELECT id, state, ready_at FROM rollouts WHERE dag_name = %(dag)s ORDER BY seq", dag=self.dag
        )

    async def _source(self, key: str, name: str) -> None:
        """The source is told to read what there is of the key."""
        org = await self.world.org()
        async with self.world.db.transaction() as tx:
            source = await runs.runnable(tx, org.id, self.dag, name)
            assert source is not None
            await units.create_source_tasks(tx, source.job_id, [key], again=True)

    async def _arrive(self) -> None:
        """The world has something of a key, or more rows of a log, and the source reads it."""
        sources = [name for name, job in self.wanted.items() if "source" in job]
        name, text = self._dice.choice(sources), str(next(self._numbers))
        if metamorphic.is_log(self.wanted[name]):
            rows = self.data.truth.setdefault((name, "*"), {})
            for _ in range(self._dice.randint(1, 3)):
                rows[len(rows) + 1] = text
            await self._source("*", name)
        else:
            key = self._dice.choice(KEYS)
            self.data.truth[name, key] = {0: text}
            await self._source(key, name)

    def _some(self) -> tuple[str, str, metamorphic.Rows] | None:
        """One of the keys that there are, with a row that is another than before."""
        if not self.data.truth:
            return None
        name, key = self._dice.choice(sorted(self.data.truth))
        row = self._dice.choice(sorted(self.data.truth[name, key]))
        return name, key, {row: str(next(self._numbers))}

    async def _correct(self) -> None:
        """What a source has read is another, and it reads it again."""
        some = self._some()
        if some is not None:
            name, key, rows = some
            self.data.truth[name, key] |= rows
            await self._source(key, name)

    async def _spoil(self) -> None:
        """What a source has made turns out to be wrong and was mended where it is: that is said."""
        some = self._some()
        if some is None or any(pod.job == some[0] for pod, _ in self.running.values()):
            return
        name, key, rows = some
        wanted = Invalidation(partition=key)
        if metamorphic.is_log(self.wanted[name]):
            (id_,) = rows
            wanted = Invalidation(filter={"id": Bound(eq=id_)})
        self.data.spoil(name, key, rows)
        org = await self.world.org()
        with contextlib.suppress(NothingToDo):
            async with self.world.db.transaction() as tx:
                place = await invalidations.find(tx, org.id, f"{self.dag}.{name}.0")
                await invalidations.invalidate(tx, org.id, f"{self.dag}.{name}.0", place, wanted)

    async def _claim(self, most: int = 2) -> None:
        for pod in await self.world.claim(most):
            if pod.dag == self.dag and (pod.id, pod.attempt) not in self.running:
                job = await self._job(pod)
                self.running[pod.id, pod.attempt] = (pod, self.data.run(job, pod))

    async def _job(self, pod: RunningPod) -> Job:
        """The job as the version that the task is of has it."""
        return {**self.wanted[pod.job], "config": pod.config}

    def _any(self) -> tuple[object, int] | None:
        if not self.running:
            return None
        return self._dice.choice(sorted(self.running, key=lambda name: self.running[name][0].pod_name))

    async def _finish(self, name: tuple[object, int] | None = None) -> None:
        chosen = name or self._any()
        if chosen is not None:
            pod, made = self.running.pop(chosen)
            self.data.there(made)
            async with self.world.db.transaction() as tx:
                if await attempts.complete(tx, 0, [_done(pod, made)], []):
                    self.data.accepted(made)

    async def _die(self) -> None:
        """The operator dies in the middle of a completion; the attempt goes on."""
        chosen = self._any()
        if chosen is None:
            return
        pod, made = self.running[chosen]
        self.data.there(made)
        with contextlib.suppress(Died):
            async with self.world.db.transaction() as tx:
                await attempts.complete(tx, 0, [_done(pod, made)], [])
                raise Died

    async def _fail(self) -> None:
        chosen = self._any()
        if chosen is not None:
            await self.world.fail(self.running.pop(chosen)[0])

    async def _apply(self, jobs: dict[str, Job]) -> None:
        self.wanted = jobs
        await self.world.apply(self.dag, *jobs.values())

    async def _edit(self) -> None:
        self.versions.append(edited(self._dice, self.wanted, next(self._numbers)))
        await self._apply(self.versions[-1])

    async def _revert(self) -> None:
        await self._apply(self._dice.choice(self.versions))

    async def _advance(self) -> None:
        under_way = await self.world.rows(
            "SELECT 1 FROM rollouts WHERE dag_name = %(dag)s AND state IN ('Building', 'Ready')", dag=self.dag
        )
        if under_way:
            try:
                await self.world.advance(self.dag)
            except TemporaryError:
                return

    async def _look(self) -> int:
        org = await self.world.org()
        assert await self.world.rows(UNDOUBTED) == []
        async with self.world.db.transaction() as tx:
            return await units.create_missing(tx, [(org.id, self.dag)])


def _done(pod: RunningPod, made: Made) -> Completion:
    ranges = {} if made.range is None else {0: made.range}
    return Completion(
        id=pod.id, attempt=pod.attempt, token=pod.token, namespace=pod.org, pod=pod.pod_name, cursors=ranges
    )  # fmt: skip


@pytest.mark.parametrize("part", range(PARTS))
@settings(
    max_examples=RUNS // PARTS,
    deadline=None,
    database=None,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)
@given(seed=st.integers(0, 2**32), jobs=dags(), steps=st.lists(st.sampled_from(STEPS), min_size=5, max_size=40))
async def test_at_rest_the_rows_are_those_of_a_full_rebuild(
    world: World, part: int, seed: int, jobs: dict[str, Job], steps: list[str]
) -> None:
    history = History(world, jobs, random.Random(seed))
    # What is long is read in chunks: half of the runs take nearly everything to be.
    with mock.patch.object(updates, "CHUNK", 1 + part % 2 * 99):
        await history.begin()
        for step in steps:
            await history.step(step)
        await history.rest()
    assert await history.serves()
    assert await history.contents() == history.data.rebuilt(history.wanted)
