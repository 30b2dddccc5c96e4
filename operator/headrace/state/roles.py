"""Roles in Postgres, as RoleBindings give them, and who holds them. The operator mirrors them, and so does the gateway
before a read that asks for a role.

Whoever mirrors holds the org's lock since before the RoleBindings were read, so that no older reading comes after a
newer one.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final
from uuid import UUID

from msgspec import Struct

from headrace.api.people import Binding
from headrace.state.database import Transaction, jsonb
from headrace.state.orgs import Org

_STEPS: Final = (
    "drop_roles", "put_roles", "put_users", "drop_members", "put_members", "drop_groups", "put_groups",
)  # fmt: skip


class _There(Struct, frozen=True):
    there: bool


class _Slug(Struct, frozen=True):
    slug: str


async def lock_roles(tx: Transaction, org: Org) -> None:
    """The lock under which the org's roles are read in the cluster and mirrored, until the transaction ends."""
    await tx.execute("lock_roles", org_id=org.id)


async def mirror(tx: Transaction, org: Org, bindings: Iterable[Binding]) -> bool:
    """Make the org's roles, members and groups be what these RoleBindings give; whether anything had to be changed.

    Users that no binding names any more, and who never came to the gateway, go too. The caller holds lock_roles.
    """
    wanted = _wanted(bindings)
    found = await tx.row("roles_differ", _There, org_id=org.id, **wanted)
    if found is None or not found.there:
        return False
    # A user may be named in several orgs: whoever gives one a role and whoever drops one take turns.
    await tx.execute("lock_users")
    for step in _STEPS:
        await tx.execute(step, org_id=org.id, **wanted)
    await tx.execute("drop_users")
    return True


async def roles_of(tx: Transaction, org_id: UUID, user: str, groups: Sequence[str]) -> frozenset[str]:
    """The roles of the org that somebody has, by name or by one of the groups that their token carries."""
    rows = await tx.rows("roles_of", _Slug, org_id=org_id, user=user, groups=list(groups))
    return frozenset(row.slug for row in rows)


async def has_roles(tx: Transaction, org_id: UUID) -> bool:
    """Whether the org has any role."""
    found = await tx.row("has_roles", _There, org_id=org_id)
    return found is not None and found.there


def _wanted(bindings: Iterable[Binding]) -> dict[str, object]:
    """Several bindings of a role add up; its name is the first that one of them gives."""
    names: dict[str, str | None] = {}
    members: set[tuple[str, str]] = set()
    groups: set[tuple[str, str]] = set()
    for binding in bindings:
        names[binding.slug] = names.get(binding.slug) or binding.name
        members.update((binding.slug, user) for user in binding.users)
        groups.update((binding.slug, group) for group in binding.groups)
    return {
        "roles": jsonb([{"slug": slug, "name": name or slug} for slug, name in names.items()]),
        "members": jsonb([{"slug": slug, "user": user} for slug, user in sorted(members)]),
        "groups": jsonb([{"slug": slug, "group": group} for slug, group in sorted(groups)]),
    }
