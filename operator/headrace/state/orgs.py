"""Orgs: a namespace by its uid. reconcile asks for the org of each object's namespace, `tenants` keeps its settings."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from msgspec import Struct

from headrace.errors import TemporaryError
from headrace.state.database import Transaction, jsonb
from headrace.state.locks import fence


class Org(Struct, frozen=True, kw_only=True):
    """A tenant; `slug` is the namespace's name while that namespace lives."""

    id: UUID
    slug: str


class Tenant(Org, frozen=True, kw_only=True):
    """An org with its settings."""

    settings: dict[str, object]


class OrgMoved(TemporaryError):
    """What was known of an org is over: its namespace has another one by now, or it has another namespace."""


class _There(Struct, frozen=True):
    there: bool


class _Uid(Struct, frozen=True):
    uid: str


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


async def confirm(tx: Transaction, org: Org) -> None:
    """OrgMoved when the org is not this namespace's any more."""
    found = await tx.row("is_org_of", _There, org_id=org.id, slug=org.slug)
    if found is None or not found.there:
        raise OrgMoved(f"namespace {org.slug} has another org by now")


async def find_tenant(tx: Transaction, uid: str) -> Tenant | None:
    """The org of the namespace with this uid, with its settings."""
    return await tx.row("find_org", Tenant, uid=uid)


async def tenants_among(tx: Transaction, uids: Sequence[str]) -> set[str]:
    """Of these namespaces, by uid, those that have an org."""
    return {row.uid for row in await tx.rows("tenants_among", _Uid, uids=list(uids))}


async def set_settings(tx: Transaction, epoch: int, org: Org, settings: dict[str, object]) -> None:
    """The org's settings are these from now on."""
    await fence(tx, epoch)
    await tx.execute("set_settings", org_id=org.id, settings=jsonb(settings))
