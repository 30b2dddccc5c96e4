"""The routes of `headrace adopt`: what a namespace could adopt, and the adoption. `serve` adds them to the table.

The right is one in all namespaces: whoever rules a namespace does not thereby get what another one's namesake had.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Annotated, Final

from msgspec import Meta, Struct

from headrace.api.adoption import Adoptables, Adopted
from headrace.errors import TemporaryError
from headrace.gateway.errors import not_found
from headrace.gateway.routes import Call, Right, Route
from headrace.state import adoption
from headrace.state.adoption import AdoptionRefused, Left
from headrace.state.database import Database

Uid = Callable[[str], Awaitable[str | None]]
"""The uid of a namespace; None if it is gone."""
_PATIENCE: Final = 20.0
_AGAIN: Final = 0.2


class AdoptRequest(Struct, frozen=True, forbid_unknown_fields=True):
    """The org, by what it is called now, such as `air~0a1b2c3d`, or by its id."""

    org: Annotated[str, Meta(min_length=1, max_length=128)]


@dataclass(frozen=True)
class Adoption:
    """Adoptions over Postgres; whether a namespace lives, the cluster says."""

    db: Database
    uid: Uid

    async def adoptable(self, namespace: str) -> Adoptables:
        """What it could adopt."""
        uid = await self._uid(namespace)
        async with self.db.transaction() as tx:
            return Adoptables(namespace=namespace, orgs=tuple(await adoption.adoptable(tx, namespace, uid)))

    async def adopt(self, namespace: str, org: str) -> Adopted:
        """Give the namespace an org that was left behind; AdoptionRefused where that cannot be."""
        uid = await self._uid(namespace)
        async with self.db.transaction() as tx:
            left = await adoption.find(tx, org)
        if left is None:
            raise AdoptionRefused(f"there is no org {org}: headrace adopt -n {namespace} lists those of that name")
        if left.namespace_uid == uid:
            raise AdoptionRefused(f"the org {org} is namespace {namespace}'s already")
        # A uid that is gone never comes back: what is found here holds.
        if await self.uid(left.namespace) == left.namespace_uid:
            raise AdoptionRefused(
                f"the org {org} belongs to namespace {left.namespace}, which is there: delete that namespace first"
            )
        return await self._adopt(namespace, uid, left)

    async def _adopt(self, namespace: str, uid: str, left: Left) -> Adopted:
        """As soon as no commit or cutover of the two orgs goes on; TemporaryError when that is not to be had."""
        until = time.monotonic() + _PATIENCE
        while True:
            try:
                async with self.db.transaction() as tx:
                    return await adoption.adopt(tx, namespace, uid, left)
            except TemporaryError:
                if time.monotonic() > until:
                    raise
                await asyncio.sleep(_AGAIN)

    async def _uid(self, namespace: str) -> str:
        found = await self.uid(namespace)
        if found is None:
            raise not_found(f"there is no namespace {namespace}")
        return found


def adoption_routes(service: Adoption) -> tuple[Route, ...]:
    """Both routes."""

    async def listed(call: Call) -> object:
        return await service.adoptable(call.parameters["ns"])

    async def adopt(call: Call) -> object:
        return await service.adopt(call.parameters["ns"], call.body.org)

    path, right = "/v1/namespaces/{ns}/adopt", Right("create", "orgs", "adopt", everywhere=True)
    return (
        Route(
            name="adoptable",
            method="GET",
            path=path,
            summary="The orgs that were of a namespace of this name which is gone.",
            right=right,
            answer=Adoptables,
            act=listed,
            at_once=4,
        ),
        Route(
            name="adopt",
            method="POST",
            path=path,
            summary="Give the namespace an org that was left behind; the one that it has trades places.",
            right=right,
            body=AdoptRequest,
            answer=Adopted,
            act=adopt,
            seconds=60.0,
            at_once=2,
        ),
    )
