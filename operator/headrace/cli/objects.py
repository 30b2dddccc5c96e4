"""The three kinds of a namespace as `status` and `why` read them, from the API server alone: no gateway is asked.

The shapes are loose, so that what a newer operator writes is read too.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from msgspec import Struct
from msgspec import field as default

from headrace.api.names import DAG, DATASET, JOB
from headrace.cli.dags import Condition, Version
from headrace.cluster.client import Client
from headrace.cluster.objects import object_path
from headrace.errors import PermanentError

_PROBLEMS: Final = ("Stalled", "Reconciling", "Degraded")


class NoSuchObject(PermanentError):
    """A name that no DAG, job or dataset of the namespace has."""


class Meta(Struct, frozen=True, rename="camel"):
    """What is used of an object's metadata."""

    name: str
    generation: int = 0
    deletion_timestamp: str | None = None


class _Conditions(Struct, frozen=True, rename="camel"):
    observed_generation: int = -1
    conditions: list[Condition] = default(default_factory=list)

    def condition(self, type_: str) -> Condition | None:
        """The condition of that type, whatever it says."""
        return next((c for c in self.conditions if c.type == type_), None)

    def true(self, type_: str) -> Condition | None:
        """The condition of that type if it is True."""
        found = self.condition(type_)
        return found if found is not None and found.status == "True" else None


class Counts(Struct, frozen=True):
    """Tasks of a DAG."""

    waiting: int = 0
    running: int = 0
    failed: int = 0
    completed: int = 0


class Rollout(Struct, frozen=True, rename="camel"):
    """The last move to another version."""

    state: str
    yaml_hash: str
    tasks_done: int = 0
    tasks_total: int = 0
    waiting_for: str = ""
    cause: str = ""


class Plan(Struct, frozen=True):
    """The jobs that its plan names, with words after a colon."""

    changed: list[str] = default(default_factory=list)
    added: list[str] = default(default_factory=list)
    downstream: list[str] = default(default_factory=list)


class DagStatus(_Conditions, frozen=True, rename="camel"):
    """What the operator tells of a DAG."""

    version: Version | None = None
    rollout: Rollout | None = None
    plan: Plan | None = None
    tasks: Counts | None = None
    message: str = ""


class From(Struct, frozen=True):
    """What an input reads: an output of a job of the DAG, or a published dataset."""

    job: str | None = None
    dataset: str | None = None


class Input(Struct, frozen=True, rename={"from_": "from"}):
    """An input."""

    from_: From = default(default_factory=From)


class InlineJob(Struct, frozen=True):
    """A job as a DAG writes it."""

    name: str
    inputs: list[Input] | None = None


class Entry(Struct, frozen=True, rename={"from_": "from"}):
    """A dataset as a DAG publishes it."""

    name: str
    from_: From = default(default_factory=From)


class DagSpec(Struct, frozen=True):
    """What is used of a DAG's spec."""

    jobs: list[InlineJob] | None = None
    publish: list[Entry] | None = None
    suspend: bool | None = None


class Dag(Struct, frozen=True):
    """A DAG."""

    metadata: Meta
    spec: DagSpec = default(default_factory=DagSpec)
    status: DagStatus = default(default_factory=DagStatus)


class JobSpec(Struct, frozen=True, rename="camel"):
    """What is used of a Job's spec."""

    dag: str
    job_name: str | None = None
    projected: bool | None = None
    inputs: list[Input] | None = None


class Units(Struct, frozen=True):
    """Units of work."""

    done: int = 0
    stale: int = 0


class JobStatus(_Conditions, frozen=True, rename="camel"):
    """What the operator tells of a job."""

    state: str = ""
    waiting: int = 0
    running: int = 0
    failed: int = 0
    units: Units = default(default_factory=Units)
    next_run: str | None = None
    waiting_for: str = ""


class Job(Struct, frozen=True):
    """A Job object, whoever wrote it."""

    metadata: Meta
    spec: JobSpec
    status: JobStatus = default(default_factory=JobStatus)

    @property
    def name(self) -> str:
        """The job's name in its DAG."""
        return self.spec.job_name or self.metadata.name


class _DatasetFrom(Struct, frozen=True):
    dag: str
    job: str = ""


class DatasetSpec(Struct, frozen=True, rename={"from_": "from", "dataset_name": "datasetName"}):
    """What is used of a Dataset's spec."""

    from_: _DatasetFrom
    dataset_name: str | None = None
    projected: bool | None = None


class DatasetStatus(_Conditions, frozen=True, rename="camel"):
    """What the operator tells of a dataset."""

    name: str | None = None
    partitions: int | None = None
    rows: int | None = None
    last_updated: str | None = None
    waiting_for: str = ""


class Dataset(Struct, frozen=True):
    """A Dataset object, whoever wrote it."""

    metadata: Meta
    spec: DatasetSpec
    status: DatasetStatus = default(default_factory=DatasetStatus)

    @property
    def name(self) -> str:
        """The name by which it is read."""
        written = self.spec.dataset_name or self.metadata.name.rpartition(".")[2].replace("-", "_")
        return self.status.name or written


