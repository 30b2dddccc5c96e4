"""The application: for each request an id, who asks, whether they may, the body, the act, the answer, a line of log.

In this order: nobody's body is read before it is known that they may send one. Neither tokens nor bodies are logged.
"""

from __future__ import annotations

import asyncio
import logging
import re
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Final
from uuid import uuid4
from weakref import WeakValueDictionary

import msgspec
from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from headrace import metrics
from headrace.gateway.budget import Budget
from headrace.gateway.errors import ErrorAnswer, ErrorDetail, RequestError, as_request_error, bad_request, unauthorized
from headrace.gateway.identity import Identities, Person, PodIdentity
from headrace.gateway.openapi import document
from headrace.gateway.rights import Rights
from headrace.gateway.routes import PARAMETERS, WEBHOOKS, WORKERS, Call, Route
from headrace.gateway.webhooks import refused
from headrace.signature import Delivery, Unfit, delivery_of

logger = logging.getLogger(__name__)

Check = Callable[[], Awaitable[str | None]]
"""What is wrong, in words; None when nothing is."""
Came = Callable[[Person, str], None]
"""Told of each person who may do what they ask for in a namespace; at once, and it fails nobody."""

HEALTH: Final = ("/healthz", "/readyz")
_REQUEST_ID: Final = re.compile(r"[A-Za-z0-9._-]{1,64}\Z")
_PERSON = web.RequestKey("person", Person)
_POD = web.RequestKey("pod", PodIdentity)
_DELIVERY = web.RequestKey("delivery", Delivery)
_ID = web.RequestKey("id", str)
_PATHS = web.AppKey("paths", dict[str, str])
_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"})
_REVIEW_SECONDS: Final = 20.0
_SEND_SECONDS: Final = 30.0
_BODIES: Final = 96 * 1024 * 1024
_OF_A_POD: Final = 8
_SMALL: Final = 64 * 1024
# Nobody knows yet who sends a delivery: what may be on its way at once is bounded, and soon there.
_DELIVERY_SECONDS: Final = 10.0
_DELIVERIES: Final = 512


def application(
    table: Sequence[Route], identities: Identities, rights: Rights, ready: Check, came: Came | None = None
) -> web.Application:
    """The application of `table`; `/healthz` and `/readyz` alone answer without identity."""
    app = web.Application(middlewares=[_told, _identified(identities)])
    app.router.add_get("/healthz", _health(_fine))
    app.router.add_get("/readyz", _health(ready))
    app.router.add_get("/openapi.json", _described(table))
    paths = {"/openapi.json": "/openapi.json"}
    budget = Budget(_BODIES)
    for route in table:
        path = re.sub(r"\{(\w+)\}", lambda m: f"{{{m[1]}:{PARAMETERS[m[1]][0]}}}", route.path)
        added = app.router.add_route(route.method, path, _served(route, rights, budget, came))
        if added.resource is not None:
            paths[added.resource.canonical] = route.path
    app[_PATHS] = paths
    return app


