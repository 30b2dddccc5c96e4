"""Deliveries to webhook sources: checked, stored, then answered. `serve` wires it, `app` calls the route.

Whether there is such a webhook, whether its Secret can be read and whether the signature fits, the answer is one and
the same, and only the log and the Job's status tell them apart. Neither bodies nor keys are logged.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from typing import Final
from uuid import UUID

import msgspec
from msgspec import Struct

from headrace.cluster.client import Refused
from headrace.gateway.cache import Cache
from headrace.gateway.errors import RequestError, bad_request
from headrace.gateway.routes import WEBHOOKS, Call, Route
from headrace.gateway.wake import Waker
from headrace.signature import Delivery, Keys, fits, keys_of
from headrace.state import webhooks
from headrace.state.database import Database

logger = logging.getLogger(__name__)

LIMIT: Final = 64 * 1024
KNOWN_SECONDS: Final = 10.0
UNKNOWN_SECONDS: Final = 2.0
_MOST: Final = 4096
_AT_ONCE: Final = 16

Uids = Callable[[str], Awaitable[str | None]]
"""A namespace to its uid; None when there is none."""
Secrets = Callable[[str, str], Awaitable[Mapping[str, bytes] | None]]
"""Namespace and name of a Secret to its values; None when there is none, Refused when it may not be read."""


class Accepted(Struct, frozen=True):
    """The event is kept, for good: its sender's id of it, its partition, when it was first accepted."""

    id: str
    partition: str
    received_at: datetime


class _Door(Struct, frozen=True, kw_only=True):
    """Where a path leads to: nowhere (`org_id` None), or to a webhook whose Secret is called `secret`."""

    org_id: UUID | None = None
    secret: str = ""
    keys: Keys = Keys(trouble="there is no such webhook")


class Webhooks:
    """Deliveries over Postgres and the API server."""

    def __init__(
        self, db: Database, waker: Waker, uids: Uids, secrets: Secrets, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._db = db
        self._waker = waker
        self._uids = uids
        self._secrets = secrets
        self._doors: Cache[tuple[str, str, str], _Door] = Cache(_MOST, clock)
        # Whoever sends made-up deliveries makes Postgres and the API server work, but not more than this at once.
        self._gate = asyncio.Semaphore(_AT_ONCE)

    async def accept(self, namespace: str, dag: str, job: str, delivery: Delivery, body: bytes) -> Accepted:
        """Keep an event; RequestError 401 for what fits no webhook, 400 for a body that is no JSON object."""
        place = (namespace, dag, job)
        door = await self._door(place)
        if not fits(delivery, body, door.keys.values) or door.org_id is None:
            logger.info("delivery to %s/%s/%s refused: %s", *place, door.keys.trouble or "no signature fits its keys")
            raise refused()
        event = webhooks.Event(
            id=delivery.id, sent=datetime.fromtimestamp(delivery.timestamp, UTC), body=_json_object(body)
        )
        async with self._db.transaction() as tx:
            stored = await webhooks.store(tx, door.org_id, dag, job, door.secret, event)
        if stored is None:
            self._doors.put(place, _Door(), 0.0)
            logger.info("delivery to %s/%s/%s refused: the webhook is gone, or has another Secret by now", *place)
            raise refused()
        self._waker.touch(namespace, dag)
        return Accepted(id=stored.id, partition=stored.partition, received_at=stored.received_at)

    async def _door(self, place: tuple[str, str, str]) -> _Door:
        found = self._doors.get(place)
        if found is None:
            async with self._gate:
                found = self._doors.get(place) or await self._open(*place)
            self._doors.put(place, found, UNKNOWN_SECONDS if found.keys.trouble else KNOWN_SECONDS)
        return found

    async def _open(self, namespace: str, dag: str, job: str) -> _Door:
        """Where a path leads to now. What is wrong with the Secret of a webhook is kept for the Job's status."""
        async with self._db.transaction() as tx:
            hook = await webhooks.find(tx, namespace, dag, job)
        # A namespace made anew under an old name is another tenant's: its Secrets are keys to nothing of the old one.
        if hook is None or await self._uids(namespace) != hook.namespace_uid:
            return _Door()
        secret = hook.source.secret or ""
        keys = await self._keys(namespace, secret)
        async with self._db.transaction() as tx:
            news = await webhooks.note(tx, hook, keys.trouble)
        if news:
            self._waker.touch(namespace, dag)
        return _Door(org_id=hook.org_id, secret=secret, keys=keys)

    async def _keys(self, namespace: str, secret: str) -> Keys:
        try:
            values = await self._secrets(namespace, secret)
        except Refused:
            return Keys(trouble=f"the gateway may not read Secret {secret}: bind it a Role with get on that Secret")
        if values is None:
            return Keys(trouble=f"there is no Secret {secret}: create it")
        keys = keys_of(values)
        return keys if keys.trouble is None else Keys(trouble=f"Secret {secret} {keys.trouble}")


def refused() -> RequestError:
    """401, whatever it is that does not fit."""
    words = (
        "no webhook takes this delivery: its path, id, timestamp (within 5 minutes) or signature (as in Standard"
        " Webhooks, with a key of the source's Secret) does not fit"
    )
    return RequestError(401, "Unauthorized", words, {"WWW-Authenticate": 'StandardWebhooks realm="headrace"'})


def webhook_routes(accept: Callable[[str, str, str, Delivery, bytes], Awaitable[Accepted]]) -> tuple[Route, ...]:
    """The route of deliveries."""

    async def deliver(call: Call) -> object:
        assert call.delivery is not None  # noqa: S101 - by the path, the application has asked for one
        at = call.parameters
        return await accept(at["ns"], at["dag"], at["job"], call.delivery, call.body)

    return (
        Route(
            name="webhook",
            method="POST",
            path=f"{WEBHOOKS}{{ns}}/{{dag}}/{{job}}",
            summary="Deliver an event to a webhook source; it is stored before the answer, once for each webhook-id.",
            right=None,
            answer=Accepted,
            act=deliver,
            body=bytes,
            limit=LIMIT,
            status=202,
        ),
    )


def _json_object(body: bytes) -> str:
    """The body as text; RequestError 400 for what is no JSON object."""
    try:
        found = msgspec.json.decode(body)
        text = body.decode()
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise bad_request(f"the body is no JSON: {error}") from None
    if not isinstance(found, dict):
        raise bad_request("the body is no JSON object")
    return text
