"""A purge and whatever has a version serve, in every order of their steps: what serves after is whole.

Each is stopped before each of its statements in turn, while the other runs until it is done or waits for a lock.
"""

from __future__ import annotations

import pytest

from headrace.compile.document import Compiled
from headrace.plan.decide import Intent
from headrace.run.commit import commit
from headrace.run.rollouts import advance
from headrace.state import purge, versions
from headrace.state.database import Database, Transaction
from tests.compile.documents import compiled
from tests.state.faults import interleave
from tests.state.kept import NOW, Kept
from tests.state.test_interleavings import Act, in_transaction
from tests.state.world import month_source, step

pytestmark = pytest.mark.long


@pytest.fixture
def world(db: Database) -> Kept:
    return Kept(db)


def form(clean: int, join: int) -> list[dict[str, object]]:
    """month -> clean -> join, of which each may differ."""
    return [month_source("a", "b"), step("clean", "month", config={"n": clean}, maxAttempts=1),
            step("join", "clean", config={"n": join})]  # fmt: skip


def names(dag: str) -> list[dict[str, object]]:
    return [{"name": f"{dag}_{n}", "from": {"job": n}} for n in ("clean", "join")]


def document(dag: str, clean: int, join: int) -> Compiled:
    return compiled({"jobs": form(clean, join), "publish": names(dag)}, dag=dag)


async def begin(world: Kept, dag: str, wanted: tuple[int, int], how: str) -> None:
    """Two versions have served; of each name the last one stays. The wanted one is as far as `how` says."""
    await world.apply(dag, *form(0, 0), publish=names(dag))
    await world.run(dag, "month", "a", "b")
    await world.drain()
    await world.apply(dag, *form(1, 1), publish=names(dag))
    await settle(world, dag)
    await world.rows("UPDATE dataset_names SET retained_versions = 1 RETURNING 1")
    if how in ("cutover", "resumed"):
        await world.apply(dag, *form(*wanted), publish=names(dag), rollout={"strategy": "Manual"})
        if how == "resumed":
            for pod in await world.claim():
                await (world.fail(pod) if pod.job == "clean" else world.complete(pod))
            await world.advance(dag)
        await world.drain()


async def settle(world: Kept, dag: str) -> None:
    while await world.drain() or await world.rows(
        "SELECT 1 FROM rollouts WHERE dag_name = %(dag)s AND state IN ('Building', 'Ready')", dag=dag
    ):
        await world.advance(dag)


def deployment(world: Kept, dag: str, wanted: tuple[int, int]) -> Act:
    """The wanted document is applied."""

    async def act(tx: Transaction) -> None:
        org, intent = await world.org(), Intent(object_uid=f"uid-{dag}")
        await commit(tx, 0, org, "file:///data", document(dag, *wanted), intent, {})

    return act


def approval(world: Kept, dag: str, wanted: tuple[int, int]) -> Act:
    """What was built may serve."""

    async def act(tx: Transaction) -> None:
        org = await world.org()
        await versions.lock_dag(tx, org, dag)
        await tx.execute("approve_rollout", org_id=org.id, dag=dag, yaml_hash=document(dag, *wanted).yaml_hash)
        await advance(tx, 0, org.id, dag)

    return act


def resumption(world: Kept, dag: str, wanted: tuple[int, int]) -> Act:
    """What failed is tried again; this time it goes well."""

    async def act(tx: Transaction) -> None:
        org = await world.org()
        asked = {"headrace.dev/retry": "1 "}
        await commit(tx, 0, org, "file:///data", document(dag, *wanted), Intent(object_uid=f"uid-{dag}"), asked)

    return act


def purging(world: Kept, dag: str) -> Act:
    async def act(tx: Transaction) -> None:
        await purge.purge(tx, (await world.org()).id, dag, NOW)

    return act


SERVES = """
SELECT d.producer_job_name, string_agg(pv.partition_key, '' ORDER BY pv.partition_key), bool_and(g.retired_at IS NULL),
       bool_and(coalesce(pv.location, g.storage_location || '/') LIKE g.storage_location || '/%%')
FROM dag_current_versions c JOIN dag_version_datasets p USING (dag_version_id) JOIN datasets d ON d.id = p.dataset_uuid
JOIN dataset_versions g ON g.id = p.dataset_version
LEFT JOIN partition_versions pv ON pv.dataset_version = p.dataset_version
WHERE c.dag_name = %(dag)s GROUP BY 1 ORDER BY 1
"""
SERVING = (
    "SELECT yaml_hash FROM dag_current_versions JOIN dag_versions v ON v.id = dag_version_id WHERE v.dag_name = %(dag)s"
)
ACTS = {"rollback": deployment, "new": deployment, "cutover": approval, "resumed": resumption}
WANTED = {"rollback": (0, 0), "new": (0, 9), "cutover": (0, 9), "resumed": (9, 0)}


@pytest.mark.parametrize("how", ACTS)
@pytest.mark.parametrize("first", ["purge", "deployment"])
async def test_every_order_of_a_purge_and_a_deployment(world: Kept, how: str, first: str) -> None:
    """What is returned to, reused by a new version, built and about to serve, or resumed, is not retired meanwhile."""
    at, more, wanted = 1, True, WANTED[how]
    while more:
        dag = f"d{at}"
        await begin(world, dag, wanted, how)
        act = ACTS[how](world, dag, wanted)
        one, other = (purging(world, dag), act) if first == "purge" else (act, purging(world, dag))
        more = await interleave(world.db, one, lambda other=other: in_transaction(world, other), at)
        await settle(world, dag)
        assert await world.rows(SERVING, dag=dag) == [(document(dag, *wanted).yaml_hash,)]
        assert await world.rows(SERVES, dag=dag) == [(job, "ab", True, True) for job in ("clean", "join", "month")]
        assert await world.rows("SELECT * FROM missing_units") == []
        at += 1
    assert at > 5
