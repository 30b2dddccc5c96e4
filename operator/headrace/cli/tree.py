"""What `headrace status` tells, from the objects as they are: a namespace or a part of it as one value. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from msgspec import Struct

from headrace.api.history import short_hash
from headrace.api.words import counted
from headrace.cli.dags import Condition
from headrace.cli.objects import (
    Dag,
    Dataset,
    Job,
    NoSuchObject,
    View,
    dag_state,
    is_unhandled,
    is_up_to_date,
    job_in_trouble,
    not_fresh,
)

_MOST_JOBS: Final = 40
"""Of a DAG with more, a namespace's tree has those of which there is something to tell."""


class DatasetNode(Struct, frozen=True, kw_only=True, omit_defaults=True, rename="camel"):
    """A published dataset; `why`: why it is not as written yet."""

    name: str
    partitions: int = 0
    rows: int | None = None
    updated: str | None = None
    fresh: Condition | None = None
    why: str = ""


class JobNode(Struct, frozen=True, kw_only=True, omit_defaults=True, rename="camel"):
    """A job with what it publishes; `why`: why it does not run, or what failed."""

    name: str
    state: str
    done: int = 0
    waiting: int = 0
    running: int = 0
    failed: int = 0
    next_run: str | None = None
    why: str = ""
    datasets: tuple[DatasetNode, ...] = ()


class RolloutNode(Struct, frozen=True, kw_only=True, omit_defaults=True, rename="camel"):
    """The move to another version that goes on, or has failed; `why`: what it waits for, or why it ended so."""

    version: str
    state: str
    done: int = 0
    total: int = 0
    why: str = ""


class DagNode(Struct, frozen=True, kw_only=True, omit_defaults=True, rename="camel"):
    """A DAG; `quiet`: how many of its jobs are left out, since nothing is to be told of them."""

    name: str
    state: str
    up_to_date: bool
    version: str | None = None
    message: str = ""
    rollout: RolloutNode | None = None
    jobs: tuple[JobNode, ...] = ()
    quiet: int = 0
    datasets: tuple[DatasetNode, ...] = ()


class StatusTree(Struct, frozen=True, kw_only=True, rename="camel"):
    """A namespace, or what was asked for of it; `up_to_date`: everything there is, as it is
    written now, and no dataset is late.
    """

    namespace: str
    up_to_date: bool
    dags: tuple[DagNode, ...] = ()


@dataclass(frozen=True)
class _Wanted:
    """What is asked for: all, a DAG, a job of it, or a dataset. `all`: quiet jobs of large DAGs too."""

    dag: str | None = None
    job: str | None = None
    dataset: str | None = None
    all: bool = False


def status_tree(view: View, target: str | None, *, all_jobs: bool = False) -> StatusTree:
    """The tree of a namespace, or of the DAG, DAG/JOB or dataset that is called `target`; NoSuchObject if none is."""
    wanted = _wanted(view, target, all_jobs)
    names = [wanted.dag] if wanted.dag is not None else sorted(view.dag_names())
    dags = tuple(_dag(view, name, wanted) for name in names)
    return StatusTree(namespace=view.namespace, up_to_date=all(dag.up_to_date for dag in dags), dags=dags)


def _wanted(view: View, target: str | None, all_jobs: bool) -> _Wanted:
    if target is None:
        return _Wanted(all=all_jobs)
    dag, slash, job = target.partition("/")
    if dag in view.dag_names() and (not slash or (dag, job) in view.jobs):
        return _Wanted(dag, job or None, all=True)
    found = view.datasets.get(target)
    if found is not None:
        return _Wanted(found.spec.from_.dag, found.spec.from_.job or None, target, all=True)
    what = f"job {job} of DAG {dag}" if slash else f"DAG or dataset {target}"
    raise NoSuchObject(f"there is no {what} in namespace {view.namespace}")


def _dag(view: View, name: str, wanted: _Wanted) -> DagNode:
    datasets = [
        one for one in view.datasets.values()
        if one.spec.from_.dag == name and wanted.dataset in (None, one.name)
    ]  # fmt: skip
    jobs = [job for job in view.jobs_of(name) if wanted.job in (None, job.name)]
    handled = not (any(map(is_unhandled, jobs)) or any(map(is_unhandled, datasets)))
    quiet = 0
    if not wanted.all and len(jobs) > _MOST_JOBS:
        told = [job for job in jobs if job_in_trouble(job)]
        quiet, jobs = len(jobs) - len(told), told
    shown = {job.name for job in jobs}
    late = any(not_fresh(one) is not None for one in datasets)
    dag = view.dags.get(name)
    return DagNode(
        name=name,
        state=dag_state(dag) if dag else "Absent",
        up_to_date=dag is not None and is_up_to_date(dag) and handled and not late,
        version=short_hash(dag.status.version.yaml_hash) if dag and dag.status.version else None,
        message=dag.status.message if dag else f"there is no DAG {name}: apply it",
        rollout=_rollout(dag) if dag else None,
        jobs=tuple(_job(job, datasets) for job in jobs),
        quiet=quiet,
        # Of a job that is left out only what is late.
        datasets=tuple(
            _dataset(one)
            for one in datasets
            if one.spec.from_.job not in shown and (not quiet or not_fresh(one) is not None)
        ),
    )


def _rollout(dag: Dag) -> RolloutNode | None:
    found = dag.status.rollout
    if found is None or found.state not in ("Building", "Ready", "Failed"):
        return None
    return RolloutNode(
        version=short_hash(found.yaml_hash),
        state=found.state,
        done=found.tasks_done,
        total=found.tasks_total,
        why=found.waiting_for or found.cause,
    )


def _job(job: Job, datasets: list[Dataset]) -> JobNode:
    status = job.status
    return JobNode(
        name=job.name,
        state=status.state or "Unknown",
        done=status.units.done,
        waiting=status.waiting,
        running=status.running,
        failed=status.failed,
        next_run=status.next_run,
        why=status.waiting_for,
        datasets=tuple(_dataset(one) for one in datasets if one.spec.from_.job == job.name),
    )


def _dataset(dataset: Dataset) -> DatasetNode:
    status = dataset.status
    return DatasetNode(
        name=dataset.name,
        partitions=status.partitions or 0,
        rows=status.rows,
        updated=status.last_updated,
        fresh=status.condition("Fresh"),
        why=status.waiting_for,
    )


def counts(job: JobNode) -> str:
    """In words, the work of a job: what is done, and what is left if something is."""
    left = ((job.running, "running"), (job.waiting, "waiting"), (job.failed, "failed"))
    return ", ".join([f"{job.done:,} done", *(f"{count:,} {what}" for count, what in left if count)])


def contents(dataset: DatasetNode) -> str:
    """In words, what a dataset holds."""
    rows = f", {counted(dataset.rows, 'row')}" if dataset.rows is not None else ""
    return f"{counted(dataset.partitions, 'partition')}{rows}"
