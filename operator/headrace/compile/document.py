"""The canonical document: what a DAG means, fully defaulted, in the seed's snake_case. compile makes it, plan reads it.

Lists that are sets are sorted by their key, ordered ones are left as written. Two ways of writing the same pipeline
give equal documents. What `yaml_hash` leaves out (suspend, rollout, deletion policy) is no part of it. A field that is
new has a default and is left out while it has it, so that documents that do not use it keep their hashes.
"""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

from headrace.api.inputs import PartitionBy
from headrace.compile.graph import positions

Activation = Literal["source", "reactive"]
Runtime = Literal["dispatcher", "pod", "worker"]


class InputDocument(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One input of a reactive job, under the task's name for it: an output of another job of the DAG.

    With `dataset`, the published dataset of that name of another DAG: `job` is then empty and `output` 0. `where`: what
    the task is to read of it, by field the scalar or the sorted scalars that it may equal. `on_change`: what a change
    of it does to what is made already; `update`: each sets off a task, which is given what came with it.
    """

    name: str
    job: str
    output: int
    match: Literal["same", "latest"]
    dataset: str | None = None
    where: dict[str, object] | None = None
    on_change: Literal["stale", "rerun", "update"] = "stale"


class CronDocument(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """When a cron source ticks and which partition a tick makes; times are ISO 8601 with an offset."""

    schedule: str
    time_zone: str
    catch_up: Literal["none", "latest", "all"]
    start: str | None = None
    end: str | None = None


class TickPartition(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The key of a tick: strftime of the instant `offset` ticks away; of an event, that of its time in UTC."""

    format: str
    offset: int


class RangeDocument(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A range of partition keys, both ends included."""

    start: str
    end: str
    every: str
    format: str


class SourceDocument(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What starts a source job. `values` or `range` list its partitions; neither: the whole, `*`.

    `secret`: the Secret that has the keys of a webhook's signatures. `replay`: it can start over from the beginning.
    """

    kind: Literal["manual", "cron", "webhook", "always_on"]
    cron: CronDocument | None = None
    partition: TickPartition | None = None
    values: tuple[str, ...] | None = None
    range: RangeDocument | None = None
    secret: str | None = None
    replay: bool = False


class ScalingDocument(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Tasks of the job at once, tasks that one worker may hold, and the priority of its work."""

    max_concurrency: int
    batch: int
    mode: Literal["live", "backfill"]


class ColumnFrom(Struct, frozen=True, kw_only=True):
    """A column of an input, by the task's name for it."""

    input: str
    column: str


class LineageDocument(Struct, frozen=True, kw_only=True, omit_defaults=True, rename={"from_": "from"}):
    """Which columns of the inputs a column of an output is made from."""

    column: str
    from_: tuple[ColumnFrom, ...]
    output: int = 0


class JobDocument(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One job; `pod` is its merged pod template, with `container` the name of the container that is the task."""

    name: str
    activation: Activation
    runtime: Runtime
    operator: str
    source: SourceDocument | None
    inputs: tuple[InputDocument, ...]
    outputs: int
    pod: dict[str, object] | None
    container: str
    execution_strategy: Literal["PerPartition", "PerUpdate"]
    update_strategy: Literal["replace", "append"]
    unique_key: tuple[str, ...]
    idle_timeout: str
    scaling: ScalingDocument
    timeout_seconds: int
    heartbeat_timeout_seconds: int
    max_attempts: int
    config: dict[str, object]
    config_schema: dict[str, object] | None
    code_version: str | None
    params_schema: dict[str, object] | None = None
    side_effects: bool = False
    coalesce: bool = False
    partition_by: PartitionBy | None = None
    report: Literal["termination", "gateway"] = "termination"
    lineage: tuple[LineageDocument, ...] = ()

    def made_from(self) -> dict[str, object] | None:
        """What its pods are made from, as jobs.pod keeps it; None without. Workers report to the gateway anyway."""
        if self.pod is None:
            return None
        own: dict[str, object] = {"template": self.pod, "container": self.container}
        return own | {"report": self.report} if (self.runtime, self.report) == ("pod", "gateway") else own


class ColumnDocument(Struct, frozen=True, omit_defaults=True):
    """A column, its type as in SQL."""

    name: str
    type: str
    nullable: bool = True


class PublishDocument(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An output with a name of its own; `storage_base` is a URI prefix, None for the operator's. `columns`: what its
    contents must have, its contract; none: anything.
    """

    name: str
    job: str
    output: int
    storage_base: str | None
    description: str
    columns: tuple[ColumnDocument, ...] = ()


class Document(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A whole DAG."""

    dag: str
    jobs: tuple[JobDocument, ...]
    publish: tuple[PublishDocument, ...]


class CompiledJob(Struct, frozen=True, kw_only=True):
    """What the hashes and the graph say of one job; `outputs` are the fingerprints of its outputs in order.

    `position` is its place in `Document.jobs`, counted from 0; `upstream` has the bit of every job's position that it
    reads from, at any distance; `awaited` of those of them whose data it, or what it reads from, reads as a whole: None
    where nothing does. `document_hash` is of the whole JobDocument: equal when nothing at all changed. `pod` is equal
    for jobs whose pods the API server would judge alike, and empty for those without pods.
    """

    config_hash: str
    document_hash: str
    pod: str
    fingerprint: str
    outputs: tuple[str, ...]
    position: int
    upstream: int
    awaited: int | None = None


class Compiled(Struct, frozen=True, kw_only=True):
    """A document with its hashes; `jobs` by name, in the order of `document.jobs`.

    `external`: the datasets of other DAGs that its jobs read, sorted; `warnings` for people, changing nothing.
    """

    document: Document
    yaml_hash: str
    jobs: dict[str, CompiledJob]
    external: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    def document_of(self, job: str) -> JobDocument:
        """The document of one job."""
        return self.document.jobs[self.jobs[job].position]

    def upstream_of(self, job: str) -> frozenset[str]:
        """The names of all jobs upstream of `job`."""
        return frozenset(self.document.jobs[place].name for place in positions(self.jobs[job].upstream))
