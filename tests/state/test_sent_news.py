"""News on its way: from the outbox in real Postgres to receivers over HTTP, whatever dies or fails in between."""

from __future__ import annotations

import asyncio
import contextlib
from types import SimpleNamespace
from typing import Any, cast

import pytest

from headrace.cluster.client import Refused
from headrace.errors import LostLeadership
from headrace.plan.standing import Standing
from headrace.run import notices as run_notices
from headrace.run.dispatch import Dispatcher
from headrace.run.marks import Marks
from headrace.run.workers import Workers
from headrace.signature import delivery_of, fits, keys_of
from headrace.state import leader, notices, orgs
from headrace.state.database import Database
from tests.state.faults import Killed, Killing
from tests.state.office import KEY, Office, listening
from tests.state.world import NAMESPACE_UID, World, month_source


@pytest.fixture
def office(db: Database, monkeypatch: pytest.MonkeyPatch) -> Office:
    monkeypatch.setattr(run_notices, "_QUIET", 0.0)
    return Office(World(db))


async def test_it_arrives_signed_and_once(office: Office) -> None:
    async with listening() as receiver:
        await office.wants(receiver.url, secret=KEY, headers=b'{"X-Team": "air"}')
        await office.news()
        await office.turn()
        await office.turn()
    ((headers, body),) = receiver.came
    assert headers["X-Team"] == "air"
    at = float(headers["webhook-timestamp"])
    assert fits(delivery_of(headers, at), body, keys_of({"k": KEY}).values)  # type: ignore[arg-type]
    assert (receiver.told[0]["type"], receiver.told[0]["namespace"], receiver.told[0]["dag"]) == (
        "rollout.done", "air", "flights",
    )  # fmt: skip
    assert await office.left() == 0


@pytest.mark.parametrize(("at", "when"), [(1, "before"), (1, "after"), (2, "before"), (2, "after")])
async def test_whoever_dies_on_the_way_sends_it_again_and_loses_none(office: Office, at: int, when: Any) -> None:
    """Taken, sent, ended: killed at each, the next operator makes good for it, with the same id."""
    async with listening() as receiver:
        await office.wants(receiver.url)
        await office.news()
        async with Killing(office.world.db.url, connections=2) as killing:
            killing.at, killing.when = at, when
            async with office.sender(killing) as sender:
                with pytest.raises(Killed):
                    await sender.turn()
        await office.due_now()
        await office.turn()
    ids = {headers["webhook-id"] for headers, _ in receiver.came}
    assert (len(ids), await office.left()) == (1, 0)
    assert len(receiver.came) == (2 if (at, when) == (2, "before") else 1)


async def test_another_tenant_of_the_name_gets_nothing(office: Office) -> None:
    """A namespace made anew has Secrets of its own; what happened in the old one is not told there."""
    async with listening() as receiver:
        await office.wants(receiver.url)
        await office.news()
        office.uids["air"] = "another"
        await office.turn()
        assert (receiver.came, await office.left()) == ([], 0)


async def test_who_wants_it_no_more_is_told_nothing(office: Office) -> None:
    async with listening() as receiver:
        await office.wants(receiver.url)
        await office.news()
        org = await office.world.org()
        async with office.world.db.transaction() as tx:
            await orgs.set_settings(tx, 0, org, {})
        await office.turn()
        assert (receiver.came, await office.left()) == ([], 0)


NEWS = """
INSERT INTO notices (org_id, dag_name, kind, yaml_hash, rollout_id)
VALUES (%(org)s, 'd' || gen_random_uuid(), 'RolloutDone', 'v', gen_random_uuid()) RETURNING 1
"""


