"""Where news goes and what it says: Secrets that name a receiver, and that name none; what a message has."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from uuid import UUID

import msgspec
import pytest
from multidict import CIMultiDict

from headrace.run.receivers import Unfit, headers_of, message_of, receiver_of
from headrace.signature import delivery_of, fits, keys_of
from headrace.state.notices import Notice

KEY = b"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
URL = b"https://chat.example/services/T0/B0/canary"
NOTICE = Notice(
    org_id=UUID(int=1), namespace="air", namespace_uid="u", dag="flights", job="clean", kind="TaskFailed",
    message=UUID(int=2), times=3, version="v1-" + "a" * 64, rollout=None, partition="2013-01",
    error="no <!channel> & such", at=datetime(2026, 11, 29, 8, tzinfo=UTC), tries=1, old=False, secret="chat",
)  # fmt: skip
ROLLOUT = msgspec.structs.replace(NOTICE, job="", partition=None, rollout=UUID(int=3), error=None, times=1)


def test_a_failed_task() -> None:
    message = message_of(NOTICE)
    assert message.id == "msg_" + UUID(int=2).hex
    assert json.loads(message.body) == {
        "text": "air/flights/clean failed for good 3 times, the last time with partition 2013-01:"
        " no &lt;!channel&gt; &amp; such",
        "type": "task.failed", "namespace": "air", "dag": "flights", "job": "clean", "version": NOTICE.version,
        "partition": "2013-01", "times": 3, "error": "no <!channel> & such", "at": "2026-11-29T08:00:00+00:00",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "error", "times", "type_", "words"),
    [
        ("RolloutDone", None, 1, "rollout.done", "air/flights: version {} serves"),
        ("RolledBack", None, 1, "rollout.rolled_back",
         "air/flights: version {}, which had served before, serves again"),
        ("RolloutFailed", "no", 1, "rollout.failed", "air/flights: the rollout of version {} failed: no"),
        ("RolloutDone", None, 2, "rollout.done",
         "air/flights: version {} serves (such news came 2 times meanwhile, this is the last)"),
    ],
)  # fmt: skip
def test_a_rollout(kind: str, error: str | None, times: int, type_: str, words: str) -> None:
    told = json.loads(message_of(msgspec.structs.replace(ROLLOUT, kind=kind, error=error, times=times)).body)
    assert told["text"].startswith(words.partition("{}")[0])
    assert told["text"].endswith(words.partition("{}")[2])
    assert (told["type"], told["rollout"], told["times"]) == (type_, str(UUID(int=3)), times)
    assert "job" not in told


def test_what_is_sent_is_signed_as_what_is_taken() -> None:
    receiver = receiver_of({"url": URL, "secret": KEY + b"\n", "headers": b'{"Authorization": "Bearer t"}'})
    message = message_of(NOTICE)
    headers = headers_of(receiver, message, 1_800_000_000)
    assert headers["Authorization"] == "Bearer t"
    assert headers["Content-Type"] == "application/json"
    delivery = delivery_of(CIMultiDict(headers), 1_800_000_000)
    assert delivery.id == message.id
    assert fits(delivery, message.body, keys_of({"k": KEY}).values)
    assert not fits(delivery, message.body + b" ", keys_of({"k": KEY}).values)


def test_without_a_key_it_has_a_name_all_the_same() -> None:
    receiver = receiver_of({"url": URL, "other": b"\xff"})
    assert set(headers_of(receiver, message_of(NOTICE), 1)) == {"Content-Type", "webhook-id", "webhook-timestamp"}


@pytest.mark.parametrize("values", [
    pytest.param({}, id="no url"),
    pytest.param({"url": b""}, id="an empty one"),
    pytest.param({"url": b"canary"}, id="no scheme"),
    pytest.param({"url": b"ftp://canary/"}, id="another scheme"),
    pytest.param({"url": b"file:///canary"}, id="a file"),
    pytest.param({"url": b"https:///canary"}, id="no host"),
    pytest.param({"url": b"https://canary:99999/"}, id="no port"),
    pytest.param({"url": b"https://canary:x/"}, id="a port that is none"),
    pytest.param({"url": b"https://[canary/"}, id="brackets"),
    pytest.param({"url": b"https://canary/a b"}, id="a blank"),
    pytest.param({"url": b"https://canary/\r\nX: y"}, id="a line"),
    pytest.param({"url": b"https://canary/" + b"a" * 2048}, id="too long"),
    pytest.param({"url": b"\xffcanary"}, id="no text"),
    pytest.param({"url": "https://canary.é/".encode()}, id="beyond ASCII"),
    pytest.param({"url": URL, "secret": b"canary"}, id="a key that is none"),
    pytest.param({"url": URL, "headers": b"canary"}, id="no JSON"),
    pytest.param({"url": URL, "headers": b'["canary"]'}, id="no object"),
    pytest.param({"url": URL, "headers": b'{"a": 1}'}, id="a number"),
    pytest.param({"url": URL, "headers": b"[" * 5000}, id="deep"),
    pytest.param({"url": URL, "headers": b'{"a b": "canary"}'}, id="no name"),
    pytest.param({"url": URL, "headers": b'{"a": "canary\\r\\nb: c"}'}, id="two headers"),
    *(pytest.param({"url": URL, "headers": json.dumps({name: "canary"}).encode()}, id=name) for name in (
        "Host", "content-length", "Content-Type", "Transfer-Encoding", "Webhook-Id", "connection", "Proxy-x")),
    pytest.param({"url": URL, "headers": json.dumps({f"a{n}": "canary" for n in range(21)}).encode()}, id="many"),
])  # fmt: skip
def test_what_names_no_receiver_is_told_without_its_values(values: dict[str, bytes]) -> None:
    with pytest.raises(Unfit) as caught:
        receiver_of(values)
    assert "canary" not in str(caught.value)


def test_a_receiver_shows_nothing() -> None:
    assert repr(receiver_of({"url": URL, "secret": KEY, "headers": b'{"a": "canary"}'})) == "Receiver()"
