"""The jobs and datasets of a DAG as objects: shows the inline ones, and writes the statuses of all. reconcile calls it.

A part that somebody wrote as an object of its own shows itself; for every other of the version that serves there is a
projected object, made, restored and deleted here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import TypeVar

from headrace.api import names
from headrace.cluster.client import Client
from headrace.cluster.objects import Body, Key, Objects
from headrace.cluster.writes import Status, Written, project, write_statuses
from headrace.compile.members import Members, inline
from headrace.state.report import DatasetRow, JobRow, Report
from headrace.status.datasets import Upkeep, dataset_status
from headrace.status.members import (
    ORPHAN_SECONDS,
    Standing,
    generation_of,
    member_dataset_status,
    member_job_status,
    orphan_status,
    written_dataset,
    written_job,
)
from headrace.status.parts import NotRunning, job_status, job_words

R = TypeVar("R", JobRow, DatasetRow)


async def tell_parts(
    client: Client,
    objects: Objects,
    written: Written,
    dag: Body,
    key: Key,
    report: Report,
    standing: Standing,
    idle: NotRunning,
    freshness: Mapping[str, timedelta],
    now: datetime,
    *,
    whole: bool,
) -> None:
    """Show the parts of what serves, and write the statuses of every part's object that differ.

    `idle`: why pods and workers do not run. `freshness`: how old the last updates of datasets may be, by name. `whole`:
    nothing is awaited, so that what serves and is not written as an object now is not about to be either.
    """
    jobs = {row.name: row for row in report.jobs}
    builds = {row.name: row for row in report.builds}
    datasets = {row.name: row for row in report.datasets if "." not in row.name}
    authored_jobs = objects.authored(names.JOB, key)
    authored_datasets = objects.authored(names.DATASET, key)
    told: list[tuple[str, Body, Status]] = []

    def upkeep(row: DatasetRow | None) -> Upkeep:
        if report.dag is None or row is None or row.name not in freshness:
            return Upkeep()
        job = jobs[row.job]
        return Upkeep(freshness[row.name], job_words(key.name, report.dag, job, builds.get(job.name), idle))

    if report.dag is not None:
        own_jobs = {written_job(b) for n, b in authored_jobs.items() if (names.JOB, n) not in standing.others}
        own_datasets = {
            written_dataset(b) for n, b in authored_datasets.items() if (names.DATASET, n) not in standing.others
        }
        shown_jobs = _shown(objects, names.JOB, key, jobs, own_jobs, inline(dag, "jobs"), whole=whole)
        shown_datasets = _shown(
            objects, names.DATASET, key, datasets, own_datasets, inline(dag, "publish"), whole=whole
        )
        await project(client, objects, names.JOB, dag, {n: _job_spec(key, row) for n, row in shown_jobs.items()})
        wanted = {n: _dataset_spec(key, row) for n, row in shown_datasets.items()}
        await project(client, objects, names.DATASET, dag, wanted)
        for name, job in shown_jobs.items():
            there = objects.get(names.JOB, key.namespace, name)
            if there is not None:
                generation, build = generation_of(there)[1], builds.get(job.name)
                told.append((names.JOB, there, job_status(there, generation, key.name, report.dag, job, build, idle)))
        for name, dataset in shown_datasets.items():
            there = objects.get(names.DATASET, key.namespace, name)
            if there is not None:
                generation = generation_of(there)[1]
                status = dataset_status(there, generation, key.name, report.dag, dataset, upkeep(dataset))
                told.append((names.DATASET, there, status))
    for body in authored_jobs.values():
        row, build = jobs.get(written_job(body)), builds.get(written_job(body))
        told.append((names.JOB, body, member_job_status(body, standing, report.dag, row, build, idle, now)))
    for body in authored_datasets.values():
        found = datasets.get(written_dataset(body))
        told.append((names.DATASET, body, member_dataset_status(body, standing, report.dag, found, upkeep(found), now)))
    await write_statuses(client, objects, told, written)


def standing_of(
    dag: str, registered: Members, others: Iterable[tuple[str, str]], wrong: Mapping[str, str], *, waiting: bool
) -> Standing:
    """How the objects that name `dag` stand; `waiting`: for other members, or else for their DAG to be mended."""
    bodies = ((names.JOB, registered.jobs), (names.DATASET, registered.datasets))
    return Standing(
        registered={(kind, name): generation_of(body) for kind, found in bodies for name, body in found.items()},
        others=frozenset(others),
        wrong=wrong,
        reason="WaitingForMembers" if waiting else "WaitingForDAG",
        message=f"in no version yet: see the conditions of DAG {dag}",
    )


async def tell_orphans(client: Client, objects: Objects, written: Written, key: Key, now: datetime) -> float | None:
    """Tell the objects that name a DAG that is not there; after how many seconds to look again, if at all."""
    alone = objects.clock() - objects.changes(key).last
    orphans = [(kind, body) for kind in (names.JOB, names.DATASET) for body in objects.authored(kind, key).values()]
    await write_statuses(
        client, objects, [(kind, body, orphan_status(kind, body, alone, now)) for kind, body in orphans], written
    )
    return ORPHAN_SECONDS - alone if orphans and alone < ORPHAN_SECONDS else None


def _shown(
    objects: Objects,
    kind: str,
    key: Key,
    rows: Mapping[str, R],
    own: set[str],
    written: frozenset[str],
    *,
    whole: bool,
) -> dict[str, R]:
    """Name of the projected object to what it shows: what is inline, and what serves although nobody writes it now.

    While members are awaited, of the latter only what is shown already: an object that is made anew is gone a moment.
    """
    there = objects.projected(kind, key)
    named = {
        names.project_name(key.name, name): row for name, row in rows.items() if name in written or name not in own
    }
    return {shown: row for shown, row in named.items() if whole or row.name in written or shown in there}


def _job_spec(key: Key, row: JobRow) -> Body:
    return {"dag": key.name, "jobName": row.name, "projected": True}


def _dataset_spec(key: Key, row: DatasetRow) -> Body:
    return {"from": {"dag": key.name, "job": row.job, "output": row.output}, "projected": True}
