"""A process killed before or after any transaction, and the answer of any COMMIT lost: the rows end as undisturbed.

One life of the operator is played through: versions, a build with data arriving, a cutover, a rollback. It is killed at
each transaction in turn; the next life finds what the first left.
"""

from __future__ import annotations

from collections import Counter

import pytest

from headrace.plan.rollout import Stay
from headrace.state.database import Database
from tests.conftest import database_url
from tests.state.faults import Killed, Killing, When
from tests.state.world import World, month_source, step

pytestmark = pytest.mark.long
KEYS = ("a", "b")


def flights(n: int, **other: object) -> list[dict[str, object]]:
    """month -> clean -> join, and send without outputs."""
    jobs = [month_source(*KEYS), step("clean", "month"), step("join", "clean", config={"n": n})]
    return [*jobs, step("send", "clean", outputs=0, **other)]


STAGES: list[tuple[list[dict[str, object]], dict[str, str]]] = [
    (flights(0), {"headrace.dev/run": "1 month"}),
    (flights(1), {}),
    (flights(0), {}),
    (flights(1, timeoutSeconds=9), {}),
]


class Cluster:
    """The pods that were made: they outlive the operator's process."""

    def __init__(self) -> None:
        self.made: set[str] = set()


async def live(world: World, cluster: Cluster, stage: int) -> None:
    """What an operator does from its start until nothing is left: apply, claim, make pods, complete, cut over."""
    jobs, annotations = STAGES[stage]
    publish = [{"name": f"rows{stage % 2}", "from": {"job": "clean"}}]
    for pod in await world.running():
        if pod.pod_name not in cluster.made:
            await world.fail(pod, lost=True)
    while True:
        await world.apply("flights", *jobs, publish=publish, annotations=annotations)
        worked = bool(await world.dispatch())
        pods = await world.claim()
        cluster.made |= {pod.pod_name for pod in pods}
        worked |= bool(await world.complete_all(pods))
        waits = await world.rows("UPDATE tasks SET next_retry_at = now() WHERE next_retry_at IS NOT NULL RETURNING 1")
        moved = not isinstance(await world.advance("flights"), Stay)
        if not (worked or waits or moved or await world.running()):
            return


CONTENTS = """
SELECT d.producer_job_name, d.name, g.config_hash, pv.partition_key, v.yaml_hash
FROM dag_current_versions c JOIN dag_versions v ON v.id = c.dag_version_id
JOIN dag_version_datasets p USING (dag_version_id) JOIN datasets d ON d.id = p.dataset_uuid
JOIN dataset_versions g ON g.id = p.dataset_version
LEFT JOIN partition_versions pv ON pv.dataset_version = g.id ORDER BY 1, 2, 3, 4
"""
DONE = "SELECT job_identity, fingerprint, unit_key FROM tasks WHERE status = 'Completed'"
UNITS = "SELECT job_identity, fingerprint, unit_key FROM unit_completions ORDER BY 1, 2, 3"
ROLLOUTS = """
SELECT v.yaml_hash, b.yaml_hash, r.state FROM rollouts r JOIN dag_versions v ON v.id = r.dag_version_id
LEFT JOIN dag_versions b ON b.id = r.base_version_id ORDER BY r.seq
"""
LEFT = "SELECT status, canceled_by FROM tasks WHERE status NOT IN ('Completed', 'Canceled')"


async def result(world: World) -> object:
    """What there is at the end, without ids, times and attempts."""
    done = Counter((row[1], row[2]) for row in await world.rows(DONE))
    units = [row[1:] for row in await world.rows(UNITS)]
    rows = [await world.rows(query) for query in (CONTENTS, ROLLOUTS, LEFT)]
    return (done, units, *rows)


async def play(db: Database, at: int = 0, when: When = "before") -> tuple[object, int]:
    """All stages, killed at transaction `at` once; the result, and how many transactions the first life had."""
    killing = Killing(db.url)
    killing.at, killing.when = at, when
    cluster, stage = Cluster(), 0
    async with killing:
        try:
            world = World(killing)
            for number in range(len(STAGES)):
                stage = number
                await live(world, cluster, number)
        except Killed:
            pass
        else:
            assert at == 0 or at > killing.count
    for number in range(stage, len(STAGES)):
        await live(World(db), cluster, number)
    return await result(World(db)), killing.count


@pytest.mark.parametrize("when", ["before", "after"])
async def test_killed_at_every_transaction(postgres_server: str, template_database: str, when: When) -> None:
    """Each of them in turn, in a database of its own, which goes with the session's server."""
    expected, transactions = None, 0
    async with Database(postgres_server) as server:
        undisturbed = True
        at = 0
        while undisturbed or at <= transactions:
            name = f"crash_{when}_{at}"
            await make(server, name, template_database)
            async with Database(database_url(postgres_server, name)) as db:
                found, count = await play(db, at, when)
            if undisturbed:
                expected, transactions, undisturbed = found, count, False
            assert found == expected, f"killed {when} the COMMIT of transaction {at}"
            at += 1
    assert transactions > 40


async def make(server: Database, name: str, template: str) -> None:
    """A database like the template."""
    async with server._pool.connection() as connection:
        await connection.execute(f"CREATE DATABASE {name} TEMPLATE {template}".encode())
