"""News on its way: from the outbox in real Postgres to receivers over HTTP, whatever dies or fails in between."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, cast

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from headrace import metrics
from headrace.cluster.client import Refused
from headrace.errors import LostLeadership, TemporaryError
from headrace.plan.standing import Standing
from headrace.run import notices as run_notices
from headrace.run.dispatch import Dispatcher
from headrace.run.marks import Marks
from headrace.run.notices import Sender
from headrace.run.outward import Outward
from headrace.run.workers import Workers
from headrace.signature import delivery_of, fits, keys_of
from headrace.state import leader, notices, orgs
from headrace.state.database import Database
from tests.state.faults import Killed, Killing
from tests.state.world import NAMESPACE_UID, World, month_source

KEY = b"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


@dataclass
class Receiver:
    """One that is there: what came, and how it answers."""

    url: str = ""
    status: int = 200
    came: list[tuple[Mapping[str, str], bytes]] = field(default_factory=list)
    go: asyncio.Event | None = None
    arrived: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def told(self) -> list[dict[str, Any]]:
        """The bodies."""
        return [json.loads(body) for _, body in self.came]


@asynccontextmanager
async def listening(**how: Any) -> AsyncIterator[Receiver]:
    found = Receiver(**how)

    async def take(request: web.Request) -> web.Response:
        found.came.append((request.headers, await request.read()))
        found.arrived.set()
        if found.go is not None:
            await found.go.wait()
        return web.Response(status=found.status)

    app = web.Application()
    app.router.add_post("/in/canary", take)
    async with TestServer(app) as server:
        found.url = str(server.make_url("/in/canary"))
        try:
            yield found
        finally:
            if found.go is not None:
                found.go.set()


@dataclass
class Office:
    """A world, what the sender sees of the cluster, and what it tells."""

    world: World
    uids: dict[str, str] = field(default_factory=lambda: {"air": NAMESPACE_UID})
    secrets: dict[str, dict[str, bytes] | Exception] = field(default_factory=dict)
    changed: list[str] = field(default_factory=list)
    told: asyncio.Event = field(default_factory=asyncio.Event)
    dropped: list[tuple[str, str]] = field(default_factory=list)
    due: asyncio.Event = field(default_factory=asyncio.Event)

    async def uid(self, namespace: str) -> str | None:
        return self.uids.get(namespace)

    async def secret(self, namespace: str, name: str) -> Mapping[str, bytes] | None:
        found = self.secrets.get(f"{namespace}/{name}")
        if isinstance(found, Exception):
            raise found
        return found

    @asynccontextmanager
    async def sender(self, db: Database | None = None, epoch: int = 0) -> AsyncIterator[Sender]:
        """One of an operator that leads."""
        db = db or self.world.db
        async with self.world.db.transaction() as tx:
            standing = await leader.standing(tx)
        out = Outward(loopback=True)
        yield Sender(
            db, epoch, Marks(db, standing, lambda _: None), self.uid, self.secret, out, self.due, self.tell,
            lambda notice, trouble: self.dropped.append((notice.kind, trouble)),
        )  # fmt: skip

    def tell(self, namespace: str) -> None:
        """Something else is wrong with its receiver."""
        self.changed.append(namespace)
        self.told.set()

    async def trouble(self, sender: Sender, uid: str = NAMESPACE_UID) -> str | None:
        """What is wrong with the receiver of the namespace's org."""
        return sender.trouble((await self.world.org("air", uid)).id)

    async def turn(self) -> Sender:
        """Whatever is due is sent; who sent it."""
        async with self.sender() as sender:
            await sender.turn()
            return sender

    async def wants(self, url: str, namespace: str = "air", uid: str = NAMESPACE_UID, **more: bytes) -> None:
        """The org names a receiver."""
        org = await self.world.org(namespace, uid)
        async with self.world.db.transaction() as tx:
            await orgs.set_settings(tx, 0, org, {"notify": {"secret_name": "chat"}})
        self.secrets[f"{namespace}/chat"] = {"url": url.encode(), **more}

    async def news(self, dag: str = "flights") -> None:
        """Something has happened, and is to be told now."""
        await self.world.apply(dag, month_source("a"))
        await self.due_now()

    async def due_now(self) -> None:
        await self.world.rows("UPDATE notices SET due_at = now() RETURNING 1")

    async def left(self) -> int:
        return len(await self.world.rows("SELECT 1 FROM notices"))


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


