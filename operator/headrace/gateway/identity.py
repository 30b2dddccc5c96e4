"""Who asks: a cluster token, as the API server knows it (TokenReview). Every request but health goes through here.

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


class _User(Struct):
    username: str = ""
    uid: str = ""
    groups: list[str] = field(default_factory=list)
    extra: dict[str, list[str]] = field(default_factory=dict)


class _Result(Struct):
    authenticated: bool = False
    user: _User = field(default_factory=_User)


class _Review(Struct):
    status: _Result = field(default_factory=_Result)


_NOBODY = Person("")


class Identities:
    """Tokens to people."""

    def __init__(self, client: Client, clock: Callable[[], float] = time.monotonic) -> None:
        self._client = client
        self._cache: Cache[bytes, Person] = Cache(_MOST, clock)
        self._key = secrets.token_bytes(32)
        # Whoever sends made-up tokens makes the API server work, but not more than this at once.
        self._gate = asyncio.Semaphore(_AT_ONCE)

    async def person(self, header: str | None) -> Person:
        """Who sent this `Authorization` header; RequestError 401 for none, a malformed or an unknown one.

        TemporaryError when the API server cannot be asked.
        """
        if header is None:
            raise unauthorized(
                "no Authorization header: send `Authorization: Bearer TOKEN` with a token of the cluster"
            )
        found = _BEARER.match(header) if len(header) <= _LONGEST else None
        if found is None:
            raise unauthorized("the Authorization header is not `Bearer TOKEN`")
        token = found[1]
        key = hashlib.blake2b(token.encode(), key=self._key, digest_size=32).digest()
        person = self._cache.get(key)
        if person is None:
            async with self._gate:
                person = await self._review(token)
            self._cache.put(key, person, UNKNOWN_SECONDS if person == _NOBODY else KNOWN_SECONDS)
        if person == _NOBODY:
            raise unauthorized("the cluster does not know this token, or not any more, or it is for another audience")
        return person

    async def _review(self, token: str) -> Person:
        """Ask for the API server's own audiences: a token made for a worker or another service is nobody's here."""
        answer = await review(self._client, "authentication.k8s.io", "TokenReview", {"token": token}, _Review)
        user = answer.status.user
        if not answer.status.authenticated or not user.username:
            return _NOBODY
        extra = tuple(sorted((key, tuple(values)) for key, values in user.extra.items()))
        return Person(user.username, user.uid, tuple(user.groups), extra)
