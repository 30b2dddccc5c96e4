"""What was made from a whole input that has changed since is as a replay of what its tasks recorded would make it.

`HEADRACE_RUNS` for more runs than a hundred.
"""

from __future__ import annotations

import random
from typing import Any, NamedTuple, cast
from uuid import UUID

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tests.state import metamorphic, test_metamorphic
from tests.state.metamorphic import Job, Rows, dags, is_log
from tests.state.world import World

pytestmark = pytest.mark.long
world = test_metamorphic.world
STEPS = [step for step in test_metamorphic.STEPS if step != "spoil"]
PARTITIONS = """
SELECT pv.dataset_uuid, pv.dataset_version, pv.partition_key, pv.materialized_at, pv.task_id,
       given_partition(pv, g.unique_key IS NOT NULL)
FROM partition_versions pv JOIN dataset_versions g ON g.id = pv.dataset_version
JOIN datasets d ON d.id = pv.dataset_uuid WHERE d.producer_dag_name = %(dag)s
"""
REVISIONS = """
SELECT r.dataset_uuid, r.dataset_version, r.revision, p.partition_key, p.materialized_at
FROM dataset_revisions r
JOIN datasets d ON d.id = r.dataset_uuid AND d.producer_dag_name = %(dag)s
LEFT JOIN partition_versions p ON p.dataset_uuid = r.dataset_uuid AND p.dataset_version = r.dataset_version
"""
READ = """
SELECT t.id, j.name, j.config, i.name, i.match, r.input_dataset_uuid, r.input_dataset_version, r.input_partition_key,
       r.input_version
FROM tasks t
JOIN jobs j ON j.id = t.job_id AND j.dag_name = %(dag)s
LEFT JOIN (job_inputs i JOIN task_inputs r ON r.input_dataset_uuid = i.dataset_uuid)
  ON i.job_id = j.id AND r.task_id = t.id AND (r.input_partition_key = '*' OR i.match = 'same')
WHERE t.status = 'Completed'
"""


class Version(NamedTuple):
    """A partition, as it was from one time on."""

    dataset: UUID
    generation: UUID
    key: str
    at: object


class History(test_metamorphic.History):
    """The same, that writes down every version of every partition, by the task that made it."""

    def __init__(self, world: World, jobs: dict[str, Job], dice: random.Random) -> None:
        super().__init__(world, jobs, dice)
        self.by: dict[Version, tuple[UUID, Rows]] = {}
        self.wholes: dict[tuple[object, ...], dict[str, Version]] = {}

    async def _finish(self, name: tuple[object, int] | None = None) -> None:
        await super()._finish(name)
        for dataset, generation, key, at, task, partition in await self.world.rows(PARTITIONS, dag=self.dag):
            version = Version(cast("UUID", dataset), cast("UUID", generation), str(key), at)
            if version not in self.by:
                self.by[version] = cast("UUID", task), self.data.folded(cast("dict[str, Any]", partition))
        wholes: dict[tuple[object, ...], dict[str, Version]] = {}
        for dataset, generation, revision, key, at in await self.world.rows(REVISIONS, dag=self.dag):
            parts = wholes.setdefault((dataset, generation, revision), {})
            if key is not None:
                parts[str(key)] = Version(cast("UUID", dataset), cast("UUID", generation), str(key), at)
        self.wholes |= {place: parts for place, parts in wholes.items() if place not in self.wholes}

    async def replayed(self) -> dict[Version, Rows]:
        """Each version that is there, made anew from what its task says it has read, and so on up to the sources."""
        tasks: dict[UUID, tuple[Job, dict[str, dict[str, Version]]]] = {}
        for id_, job, config, name, match, dataset, generation, key, at in await self.world.rows(READ, dag=self.dag):
            _, read = tasks.setdefault(cast("UUID", id_), ({"name": job, "config": config}, {}))
            if name is not None and match == "same":
                read[str(name)] = {str(key): Version(cast("UUID", dataset), cast("UUID", generation), str(key), at)}
            elif name is not None:
                read[str(name)] = self.wholes[dataset, generation, at]
        made: dict[Version, Rows] = {}

        def replay(version: Version) -> Rows:
            if version not in made:
                task, rows = self.by[version]
                job, read = tasks[task]
                given = {name: {key: replay(one) for key, one in parts.items()} for name, parts in read.items()}
                made[version] = metamorphic.made(job, given) if read else rows
            return made[version]

        for dataset, generation, key, at, *_ in await self.world.rows(PARTITIONS, dag=self.dag):
            replay(Version(cast("UUID", dataset), cast("UUID", generation), str(key), at))
        return made


def stale(jobs: dict[str, Job]) -> dict[str, Job]:
    """The same DAG without what is read update by update, whose whole inputs run nothing again when they change."""
    followed = {name for name, job in jobs.items() if is_log(job) or metamorphic.follows(job)}
    kept: dict[str, Job] = {}
    for name, job in jobs.items():
        if name in followed:
            continue
        inputs = [
            {field: value for field, value in one.items() if field != "onChange"}
            for one in job.get("inputs", ()) if one["from"]["job"] in kept
        ]  # fmt: skip
        if "source" in job or any("match" not in one for one in inputs) or len(inputs) == 1:
            kept[name] = {**job, "inputs": inputs} if inputs else job
    return kept


@pytest.mark.parametrize("part", range(test_metamorphic.PARTS))
@settings(
    max_examples=test_metamorphic.RUNS // test_metamorphic.PARTS,
    deadline=None,
    database=None,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)
@given(seed=st.integers(0, 2**32), jobs=dags().map(stale).filter(lambda jobs: len(jobs) > 1),
       steps=st.lists(st.sampled_from(STEPS), min_size=5, max_size=40))  # fmt: skip
async def test_at_rest_the_rows_are_those_of_a_replay_of_the_recorded_inputs(
    world: World, part: int, seed: int, jobs: dict[str, Job], steps: list[str]
) -> None:
    history = History(world, jobs, random.Random(seed))
    await history.begin()
    for step in steps:
        await history.step(step)
    await history.rest()
    assert await history.serves()
    replayed = await history.replayed()
    assert {version: history.by[version][1] for version in replayed} == replayed
