"""Webhook sources in Postgres: what is stored, once; which tasks it makes, and which events these are given."""

from __future__ import annotations

import asyncio
import json
from datetime import datetime

import psycopg
import pytest
from msgspec import structs

from headrace.run.payload import beyond_bounds, payload
from headrace.state import webhooks
from headrace.state.attempts import MOST_EVENT_BYTES
from headrace.state.database import Database
from headrace.state.deletion import delete_dag
from tests.state.hooks import DAY, accept, hook, hooked, listing, told
from tests.state.world import World, step


@pytest.fixture
def world(db: Database) -> World:
    return World(db)


async def test_an_event_makes_the_task_of_its_day_and_is_handed_to_it(world: World) -> None:
    await world.apply("flights", *hooked("%Y-%m-%d"))
    stored = await accept(world, "msg_1", DAY, {"n": 1})
    assert stored is not None
    assert (stored.id, stored.partition) == ("msg_1", "2026-03-01")
    (pod,) = await world.claim()
    assert (pod.job, pod.partitions) == ("load", ["2026-03-01"])
    document = json.loads(payload(pod).text)
    assert document["events"] == [{"id": "msg_1", "timestamp": "2026-03-01T12:00:00Z", "body": {"n": 1}}]
    assert await world.complete(pod)
    assert await world.drain() == [("clean", "2026-03-01")]


async def test_a_repeated_delivery_gets_the_first_answer_and_makes_nothing(world: World) -> None:
    """Also after its task is done, with another body, and on the next day: the id is what counts."""
    await world.apply("flights", *hooked("%Y-%m-%d"))
    first = await accept(world, "msg_1", DAY, {"n": 1})
    assert await accept(world, "msg_1", DAY, {"n": 1}) == first
    await world.drain()
    assert await accept(world, "msg_1", DAY.replace(day=2), {"n": 2}) == first
    assert await world.claim() == []
    assert await world.rows("SELECT webhook_id, body FROM webhook_events") == [("msg_1", '{"n": 1}')]


async def test_deliveries_of_one_event_at_once_are_one(world: World) -> None:
    await world.apply("flights", *hooked("%Y-%m-%dT%H-%M"))
    times = [DAY.replace(minute=n % 3) for n in range(12)]
    answers = await asyncio.gather(*(accept(world, "msg_1", at, {}) for at in times))
    assert len(set(answers)) == 1
    assert len(await world.rows("SELECT 1 FROM webhook_events")) == 1
    assert len(await world.claim()) == 1


async def test_what_died_between_event_and_task_is_made_whole_by_the_next_delivery(world: World, url: str) -> None:
    """Nothing of a transaction that was lost is left: no event that would be answered, and never worked on."""
    await world.apply("flights", *hooked(None))
    with psycopg.connect(url, autocommit=True) as other:
        other.execute("CREATE FUNCTION die() RETURNS trigger LANGUAGE plpgsql AS"
                      " $$ BEGIN PERFORM pg_terminate_backend(pg_backend_pid()); RETURN NEW; END $$")  # fmt: skip
        other.execute("CREATE TRIGGER die BEFORE INSERT ON tasks FOR EACH ROW EXECUTE FUNCTION die()")
        with pytest.raises(Exception, match="Postgres"):
            await accept(world, "msg_1", DAY, {})
        other.execute("DROP TRIGGER die ON tasks")
    assert await world.rows("SELECT 1 FROM webhook_events") == []
    assert await accept(world, "msg_1", DAY, {}) is not None
    assert told(await world.claim()) == {("load", "*"): ["msg_1"]}


async def test_events_join_the_task_that_waits_and_make_another_beside_one_that_runs(world: World) -> None:
    await world.apply("flights", *hooked("%Y-%m-%d"))
    await accept(world, "msg_2", DAY, {})
    await accept(world, "msg_1", DAY, {})
    (first,) = await world.claim()
    assert told([first]) == {("load", "2026-03-01"): ["msg_2", "msg_1"]}
    await accept(world, "msg_3", DAY, {})
    assert await world.claim() == [first]
    assert await world.complete(first)
    (second,) = [pod for pod in await world.claim() if pod.job == "load"]
    assert told([second]) == {("load", "2026-03-01"): ["msg_2", "msg_1", "msg_3"]}


