"""A change of a dataset and the first who reads it as a whole, a change and a claim: in every order of their steps."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest

from headrace.plan.decide import Intent
from headrace.run.commit import commit
from headrace.state import attempts, queue
from headrace.state.attempts import Completion, RunningPod
from headrace.state.database import Database, Transaction
from tests.compile.documents import compiled
from tests.state.faults import interleave
from tests.state.test_whole_inputs import rates
from tests.state.world import World, month_source

pytestmark = pytest.mark.long
Act = Callable[[Transaction], Awaitable[object]]
# Everything that was made of the whole was made of it as it is, or is to be made again.
BEHIND = """
SELECT t.unit_key FROM tasks t
JOIN task_inputs i ON i.task_id = t.id AND i.input_partition_key = '*'
JOIN partition_versions p ON p.dataset_uuid = i.input_dataset_uuid AND p.dataset_version = i.input_dataset_version
WHERE t.status = 'Completed' GROUP BY t.id, t.unit_key, t.seq, i.input_version
HAVING max(p.materialized_at) > i.input_version AND NOT EXISTS (
  SELECT 1 FROM tasks n WHERE n.job_identity = t.job_identity AND n.unit_key = t.unit_key AND n.seq > t.seq)
"""


@pytest.fixture
def world(db: Database) -> World:
    return World(db)


def shop(bank: str) -> list[dict[str, object]]:
    whole = {"from": {"dataset": f"{bank}_rates"}, "match": "latest", "onChange": "rerun"}
    return [month_source("a"), {"name": "prices", "image": "i", "inputs": [{"from": {"job": "month"}}, whole]}]


async def change(world: World, bank: str) -> RunningPod:
    """The bank has one rate, and another is being made."""
    await world.apply(bank, rates("x", "y"), publish=[{"name": f"{bank}_rates", "from": {"job": "rates"}}])
    await world.command(bank, "run", "rates -p x")
    await world.drain()
    await world.command(bank, "run", "rates -p y", "2")
    (pod,) = await world.claim()
    return pod


def completion(pod: RunningPod) -> Act:
    async def act(tx: Transaction) -> None:
        done = Completion(id=pod.id, attempt=pod.attempt, token=pod.token, namespace=pod.org, pod=pod.pod_name)
        await attempts.complete(tx, 0, [done], [])

    return act


def first_reader(world: World, name: str, bank: str) -> Act:
    async def act(tx: Transaction) -> None:
        document = compiled({"jobs": shop(bank)}, dag=name)
        await commit(tx, 0, await world.org(), "file:///data", document, Intent(object_uid=f"uid-{name}"), {})

    return act


def claim(world: World) -> Act:
    async def act(tx: Transaction) -> None:
        await queue.claim(tx, 0, [(await world.org()).id], 10)

    return act


async def in_transaction(world: World, act: Act) -> None:
    async with world.db.transaction() as tx:
        await act(tx)


async def settled(world: World) -> None:
    """At rest."""
    await world.look()
    while await world.drain():
        await world.look()
    assert await world.rows("SELECT job_id FROM missing_units") == []
    assert await world.rows(BEHIND) == []


@pytest.mark.parametrize("first", ["completion", "reader"])
async def test_a_change_and_the_first_reader(world: World, first: str) -> None:
    at, more = 1, True
    while more:
        bank, name = f"bank{at}", f"shop{at}"
        pod = await change(world, bank)
        reader = first_reader(world, name, bank)
        one, other = (completion(pod), reader) if first == "completion" else (reader, completion(pod))
        more = await interleave(world.db, one, lambda other=other: in_transaction(world, other), at)
        await world.run(name, "month", "a")
        await settled(world)
        at += 1
    assert at > 5


@pytest.mark.parametrize("first", ["completion", "claim"])
async def test_a_change_and_a_claim(world: World, first: str) -> None:
    at, more = 1, True
    while more:
        bank, name = f"bank{at}", f"shop{at}"
        pod = await change(world, bank)
        await world.apply(name, *shop(bank))
        await world.run(name, "month", "a")
        one, other = (completion(pod), claim(world)) if first == "completion" else (claim(world), completion(pod))
        more = await interleave(world.db, one, lambda other=other: in_transaction(world, other), at)
        await settled(world)
        at += 1
    assert at > 4