@dataclass(frozen=True)
class View:
    """A namespace: DAGs by name, jobs by DAG and name, datasets by name."""

    namespace: str
    dags: Mapping[str, Dag] = field(default_factory=dict)
    jobs: Mapping[tuple[str, str], Job] = field(default_factory=dict)
    datasets: Mapping[str, Dataset] = field(default_factory=dict)

    def dag_names(self) -> set[str]:
        """The DAGs that are there, or that a job or dataset names."""
        return {*self.dags, *(dag for dag, _ in self.jobs), *(one.spec.from_.dag for one in self.datasets.values())}

    def jobs_of(self, dag: str) -> list[Job]:
        """The jobs of a DAG: in the order in which it writes them, then by name."""
        found = [job for (of, _), job in self.jobs.items() if of == dag]
        spec = self.dags[dag].spec if dag in self.dags else DagSpec()
        place = {one.name: number for number, one in enumerate(spec.jobs or ())}
        return sorted(found, key=lambda job: (place.get(job.name, len(place)), job.name))

    def inputs_of(self, dag: str, job: str) -> Iterator[From]:
        """What a job reads, as far as a spec that is there says so."""
        written = self.jobs.get((dag, job))
        if written is not None and not written.spec.projected:
            yield from (one.from_ for one in written.spec.inputs or ())
        elif dag in self.dags:
            for one in self.dags[dag].spec.jobs or ():
                if one.name == job:
                    yield from (given.from_ for given in one.inputs or ())

    def publisher(self, dag: str, dataset: str) -> bool:
        """Whether a DAG publishes a dataset itself: an input that names it stays within the DAG."""
        found = self.datasets.get(dataset)
        return found is not None and found.spec.from_.dag == dag


class _Listing(Struct, frozen=True):
    items: list[Dag]


class _Jobs(Struct, frozen=True):
    items: list[Job]


class _Datasets(Struct, frozen=True):
    items: list[Dataset]


async def read_view(client: Client, namespace: str) -> View:
    """All objects of the namespace; Refused for who may not list them, NoSuchObject where the kinds are unknown."""
    dags, jobs, datasets = await asyncio.gather(
        client.get(object_path(DAG, namespace), _Listing),
        client.get(object_path(JOB, namespace), _Jobs),
        client.get(object_path(DATASET, namespace), _Datasets),
    )
    if dags is None or jobs is None or datasets is None:
        raise NoSuchObject("the cluster knows no DAG, Job and Dataset of headrace.dev: apply crds/")
    return view(namespace, dags.items, jobs.items, datasets.items)


def view(namespace: str, dags: list[Dag], jobs: list[Job], datasets: list[Dataset]) -> View:
    """The objects by what they are called; of two that are called alike the one that shows what serves."""
    return View(
        namespace=namespace,
        dags={dag.metadata.name: dag for dag in sorted(dags, key=lambda one: one.metadata.name)},
        jobs={(j.spec.dag, j.name): j for j in sorted(jobs, key=lambda one: bool(one.spec.projected))},
        datasets={d.name: d for d in sorted(datasets, key=lambda one: bool(one.spec.projected))},
    )


def dag_state(dag: Dag) -> str:
    """In one word, what a DAG does: the gravest first, as its message tells it."""
    status = dag.status
    if dag.metadata.deletion_timestamp is not None:
        return "Deleting"
    if status.true("Stalled"):
        return "Stalled"
    if status.true("Reconciling") or status.observed_generation != dag.metadata.generation:
        return "Reconciling"
    if not status.true("Ready"):
        return "NotReady"
    if status.true("Degraded"):
        return "Degraded"
    serving, rebuilding = status.condition("Serving"), status.true("Rebuilding")
    if serving is not None and serving.reason == "Pinned":
        return "Pinned"
    if rebuilding is not None:
        return "AwaitingApproval" if rebuilding.reason == "AwaitingApproval" else "Rebuilding"
    if dag.spec.suspend:
        return "Suspended"
    return "UpToDate" if status.true("UpToDate") else "Working"


def is_up_to_date(dag: Dag) -> bool:
    """Whether the operator says so of the spec as it is now."""
    status = dag.status
    return bool(status.true("UpToDate")) and status.observed_generation == dag.metadata.generation


def is_unhandled(member: Job | Dataset) -> bool:
    """Whether somebody wrote it, and the operator has not taken it in as it is now."""
    return not member.spec.projected and member.status.observed_generation != member.metadata.generation


def not_fresh(dataset: Dataset) -> Condition | None:
    """Its condition Fresh where that is False."""
    found = dataset.status.condition("Fresh")
    return found if found is not None and found.status == "False" else None


def job_in_trouble(job: Job) -> bool:
    """Whether a job does not go on as it should, or not at all: work left, failures, or a reason not to run."""
    troubled = any(job.status.true(type_) for type_ in _PROBLEMS)
    return job.status.state not in ("", "Idle") or job.status.failed > 0 or bool(job.status.waiting_for) or troubled