async def test_a_retry_is_given_what_came_meanwhile(world: World) -> None:
    await world.apply("flights", *hooked("%Y-%m-%d"))
    await accept(world, "msg_1", DAY, {})
    (pod,) = await world.claim()
    assert await world.fail(pod)
    await accept(world, "msg_2", DAY, {})
    (again,) = await world.claim()
    assert (again.id, again.attempt) == (pod.id, 2)
    assert told([again]) == {("load", "2026-03-01"): ["msg_1", "msg_2"]}


async def test_a_claim_that_goes_on_either_sees_an_event_or_leaves_it_a_task(world: World, url: str) -> None:
    """The row is locked by the claim, its inputs are yet to be read: an event that only finds it waiting is lost."""
    await world.apply("flights", *hooked(None))
    await accept(world, "msg_1", DAY, {})
    with psycopg.connect(url) as claim:
        claim.execute("SELECT id FROM tasks WHERE status = 'Queued' FOR UPDATE")
        later = asyncio.create_task(accept(world, "msg_2", DAY, {}))
        while not (later.done() or await world.rows("SELECT 1 FROM pg_locks WHERE NOT granted")):  # noqa: ASYNC110 - nothing tells it
            await asyncio.sleep(0.01)
        assert not later.done()
        claim.execute("UPDATE tasks SET status = 'Completed', completed_at = now()")
        claim.commit()
        assert await later is not None
    assert told(await world.claim()) == {("load", "*"): ["msg_1", "msg_2"]}


async def test_events_of_a_partition_are_accepted_one_after_the_other(world: World) -> None:
    """So the events that a claim counts are the first ones, and stay so."""
    await world.apply("flights", *hooked(None))
    org = await world.org()
    async with world.db.transaction() as tx:
        await webhooks.store(tx, org.id, "flights", "load", "hook", webhooks.Event(id="msg_1", sent=DAY, body="{}"))
        later = asyncio.create_task(accept(world, "msg_2", DAY, {}))
        waits = "SELECT locktype FROM pg_locks WHERE NOT granted"
        while not (later.done() or await world.rows(waits)):  # noqa: ASYNC110 - nothing tells it
            await asyncio.sleep(0.01)
        # Before it has its place among the events, and not only for the task that they share.
        assert await world.rows(waits) == [("advisory",)]
    assert await later is not None
    assert told(await world.claim()) == {("load", "*"): ["msg_1", "msg_2"]}


async def test_only_events_of_its_own_source_and_partition_are_handed_over(world: World) -> None:
    other = {**hook("%Y-%m-%d"), "name": "other"}
    await world.apply("flights", *hooked("%Y-%m-%d"), other)
    await accept(world, "msg_1", DAY, {})
    await accept(world, "msg_1", DAY, {}, job="other")
    await accept(world, "msg_2", DAY.replace(day=2), {})
    pods = await world.claim()
    assert told([p for p in pods if p.job == "other"]) == {("other", "2026-03-01"): ["msg_1"]}
    assert len(await world.rows("SELECT 1 FROM webhook_events")) == 3


async def test_the_day_is_that_of_utc(world: World) -> None:
    await world.apply("flights", *hooked("%Y-%m-%d"))
    at = datetime.fromisoformat("2026-03-01T23:30:00-05:00")
    stored = await accept(world, "msg_1", at, {})
    assert stored is not None
    assert stored.partition == "2026-03-02"


async def test_a_body_is_handed_over_as_it_was_sent(world: World) -> None:
    """What jsonb, or a float, would change or refuse."""
    await world.apply("flights", *hooked(None))
    text = '{"b": 1.10, "a": 12345678901234567890.5, "nul": "\\u0000", "lone": "\\ud800", "$(HOME)": "é"}'
    await accept(world, "msg_1", DAY, text)
    (pod,) = await world.claim()
    assert text in payload(pod).text


