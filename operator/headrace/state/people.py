"""People in Postgres: who came to the gateway, what RBAC allows them, who is in an org.

What is kept here never authorises anything: it shows.
"""

from __future__ import annotations

from uuid import UUID

from msgspec import Struct

from headrace.api.people import MOST_MEMBERS, Member, Members, Role
from headrace.state.database import Transaction
from headrace.state.locks import fence
from headrace.state.orgs import Org


class Known(Struct, frozen=True, kw_only=True):
    """Somebody who is known: in which org first, as what; `came`: ever to the gateway; `due`: is to be noted anew."""

    org_id: UUID
    role: str
    due: bool
    came: bool


class _There(Struct, frozen=True):
    there: bool


async def find(tx: Transaction, user: str) -> Known | None:
    """Who has this name in the cluster."""
    return await tx.row("find_person", Known, user=user)


async def record(tx: Transaction, org_id: UUID, user: str, role: str) -> None:
    """Somebody is there: new ones are of this org. The role shows of the org that they are of, and of no other."""
    await tx.execute("record_person", org_id=org_id, user=user, role=role)


async def members(tx: Transaction, namespace: str, org: Org) -> Members:
    """Who is of the org or has a role in it, and the groups that have one."""
    found = await tx.rows("members", Member, org_id=org.id, most=MOST_MEMBERS + 1)
    roles = await tx.rows("roles", Role, org_id=org.id)
    return Members(
        namespace=namespace, members=tuple(found[:MOST_MEMBERS]), roles=tuple(roles), more=len(found) > MOST_MEMBERS
    )


async def forget(tx: Transaction, epoch: int) -> None:
    """People who have not come for 90 days, and whom no binding names, are no more known."""
    old = await tx.row("old_people", _There)
    if old is not None and old.there:
        await fence(tx, epoch)
        await tx.execute("lock_users")
        await tx.execute("delete_old_people")
