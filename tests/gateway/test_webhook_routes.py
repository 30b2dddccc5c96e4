"""Deliveries over HTTP, on real Postgres: who is let in, that refusals are all alike, and that an event is kept once.

The Secrets of namespaces are given by hand; the real ones are in tests/cluster.
"""

from __future__ import annotations

import asyncio
import gzip
import json
import logging
import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from headrace.cli.connection import Connection
from headrace.cli.kubeconfig import Access
from headrace.cluster.client import Client, Refused
from headrace.errors import TemporaryError
from headrace.gateway.app import application
from headrace.gateway.identity import Identities
from headrace.gateway.openapi import document
from headrace.gateway.rights import Rights
from headrace.gateway.routes import Right, Route
from headrace.gateway.wake import Waker
from headrace.gateway.webhooks import LIMIT, Webhooks, webhook_routes
from headrace.state.database import Database
from tests.gateway.deliveries import KEY, OTHER_KEY, PATH, signed
from tests.state.hooks import hook, hooked, told
from tests.state.world import NAMESPACE_UID, World, step

Answer = tuple[int, dict[str, object]]


@dataclass
class Cluster:
    """The namespaces and Secrets that the gateway sees; a Secret that is None may not be read."""

    uids: dict[str, str] = field(default_factory=lambda: {"air": NAMESPACE_UID})
    secrets: dict[str, bytes | None] = field(default_factory=lambda: {"hook": KEY.encode()})
    now: float = 0.0
    asked: int = 0

    async def uid(self, namespace: str) -> str | None:
        """Of a namespace."""
        return self.uids.get(namespace)

    async def secret(self, _: str, name: str) -> Mapping[str, bytes] | None:
        """Its values."""
        self.asked += 1
        if name == "away":
            raise TemporaryError("API server: away")
        if name in self.secrets and self.secrets[name] is None:
            raise Refused(403, "secrets is forbidden")
        value = self.secrets.get(name)
        return None if value is None else {"key": value}


@dataclass
class Gateway:
    """The application, its database and what it sees of the cluster."""

    http: TestClient[web.Request, web.Application]
    world: World
    cluster: Cluster

    async def deliver(
        self, body: bytes = b"{}", path: str = PATH, method: str = "POST", headers: dict[str, str] | None = None,
        **how: object,
    ) -> Answer:  # fmt: skip
        """Send a delivery, signed if not told otherwise; status and answer."""
        given = signed(body, **how) if headers is None else headers  # type: ignore[arg-type]
        async with self.http.request(method, path, data=body, headers=given) as answer:
            return answer.status, json.loads(await answer.read())


@pytest.fixture
async def gateway(db: Database) -> AsyncIterator[Gateway]:
    """A gateway of the webhook route, with an API server that refuses connections."""
    client = Client(await Connection.open(Access(server="http://127.0.0.1:1", namespace="n", token="t")))

    async def ready() -> str | None:
        return None

    cluster = Cluster()
    hooks = Webhooks(db, Waker(db), cluster.uid, cluster.secret, lambda: cluster.now)
    app = application(webhook_routes(hooks.accept), Identities(client), Rights(client), ready)
    async with TestClient(TestServer(app)) as http:
        yield Gateway(http, World(db), cluster)
    await client.close()


async def stored(gateway: Gateway) -> int:
    """How many events are kept."""
    return len(await gateway.world.rows("SELECT 1 FROM webhook_events"))


async def test_an_event_is_kept_before_it_is_acknowledged(gateway: Gateway) -> None:
    await gateway.world.apply("flights", *hooked("%Y"))
    status, answer = await gateway.deliver(b'{"n": 1}', id_="msg_1")
    assert (status, answer["id"]) == (202, "msg_1")
    assert set(answer) == {"id", "partition", "received_at"}
    assert told(await gateway.world.claim()) == {("load", str(answer["partition"])): ["msg_1"]}


async def test_a_repeated_delivery_gets_its_first_answer(gateway: Gateway) -> None:
    await gateway.world.apply("flights", *hooked(None))
    first = await gateway.deliver(b'{"n": 1}', id_="msg_1")
    assert first[0] == 202
    await gateway.world.drain()
    again = await gateway.deliver(b'{"n": 2}', id_="msg_1", at=time.time() + 60)
    assert again == first
    assert await stored(gateway) == 1
    assert await gateway.world.claim() == []


async def test_twenty_deliveries_of_an_event_at_once_are_one(gateway: Gateway) -> None:
    await gateway.world.apply("flights", *hooked(None))
    answers = await asyncio.gather(*(gateway.deliver(id_="msg_1") for _ in range(20)))
    assert {json.dumps(answer) for answer in answers} == {json.dumps(answers[0])}
    assert answers[0][0] == 202
    assert (await stored(gateway), len(await gateway.world.claim())) == (1, 1)


def headers(**changes: str | None) -> dict[str, str]:
    """Those of a good delivery of `{}`, but for some."""
    whole = signed(b"{}") | {name.replace("_", "-"): text for name, text in changes.items() if text is not None}
    return {name: text for name, text in whole.items() if changes.get(name.replace("-", "_"), "") is not None}


