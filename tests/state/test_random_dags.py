"""Properties of plans and rollouts over random DAGs of up to 60 jobs, in real Postgres: the heart of the promise.

What must be made again is reckoned from the graph; what was made is read from the tasks that ran.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from itertools import count

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from headrace.errors import TemporaryError
from headrace.plan.rollout import SwitchOver
from headrace.state.database import Database
from tests.state.random_dags import Drawn, dags, edits
from tests.state.world import World

pytestmark = pytest.mark.long
KEYS = ("a", "b")
NUMBER = count()
FEW = settings(
    max_examples=12,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
)


@pytest.fixture
def world(db: Database) -> World:
    return World(db)


async def settle(world: World, dag: str) -> Counter[tuple[str, str]]:
    """Run everything of a DAG to its end, in big batches; how often each (job, key) ran."""
    ran: Counter[tuple[str, str]] = Counter()
    while True:
        await world.dispatch()
        pods = await world.claim(1000)
        if not pods:
            return ran
        assert await world.complete_all(pods) == len(pods)
        ran.update((pod.job, pod.partitions[0]) for pod in pods)


async def deploy(world: World, dag: str, drawn: Drawn) -> Counter[tuple[str, str]]:
    """Apply and run until the version serves; what ran."""
    await world.apply(dag, *drawn.manifest())
    ran = await settle(world, dag)
    under_way = await world.rows(
        "SELECT 1 FROM rollouts WHERE dag_name = %(dag)s AND state IN ('Building', 'Ready')", dag=dag
    )
    if under_way:
        assert await world.advance(dag) == SwitchOver()
    return ran


async def begin(world: World, drawn: Drawn) -> tuple[str, set[str]]:
    """A first version with all of its sources run; its name, and the jobs that have data."""
    dag = f"d{next(NUMBER)}"
    await deploy(world, dag, drawn)
    for source in drawn.sources():
        await world.run(dag, source, *KEYS)
    await settle(world, dag)
    return dag, drawn.reached(set(drawn.sources()))


POINTERS = """
SELECT d.producer_job_name, d.producer_output_index, v.dataset_version, g.config_hash, d.name
FROM dag_current_versions c
JOIN dag_version_datasets v USING (dag_version_id)
JOIN datasets d ON d.id = v.dataset_uuid
JOIN dataset_versions g ON g.id = v.dataset_version
WHERE c.dag_name = %(dag)s
"""
CONTENTS = """
SELECT d.producer_job_name, d.producer_output_index, d.name, g.config_hash, pv.partition_key
FROM dag_current_versions c
JOIN dag_version_datasets v USING (dag_version_id)
JOIN datasets d ON d.id = v.dataset_uuid
JOIN dataset_versions g ON g.id = v.dataset_version
LEFT JOIN partition_versions pv ON pv.dataset_version = g.id
WHERE c.dag_name = %(dag)s
ORDER BY 1, 2, 5
"""
JOBS = """
SELECT j.name, j.config_hash, j.fingerprint, j.document_hash, j.position, j.upstream, j.input_datasets
FROM dag_current_versions c JOIN jobs j USING (dag_version_id) WHERE c.dag_name = %(dag)s ORDER BY 1
"""


async def pointers(world: World, dag: str) -> dict[tuple[object, object], object]:
    """(job, output) to the dataset version that serves."""
    return {(job, output): version for job, output, version, _, _ in await world.rows(POINTERS, dag=dag)}


@FEW
@given(data=st.data(), drawn=dags())
async def test_what_changed_and_what_follows_is_made_again_and_nothing_else(
    world: World, data: st.DataObject, drawn: Drawn
) -> None:
    dag, _ = await begin(world, drawn)
    before = await pointers(world, dag)
    edited = data.draw(edits(drawn))
    affected = edited.downstream(edited.data)
    ran = await deploy(world, dag, edited)
    expected = {
        (job, key)
        for job in affected & edited.reached(set(edited.sources()))
        if "image" in edited.jobs[job]
        for key in KEYS
    }
    assert ran == Counter(dict.fromkeys(expected, 1))
    after = await pointers(world, dag)
    kept = {place for place in after if place[0] not in affected}
    assert {place: after[place] for place in kept} == {place: before[place] for place in kept}
    assert all(after[place] != before.get(place) for place in after if place not in kept)


@FEW
@given(data=st.data(), drawn=dags(30))
async def test_the_plan_counts_what_then_runs(world: World, data: st.DataObject, drawn: Drawn) -> None:
    dag, _ = await begin(world, drawn)
    edited = data.draw(edits(drawn))
    plan = await world.apply(dag, *edited.manifest())
    ran = await settle(world, dag)
    assert plan.explanation.tasks == ran.total()
    outputs = {name: job.get("outputs", 1) for name, job in edited.jobs.items()}
    assert plan.explanation.partitions == sum(outputs[job] for job, _ in ran.elements())


@FEW
@given(data=st.data(), drawn=dags(30))
async def test_deploy_revert_deploy_runs_nothing(world: World, data: st.DataObject, drawn: Drawn) -> None:
    dag, _ = await begin(world, drawn)
    first = await pointers(world, dag)
    edited = data.draw(edits(drawn))
    await deploy(world, dag, edited)
    second = await pointers(world, dag)
    for wanted, serving in ((drawn, first), (edited, second)):
        assert not await deploy(world, dag, wanted)
        assert await pointers(world, dag) == serving


@FEW
@given(data=st.data(), drawn=dags(20))
async def test_two_paths_to_one_document_give_the_same_rows(world: World, data: st.DataObject, drawn: Drawn) -> None:
    """Straight, and over a detour, built or given up half-way."""
    edited, detour = data.draw(edits(drawn)), data.draw(edits(drawn))
    straight, _ = await begin(world, drawn)
    around, _ = await begin(world, drawn)
    await deploy(world, straight, edited)
    if data.draw(st.booleans(), label="the detour is built"):
        await deploy(world, around, detour)
    else:
        await world.apply(around, *detour.manifest())
        await world.complete_all(await world.claim())
    await deploy(world, around, edited)
    for query in (CONTENTS, JOBS):
        one, other = [await world.rows(query, dag=dag) for dag in (straight, around)]
        assert str(one).replace(f"'{straight}.", "'d.") == str(other).replace(f"'{around}.", "'d.")


@FEW
@given(data=st.data(), drawn=dags(20))
async def test_two_operators_at_once_make_one_version(world: World, data: st.DataObject, drawn: Drawn) -> None:
    dag, _ = await begin(world, drawn)
    edited = data.draw(edits(drawn))

    async def commit() -> None:
        while True:
            try:
                await world.apply(dag, *edited.manifest())
            except TemporaryError:
                continue
            return

    await asyncio.gather(*(commit() for _ in range(4)))
    hashes = await world.rows("SELECT yaml_hash FROM dag_versions WHERE dag_name = %(dag)s", dag=dag)
    assert len(hashes) == len(set(hashes)) <= 2
    rolled = await world.rows("SELECT count(*) FROM rollouts WHERE dag_name = %(dag)s", dag=dag)
    assert rolled == [(len(hashes),)]
    ran = await settle(world, dag)
    assert all(times == 1 for times in ran.values())