@web.middleware
async def _told(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Every error as JSON, the request's id on the answer, one line in the log."""
    began = time.monotonic()
    given = request.headers.get("X-Request-Id", "")
    request[_ID] = given if _REQUEST_ID.match(given) else uuid4().hex
    failure = ""
    try:
        response = await handler(request)
    except (Exception, asyncio.CancelledError) as error:
        if isinstance(error, asyncio.CancelledError):
            _log(request, "gone", began, "the client went away, or the gateway ends")
            raise
        told = as_request_error(error)
        if told.status == 500:
            logger.exception("request %s failed", request[_ID])
        failure = told.reason
        response = _error(told)
    response.headers["X-Request-Id"] = request[_ID]
    if request.path not in HEALTH:
        _log(request, str(response.status), began, failure)
    return response


def _measure(request: web.Request, outcome: str, began: float) -> None:
    """By the route's path, never by what was asked: that has names, and there is no end to them."""
    resource = request.match_info.route.resource
    route = request.app[_PATHS].get(resource.canonical, "other") if resource is not None else "other"
    method = request.method if request.method in _METHODS else "other"
    metrics.REQUESTS.labels(route, method, outcome).observe(time.monotonic() - began)


def _log(request: web.Request, outcome: str, began: float, words: str) -> None:
    _measure(request, outcome, began)
    person, pod = request.get(_PERSON), request.get(_POD)
    # Workers ask many times a second.
    logger.log(
        logging.DEBUG if pod is not None and outcome == "200" else logging.INFO,
        "%s %s %s %.0f ms request=%s user=%r%s",
        request.method,
        request.rel_url.raw_path[:300],
        outcome,
        (time.monotonic() - began) * 1000,
        request[_ID],
        person.user if person else f"{pod.namespace}/{pod.name}" if pod else None,
        f" {words}" if words else "",
    )


def _identified(identities: Identities) -> Middleware:
    """Whoever is nobody learns nothing, not even which paths there are."""

    @web.middleware
    async def identify(request: web.Request, handler: Handler) -> web.StreamResponse:
        if request.path.startswith(WEBHOOKS):
            return await _delivered(request, handler)
        if request.path not in HEALTH:
            given = request.headers.getall("Authorization", [])
            if len(given) > 1:
                raise bad_request("more than one Authorization header")
            async with asyncio.timeout(_REVIEW_SECONDS):
                header = given[0] if given else None
                if request.path.startswith(WORKERS):
                    request[_POD] = await identities.pod(header)
                else:
                    request[_PERSON] = await identities.person(header)
        return await handler(request)

    return identify


async def _delivered(request: web.Request, handler: Handler) -> web.StreamResponse:
    """A delivery's identity is its signature, which the route checks. No route is answered as one that it fits not."""
    try:
        request[_DELIVERY] = delivery_of(request.headers, time.time())
        return await handler(request)
    except Unfit as error:
        logger.info("delivery refused: %s", error)
    except (web.HTTPNotFound, web.HTTPMethodNotAllowed):
        pass
    raise refused()


def _served(route: Route, rights: Rights, budget: Budget, came: Came | None) -> Handler:
    gate, turns = asyncio.Semaphore(route.at_once), Turns(route.at_once, _OF_A_POD if route.right is None else None)
    sending = asyncio.Semaphore(_DELIVERIES)

    async def serve(request: web.Request) -> web.StreamResponse:
        pod, person, delivery = request.get(_POD), request.get(_PERSON), request.get(_DELIVERY)
        async with asyncio.timeout(route.seconds):
            if (delivery is not None) != (route.body is bytes):
                raise refused()  # a signature is checked by the routes of deliveries alone
            if (pod is not None) != route.path.startswith(WORKERS):
                raise unauthorized("a worker's token is for workers' routes, and no other is")
            if delivery is not None:
                async with asyncio.timeout(_DELIVERY_SECONDS), sending:
                    body = await _body(request, route)
                async with turns.of(request.path), gate:
                    call = Call(parameters=dict(request.match_info), body=body, delivery=delivery)
                    return _answer(route, await route.act(call))
            if person is not None:
                for right in (*(() if route.right is None else (route.right,)), *route.also):
                    await rights.check(person, right.access(request.match_info))
                # Where the act itself asks who may, it also tells.
                if came is not None and route.right is not None and "ns" in request.match_info:
                    came(person, request.match_info["ns"])
            # Half of the gate at most for one caller, and nobody in it who is still sending.
            caller = person.user if person else pod.namespace if pod else ""
            async with turns.of(pod.uid if pod else caller), budget.room(caller, _size(request, route)):
                async with asyncio.timeout(_SEND_SECONDS):
                    body = await _body(request, route)
                async with gate:
                    answer = await route.act(
                        Call(
                            parameters=dict(request.match_info),
                            body=body,
                            pod=pod,
                            query=_query(request, route),
                            person=person,
                        )
                    )
        return _answer(route, answer)

    return serve


def _size(request: web.Request, route: Route) -> int:
    """How many bytes of room its body takes: small ones, such as renewals, take none, and wait for no large ones."""
    if route.body is None:
        return 0
    size = route.limit if request.content_length is None else min(request.content_length, route.limit)
    return 0 if size <= _SMALL else size


def _answer(route: Route, answer: object) -> web.Response:
    return web.Response(status=route.status, body=msgspec.json.encode(answer), content_type="application/json")


class Turns:
    """How many requests of one caller a route does at once: half of what it does for all, so that others have room, and
    at most `most`.
    """

    def __init__(self, at_once: int, most: int | None = None) -> None:
        self._each = max(1, min(at_once // 2, most or at_once))
        self._people: WeakValueDictionary[str, asyncio.Semaphore] = WeakValueDictionary()

    def of(self, user: str) -> asyncio.Semaphore:
        """The person's own gate; forgotten when nobody holds or awaits it."""
        found = self._people.get(user)
        if found is None:
            found = self._people[user] = asyncio.Semaphore(self._each)
        return found


def _query(request: web.Request, route: Route) -> object:
    """The typed query; RequestError 400. A route without one takes none."""
    given = dict(request.query)
    if len(given) != len(request.query):
        raise bad_request("a parameter of the query is there twice")
    if route.query is None:
        if given:
            raise bad_request(f"no such parameter: {', '.join(sorted(given))[:200]}")
        return None
    try:
        return msgspec.convert(given, route.query, strict=False)
    except msgspec.ValidationError as error:
        raise bad_request(f"the query is not as described in /openapi.json: {error}") from None


async def _body(request: web.Request, route: Route) -> object:
    """The typed body; RequestError 400, 413 or 415. A route without one reads none."""
    if route.body is None:
        return None
    typed = route.body is bytes or request.content_type == "application/json"
    if not typed or "Content-Encoding" in request.headers:
        raise RequestError(415, "UnsupportedMediaType", "the body must be JSON: Content-Type: application/json")
    too_large = RequestError(413, "TooLarge", f"the body may have {route.limit} bytes at most")
    if (request.content_length or 0) > route.limit:
        raise too_large
    content = bytearray()
    async for piece in request.content.iter_any():
        content += piece
        if len(content) > route.limit:
            raise too_large
    if route.body is bytes:
        return bytes(content)
    try:
        return route.read(content) if route.read else msgspec.json.decode(content, type=route.body)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise bad_request(f"the body is not as described in /openapi.json: {error}") from None
    except RecursionError:
        raise bad_request("the body has objects within objects that go too deep") from None


def _error(told: RequestError) -> web.Response:
    body = msgspec.json.encode(ErrorAnswer(ErrorDetail(told.reason, str(told))))
    # What is left of a body that was not read would be taken for the next request.
    headers = {**told.headers, **({"Connection": "close"} if told.status == 413 else {})}
    return web.Response(status=told.status, body=body, content_type="application/json", headers=headers)


def _health(check: Check) -> Handler:
    async def handle(_: web.Request) -> web.StreamResponse:
        wrong = await check()
        return web.Response(text=wrong or "ok", status=503 if wrong else 200)

    return handle


async def _fine() -> str | None:
    return None


def _described(table: Sequence[Route]) -> Handler:
    content = msgspec.json.encode(document(table))

    async def handle(_: web.Request) -> web.StreamResponse:
        return web.Response(body=content, content_type="application/json")

    return handle