NOBODY: dict[str, dict[str, object]] = {
    "nothing": {"headers": {}},
    "a person's token": {"headers": {"Authorization": "Bearer abc.def.ghi"}},
    "no id": {"headers": headers(webhook_id=None)},
    "no time": {"headers": headers(webhook_timestamp=None)},
    "no signature": {"headers": headers(webhook_signature=None)},
    "an odd signature": {"headers": headers(webhook_signature="v2,abc")},
    "another id than was signed": {"headers": headers(webhook_id="msg_other")},
    "a wrong signature": {"key": OTHER_KEY},
    "expired": {"at": time.time() - 3600},
    "to come": {"at": time.time() + 3600},
    "no namespace": {"path": "/v1/webhooks/sea/flights/load"},
    "no DAG": {"path": "/v1/webhooks/air/other/load"},
    "no job": {"path": "/v1/webhooks/air/flights/other"},
    "a job without a webhook": {"path": "/v1/webhooks/air/flights/clean"},
    "the Secret is not there": {"path": "/v1/webhooks/air/flights/absent"},
    "the Secret may not be read": {"path": "/v1/webhooks/air/flights/closed"},
    "the Secret has no key": {"path": "/v1/webhooks/air/flights/empty"},
    "a key that is another job's": {"path": "/v1/webhooks/air/flights/second"},
    "another DAG's, which is gone": {"path": "/v1/webhooks/air/gone/load"},
    "no route": {"path": "/v1/webhooks/air/flights/load/more"},
    "no name": {"path": "/v1/webhooks/air/flights/L%0Ad"},
    "nothing after it": {"path": "/v1/webhooks/"},
    "another method": {"method": "PUT"},
    "a look": {"method": "GET"},
}


async def test_whoever_is_nobody_gets_one_answer(gateway: Gateway, caplog: pytest.LogCaptureFixture) -> None:
    """Whatever does not fit; and nothing is kept. Only the log tells why."""
    caplog.set_level(logging.DEBUG)
    world, cluster = gateway.world, gateway.cluster
    jobs = {name: {**hook(None), "name": name} for name in ("absent", "closed", "empty", "second")}
    for name, job in jobs.items():
        job["source"] = {"kind": "webhook", "secretName": name}
    await world.apply("flights", *hooked(None), *jobs.values())
    await world.apply("gone", *hooked(None))
    await world.leave("gone")
    cluster.secrets |= {"closed": None, "empty": b"correct horse battery staple", "second": OTHER_KEY.encode()}
    answers = {what: await gateway.deliver(**how) for what, how in NOBODY.items()}  # type: ignore[arg-type]
    for what, answer in answers.items():
        assert answer == answers["nothing"], what
    assert answers["nothing"][0] == 401
    assert await stored(gateway) == 0
    told_why = [
        "no header webhook-id", "s in the past", "no signature fits its keys", "there is no such webhook",
        "there is no Secret absent", "may not read Secret closed", "Secret empty has no value",
    ]  # fmt: skip
    assert [why for why in told_why if why not in caplog.text] == []
    assert KEY not in caplog.text
    assert (await gateway.deliver())[0] == 202


async def test_what_is_wrong_with_its_secret_is_kept_for_the_job_and_ends(gateway: Gateway) -> None:
    await gateway.world.apply("flights", *hooked(None))
    gateway.cluster.secrets = {"hook": None}
    reasons = "SELECT reason FROM webhook_troubles"
    assert (await gateway.deliver())[0] == 401
    assert await gateway.world.rows(reasons) == [
        ("the gateway may not read Secret hook: bind it a Role with get on that Secret",)
    ]
    gateway.cluster.secrets = {}
    gateway.cluster.now += 2
    assert (await gateway.deliver())[0] == 401
    assert await gateway.world.rows(reasons) == [("there is no Secret hook: create it",)]
    gateway.cluster.secrets = {"hook": KEY.encode()}
    gateway.cluster.now += 2
    assert (await gateway.deliver())[0] == 202
    assert await gateway.world.rows(reasons) == []


async def test_a_namespace_made_anew_has_no_key_to_what_the_old_one_had(gateway: Gateway) -> None:
    """Its owner chooses its Secrets; the operator has yet to see that the DAG is gone with the old one."""
    await gateway.world.apply("flights", *hooked(None))
    gateway.cluster.uids["air"] = "another"
    assert (await gateway.deliver())[0] == 401
    assert gateway.cluster.asked == 0


async def test_keys_are_kept_for_seconds(gateway: Gateway) -> None:
    await gateway.world.apply("flights", *hooked(None))
    for n in range(5):
        assert (await gateway.deliver(id_=f"msg_{n}"))[0] == 202
    assert gateway.cluster.asked == 1
    gateway.cluster.secrets = {"hook": OTHER_KEY.encode()}
    gateway.cluster.now += 10
    assert (await gateway.deliver())[0] == 401
    assert (await gateway.deliver(key=OTHER_KEY))[0] == 202


