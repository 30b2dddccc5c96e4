"""What the operator tells about the three objects: a cache of Postgres, written in one place, bounded to stay small.

`reconcile` computes these values from rows and patches the status subresource when they differ. Times are whole
seconds in UTC. The short strings exist for the printer columns in `crd`.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from msgspec import Meta

from headrace.api.base import LIST_ATOMIC, Lenient

Truth = Literal["True", "False", "Unknown"]
JobState = Literal["Idle", "Running", "Waiting", "Failing", "Suspended"]
Activation = Literal["source", "reactive"]

RolloutState = Literal["Building", "Ready", "Done", "Superseded", "Failed", "Canceled"]
Short = Annotated[str, Meta(max_length=256)]
Hash = Annotated[str, Meta(max_length=128)]
Words = Annotated[str, Meta(max_length=1024)]
Count = Annotated[int, Meta(ge=0)]
Time = Annotated[datetime, Meta(tz=True)]


class Condition(Lenient, frozen=True, kw_only=True):
    """One aspect of the object's state, as in metav1.Condition."""

    type: Annotated[str, Meta(max_length=64, description="Name of the aspect, such as Ready.")]
    status: Annotated[Truth, Meta(description="True, False or Unknown.")]
    observed_generation: Annotated[int | None, Meta(description="Generation of the spec it speaks of.")] = None
    last_transition_time: Annotated[Time, Meta(description="When status last changed.")]
    reason: Annotated[str, Meta(max_length=128, description="One word for machines.")]
    message: Annotated[Words, Meta(description="Cause and way out, for people.")] = ""


PlanNames = Annotated[list[Short], Meta(max_length=16, extra_json_schema=LIST_ATOMIC)]

