"""Diamonds of many sides: a join sees all of a wave or none of it, once a wave, and is starved by no source.

A job reads 16 inputs at most, so that wide diamonds have joins of joins.
"""

from __future__ import annotations

import random
from collections import Counter

import pytest

from headrace.state.attempts import RunningPod
from headrace.state.database import Database
from tests.state.world import World, month_source, step

MOST = 16


@pytest.fixture
def world(db: Database) -> World:
    return World(db)


def diamond(width: int) -> tuple[list[dict[str, object]], list[str], str]:
    """The jobs of a diamond, the names of its joins, and of the last of them."""
    names = [f"side{n}" for n in range(width)]
    jobs = [month_source("a"), *(step(name, "month") for name in names)]
    joins: list[str] = []
    while len(names) > 1:
        parts = [names[at : at + MOST] for at in range(0, len(names), MOST)]
        names = []
        for part in parts:
            joins.append(f"join{len(joins)}")
            names.append(joins[-1])
            jobs.append(step(joins[-1], *part))
    return jobs, joins, joins[-1]


class Waves:
    """Contents of a diamond: of each location, the waves that it was made of."""

    def __init__(self, world: World, at_once: int, dice: random.Random) -> None:
        self._world = world
        self._at_once = at_once
        self._dice = dice
        self._running: list[tuple[RunningPod, frozenset[int]]] = []
        self._held: dict[str, frozenset[int]] = {}
        self.wave = 0
        self.ran: Counter[str] = Counter()

    async def begin(self) -> None:
        """Everything at the top changes."""
        self.wave += 1
        await self._world.command("d", "run", "month -p a", str(self.wave))
        await self._world.dispatch()

    async def step(self) -> bool:
        """Claim what may run, then complete one of them; whether there was any."""
        known = {(pod.id, pod.attempt) for pod, _ in self._running}
        if len(known) < self._at_once:
            for pod in await self._world.claim(self._at_once - len(known)):
                if (pod.id, pod.attempt) not in known:
                    self._running.append((pod, self._made(pod)))
        if not self._running:
            return False
        pod, made = self._running.pop(self._dice.randrange(len(self._running)))
        assert await self._world.complete(pod)
        self.ran[pod.job] += 1
        (output,) = pod.outputs
        self._held[output["partitions"][0]["location"]] = made  # type: ignore[index]
        return True

    def _made(self, pod: RunningPod) -> frozenset[int]:
        if pod.job.startswith("side"):
            return frozenset([self.wave])
        given = [part for read in pod.inputs.values() for part in read["partitions"]]  # type: ignore[attr-defined]
        return frozenset().union(*(self._held[part["location"]] for part in given))

    async def holds(self, job: str) -> frozenset[int]:
        """The waves in what a job has made."""
        ((location,),) = await self._world.rows(
            "SELECT pv.location FROM partition_versions pv JOIN datasets d ON d.id = pv.dataset_uuid"
            " WHERE d.producer_job_name = %(job)s", job=job)  # fmt: skip
        return self._held[str(location)]


@pytest.mark.parametrize("at_once", [1, 64])
@pytest.mark.parametrize("width", [2, 3, 16, 17, pytest.param(130, marks=pytest.mark.long)])
async def test_a_wave_is_joined_once_and_as_a_whole(world: World, width: int, at_once: int) -> None:
    jobs, joins, last = diamond(width)
    await world.apply("d", *jobs)
    waves = Waves(world, at_once, random.Random(width))
    for _ in range(3):
        await waves.begin()
        while await waves.step():
            pass
        assert await waves.holds(last) == {waves.wave}
    assert {waves.ran[join] for join in joins} == {3}


@pytest.mark.parametrize("at_once", [1, 64])
async def test_waves_that_overlap_end_in_the_last_one(world: World, at_once: int) -> None:
    jobs, joins, last = diamond(17)
    await world.apply("d", *jobs)
    waves, dice = Waves(world, at_once, random.Random(at_once)), random.Random(1)
    for _ in range(6):
        await waves.begin()
        for _ in range(dice.randrange(25)):
            await waves.step()
    while await waves.step():
        pass
    assert await waves.holds(last) == {6}
    assert all(1 <= waves.ran[join] <= 6 for join in joins)


@pytest.mark.parametrize("at_once", [1, 64])
async def test_a_source_that_never_pauses_starves_no_join(world: World, at_once: int) -> None:
    """Work that is newer than a join holds it up no more than what was there before it."""
    jobs, _, last = diamond(4)
    await world.apply("d", *jobs)
    waves = Waves(world, at_once, random.Random(2))
    joined = 0
    for _ in range(20):
        await waves.begin()
        for _ in range(3):
            await waves.step()
        joined = max(joined, waves.ran[last])
    assert joined >= 3
