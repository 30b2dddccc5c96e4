"""Histories of deploys, runs, reverts, failures and purges, chosen by dice: nothing in use is ever retired or listed.

`HEADRACE_RUNS` for more of them than ten.

After every step no location that was listed is pointed to, or written by a task that runs. At rest the version that
serves is whole, and so is every other that may be returned to by its pointers.
"""

from __future__ import annotations

import asyncio
import os
import random

import pytest

from headrace.errors import TemporaryError
from headrace.run.looks import missing_work
from headrace.run.tidy import Tidy
from headrace.state.database import Database
from tests.state.kept import Kept
from tests.state.world import month_source, step

pytestmark = pytest.mark.long
STEPS = 30
RUNS = int(os.environ.get("HEADRACE_RUNS", "10"))
SOURCE = ("a", "b", "c")
NAMES = [{"name": "rows", "from": {"job": "clean"}}, {"name": "bad", "from": {"job": "clean", "output": 1}},
         {"name": "sums", "from": {"job": "sum"}}]  # fmt: skip


def form(n: int, m: int) -> list[dict[str, object]]:
    """month -> clean (two outputs) -> join, sum (of parts), send (without outputs)."""
    many = {"scaling": {"maxConcurrency": 5}, "maxAttempts": 2}
    parts = {"updateStrategy": "append", "uniqueKey": ["id"]}
    return [
        month_source(*SOURCE), step("clean", "month", config={"n": n}, outputs=2, **many),
        step("join", "clean", config={"m": m}, **many), step("sum", "join", **parts, **many),
        step("send", "join", outputs=0, **many),
    ]  # fmt: skip


class Dice(Kept):
    """A history; `listed`: every location that was ever listed."""

    def __init__(self, db: Database, seed: int) -> None:
        super().__init__(db)
        self.dice = random.Random(seed)
        self.listed: set[str] = set()
        self.tidies = Tidy(db)

    async def step(self) -> str:
        often, seldom = (
            [self.work, self.calm, self.clear],
            [self.change, self.revert, self.source, self.move, self.race],
        )
        kind = self.dice.choice([*often, *often, *seldom, self.change, self.tidy])
        while True:
            try:
                await kind()
            except TemporaryError:
                continue
            return kind.__name__

    async def change(self) -> None:
        """A document of nine."""
        await self.deploy_form(self.dice.randrange(3), self.dice.randrange(3))

    async def deploy_form(self, n: int, m: int) -> None:
        rollout = self.dice.choice([{}, {}, {"strategy": "Manual"}])
        await self.apply("d", *form(n, m), publish=NAMES, rollout=rollout)

    async def revert(self) -> None:
        """A pin, or its end."""
        hashes = [str(h) for (h,) in await self.rows("SELECT yaml_hash FROM dag_versions WHERE dag_name = 'd'")]
        command, argument = self.dice.choice([("pin", self.dice.choice(hashes)), ("unpin", ""), ("retry", "")])
        await self.command("d", command, argument, str(self.dice.random()))

    async def source(self) -> None:
        """Data arrive, or arrive again."""
        await self.run("d", "month", self.dice.choice(SOURCE))
        await self.command("d", "run", f"month -p {self.dice.choice(SOURCE)}", str(self.dice.random()))
        await self.dispatch()
        await self.look()

    async def work(self) -> None:
        """Some of what runs ends, one way or the other."""
        await self.dispatch()
        await self.look()
        for pod in await self.claim():
            if self.dice.random() < 0.7:
                await (self.fail(pod) if self.dice.random() < 0.15 else self.complete(pod))

    async def calm(self) -> None:
        """All of it ends well, and what was built serves."""
        for _ in range(3):
            while pods := await self.claim():
                await self.complete_all(pods)
            hashes = await self.rows("SELECT yaml_hash FROM dag_versions ORDER BY created_at DESC")
            await self.command("d", "approve", str(self.dice.choice(hashes)[0]), str(self.dice.random()))
            await self.advance("d")

    async def move(self) -> None:
        """The rollout, if one is under way."""
        await self.advance("d")

    async def clear(self) -> None:
        """A purge, for good."""
        told = await self.purge()
        self.listed |= {g.location for g in told.generations} | {s.location for s in told.superseded}

    async def race(self) -> None:
        """A purge beside a deployment and completions."""
        await asyncio.gather(*(self.patiently(one) for one in (self.clear, self.change, self.work)))

    async def patiently(self, one: object) -> None:
        while True:
            try:
                return await one()  # type: ignore[operator, no-any-return]
            except TemporaryError:
                continue

    async def tidy(self) -> None:
        """Rows of what was retired, and old tasks, go."""
        await self.tidies.run(0)

    async def check(self) -> None:
        """Nothing that was listed is in use."""
        pointed = await self.rows(
            "SELECT v.location FROM partition_versions v JOIN dataset_versions g ON g.id = v.dataset_version"
            " WHERE g.retired_at IS NULL AND v.location IS NOT NULL"
            " UNION ALL SELECT a.location FROM partition_parts a JOIN dataset_versions g ON g.id = a.dataset_version"
            " WHERE g.retired_at IS NULL"
            " UNION ALL SELECT p ->> 'location' FROM tasks t CROSS JOIN jsonb_array_elements(t.outputs) AS o"
            " CROSS JOIN jsonb_array_elements(o -> 'partitions') AS p"
            " WHERE t.status = 'Running' AND p ->> 'location' IS NOT NULL"
            " UNION ALL SELECT p ->> 'location' FROM tasks t CROSS JOIN jsonb_each(t.input_versions) AS i (name, given)"
            " CROSS JOIN jsonb_array_elements(i.given -> 'partitions') AS p"
            " WHERE t.status = 'Running' AND p ->> 'location' IS NOT NULL"
        )
        for (location,) in pointed:
            above = "/".join(str(location).split("/")[:-2])
            assert not {str(location), above} & self.listed
        assert await self.rows(RETIRED) == []

    async def rest(self) -> None:
        """Everything ends well."""
        await self.command("d", "unpin", "", "rest")
        await self.apply("d", *form(0, 0), publish=NAMES)
        await self.command("d", "retry", "", "rest")
        for _ in range(200):
            await self.dispatch()
            await self.look()
            await self.complete_all(await self.claim())
            await self.advance("d")
            if not await self.rows(BUSY) and not await missing_work(self.db, 0):
                return
        raise AssertionError("it does not come to rest")