Conditions = Annotated[
    list[Condition],
    Meta(
        max_length=16,
        description="What is true of the object; the types are in the user's guide.",
        extra_json_schema={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"]},
    ),
]
ObservedGeneration = Annotated[
    int, Meta(description="Generation of the spec that this status speaks of; -1 before the first.")
]


class VersionStatus(Lenient, frozen=True, kw_only=True):
    """The version that serves."""

    id: Annotated[Hash, Meta(description="Id of the version's row.")]
    yaml_hash: Annotated[Hash, Meta(description="Hash of the canonical document.")]
    short: Annotated[str, Meta(max_length=16, description="First characters of the hash.")]
    since: Annotated[Time | None, Meta(description="When it became current.")] = None


class TaskCounts(Lenient, frozen=True, kw_only=True, omit_defaults=False):
    """Tasks of the serving version."""

    waiting: Annotated[Count, Meta(description="Queued, or failed and to be tried again.")] = 0
    running: Annotated[Count, Meta(description="Running.")] = 0
    failed: Annotated[Count, Meta(description="Failed for good.")] = 0
    completed: Annotated[Count, Meta(description="Completed.")] = 0


class Total(Lenient, frozen=True, kw_only=True):
    """How many there are."""

    total: Annotated[Count, Meta(description="How many there are.")]


class RolloutStatus(Lenient, frozen=True, kw_only=True, omit_defaults=False):
    """The move to another version that goes on, or the last one."""

    state: Annotated[RolloutState, Meta(description="Building, Ready, Done, Superseded, Failed or Canceled.")]
    yaml_hash: Annotated[Hash, Meta(description="Hash of the document that it is to.")]
    short: Annotated[str, Meta(max_length=16, description="First characters of the hash.")]
    tasks_done: Annotated[Count, Meta(description="Tasks of the build that are done.")] = 0
    tasks_total: Annotated[Count, Meta(description="Tasks of the build, as far as they are known.")] = 0
    waiting_for: Annotated[Words, Meta(description="What it waits for, and how to give it.")] = ""
    cause: Annotated[Words, Meta(description="Why it ended so.")] = ""
    started: Annotated[Time | None, Meta(description="When it began.")] = None
    finished: Annotated[Time | None, Meta(description="When it ended.")] = None


class PlanStatus(Lenient, frozen=True, kw_only=True, omit_defaults=False):
    """What the plan of the last rollout said, in short; headrace plan tells all."""

    summary: Annotated[Words, Meta(description="All of it in a line or two.")]
    swap: Annotated[Short, Meta(description="swap only: pointers move at once; build first: data are made before.")]
    restorable: Annotated[bool, Meta(description="It served before, and its data are all there.")] = False
    partitions: Annotated[Count, Meta(description="Partitions to be made.")] = 0
    tasks: Annotated[Count, Meta(description="Tasks to be run.")] = 0
    changed: Annotated[PlanNames | None, Meta(description="Jobs that were changed, with the fields.")] = None
    added: Annotated[PlanNames | None, Meta(description="Jobs that were added.")] = None
    removed: Annotated[PlanNames | None, Meta(description="Jobs that were removed.")] = None
    downstream: Annotated[PlanNames | None, Meta(description="Jobs that are made again since others changed.")] = None
    consumers: Annotated[PlanNames | None, Meta(description="Jobs of other DAGs that read what changes.")] = None
    contracts: Annotated[PlanNames | None, Meta(description="Columns of contracts that are given up.")] = None


class DagStatus(Lenient, frozen=True, kw_only=True):
    """What a DAG is doing."""

    observed_generation: ObservedGeneration | None = None
    conditions: Conditions | None = None
    version: Annotated[VersionStatus | None, Meta(description="The version that serves.")] = None
    pinned: Annotated[Hash | None, Meta(description="Hash of the document that is kept until unpin.")] = None
    rollout: Annotated[RolloutStatus | None, Meta(description="The move to another version, or the last one.")] = None
    plan: Annotated[PlanStatus | None, Meta(description="What the plan of that rollout said.")] = None
    last_handled: (
        Annotated[
            dict[str, Short],
            Meta(max_length=16, description="Command to the id of its last request that was handled, such as run."),
        ]
        | None
    ) = None
    last_outcome: (
        Annotated[dict[str, Short], Meta(max_length=16, description="Command to what came of that request, in words.")]
        | None
    ) = None
    jobs: Annotated[Total | None, Meta(description="Jobs of the serving version.")] = None
    tasks: Annotated[TaskCounts | None, Meta(description="Tasks of the serving version.")] = None
    datasets: Annotated[Total | None, Meta(description="Datasets of the serving version.")] = None
    message: Annotated[Words | None, Meta(description="The most important thing to know now.")] = None


class LastTask(Lenient, frozen=True, kw_only=True):
    """The task of the job that changed last."""

    id: Annotated[Hash, Meta(description="Id of the task.")]
    status: Annotated[Short, Meta(description="Its state, such as Completed.")]
    at: Annotated[Time | None, Meta(description="When it came into that state.")] = None
    partition: Annotated[Short | None, Meta(description="Its partition.")] = None
    message: Annotated[Words | None, Meta(description="Why it failed.")] = None
    pod: Annotated[Short | None, Meta(description="Its pod.")] = None


class Units(Lenient, frozen=True, kw_only=True, omit_defaults=False):
    """Units of work, such as partitions."""

    done: Annotated[Count, Meta(description="Units that are done.")] = 0
    stale: Annotated[Count, Meta(description="Units made from an input read as a whole that has changed since.")] = 0


class JobStatus(Lenient, frozen=True, kw_only=True):
    """What a job is doing."""

    observed_generation: ObservedGeneration | None = None
    conditions: Conditions | None = None
    dag: Annotated[Short | None, Meta(description="Its DAG.")] = None
    job_name: Annotated[Short | None, Meta(description="Its name in the DAG.")] = None
    activation: Annotated[Activation | None, Meta(description="source, or reactive: it reads.")] = None
    runtime: Annotated[Short | None, Meta(description="Where it runs: dispatcher (the operator) or pod.")] = None
    state: Annotated[JobState | None, Meta(description="In one word.")] = None
    waiting: Annotated[Count | None, Meta(description="Tasks that wait.")] = None
    running: Annotated[Count | None, Meta(description="Tasks that run.")] = None
    workers: Annotated[Count | None, Meta(description="Worker pods that there are, if it has workers.")] = None
    completed: Annotated[Count | None, Meta(description="Tasks that completed.")] = None
    failed: Annotated[Count | None, Meta(description="Tasks that failed for good.")] = None
    units: Annotated[Units | None, Meta(description="Units of work.")] = None
    last_task: Annotated[LastTask | None, Meta(description="The task that changed last.")] = None
    next_run: Annotated[Time | None, Meta(description="Next tick of its schedule.")] = None
    waiting_for: Annotated[Words | None, Meta(description="Why it is not running, in words.")] = None
    image: Annotated[Annotated[str, Meta(max_length=512)] | None, Meta(description="Its image.")] = None


class DatasetStatus(Lenient, frozen=True, kw_only=True):
    """What a dataset holds."""

    observed_generation: ObservedGeneration | None = None
    conditions: Conditions | None = None
    name: Annotated[Short | None, Meta(description="Its name, by which it is read.")] = None
    dag: Annotated[Short | None, Meta(description="The DAG that makes it.")] = None
    job: Annotated[Short | None, Meta(description="The job that makes it.")] = None
    output: Annotated[Count | None, Meta(description="Which output of the job.")] = None
    version: Annotated[Hash | None, Meta(description="Id of the version of its contents.")] = None
    rebuilding: Annotated[
        Short | None, Meta(description="Short hash of the DAG's version for which it is made anew, if it is.")
    ] = None
    waiting_for: Annotated[Words | None, Meta(description="Why it is not as written, or not fresh, in words.")] = None
    location: Annotated[Words | None, Meta(description="Where the contents live.")] = None
    partitions: Annotated[Count | None, Meta(description="How many partitions it has.")] = None
    rows: Annotated[Count | None, Meta(description="How many rows, as far as tasks reported them.")] = None
    bytes: Annotated[Count | None, Meta(description="How many bytes, as far as tasks reported them.")] = None
    last_updated: Annotated[Time | None, Meta(description="When a partition was last made.")] = None
    consumers: (
        Annotated[list[Short], Meta(max_length=64, description="Jobs that read it, as DAG/JOB; the first 64.")] | None
    ) = None
