"""Orgs: a namespace by its uid. reconcile asks for the org of each object's namespace."""

from __future__ import annotations

from uuid import UUID

from msgspec import Struct

from headrace.errors import TemporaryError
from headrace.state.database import Transaction


class Org(Struct, frozen=True, kw_only=True):
    """A tenant; `slug` is the namespace's name while that namespace lives."""

    id: UUID
    slug: str


async def find_org(tx: Transaction, uid: str) -> Org | None:
    """The org of the namespace with this uid; None when it was never seen."""
    return await tx.row("find_org", Org, uid=uid)


async def ensure_org(tx: Transaction, namespace: str, uid: str) -> Org:
    """The org of the namespace with this uid, made when first seen; knowing it already writes nothing."""
    found = await find_org(tx, uid)
    if found is None:
        await tx.execute("free_slug", uid=uid, slug=namespace)
        await tx.execute("make_org", uid=uid, slug=namespace)
        found = await find_org(tx, uid)
    if found is None:
        raise TemporaryError(f"the org of namespace {namespace} vanished while it was made")
    return found
