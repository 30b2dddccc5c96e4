"""The steps of a plan: what `state.apply` executes, in order, deciding nothing."""

from __future__ import annotations

from uuid import UUID

from msgspec import Struct

from headrace.compile.document import Compiled


class MarkPresent(Struct, frozen=True, kw_only=True):
    """The DAG's object is there: its uid and whether it is suspended; it `returns` if it was absent."""

    object_uid: str
    suspended: bool
    returns: bool = False


class DatasetRow(Struct, frozen=True, kw_only=True):
    """One output of the wanted document with its name, and the fingerprint of its contents."""

    job: str
    output: int
    name: str
    storage_base: str | None
    fingerprint: str


class NameDatasets(Struct, frozen=True, kw_only=True):
    """Outputs that exist and get another name: those of `renamed` (id, name)."""

    renamed: tuple[tuple[UUID, str], ...]


class AddVersion(Struct, frozen=True, kw_only=True):
    """A document seen for the first time: its version, jobs, datasets, dataset versions and pointer set."""

    compiled: Compiled
    datasets: tuple[DatasetRow, ...]


class Cutover(Struct, frozen=True, kw_only=True):
    """The version of `yaml_hash` becomes current, if `base` still is: work of unchanged jobs moves over."""

    base: UUID | None
    yaml_hash: str


Step = MarkPresent | NameDatasets | AddVersion | Cutover


class Blocked(Struct, frozen=True, kw_only=True):
    """Why a document cannot become a version now: a stable reason and, for people, the cause and the way out."""

    reason: str
    message: str


class Plan(Struct, frozen=True, kw_only=True):
    """Steps in order, none when there is nothing to do; with `blocked` only the presence is noted."""

    steps: tuple[Step, ...]
    blocked: Blocked | None = None