RETIRED = """
SELECT v.yaml_hash FROM dag_version_datasets p JOIN dag_versions v ON v.id = p.dag_version_id
JOIN dataset_versions g ON g.id = p.dataset_version AND g.retired_at IS NOT NULL
WHERE EXISTS (SELECT 1 FROM dag_current_versions c WHERE c.dag_version_id = v.id)
  OR EXISTS (SELECT 1 FROM rollouts r WHERE r.dag_version_id = v.id AND r.state IN ('Building', 'Ready'))
  OR v.id = (SELECT r.dag_version_id FROM rollouts r WHERE r.dag_name = v.dag_name AND r.state = 'Done'
             AND r.dag_version_id <> (SELECT c.dag_version_id FROM dag_current_versions c WHERE c.dag_name = v.dag_name)
             ORDER BY r.seq DESC LIMIT 1)
"""
"""Of the version that serves, the one before it, and one that is built: pointers to what was retired."""

BUSY = """
SELECT 1 FROM tasks WHERE completed_at IS NULL UNION ALL SELECT 1 FROM rollouts WHERE finished_at IS NULL
UNION ALL SELECT 1 FROM consumer_looks
"""

CONTENTS = """
SELECT d.producer_job_name, d.producer_output_index, string_agg(pv.partition_key, '' ORDER BY pv.partition_key)
FROM dag_current_versions c JOIN dag_version_datasets p USING (dag_version_id) JOIN datasets d ON d.id = p.dataset_uuid
JOIN partition_versions pv ON pv.dataset_version = p.dataset_version
GROUP BY 1, 2 ORDER BY 1, 2
"""


@pytest.mark.parametrize("seed", range(RUNS))
async def test_whatever_happens_what_is_in_use_stays(db: Database, seed: int) -> None:
    world = Dice(db, seed)
    await world.apply("d", *form(0, 0), publish=NAMES)
    await world.run("d", "month", "a")
    await world.drain()
    await world.apply("e", {"name": "total", "image": "i", "inputs": [{"from": {"dataset": "sums"}}]})
    await world.rows("UPDATE dataset_names SET retained_versions = 2 RETURNING 1")
    await world.rows("""UPDATE orgs SET settings = '{"task_retention_days": 0}' RETURNING 1""")
    for _ in range(STEPS):
        told = await world.step()
        try:
            await world.check()
        except AssertionError as error:
            raise AssertionError(f"after {told}") from error
    await world.rest()
    await world.clear()
    await world.tidy()
    await world.check()
    tasks = "SELECT DISTINCT unit_key FROM tasks t JOIN jobs j ON j.id = t.job_id WHERE j.name = 'month' ORDER BY 1"
    keys = "".join(str(key) for (key,) in await world.rows(tasks))
    made = [("clean", 0), ("clean", 1), ("join", 0), ("month", 0), ("sum", 0), ("total", 0)]
    assert await world.rows(CONTENTS) == [(job, output, keys) for job, output in made]
    assert await world.rows("SELECT * FROM missing_units") == []
