"""Leadership by a Kubernetes Lease: one operator acts at a time. The epoch in Postgres fences one that has not noticed.

The Lease also says where Postgres stood (annotations), so that whoever leads next notices a Postgres that was restored.

Times are this process's own: a holder is taken for gone when its Lease has not changed for its duration as seen from
here, so that clocks need not agree.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Final

import msgspec
from msgspec import UNSET, Struct, UnsetType, field

from headrace.api import names
from headrace.cluster.client import Client, Conflict, path_of
from headrace.errors import LostLeadership, TemporaryError
from headrace.plan.standing import Standing

logger = logging.getLogger(__name__)

NAME: Final = "headrace-operator"
DURATION: Final = 12
RENEW: Final = 4.0
GIVE_UP: Final = 9.0
"""Seconds without a renewal after which the holder stops, well before another may take over."""
_RETRY: Final = 1.0
_LOOK: Final = 0.5
"""Seconds between the looks of whoever waits: with DURATION and a takeover's own time, 15 s at most."""


class _Meta(Struct, rename="camel", omit_defaults=True):
    name: str
    namespace: str
    resource_version: str | UnsetType = UNSET
    annotations: dict[str, str] = field(default_factory=dict)


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
    """The Lease as this process sees it. `acquire`, then keep `hold` running; `release` at an orderly end.

    `known`: where Postgres stands at least, by the Lease as it was acquired, then by what this process says of it.
    """

    def __init__(self, client: Client, namespace: str, identity: str) -> None:
        self._client = client
        self._collection = path_of("coordination.k8s.io/v1", namespace, "leases")
        self._path = path_of("coordination.k8s.io/v1", namespace, "leases", NAME)
        self._namespace = namespace
        self._identity = identity
        self._seen: tuple[str | UnsetType, float] = (UNSET, 0.0)
        self._holds = False
        self._writing = asyncio.Lock()
        self.known: Standing | None = None

    async def acquire(self) -> None:
        """Wait until this process holds the Lease."""
        while True:
            try:
                if await self._try():
                    return
            except TemporaryError as error:
                logger.warning("Lease: %s", error)
            await asyncio.sleep(_LOOK)

    def note(self, standing: Standing) -> None:
        """Postgres stands here now: the next renewal says so."""
        self.known = standing

    async def write_down(self, standing: Standing) -> None:
        """Have the Lease say where Postgres stands, before anything is done that relies on it."""
        self.note(standing)
        while True:
            try:
                if await self._try():
                    return
            except TemporaryError as error:
                logger.warning("Lease: %s", error)
            await asyncio.sleep(_LOOK)

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
            lease.metadata.annotations |= _written(self.known)
            await self._write(lease)

    async def _try(self) -> bool:
        async with self._writing:
            return await self._take_or_renew()

    async def _take_or_renew(self) -> bool:
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
        if not self._holds:
            self.known = _read(lease.metadata.annotations)
        if self.known is not None:
            lease.metadata.annotations |= _written(self.known)
        spec.holder_identity, spec.lease_duration_seconds, spec.renew_time = self._identity, DURATION, _now()
        written = await self._write(lease)
        self._holds |= written
        return written

    async def _create(self) -> bool:
        spec = _Spec(holder_identity=self._identity, acquire_time=_now(), renew_time=_now())
        lease = _Lease(_Meta(NAME, self._namespace, annotations=_written(self.known)), spec)
        try:
            await self._client.create(self._collection, _as_json(lease), _Lease)
        except Conflict:
            return False
        self._holds = True
        return True

    async def _write(self, lease: _Lease) -> bool:
        try:
            return await self._client.replace(self._path, _as_json(lease), _Lease) is not None
        except Conflict:
            return False


def _as_json(lease: _Lease) -> dict[str, object]:
    return dict(msgspec.to_builtins(lease))


def _read(annotations: Mapping[str, str]) -> Standing | None:
    """Where Postgres stood; None on a Lease that does not say so."""
    told = {name: annotations.get(annotation) for name, annotation in names.STANDING_ANNOTATIONS.items()}
    try:
        return msgspec.convert(told, Standing, strict=False)
    except msgspec.ValidationError:
        return None


def _written(known: Standing | None) -> dict[str, str]:
    return {} if known is None else {a: str(getattr(known, name)) for name, a in names.STANDING_ANNOTATIONS.items()}
