"""Stable identities that need no row: of a job across versions, from (org, dag, name). compile's callers use them."""

from __future__ import annotations

from uuid import UUID, uuid5


def job_identity(org_id: UUID, dag: str, job: str) -> UUID:
    """The identity of a job over all its versions: a UUID of version 5 in the org's namespace."""
    return uuid5(org_id, f"job/{dag}/{job}")