async def test_what_fails_is_tried_again_and_told_from_the_second_time(office: Office) -> None:
    async with listening(status=503) as receiver, office.sender() as sender:
        await office.wants(receiver.url)
        await office.news()
        await sender.turn()
        assert await sender.turn() == 0
        assert (len(receiver.came), await office.left(), await office.trouble(sender)) == (1, 1, None)
        await office.due_now()
        await sender.turn()
        assert await office.trouble(sender) == (
            "news of namespace air cannot be sent (settings.notify): the receiver that Secret chat names: it answers"
            " HTTP 503. It is tried again within an hour, and for a day"
        )
        receiver.status = 200
        await office.due_now()
        await sender.turn()
        assert (len(receiver.came), await office.left(), await office.trouble(sender)) == (3, 0, None)
        assert office.changed == ["air", "air"]


async def test_a_moody_receiver_has_the_namespace_looked_at_seldom(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_notices, "_QUIET", 1.0)
    async with listening(status=503) as receiver, office.sender() as sender:
        await office.wants(receiver.url)
        await office.news()
        for status in (503, 503, 500, 502, 500):
            receiver.status = status
            await office.due_now()
            await sender.turn()
        assert office.changed == ["air"]
        office.told.clear()
        await asyncio.wait_for(office.told.wait(), 10)
        assert office.changed == ["air", "air"]
        assert "HTTP 500" in str(await office.trouble(sender))


async def test_what_is_told_of_a_receiver_is_so_now_and_of_this_org_alone(office: Office) -> None:
    async with listening(status=404) as receiver, office.sender() as sender:
        await office.wants(receiver.url)
        values = office.secrets.pop("air/chat")
        await office.news()
        for _ in range(2):
            await office.due_now()
            await sender.turn()
        assert "Secret chat is not there" in str(await office.trouble(sender))
        office.secrets["air/chat"] = values
        await office.due_now()
        await sender.turn()
        assert "HTTP 404" in str(await office.trouble(sender))
        assert office.changed == ["air", "air"]
        # Nobody will ever send what failed: its DAG is deleted with its rows.
        await office.world.rows("DELETE FROM notices RETURNING 1")
        receiver.status = 200
        await office.news("other")
        await sender.turn()
        assert await office.trouble(sender) is None
        receiver.status = 500
        await office.news("third")
        for _ in range(2):
            await office.due_now()
            await sender.turn()
        assert "HTTP 500" in str(await office.trouble(sender))
        assert await office.trouble(sender, "made anew") is None, "its namesake's"


@pytest.mark.parametrize(("secret", "words"), [
    (None, "Secret chat is not there: create it"),
    (Refused(403, "secrets is forbidden: canary"),
     "Secret chat may not be read by the operator: bind it a Role with get on that Secret"),
    ({"url": b"canary"}, "Secret chat has a url that is not http:// or https://"),
    (TemporaryError("API server: away"), "the API server gives no answer"),
])  # fmt: skip
async def test_a_receiver_that_cannot_be_known(
    office: Office, secret: Any, words: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    await office.wants("http://127.0.0.1:1/")
    office.secrets["air/chat"] = secret
    await office.news()
    async with office.sender() as sender:
        for _ in range(2):
            await sender.turn()
            await office.due_now()
        assert words in str(await office.trouble(sender))
    assert await office.left() == 1
    assert "canary" not in caplog.text + str(await office.trouble(sender))


async def test_no_word_of_the_secret_is_told(office: Office, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    async with listening(status=500) as receiver, office.sender() as sender:
        await office.wants(receiver.url, secret=KEY, headers=b'{"X": "canary-header"}')
        await office.news()
        for _ in range(2):
            await sender.turn()
            await office.due_now()
        said = [record.getMessage() for record in caplog.records if record.name != "aiohttp.access"]  # the receiver's
        told = "\n".join([*said, str(await office.trouble(sender))])
        assert "HTTP 500" in told
        for word in ("canary", KEY.decode()[6:], "127.0.0.1"):
            assert word not in told


async def test_another_tenant_of_the_name_gets_nothing(office: Office) -> None:
    """A namespace made anew has Secrets of its own; what happened in the old one is not told there."""
    async with listening() as receiver:
        await office.wants(receiver.url)
        await office.news()
        office.uids["air"] = "another"
        await office.turn()
        assert (receiver.came, await office.left()) == ([], 0)


async def test_after_a_day_it_is_given_up(office: Office) -> None:
    async with listening(status=500) as receiver, office.sender() as sender:
        await office.wants(receiver.url)
        await office.news()
        before = metrics.NOTICES.labels("dropped")._value.get()
        await office.world.rows("UPDATE notices SET created_at = now() - interval '25 hours' RETURNING 1")
        await sender.turn()
        assert (len(receiver.came), await office.left()) == (1, 0)
        assert office.dropped == [("RolloutDone", "the receiver that Secret chat names: it answers HTTP 500")]
        assert metrics.NOTICES.labels("dropped")._value.get() == before + 1


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
