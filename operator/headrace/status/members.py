"""The statuses of Job and Dataset objects that somebody wrote: those of their rows, once they are in a version.

Pure; `parts` calls it for each object. Until its generation is in a registered version an object is Reconciling, or
Stalled by what is wrong with itself; kstatus and GitOps tools wait for it so.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, TypeVar

import msgspec

from headrace.api import names
from headrace.api.status import Condition, DatasetStatus, JobStatus
from headrace.compile.members import Body, dag_named, name_of
from headrace.compile.parts import dataset_name, job_name
from headrace.state.report import BuildRow, DagRow, DatasetRow, JobRow
from headrace.status.conditions import condition, dated, observed_generation, told, words
from headrace.status.datasets import Upkeep, dataset_status
from headrace.status.parts import NotRunning, built_status, job_status

S = TypeVar("S", JobStatus, DatasetStatus)
Generation = tuple[str, int]
"""An object's uid and generation."""

ORPHAN_SECONDS: Final = 30.0
"""After so long without its DAG an object is Ready: nothing is being done about it, and GitOps tools go on."""
_IN_VERSION: Final = ("InServingVersion", "InNewVersion")


@dataclass(frozen=True)
class Standing:
    """How the objects that name a DAG stand after a reconcile of it.

    `registered`: (kind, name) to what of it is in the registered version; `others` are not listed by the DAG; `wrong`:
    `Job a` to what is wrong with it; `reason`, `message`: why whatever else is not registered waits.
    """

    registered: Mapping[tuple[str, str], Generation] = field(default_factory=dict)
    others: frozenset[tuple[str, str]] = frozenset()
    wrong: Mapping[str, str] = field(default_factory=dict)
    reason: str = "Delayed"
    message: str = "its DAG has not taken it in yet"


def generation_of(body: Body) -> Generation:
    """The object's uid and generation."""
    metadata = body["metadata"]
    assert isinstance(metadata, Mapping)  # noqa: S101 - the API server's own
    return str(metadata.get("uid")), int(metadata.get("generation", 0))


def written_job(body: Body) -> str:
    """The name of the job that a Job object writes."""
    return job_name(name_of(body), _spec(body).get("jobName"))


def written_dataset(body: Body) -> str:
    """The name of the dataset that a Dataset object writes."""
    return dataset_name(name_of(body), _spec(body).get("datasetName"))


def member_job_status(
    body: Body,
    standing: Standing,
    serving: DagRow | None,
    row: JobRow | None,
    build: BuildRow | None,
    idle: NotRunning,
    now: datetime,
) -> JobStatus:
    """Of a Job object: `row` is the job of its name in the version that serves, if any; the rest as in job_status."""
    _, generation = generation_of(body)
    dag = dag_named(names.JOB, body) or ""
    if serving is None or row is None or (names.JOB, name_of(body)) in standing.others:
        facts = JobStatus(dag=dag, job_name=written_job(body), state="Idle")
        if build is not None and (names.JOB, name_of(body)) not in standing.others:
            facts = built_status(facts, serving, build)
    else:
        facts = job_status(body, generation, dag, serving, row, build, idle)
    made = _finished(names.JOB, body, standing, facts, now)
    waits = made.state == "Idle" and any(c.type in ("Reconciling", "Stalled") for c in made.conditions or ())
    return msgspec.structs.replace(made, state="Waiting") if waits else made


def member_dataset_status(
    body: Body, standing: Standing, serving: DagRow | None, row: DatasetRow | None, upkeep: Upkeep, now: datetime
) -> DatasetStatus:
    """Of a Dataset object: `row` is the dataset of its name in the version that serves, if any."""
    _, generation = generation_of(body)
    dag = dag_named(names.DATASET, body) or ""
    if serving is None or row is None or (names.DATASET, name_of(body)) in standing.others:
        return _finished(names.DATASET, body, standing, DatasetStatus(dag=dag, name=written_dataset(body)), now)
    return _finished(names.DATASET, body, standing, dataset_status(body, generation, dag, serving, row, upkeep), now)


def orphan_status(kind: str, body: Body, alone: float, now: datetime) -> JobStatus | DatasetStatus:
    """Of an object whose DAG has not been there for `alone` seconds."""
    dag = dag_named(kind, body) or ""
    _, generation = generation_of(body)
    known = observed_generation(body) == generation and told(body, "Ready") == "WaitingForDAG"
    ready = known or alone >= ORPHAN_SECONDS
    why = condition("Ready" if ready else "Reconciling", True, "WaitingForDAG", f"there is no DAG {dag}: apply it")
    observed = generation if ready else observed_generation(body)
    conditions = dated([why], body, generation, now)
    if kind == names.JOB:
        status: JobStatus | DatasetStatus = JobStatus(dag=dag, job_name=written_job(body), state="Waiting")
    else:
        status = DatasetStatus(dag=dag, name=written_dataset(body))
    return msgspec.structs.replace(status, observed_generation=observed, conditions=conditions, waiting_for=why.message)


def _finished(kind: str, body: Body, standing: Standing, facts: S, now: datetime) -> S:
    """`facts` with what is to be said of this generation of the object."""
    _, generation = generation_of(body)
    why = _not_registered(kind, body, standing)
    conditions = list(facts.conditions or ())
    if why is not None:
        if not conditions:
            conditions.append(condition("Ready", False, why.reason, why.message))
        conditions.append(why)
        waits = "; ".join(part for part in (why.message, facts.waiting_for) if part)
        facts = msgspec.structs.replace(facts, waiting_for=words(waits))
    elif not conditions:
        message = "in a version that does not serve yet"
        conditions.append(condition("Ready", True, "InNewVersion", message))
    handled = why is None or why.type == "Stalled"
    return msgspec.structs.replace(
        facts,
        observed_generation=generation if handled else observed_generation(body),
        conditions=dated(conditions, body, generation, now),
    )


def _not_registered(kind: str, body: Body, standing: Standing) -> Condition | None:
    """Why this generation of the object is in no registered version; None when it is in one."""
    name = name_of(body)
    if (kind, name) in standing.others:
        refs = "datasetRefs" if kind == names.DATASET else "jobRefs"
        message = f"DAG {dag_named(kind, body)} lists its members in spec.{refs}, and not this one: add it there"
        return condition("Reconciling", True, "NotListed", message)
    if f"{kind} {name}" in standing.wrong:
        return condition("Stalled", True, "InvalidSpec", standing.wrong[f"{kind} {name}"])
    uid, generation = generation_of(body)
    if standing.registered.get((kind, name)) == (uid, generation) or _was_registered(body, generation):
        return None
    return condition("Reconciling", True, standing.reason, standing.message)


def _was_registered(body: Body, generation: int) -> bool:
    """Whether its own status says so, which an operator that began since then goes by."""
    waits = told(body, "Reconciling") or told(body, "Stalled")
    return observed_generation(body) == generation and not waits and told(body, "Ready") in _IN_VERSION


def _spec(body: Body) -> Mapping[str, object]:
    spec = body.get("spec")
    return spec if isinstance(spec, Mapping) else {}
