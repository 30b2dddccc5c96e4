"""Who asks: a person or a worker's pod, by a token of the cluster (TokenReview). Every request but health comes here.

The token itself is neither kept nor logged: what is remembered, for seconds, is a keyed hash of it. Of somebody who is
unknown it is remembered for a shorter time, since that may be over at any moment.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
import secrets
import time
from collections.abc import Callable
from typing import Final

from msgspec import Struct, field

from headrace.api.names import WORKER_AUDIENCE
from headrace.cluster.client import Client
from headrace.gateway.cache import Cache
from headrace.gateway.errors import unauthorized
from headrace.gateway.review import review

KNOWN_SECONDS: Final = 10.0
UNKNOWN_SECONDS: Final = 2.0
_MOST: Final = 4096
_AT_ONCE: Final = 16
# RFC 6750. The length: Kubernetes' own tokens have one to two thousand characters, those of identity providers more.
_BEARER: Final = re.compile(r"[Bb]earer +([A-Za-z0-9._~+/-]+=*)\Z")
_LONGEST: Final = 16 * 1024


class Person(Struct, frozen=True):
    """Somebody whom the cluster knows: what a SubjectAccessReview asks about. `extra`: pairs of key and values."""

    user: str
    uid: str = ""
    groups: tuple[str, ...] = ()
    extra: tuple[tuple[str, tuple[str, ...]], ...] = ()


class PodIdentity(Struct, frozen=True):
    """A pod, proven by a token that is bound to it and made for workers: its namespace, name and uid."""

    namespace: str
    name: str
    uid: str


class _User(Struct):
    username: str = ""
    uid: str = ""
    groups: list[str] = field(default_factory=list)
    extra: dict[str, list[str]] = field(default_factory=dict)


class _Result(Struct):
    authenticated: bool = False
    user: _User = field(default_factory=_User)
    audiences: list[str] = field(default_factory=list)


class _Review(Struct):
    status: _Result = field(default_factory=_Result)


_NOBODY = Person("")
_NO_POD = PodIdentity("", "", "")
_ACCOUNT: Final = "system:serviceaccount:"
_POD: Final = "authentication.kubernetes.io/pod-"


class Identities:
    """Tokens to people, and to pods."""

    def __init__(self, client: Client, clock: Callable[[], float] = time.monotonic) -> None:
        self._client = client
        self._cache: Cache[bytes, Person] = Cache(_MOST, clock)
        self._pods: Cache[bytes, PodIdentity] = Cache(_MOST, clock)
        self._key = secrets.token_bytes(32)
        # Whoever sends made-up tokens makes the API server work, but not more than this at once.
        self._gate = asyncio.Semaphore(_AT_ONCE)

    async def person(self, header: str | None) -> Person:
        """Who sent this `Authorization` header; RequestError 401 for none, a malformed or an unknown one.

        TemporaryError when the API server cannot be asked.
        """
        token, key = self._token(header)
        person = self._cache.get(key)
        if person is None:
            async with self._gate:
                person = await self._review(token)
            self._cache.put(key, person, UNKNOWN_SECONDS if person == _NOBODY else KNOWN_SECONDS)
        if person == _NOBODY:
            raise unauthorized("the cluster does not know this token, or not any more, or it is for another audience")
        return person

    async def pod(self, header: str | None) -> PodIdentity:
        """Which pod sent this header; RequestError 401 as above, and for a token that is no worker's.

        Only a token for the workers' audience counts, and only one that the API server has bound to a pod.
        """
        token, key = self._token(header)
        found = self._pods.get(key)
        if found is None:
            async with self._gate:
                found = await self._review_pod(token)
            self._pods.put(key, found, UNKNOWN_SECONDS if found == _NO_POD else KNOWN_SECONDS)
        if found == _NO_POD:
            raise unauthorized(
                f"the cluster does not know this token, or not any more, or it is not a pod's for {WORKER_AUDIENCE}"
            )
        return found

    def _token(self, header: str | None) -> tuple[str, bytes]:
        """The token of a header, and what it is remembered by."""
        if header is None:
            raise unauthorized(
                "no Authorization header: send `Authorization: Bearer TOKEN` with a token of the cluster"
            )
        found = _BEARER.match(header) if len(header) <= _LONGEST else None
        if found is None:
            raise unauthorized("the Authorization header is not `Bearer TOKEN`")
        return found[1], hashlib.blake2b(found[1].encode(), key=self._key, digest_size=32).digest()

    async def _review_pod(self, token: str) -> PodIdentity:
        spec = {"token": token, "audiences": [WORKER_AUDIENCE]}
        status = (await review(self._client, "authentication.k8s.io", "TokenReview", spec, _Review)).status
        name, uid = (status.user.extra.get(f"{_POD}{what}", [""]) for what in ("name", "uid"))
        account = status.user.username.removeprefix(_ACCOUNT).split(":")
        known = status.authenticated and WORKER_AUDIENCE in status.audiences
        if not known or len(account) != 2 or not name[0] or not uid[0]:
            return _NO_POD
        return PodIdentity(account[0], name[0], uid[0])

    async def _review(self, token: str) -> Person:
        """Ask for the API server's own audiences: a token made for a worker or another service is nobody's here."""
        answer = await review(self._client, "authentication.k8s.io", "TokenReview", {"token": token}, _Review)
        user = answer.status.user
        if not answer.status.authenticated or not user.username:
            return _NOBODY
        extra = tuple(sorted((key, tuple(values)) for key, values in user.extra.items()))
        return Person(user.username, user.uid, tuple(user.groups), extra)
