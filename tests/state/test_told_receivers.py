"""What a namespace is told of a receiver that takes nothing: what is so, once, and no word of its Secret."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest

from headrace import metrics
from headrace.cluster.client import Refused
from headrace.errors import TemporaryError
from headrace.run import notices as run_notices
from headrace.state.database import Database
from tests.state.office import KEY, Office, listening
from tests.state.world import World


@pytest.fixture
def office(db: Database, monkeypatch: pytest.MonkeyPatch) -> Office:
    monkeypatch.setattr(run_notices, "_QUIET", 0.0)
    return Office(World(db))


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
