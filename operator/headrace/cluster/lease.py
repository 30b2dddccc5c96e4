"""Leadership by a Kubernetes Lease: one operator acts at a time. The epoch in Postgres fences one that has not noticed.

Times are this process's own: a holder is taken for gone when its Lease has not changed for its duration as seen from
here, so that clocks need not agree.
"""

from __future__ import annotations

import asyncio
import logging
import time
from datetime import UTC, datetime
from typing import Final

import msgspec
from msgspec import UNSET, Struct, UnsetType

from headrace.cluster.client import Client, Conflict, path_of
from headrace.errors import LostLeadership, TemporaryError

logger = logging.getLogger(__name__)

NAME: Final = "headrace-operator"
DURATION: Final = 15
RENEW: Final = 5.0
GIVE_UP: Final = 10.0
"""Seconds without a renewal after which the holder stops, well before another may take over."""
_RETRY: Final = 1.0


class _Meta(Struct, rename="camel", omit_defaults=True):
    name: str
    namespace: str
    resource_version: str | UnsetType = UNSET


class _Spec(Struct, rename="camel", omit_defaults=True):
    holder_identity: str | None = None
    lease_duration_seconds: int = DURATION
    acquire_time: str | None = None
    renew_time: str | None = None
    lease_transitions: int = 0


class _Lease(Struct, rename="camel"):
    metadata: _Meta
    spec: _Spec
    api_version: str = "coordination.k8s.io/v1"
    kind: str = "Lease"


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


class Leadership:
    """The Lease as this process sees it. `acquire`, then keep `hold` running; `release` at an orderly end."""

    def __init__(self, client: Client, namespace: str, identity: str) -> None:
        self._client = client
        self._collection = path_of("coordination.k8s.io/v1", namespace, "leases")
        self._path = path_of("coordination.k8s.io/v1", namespace, "leases", NAME)
        self._namespace = namespace
        self._identity = identity
        self._seen: tuple[str | UnsetType, float] = (UNSET, 0.0)

    async def acquire(self) -> None:
        """Wait until this process holds the Lease."""
        while True:
            try:
                if await self._try():
                    return
            except TemporaryError as error:
                logger.warning("Lease: %s", error)
            await asyncio.sleep(_RETRY)

    async def hold(self) -> None:
        """Renew for ever; LostLeadership when another holds it, or it could not be renewed for GIVE_UP seconds."""
        renewed = time.monotonic()
        while True:
            await asyncio.sleep(RENEW if time.monotonic() - renewed < RENEW else _RETRY)
            asked = time.monotonic()
            try:
                async with asyncio.timeout(max(_RETRY, renewed + GIVE_UP - asked)):
                    if not await self._try():
                        raise LostLeadership("the Lease has another holder")
                renewed = asked
            except (TemporaryError, TimeoutError) as error:
                logger.warning("Lease: %s", error or "no answer")
            if time.monotonic() - renewed > GIVE_UP:
                raise LostLeadership(f"the Lease could not be renewed for {GIVE_UP:.0f} s")

    async def release(self) -> None:
        """Give the Lease up, so that the next holder need not wait."""
        lease = await self._client.get(self._path, _Lease)
        if lease is not None and lease.spec.holder_identity == self._identity:
            lease.spec.holder_identity = None
            lease.spec.lease_duration_seconds = 1
            await self._write(lease)

    async def _try(self) -> bool:
        lease = await self._client.get(self._path, _Lease)
        if lease is None:
            return await self._create()
        if lease.metadata.resource_version != self._seen[0]:
            self._seen = (lease.metadata.resource_version, time.monotonic())
        spec = lease.spec
        if spec.holder_identity != self._identity:
            fresh = time.monotonic() - self._seen[1] < spec.lease_duration_seconds
            if spec.holder_identity and fresh:
                return False
            spec.acquire_time, spec.lease_transitions = _now(), spec.lease_transitions + 1
        spec.holder_identity, spec.lease_duration_seconds, spec.renew_time = self._identity, DURATION, _now()
        return await self._write(lease)

    async def _create(self) -> bool:
        spec = _Spec(holder_identity=self._identity, acquire_time=_now(), renew_time=_now())
        lease = _Lease(_Meta(NAME, self._namespace), spec)
        try:
            await self._client.create(self._collection, _as_json(lease), _Lease)
        except Conflict:
            return False
        return True

    async def _write(self, lease: _Lease) -> bool:
        try:
            return await self._client.replace(self._path, _as_json(lease), _Lease) is not None
        except Conflict:
            return False


def _as_json(lease: _Lease) -> dict[str, object]:
    return dict(msgspec.to_builtins(lease))
