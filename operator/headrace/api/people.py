"""Roles as RoleBindings give them, and the people of an org as the gateway tells them."""

from __future__ import annotations

from datetime import datetime
from typing import Final

from msgspec import Struct

from headrace.api.names import GROUP

LABEL_ROLE: Final = f"{GROUP}/role"
"""On a RoleBinding: its subjects have this role in the namespace's org."""
ANNOTATION_ROLE_NAME: Final = f"{GROUP}/role-name"
"""On the same: what the role is called."""
ROLE_NAME_MAX: Final = 256
MOST_MEMBERS: Final = 10_000


class Binding(Struct, frozen=True, kw_only=True):
    """What one RoleBinding gives: the role `slug` to users and service accounts, by their names in the cluster, and to
    groups. `name`: what it calls the role, if anything.
    """

    slug: str
    name: str | None = None
    users: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()


class Held(Struct, frozen=True, kw_only=True):
    """A role that somebody has, and since when."""

    slug: str
    since: datetime


class Member(Struct, frozen=True, kw_only=True):
    """A person or a service account of an org. `role`: what RBAC allowed when they last came, `seen`; `since`: when
    they were first known; all three null for somebody of another org. `roles`: those that RoleBindings give by this
    name, not by a group.
    """

    user: str
    email: str | None
    role: str | None
    roles: tuple[Held, ...]
    since: datetime | None
    seen: datetime | None


class Role(Struct, frozen=True, kw_only=True):
    """A role of an org, with the groups that hold it."""

    slug: str
    name: str
    groups: tuple[str, ...]
    since: datetime


class Members(Struct, frozen=True, kw_only=True):
    """All of them; `more`: there are more members than these."""

    namespace: str
    members: tuple[Member, ...] = ()
    roles: tuple[Role, ...] = ()
    more: bool = False
