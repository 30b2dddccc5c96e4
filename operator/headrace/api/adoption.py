"""Orgs that a namespace could adopt, and what came of an adoption, as the gateway tells them."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from msgspec import Struct


class Adoptable(Struct, frozen=True, kw_only=True):
    """An org that was left behind by a namespace which is gone; `org`: what it is called now."""

    org: str
    id: UUID
    since: datetime
    dags: int
    partitions: int


class Adoptables(Struct, frozen=True, kw_only=True):
    """Those that were of a namespace of this name, newest first."""

    namespace: str
    orgs: tuple[Adoptable, ...] = ()


class Adopted(Struct, frozen=True, kw_only=True):
    """A namespace has the org `id`, which was called `org`; `before`: what its former one is called now, if any."""

    namespace: str
    org: str
    id: UUID
    before: str | None = None