async def test_another_secret_in_the_dag_counts_at_once(gateway: Gateway) -> None:
    """What was signed with a key of the former Secret is nobody's, kept or not."""
    await gateway.world.apply("flights", *hooked(None))
    assert (await gateway.deliver())[0] == 202
    gateway.cluster.secrets["new"] = OTHER_KEY.encode()
    job = {**hook(None, config={"n": 0}), "source": {"kind": "webhook", "secretName": "new"}}
    await gateway.world.apply("flights", job, step("clean", "load"))
    await gateway.world.advance("flights")
    assert (await gateway.deliver(id_="msg_2"))[0] == 401
    assert (await gateway.deliver(id_="msg_2", key=OTHER_KEY))[0] == 202


async def test_the_api_server_away_is_no_refusal(gateway: Gateway) -> None:
    job = {**hook(None), "source": {"kind": "webhook", "secretName": "away"}}
    await gateway.world.apply("flights", job)
    status, answer = await gateway.deliver()
    assert (status, answer["error"]["reason"]) == (503, "Unavailable")  # type: ignore[index]


@pytest.mark.parametrize(
    ("body", "status"),
    [
        pytest.param(b'{"a": "' + b"x" * (LIMIT - 9) + b'"}', 202, id="the largest"),
        pytest.param(b'{"a": "' + b"x" * (LIMIT - 8) + b'"}', 413, id="a byte more"),
        pytest.param(b"x" * (4 * LIMIT), 413, id="much more"),
        pytest.param(b"", 400, id="empty"),
        pytest.param(b"[1]", 400, id="a list"),
        pytest.param(b'"a"', 400, id="a string"),
        pytest.param(b"1700000000.{}", 400, id="what could be a time and a body"),
        pytest.param(b'{"a": NaN}', 400, id="no number"),
        pytest.param(b'{"a": 1} x', 400, id="and more"),
        pytest.param(b'{"a": "\xff"}', 400, id="no UTF-8"),
        pytest.param(b"\xef\xbb\xbf{}", 400, id="a mark before it"),
        pytest.param(b'{"a":' * 10_000 + b"1" + b"}" * 10_000, 400, id="deep"),
        pytest.param('{"é": "\\u0000"}'.encode(), 202, id="odd characters"),
        pytest.param(b'{"a": "\\ud800"}', 400, id="half a character"),
    ],
)
async def test_bodies(gateway: Gateway, body: bytes, status: int) -> None:
    await gateway.world.apply("flights", *hooked(None))
    assert (await gateway.deliver(body))[0] == status
    assert await stored(gateway) == (status == 202)


async def test_what_is_wrong_with_a_body_is_told_to_whoever_signed_it_alone(gateway: Gateway) -> None:
    await gateway.world.apply("flights", *hooked(None))
    assert (await gateway.deliver(b"[]", key=OTHER_KEY))[0] == 401


async def test_a_packed_body_is_not_taken(gateway: Gateway) -> None:
    """The signature is of what was sent, and what is unpacked may be of any size."""
    await gateway.world.apply("flights", *hooked(None))
    body = gzip.compress(b"{}")
    assert (await gateway.deliver(body, headers=signed(body) | {"Content-Encoding": "gzip"}))[0] == 415


async def test_neither_keys_nor_bodies_are_logged(gateway: Gateway, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    await gateway.world.apply("flights", *hooked(None))
    for body in (b'{"a": "s3cret-body"}', b'{"a": "s3cret-body"'):
        await gateway.deliver(body)
    lines = [r.getMessage() for r in caplog.records if r.name.startswith("headrace")]
    assert any(f"POST {PATH} 202" in line for line in lines)
    assert "s3cret" not in caplog.text
    assert KEY.removeprefix("whsec_") not in caplog.text


async def test_headers_of_a_delivery_open_no_other_route(db: Database) -> None:
    """Not even one that begins like that of deliveries: only that looks at the signature."""
    client = Client(await Connection.open(Access(server="http://127.0.0.1:1", namespace="n", token="t")))

    async def act(_: object) -> object:
        raise AssertionError

    async def ready() -> str | None:
        return None

    other = Route("x", "POST", "/v1/webhooks/{ns}", "x", Right("get", "dags"), dict, act)
    async with TestClient(TestServer(application([other], Identities(client), Rights(client), ready))) as http:
        assert (await http.post("/v1/webhooks/air", data=b"{}", headers=signed(b"{}"))).status == 401
    await client.close()


def test_the_description_tells_how_to_sign() -> None:
    async def accept(*_: object) -> object:
        raise AssertionError

    described = document(webhook_routes(accept))["paths"]["/v1/webhooks/{ns}/{dag}/{job}"]["post"]  # type: ignore[arg-type]
    assert described["security"] == [{"signature": []}]
    assert [p["name"] for p in described["parameters"]] == ["ns", "dag", "job", "webhook-id", "webhook-timestamp"]
    assert "202" in described["responses"]
