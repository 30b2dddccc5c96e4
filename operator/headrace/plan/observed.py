"""What Postgres says of a DAG, read once and frozen: the other half of what a plan is made from."""

from __future__ import annotations

from uuid import UUID

from msgspec import Struct


class Presence(Struct, frozen=True, kw_only=True):
    """The DAG's row in `dags`: which object it was, whether that is suspended or gone."""

    object_uid: str
    suspended: bool
    absent: bool


class ObservedDataset(Struct, frozen=True, kw_only=True):
    """A dataset of the org: an output of this DAG, or whoever holds a name that this DAG asks for."""

    id: UUID
    name: str
    dag: str
    job: str
    output: int
    storage_base: str | None


class ObservedJob(Struct, frozen=True, kw_only=True):
    """A job of the serving version; `undone`: its units done there that the wanted fingerprint has not done."""

    name: str
    fingerprint: str
    undone: int


class Observed(Struct, frozen=True, kw_only=True):
    """All of it. `current_hash` and `current_version`: what serves; `wanted_version`: the row of the wanted hash."""

    org_id: UUID
    presence: Presence | None = None
    current_version: UUID | None = None
    current_hash: str | None = None
    wanted_version: UUID | None = None
    datasets: tuple[ObservedDataset, ...] = ()
    jobs: tuple[ObservedJob, ...] = ()
