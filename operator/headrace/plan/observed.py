"""What Postgres says of a DAG, read once and frozen: the other half of what a plan is made from."""

from __future__ import annotations

from uuid import UUID

from msgspec import Struct

from headrace.compile.document import ColumnDocument, Compiled, PublishDocument
from headrace.plan.steps import SameData


class Presence(Struct, frozen=True, kw_only=True):
    """The DAG's row in `dags`: which object it was, whether that is suspended or gone, which document is pinned."""

    object_uid: str
    suspended: bool
    absent: bool
    pinned_hash: str | None = None


class UnderWay(Struct, frozen=True, kw_only=True):
    """The rollout that builds or waits. `builds`: it is approved to build; `bounded`: else it waits for the number of
    its tasks alone. `deadline` in seconds.
    """

    id: UUID
    yaml_hash: str
    base: UUID | None
    strategy: str
    planned_tasks: int
    builds: bool
    bounded: bool = True
    deadline: int | None = None


class FailedRollout(Struct, frozen=True, kw_only=True):
    """The last rollout, which failed; `stopped`: a person gave it up."""

    id: UUID
    yaml_hash: str
    cause: str
    stopped: bool = False


class DifferingJob(Struct, frozen=True, kw_only=True):
    """A job in which the wanted document and the one that serves differ.

    `wanted`: it is in the wanted one; `fingerprint` that it serves with, None where it does not serve; `document` that
    it serves with, where that is another.
    """

    name: str
    wanted: bool
    fingerprint: str | None = None
    document: dict[str, object] | None = None


class Owner(Struct, frozen=True, kw_only=True):
    """Whose a published name is."""

    name: str
    dag: str


class Reader(Struct, frozen=True, kw_only=True):
    """A job of another DAG that reads an output which this DAG publishes."""

    dataset: str
    job: str
    output: int
    dag: str
    reader: str


class Ancestry(Struct, frozen=True, kw_only=True):
    """A dataset of another DAG that this one reads, and a job of this one that it is made from."""

    dataset: str
    job: str


class Obstacle(Struct, frozen=True, kw_only=True):
    """Why a version may not serve: a stable reason, and what it is about."""

    reason: str
    what: str


class UnitCount(Struct, frozen=True, kw_only=True):
    """A job to build: units that its inputs give, and how many are done with inputs that are still the same."""

    job: str
    units: int
    done: int


class Use(Struct, frozen=True, kw_only=True):
    """A column of a dataset that a job uses, by its lineage."""

    dataset: str
    column: str
    dag: str
    job: str


class LastColumns(Struct, frozen=True, kw_only=True):
    """The columns of a dataset that were reported last, of the data that the wanted document has it point to."""

    dataset: str
    columns: tuple[ColumnDocument, ...]


class Observed(Struct, frozen=True, kw_only=True):
    """All of it.

    `compiled`: the wanted document with the fingerprints that its data have; `same_data`: what is new of that.
    `current_*`: what serves, with what it publishes (`base_publish`); `wanted_version`: the wanted document's row, if
    it ever `served` and if all of its data are `intact`; `absent`: datasets of other DAGs that are read, and nobody
    publishes them; `uses`, `columns`: of datasets whose contracts change; `repoints`: the wanted version is known, and
    its data are others by now; `obstacles`: why what served may not go on, for a DAG that comes back; `forgotten`:
    sources whose history cannot be made again; `unlike`: jobs whose data cannot be reused, though that is wished for.
    """

    org_id: UUID
    compiled: Compiled
    same_data: tuple[SameData, ...] = ()
    presence: Presence | None = None
    current_version: UUID | None = None
    current_hash: str | None = None
    wanted_version: UUID | None = None
    served: bool = False
    intact: bool = True
    repoints: bool = False
    base_publish: tuple[PublishDocument, ...] = ()
    obstacles: tuple[Obstacle, ...] = ()
    under_way: UnderWay | None = None
    failed: FailedRollout | None = None
    jobs: tuple[DifferingJob, ...] = ()
    owners: tuple[Owner, ...] = ()
    readers: tuple[Reader, ...] = ()
    uses: tuple[Use, ...] = ()
    columns: tuple[LastColumns, ...] = ()
    absent: tuple[str, ...] = ()
    ancestry: tuple[Ancestry, ...] = ()
    counts: tuple[UnitCount, ...] = ()
    forgotten: tuple[str, ...] = ()
    unlike: tuple[str, ...] = ()
