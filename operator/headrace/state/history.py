"""The versions of a DAG as people look back on them; the gateway reads them, nothing here writes."""

from __future__ import annotations

from datetime import datetime

from msgspec import Struct

from headrace.api.history import History, VersionEntry, short_hash
from headrace.state.database import Transaction
from headrace.state.orgs import Org

MOST = 500
"""Versions that are told of; older ones are in Postgres."""


class _Row(Struct, frozen=True, kw_only=True):
    yaml_hash: str
    created_at: datetime
    current: bool
    served_since: datetime | None
    served_until: datetime | None
    rollout: str | None
    cause: str | None


class _Schema(Struct, frozen=True):
    version: int | None


async def read_history(tx: Transaction, org: Org, dag: str) -> History | None:
    """The versions of a DAG, newest first, at most MOST; None when it never had one."""
    rows = await tx.rows("dag_history", _Row, org_id=org.id, dag=dag, most=MOST)
    if not rows:
        return None
    versions = tuple(
        VersionEntry(
            yaml_hash=row.yaml_hash,
            short=short_hash(row.yaml_hash),
            created_at=row.created_at,
            current=row.current,
            served_since=row.served_since,
            served_until=row.served_until,
            rollout=row.rollout,
            cause=row.cause,
        )
        for row in rows
    )
    return History(dag=dag, versions=versions, previous=_previous(versions))


async def schema_version(tx: Transaction) -> int:
    """The number of the newest migration that was applied."""
    found = await tx.row("schema_version", _Schema)
    return (found and found.version) or 0


def _previous(versions: tuple[VersionEntry, ...]) -> str | None:
    """The version that served before: that of the others which stopped serving last."""
    others = {v.served_until: v.yaml_hash for v in versions if not v.current and v.served_until is not None}
    return others[max(others)] if others else None
