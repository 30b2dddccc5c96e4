"""A completion and a cutover in every order of their steps: whichever is first, the unit is in what serves after.

Each is stopped before each of its statements in turn, while the other runs until it is done or waits for a lock.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest

from headrace.compile.document import Compiled
from headrace.errors import TemporaryError
from headrace.plan.decide import Intent
from headrace.run.commit import commit
from headrace.run.rollouts import advance
from headrace.state import attempts, locks, runs, units, versions
from headrace.state.attempts import RunningPod
from headrace.state.database import Database, Transaction
from tests.compile.documents import compiled
from tests.state.faults import interleave
from tests.state.world import World, month_source, step

pytestmark = pytest.mark.long
KEYS = ("a", "b", "c")
Act = Callable[[Transaction], Awaitable[object]]


@pytest.fixture
def world(db: Database) -> World:
    return World(db)


def flights(n: int) -> list[dict[str, object]]:
    """month -> clean -> join -> rank; join is what changes."""
    jobs = [month_source(*KEYS), step("clean", "month"), step("join", "clean", config={"n": n})]
    return [*jobs, step("rank", "join", "clean"), step("send", "join", outputs=0)]


def document(dag: str, n: int) -> Compiled:
    """The same, compiled."""
    return compiled({"jobs": flights(n)}, dag=dag)


async def begin(world: World, dag: str, *, built: bool, job: str) -> RunningPod:
    """A version serves key `a`, the next one has been built, or has served before; the task of `job` for `b` runs."""
    await world.apply(dag, *flights(0))
    await world.run(dag, "month", "a")
    await world.drain()
    await world.apply(dag, *flights(1), rollout={} if built else {"strategy": "Manual"})
    await world.drain()
    if built:
        await world.advance(dag)
        await world.apply(dag, *flights(0))
    await world.run(dag, "month", "b")
    while True:
        for pod in await world.claim(1):
            if pod.job == job:
                return pod
            assert await world.complete(pod)


def completion(pod: RunningPod) -> Act:
    """The attempt reports."""

    async def act(tx: Transaction) -> None:
        await attempts.complete(tx, 0, [msg(pod)], [])

    return act


def msg(pod: RunningPod) -> attempts.Completion:
    """What it reports."""
    return attempts.Completion(id=pod.id, attempt=pod.attempt, token=pod.token, namespace=pod.org, pod=pod.pod_name)


def rollback(world: World, dag: str) -> Act:
    """The document that served before is applied again."""

    async def act(tx: Transaction) -> None:
        await commit(tx, 0, await world.org(), "file:///data", document(dag, 1), Intent(object_uid=f"uid-{dag}"), {})

    return act


def approval(world: World, dag: str) -> Act:
    """The version that was built may serve, and does when it has everything."""

    async def act(tx: Transaction) -> None:
        org = await world.org()
        await versions.lock_dag(tx, org, dag)
        await tx.execute("approve_rollout", org_id=org.id, dag=dag, yaml_hash=document(dag, 1).yaml_hash)
        await advance(tx, 0, org.id, dag)

    return act


async def in_transaction(world: World, act: Act) -> None:
    """Run it on its own; what lost a race is tried again."""
    while True:
        try:
            async with world.db.transaction() as tx:
                return await act(tx)  # type: ignore[return-value]
        except TemporaryError:
            continue


def arrival(world: World, dag: str, key: str) -> Act:
    """New data: a source's task is made, as a tick of cron does."""

    async def act(tx: Transaction) -> None:
        org = await world.org()
        await locks.lock_dags_shared(tx, [(org.id, dag)])
        source = await runs.runnable(tx, org.id, dag, "month")
        assert source is not None
        assert await units.create_source_tasks(tx, source.job_id, [key]) == 1

    return act


SERVES = """
SELECT d.producer_job_name, string_agg(pv.partition_key, '' ORDER BY pv.partition_key)
FROM dag_current_versions c JOIN dag_version_datasets p USING (dag_version_id) JOIN datasets d ON d.id = p.dataset_uuid
JOIN partition_versions pv ON pv.dataset_version = p.dataset_version WHERE c.dag_name = %(dag)s GROUP BY 1 ORDER BY 1
"""
SERVING = (
    "SELECT yaml_hash FROM dag_current_versions JOIN dag_versions v ON v.id = dag_version_id WHERE v.dag_name = %(dag)s"
)
TWICE = """
SELECT j.name, t.unit_key, t.fingerprint, count(*) FROM tasks t JOIN jobs j ON j.id = t.job_id
WHERE j.dag_name = %(dag)s AND t.status = 'Completed' GROUP BY 1, 2, 3 HAVING count(*) > 1
"""


async def settled(world: World, dag: str, keys: str = "ab") -> None:
    """At rest the version serves with every unit, and none was done twice."""
    await world.dispatch()
    while await world.drain() or not await serves(world, dag):
        await world.advance(dag)
    everything = [(job, keys) for job in ("clean", "join", "month", "rank")]
    assert await world.rows(SERVES, dag=dag) == everything
    assert await world.rows(TWICE, dag=dag) == []
    assert await world.rows("SELECT * FROM missing_units") == []
    units = await world.rows(
        "SELECT u.unit_key FROM unit_completions u JOIN jobs j ON j.identity = u.job_identity AND j.fingerprint ="
        " u.fingerprint JOIN dag_current_versions c USING (dag_version_id) WHERE c.dag_name = %(dag)s ORDER BY 1",
        dag=dag,
    )
    assert units == [(key,) for key in keys]


async def serves(world: World, dag: str) -> bool:
    """Whether the second version serves."""
    return await world.rows(SERVING, dag=dag) == [(document(dag, 1).yaml_hash,)]


@pytest.mark.parametrize("job", ["clean", "join", "rank", "send"])
@pytest.mark.parametrize("built", [True, False], ids=["rollback", "rollout"])
@pytest.mark.parametrize("first", ["completion", "cutover"])
async def test_every_order_of_steps(world: World, job: str, built: bool, first: str) -> None:
    at, more = 1, True
    while more:
        dag = f"d{at}"
        pod = await begin(world, dag, built=built, job=job)
        cutover = rollback(world, dag) if built else approval(world, dag)
        one, other = (completion(pod), cutover) if first == "completion" else (cutover, completion(pod))
        more = await interleave(world.db, one, lambda other=other: in_transaction(world, other), at)
        await settled(world, dag)
        at += 1
    assert at > 5


@pytest.mark.parametrize("first", ["arrival", "cutover"])
async def test_every_order_of_an_arrival_and_a_cutover(world: World, first: str) -> None:
    at, more = 1, True
    while more:
        dag = f"d{at}"
        assert await world.complete(await begin(world, dag, built=True, job="clean"))
        await world.drain()
        one, other = arrival(world, dag, "c"), rollback(world, dag)
        one, other = (one, other) if first == "arrival" else (other, one)
        more = await interleave(world.db, one, lambda other=other: in_transaction(world, other), at)
        await settled(world, dag, "abc")
        at += 1
    assert at > 3
