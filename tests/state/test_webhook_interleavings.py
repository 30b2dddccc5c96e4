"""An event and a cutover, an event and a claim, in every order of their steps: at rest no unit lacks an event."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest

from headrace.compile.document import Compiled
from headrace.errors import TemporaryError
from headrace.plan.decide import Intent
from headrace.run.commit import commit
from headrace.run.rollouts import advance
from headrace.state import queue, versions, webhooks
from headrace.state.database import Database, Transaction
from tests.compile.documents import compiled
from tests.state.faults import interleave
from tests.state.hooks import DAY, accept, hooked
from tests.state.world import World

pytestmark = pytest.mark.long
Act = Callable[[Transaction], Awaitable[object]]

SERVES = (
    "SELECT yaml_hash FROM dag_current_versions JOIN dag_versions v ON v.id = dag_version_id WHERE v.dag_name = %(dag)s"
)
LACKING = """
SELECT j.dag_name, k.partition_key, count(*), coalesce(u.events, 0)
FROM dag_current_versions c
JOIN jobs j USING (dag_version_id)
JOIN webhook_events e ON e.job_identity = j.identity
LEFT JOIN webhook_keys k ON k.seq = e.seq AND k.format = j.source #>> '{partition,format}'
LEFT JOIN LATERAL (SELECT max(events) AS events FROM unit_events WHERE job_id = j.id AND key = k.partition_key) AS u
  ON true
GROUP BY 1, 2, 4 HAVING count(*) <> coalesce(u.events, 0)
"""


@pytest.fixture
def world(db: Database) -> World:
    return World(db)


def document(dag: str, pattern: str) -> Compiled:
    """load -> clean, compiled."""
    return compiled({"jobs": hooked(pattern)}, dag=dag)


def event(world: World, dag: str, id_: str) -> Act:
    """A delivery, its signature checked."""

    async def act(tx: Transaction) -> None:
        given = webhooks.Event(id=id_, sent=DAY.replace(day=9), body="{}")
        assert await webhooks.store(tx, (await world.org()).id, dag, "load", "hook", given) is not None

    return act


def approval(world: World, dag: str) -> Act:
    """The version by month, which is built, may serve."""

    async def act(tx: Transaction) -> None:
        org = await world.org()
        await versions.lock_dag(tx, org, dag)
        await tx.execute("approve_rollout", org_id=org.id, dag=dag, yaml_hash=document(dag, "%Y-%m").yaml_hash)
        await advance(tx, 0, org.id, dag)

    return act


def rollback(world: World, dag: str) -> Act:
    """The document by month, which served before, is applied again."""

    async def act(tx: Transaction) -> None:
        made, intent = document(dag, "%Y-%m"), Intent(object_uid=f"uid-{dag}")
        await commit(tx, 0, await world.org(), "file:///data", made, intent, {})

    return act


def claim(world: World) -> Act:
    """Whatever can run."""

    async def act(tx: Transaction) -> None:
        await queue.claim(tx, 0, [(await world.org()).id], 100)

    return act


async def begin(world: World, dag: str, *, rollback: bool) -> None:
    """A version by day serves an event; that by month is built and waits, or has served before."""
    await world.apply(dag, *hooked("%Y-%m-%d"))
    await accept(world, "msg_1", DAY, {}, dag=dag)
    await world.drain()
    await world.apply(dag, *hooked("%Y-%m"), rollout={} if rollback else {"strategy": "Manual"})
    await world.drain()
    if rollback:
        await world.advance(dag)
        await world.apply(dag, *hooked("%Y-%m-%d"))
    await accept(world, "msg_2", DAY.replace(day=9), {}, dag=dag)


async def in_transaction(world: World, act: Act) -> None:
    """Run it on its own; what lost a race is tried again."""
    while True:
        try:
            async with world.db.transaction() as tx:
                await act(tx)
        except TemporaryError:
            continue
        return


async def settled(world: World, dag: str) -> None:
    """The version by month serves, and has every event."""
    await world.drain()
    while await world.rows(SERVES, dag=dag) != [(document(dag, "%Y-%m").yaml_hash,)]:
        await world.advance(dag)
        await world.drain()
    await world.drain()
    assert await world.rows(LACKING) == []


@pytest.mark.parametrize("back", [True, False], ids=["rollback", "rollout"])
@pytest.mark.parametrize("first", ["event", "cutover"])
async def test_every_order_of_an_event_and_a_cutover(world: World, back: bool, first: str) -> None:
    at, more = 1, True
    while more:
        dag = f"d{at}"
        await begin(world, dag, rollback=back)
        one, other = event(world, dag, "msg_3"), rollback(world, dag) if back else approval(world, dag)
        one, other = (one, other) if first == "event" else (other, one)
        more = await interleave(world.db, one, lambda other=other: in_transaction(world, other), at)
        await settled(world, dag)
        at += 1
    assert at > 5


@pytest.mark.parametrize("first", ["event", "claim"])
async def test_every_order_of_an_event_and_a_claim(world: World, first: str) -> None:
    at, more = 1, True
    while more:
        dag = f"d{at}"
        await world.apply(dag, *hooked("%Y-%m"))
        await accept(world, "msg_1", DAY, {}, dag=dag)
        one, other = event(world, dag, "msg_2"), claim(world)
        one, other = (one, other) if first == "event" else (other, one)
        more = await interleave(world.db, one, lambda other=other: in_transaction(world, other), at)
        await world.drain()
        assert await world.rows(LACKING) == []
        at += 1
    assert at > 4
