"""What the gateway answers when there is no cluster to ask: health, nobody, the cluster away; and its description."""

from __future__ import annotations

import json
import logging
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from headrace import metrics
from headrace.api.history import History, Transferred
from headrace.cli.connection import Connection
from headrace.cli.kubeconfig import Access
from headrace.cluster.client import Client
from headrace.errors import PermanentError, TemporaryError
from headrace.gateway.app import application
from headrace.gateway.attempt_routes import AttemptServices, attempt_routes
from headrace.gateway.errors import as_request_error
from headrace.gateway.identity import Identities
from headrace.gateway.openapi import document
from headrace.gateway.rights import Rights
from headrace.gateway.routes import WORKERS, Route, Services, routes
from headrace.gateway.worker_routes import WorkerServices, worker_routes
from headrace.plan.explanation import Explanation

Http = TestClient[web.Request, web.Application]


async def preview(namespace: str, objects: Sequence[Mapping[str, object]]) -> list[Explanation]:
    raise AssertionError((namespace, objects))


async def history(namespace: str, dag: str) -> History | None:
    raise AssertionError((namespace, dag))


async def transfer(namespace: str, dataset: str, dag: str) -> Transferred:
    raise AssertionError((namespace, dataset, dag))


async def unasked(*arguments: object) -> Any:
    raise AssertionError(arguments)


TABLE: tuple[Route, ...] = routes(Services(preview=preview, history=history, transfer=transfer))
# With those of workers and of attempts' own pods.
WHOLE = TABLE + worker_routes(WorkerServices(*[unasked] * 6)) + attempt_routes(AttemptServices(unasked, unasked))


@pytest.fixture
async def http() -> AsyncIterator[Http]:
    """The application, with an API server that refuses connections."""
    client = Client(await Connection.open(Access(server="http://127.0.0.1:1", namespace="n", token="t")))

    async def unready() -> str | None:
        return "Postgres: away"

    app = application(WHOLE, Identities(client), Rights(client), unready)
    async with TestClient(TestServer(app)) as made:
        yield made
    await client.close()


async def test_health_needs_no_identity(http: Http) -> None:
    assert (await http.get("/healthz")).status == 200
    answer = await http.get("/readyz")
    assert (answer.status, await answer.text()) == (503, "Postgres: away")


async def test_metrics_are_by_route_and_have_no_names(http: Http) -> None:
    await http.get("/v1/namespaces/canary-ns/dags/canary-dag/history")
    await http.get("/v1/canary-nothing")
    await http.request("PROPFIND", "/openapi.json")
    told = metrics.exposition(metrics.COMMON, metrics.GATEWAY).decode()
    assert "canary" not in told
    assert 'code="401",method="GET",route="/v1/namespaces/{ns}/dags/{dag}/history"' in told
    assert 'code="401",method="GET",route="other"' in told
    assert 'method="other",route="' in told


PATHS = [("POST", "/v1/namespaces/air/plan"), ("GET", "/v1/namespaces/air/dags/x/history"), ("GET", "/openapi.json"),
         ("POST", "/v1/namespaces/air/datasets/x/transfer"), ("GET", "/"), ("DELETE", "/healthz/x"),
         ("POST", "/v1/worker/claim"), ("POST", "/v1/worker/report"), ("GET", "/v1/worker/nothing")]  # fmt: skip


HEADERS = [None, "", "Bearer", "Basic dTpw", "Bearer a b", "Bearer é", "Bearer " + "x" * 9000]


@pytest.mark.parametrize(("method", "path"), PATHS)
@pytest.mark.parametrize("header", HEADERS, ids=range(len(HEADERS)))
async def test_nobody_learns_nothing(http: Http, method: str, path: str, header: str | None) -> None:
    headers = {} if header is None else {"Authorization": header}
    if header and len(header) > 8190:
        # What is longer than the server's own limit for a line is a bad request before anybody looks.
        assert (await http.request(method, path, headers=headers)).status == 400
        return
    answer = await http.request(method, path, headers=headers)
    assert answer.status == 401
    assert answer.headers["WWW-Authenticate"] == 'Bearer realm="headrace"'
    assert (await answer.json())["error"]["reason"] == "Unauthorized"


async def test_two_identities_are_none(http: Http) -> None:
    headers = [("Authorization", "Bearer a"), ("Authorization", "Bearer b")]
    assert (await http.get("/openapi.json", headers=headers)).status == 400


async def test_with_the_cluster_away_nobody_is_let_in_and_no_token_is_logged(
    http: Http, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    given = {"Authorization": "Bearer s3cret-token", "X-Request-Id": "mine-1"}
    answer = await http.post("/v1/namespaces/air/plan", headers=given, json={"objects": [{"k": "s3cret-body"}]})
    assert (answer.status, answer.headers["Retry-After"], answer.headers["X-Request-Id"]) == (503, "2", "mine-1")
    assert (await answer.json())["error"]["reason"] == "Unavailable"
    answer = await http.get("/%0ainjected", headers={"X-Request-Id": "no good\tid"})
    assert answer.headers["X-Request-Id"] != "no good\tid"
    assert "s3cret" not in caplog.text
    lines = [r.getMessage() for r in caplog.records if r.name == "headrace.gateway.app"]
    assert "POST /v1/namespaces/air/plan 503" in lines[0]
    assert "request=mine-1 user=None Unavailable" in lines[0]
    assert "GET /%0Ainjected 401" in lines[1]


def test_errors_are_answered_by_their_kind() -> None:
    def told(error: Exception) -> tuple[int, str, str]:
        found = as_request_error(error)
        return found.status, found.reason, str(found)

    assert told(PermanentError("no: do this")) == (422, "Refused", "no: do this")
    assert told(TemporaryError("away"))[:2] == (503, "Unavailable")
    assert told(TimeoutError())[:2] == (503, "Timeout")
    assert told(web.HTTPMethodNotAllowed("PUT", ["GET"]))[:2] == (405, "MethodNotAllowed")
    status, reason, words = told(ValueError("a secret of the inside"))
    assert (status, reason) == (500, "InternalError")
    assert "secret" not in words


def test_the_description_names_every_route_with_its_types() -> None:
    described = document(WHOLE)
    assert sorted(described["paths"]) == sorted(route.path for route in WHOLE)
    schemas = described["components"]["schemas"]
    assert {"Explanation", "History", "PlanRequest", "ErrorAnswer", "TaskReport", "ManifestPage"} <= set(schemas)
    references = {
        text.rpartition("/")[2].strip('"') for text in json.dumps(described).split() if "#/components/schemas/" in text
    }
    assert {r.rstrip('}],"') for r in references} <= set(schemas)
    assert all((route.right is None) == route.path.startswith(WORKERS) for route in WHOLE)