async def test_a_slow_receiver_keeps_nobody_elses_news(office: Office) -> None:
    slow_ends = asyncio.Event()
    async with listening(go=slow_ends) as stuck, listening() as good, office.sender() as sender:
        await office.wants(stuck.url)
        for n in range(4):
            await office.world.apply(f"d{n}", month_source("a"))
        office.uids["sea"] = "sea"
        await office.wants(good.url, "sea", "sea")
        await office.world.rows(NEWS, org=(await office.world.org("sea", "sea")).id)
        await office.due_now()
        turn = asyncio.create_task(sender.turn())
        await stuck.arrived.wait()
        await good.arrived.wait()
        # While that hangs, more for the other one is sent, and ended.
        await office.world.rows(NEWS, org=(await office.world.org("sea", "sea")).id)
        await office.due_now()
        assert await sender.turn() == 1
        assert (len(good.came), len(stuck.came), turn.done()) == (2, notices.OF_EACH, False)
        slow_ends.set()
        assert await turn == notices.OF_EACH + 1


async def test_what_comes_while_it_is_sent_is_told_next(office: Office) -> None:
    gate = asyncio.Event()
    async with listening(go=gate) as receiver, office.sender() as sender:
        await office.wants(receiver.url)
        await office.news()
        turn = asyncio.create_task(sender.turn())
        await receiver.arrived.wait()
        await office.world.apply("flights", month_source("a"), suspend=True)
        await office.world.rows("UPDATE notices SET times = times + 2, message = gen_random_uuid() RETURNING 1")
        gate.set()
        await turn
        await office.due_now()
        await sender.turn()
    assert [told["times"] for told in receiver.told] == [1, 2]
    assert len({headers["webhook-id"] for headers, _ in receiver.came}) == 2
    assert await office.left() == 0


async def test_an_operator_that_was_replaced_sends_nothing(office: Office) -> None:
    async with listening() as receiver, office.sender(epoch=7) as sender:
        await office.wants(receiver.url)
        await office.news()
        with pytest.raises(LostLeadership):
            await sender.turn()
        assert receiver.came == []


async def test_a_turn_of_the_dispatcher_only_says_that_some_is_due(office: Office) -> None:
    """One question asks for all that an idle operator looks for; nothing is written, nothing waits for a receiver."""
    await office.wants("http://127.0.0.1:1/")
    pods: Any = SimpleNamespace(workers={}, gone={}, seen={}, listed=set())
    async with office.world.db.transaction() as tx:
        marks = Marks(office.world.db, await leader.standing(tx), lambda _: None)
    dispatcher = Dispatcher(office.world.db, pods, 0, 0.0, lambda *_: None, cast("Workers", None), "", marks)
    await dispatcher._turn()
    assert not dispatcher.news.is_set()
    await office.news()
    before = await office.world.snapshot()
    await dispatcher._turn()
    assert dispatcher.news.is_set()
    assert await office.world.snapshot() == before


async def test_a_backup_has_nothing_to_tell(office: Office) -> None:
    """What it had to tell may have been told since: nothing is sent before the restore is noticed."""
    async with listening() as receiver, office.sender() as sender:
        await office.wants(receiver.url)
        await office.news()
        known = sender._marks.known
        sender._marks.known = Standing(incarnation=known.incarnation, epoch=known.epoch, mark=known.mark + 1)
        with pytest.raises(LostLeadership):
            await sender.turn()
        assert receiver.came == []


async def test_the_loop_is_woken_and_outlives_what_may_go_well_next_time(office: Office) -> None:
    async with listening() as receiver, office.sender() as sender:
        await office.wants(receiver.url)
        office.uids["air"] = NAMESPACE_UID
        await office.news()
        asked = asyncio.Event()

        async def away(_: str) -> str | None:
            asked.set()
            sender._uids = office.uid
            raise Refused(500, "no")

        sender._uids = away
        loop = asyncio.create_task(sender.run())
        office.due.set()
        await asked.wait()
        while not receiver.came:
            await office.due_now()
            office.due.set()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(receiver.arrived.wait(), 0.1)
        loop.cancel()
        with pytest.raises(asyncio.CancelledError):
            await loop
