"""What somebody may do: asked of the API server (SubjectAccessReview), so that RBAC decides; kept for seconds."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

from msgspec import Struct, field

from headrace.api.names import GROUP, VERSION
from headrace.cluster.client import Client
from headrace.gateway.cache import Cache
from headrace.gateway.errors import forbidden
from headrace.gateway.identity import Person
from headrace.gateway.review import review

ALLOWED_SECONDS: Final = 3.0
DENIED_SECONDS: Final = 2.0
_MOST: Final = 8192


class Access(Struct, frozen=True, kw_only=True):
    """A verb on a resource of our group in a namespace, as in a Role; `name`: of one object, empty for all.

    Without a namespace: in all of them, as only a ClusterRoleBinding gives it.
    """

    verb: str
    resource: str
    namespace: str
    subresource: str = ""
    name: str = ""

    def __str__(self) -> str:
        what = f"{self.resource}/{self.subresource}" if self.subresource else self.resource
        named = f" {self.name!r}" if self.name else ""
        where = f"in namespace {self.namespace}" if self.namespace else "in the whole cluster"
        return f"{self.verb} {what}.{GROUP}{named} {where}"


class _Result(Struct):
    allowed: bool = False
    denied: bool = False


class _Review(Struct):
    status: _Result = field(default_factory=_Result)


class Rights:
    """People to what they may."""

    def __init__(self, client: Client, clock: Callable[[], float] = time.monotonic) -> None:
        self._client = client
        self._cache: Cache[tuple[Person, Access], bool] = Cache(_MOST, clock)

    async def check(self, person: Person, access: Access) -> None:
        """RequestError 403 when the person may not; TemporaryError when the API server cannot be asked."""
        if not await self.allows(person, access):
            raise forbidden(f"{person.user} may not {access}")

    async def allows(self, person: Person, access: Access) -> bool:
        """Whether the person may; TemporaryError when the API server cannot be asked."""
        allowed = self._cache.get((person, access))
        if allowed is None:
            allowed = await self._review(person, access)
            self._cache.put((person, access), allowed, ALLOWED_SECONDS if allowed else DENIED_SECONDS)
        return allowed

    async def _review(self, person: Person, access: Access) -> bool:
        attributes = {
            "group": GROUP,
            "version": VERSION,
            "verb": access.verb,
            "resource": access.resource,
            "subresource": access.subresource,
            "namespace": access.namespace,
            "name": access.name,
        }
        spec = {
            "resourceAttributes": attributes,
            "user": person.user,
            "uid": person.uid,
            "groups": list(person.groups),
            "extra": {key: list(values) for key, values in person.extra},
        }
        result = (await review(self._client, "authorization.k8s.io", "SubjectAccessReview", spec, _Review)).status
        return result.allowed and not result.denied
