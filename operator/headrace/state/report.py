"""What Postgres says of a DAG right now, for its status: read in one transaction, never written back."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from msgspec import Struct

from headrace.compile.document import SourceDocument
from headrace.plan.explanation import Explanation
from headrace.state.database import Transaction


class DagRow(Struct, frozen=True, kw_only=True):
    """The version that serves; `now` is Postgres' time. `cap`: how many tasks of its org may run at once, if that is
    limited; `org_running`: how many do, where it is.
    """

    version: UUID
    yaml_hash: str
    since: datetime
    suspended: bool
    absent: bool
    now: datetime
    pinned_hash: str | None = None
    cap: int | None = None
    org_running: int = 0


class RolloutRow(Struct, frozen=True, kw_only=True):
    """The last rollout: of which document, from which; `done` and `open`: tasks of its build while it goes on;
    `trouble`: why the first of those that will be tried again failed, if any did; `behind`: sources that start over and
    have not come as far as in the version that serves.
    """

    yaml_hash: str
    base_hash: str | None
    state: str
    cause: str | None
    strategy: str
    planned_tasks: int
    plan: Explanation | None
    created_at: datetime
    ready_at: datetime | None
    finished_at: datetime | None
    build_approved: bool
    cutover_approved: bool
    held: bool
    done: int
    open: int
    trouble: str | None = None
    behind: list[str] = []


class CommandRow(Struct, frozen=True, kw_only=True):
    """The last request of a command, and in words what came of it."""

    command: str
    request_id: str
    argument: str
    outcome: str
    handled_at: datetime


class JobRow(Struct, frozen=True, kw_only=True):
    """A job that serves. Counts are of tasks; `held`: waiting ones that wait for older upstream work of their key;
    `unmade`: the inputs that it reads as a whole and that have nothing yet; `stale`: how many units were made from such
    an input as it was before; `trouble`: why a webhook can take no delivery; `workers`: how many of them there are.
    """

    name: str
    activation: str
    runtime: str
    source: SourceDocument | None
    container: str | None
    pod: dict[str, object] | None
    scaling: dict[str, object]
    waiting: int
    running: int
    failed: int
    held: int
    done: int
    retry_at: datetime | None
    failure: str | None
    failed_key: str | None
    last_id: UUID | None
    last_status: str | None
    last_partition: str | None
    last_at: datetime | None
    last_message: str | None
    last_pod: str | None
    last_tick: datetime | None
    trouble: str | None = None
    unmade: list[str] = []
    stale: int = 0
    workers: int = 0

    @property
    def runs_on(self) -> bool:
        """Whether it is a source that runs on and on."""
        return self.source is not None and self.source.kind == "always_on"


class BuildRow(Struct, frozen=True, kw_only=True):
    """What is left of a job in the version of `yaml_hash`, which is being built or whose build failed, in tasks;
    `workers`: how many of them there are.
    """

    name: str
    yaml_hash: str
    waiting: int
    running: int
    failed: int
    retry_at: datetime | None
    failure: str | None
    failed_key: str | None
    runtime: str = "pod"
    workers: int = 0


class GoneRow(Struct, frozen=True, kw_only=True):
    """A job that serves reads the dataset of a DAG whose object is gone."""

    job: str
    dataset: str
    dag: str


class DatasetRow(Struct, frozen=True, kw_only=True):
    """An output that serves; rows and bytes as far as tasks reported them, None if none did. `rebuilding`: hash of the
    document for whose version it is made anew, if it is.
    """

    name: str
    job: str
    output: int
    version: UUID
    location: str
    partitions: int
    rows: int | None
    bytes: int | None
    updated: datetime | None
    consumers: list[str]
    rebuilding: str | None = None


class Report(Struct, frozen=True, kw_only=True):
    """All of it; `dag` is None while no version serves."""

    dag: DagRow | None = None
    rollout: RolloutRow | None = None
    commands: tuple[CommandRow, ...] = ()
    jobs: tuple[JobRow, ...] = ()
    builds: tuple[BuildRow, ...] = ()
    gone: tuple[GoneRow, ...] = ()
    datasets: tuple[DatasetRow, ...] = ()


async def read_report(tx: Transaction, org_id: UUID, dag: str) -> Report:
    """The state of a DAG."""
    return Report(
        dag=await tx.row("report_dag", DagRow, org_id=org_id, dag=dag),
        rollout=await tx.row("report_rollout", RolloutRow, org_id=org_id, dag=dag),
        commands=tuple(await tx.rows("report_commands", CommandRow, org_id=org_id, dag=dag)),
        jobs=tuple(await tx.rows("report_jobs", JobRow, org_id=org_id, dag=dag)),
        builds=tuple(await tx.rows("report_builds", BuildRow, org_id=org_id, dag=dag)),
        gone=tuple(await tx.rows("report_gone", GoneRow, org_id=org_id, dag=dag)),
        datasets=tuple(await tx.rows("report_datasets", DatasetRow, org_id=org_id, dag=dag)),
    )