async def test_a_source_without_an_image_only_sets_off_what_reads_it(world: World) -> None:
    await world.apply("flights", hook("%Y-%m-%d", image=None), step("clean", "load"))
    await accept(world, "msg_1", DAY, {})
    await world.dispatch()
    (pod,) = await world.claim()
    assert (pod.job, pod.partitions, "events" in json.loads(payload(pod).text)) == ("clean", ["2026-03-01"], False)


async def test_an_event_of_a_source_that_lists_is_a_run_of_it(world: World) -> None:
    await world.apply("flights", listing("a", "b"))
    await accept(world, "msg_1", DAY, {})
    assert sorted(await world.drain()) == [("load", "a"), ("load", "b")]
    await accept(world, "msg_2", DAY, {})
    assert await world.drain() == []


async def test_a_suspended_dag_takes_events_and_works_on_them_later(world: World) -> None:
    await world.apply("flights", *hooked(None), suspend=True)
    assert await accept(world, "msg_1", DAY, {}) is not None
    assert await world.claim() == []
    await world.apply("flights", *hooked(None))
    assert await world.drain() == [("load", "*"), ("clean", "*")]


@pytest.mark.parametrize("how", ["no DAG", "no job", "no webhook", "another Secret", "gone", "another org"])
async def test_nothing_is_stored_where_no_such_webhook_serves(world: World, how: str) -> None:
    await world.apply("flights", *hooked(None))
    dag, job, secret = "flights", "load", "hook"
    org = (await world.org()).id
    if how == "gone":
        await world.leave("flights")
    elif how == "no DAG":
        dag = "other"
    elif how == "another org":
        org = (await world.org("sea", "another")).id
    elif how == "another Secret":
        secret = "other"
    else:
        job = "load2" if how == "no job" else "clean"
    event = webhooks.Event(id="msg_1", sent=DAY, body="{}")
    async with world.db.transaction() as tx:
        assert await webhooks.store(tx, org, dag, job, secret, event) is None
    assert await world.rows("SELECT 1 FROM webhook_events") == []


async def test_more_events_than_a_task_is_handed_are_not_read(world: World) -> None:
    await world.apply("flights", *hooked(None))
    for n in range(3):
        await accept(world, f"msg_{n}", DAY, {"x": "a" * 50_000})
    (pod,) = await world.claim()
    assert (pod.event_bytes > MOST_EVENT_BYTES, pod.events) == (True, ())
    wrong = beyond_bounds(pod)
    assert wrong is not None
    assert f"{MOST_EVENT_BYTES} at most: give source.partition a format of shorter periods" in wrong
    assert beyond_bounds(structs.replace(pod, event_bytes=MOST_EVENT_BYTES)) is None


async def test_trouble_is_told_once_and_ends(world: World) -> None:
    await world.apply("flights", *hooked(None))

    async def note(trouble: str | None) -> bool:
        async with world.db.transaction() as tx:
            found = await webhooks.find(tx, "air", "flights", "load")
            assert found is not None
            return await webhooks.note(tx, found, trouble)

    assert [await note(t) for t in (None, "no Secret", "no Secret", "no key", None, None)] == [
        False, True, False, True, True, False,
    ]  # fmt: skip


async def test_events_go_with_a_dag_that_says_delete(world: World) -> None:
    await world.apply("flights", *hooked("%Y"))
    await accept(world, "msg_1", DAY, {})
    await world.drain()
    await world.leave("flights")
    async with world.db.transaction() as tx:
        await delete_dag(tx, (await world.org()).id, "flights")
    tables = ("webhook_events", "webhook_keys", "task_events", "tasks")
    assert [await world.rows(f"SELECT 1 FROM {table}") for table in tables] == [[], [], [], []]
