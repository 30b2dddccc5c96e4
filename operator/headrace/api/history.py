"""What people are told of a DAG's versions and names: the gateway sends these, the command line shows them."""

from __future__ import annotations

from datetime import datetime

from msgspec import Struct

SHORT = 10


class VersionEntry(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One version. `short`: the beginning of its hash, as people write it; `served_since` and `served_until`: the last
    time that it served, as far as known; `rollout`: the state of the last rollout to it, `cause` why it is so.
    """

    yaml_hash: str
    short: str
    created_at: datetime
    current: bool = False
    served_since: datetime | None = None
    served_until: datetime | None = None
    rollout: str | None = None
    cause: str | None = None


class History(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The versions of a DAG, newest first. `previous`: the hash of the one that a rollback returns to."""

    dag: str
    versions: tuple[VersionEntry, ...]
    previous: str | None = None


class Transferred(Struct, frozen=True, kw_only=True):
    """A dataset's name that belongs to another DAG now."""

    dataset: str
    dag: str
    before: str


def short_hash(yaml_hash: str) -> str:
    """The beginning of a hash without its algorithm's version, as `v1-9f2c…` gives `9f2c…`."""
    return yaml_hash.partition("-")[2][:SHORT]
