"""The spec of a DAG: its jobs and published datasets, and how changes to it are rolled out."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from headrace.api import names
from headrace.api.base import (
    LIST_BY_NAME,
    LIST_SET,
    DatasetObjectName,
    FreeForm,
    Name,
    ObjectName,
    Strict,
)
from headrace.api.dataset import Publish
from headrace.api.job import (
    HeartbeatTimeoutSeconds,
    IdleTimeout,
    InlineJob,
    MaxAttempts,
    Scaling,
    TimeoutSeconds,
)

RolloutStrategy = Literal["WhenReady", "Manual"]
DeletionPolicy = Literal["Retain", "Delete"]


class Defaults(Strict, frozen=True, kw_only=True):
    """What jobs that omit a field get."""

    timeout_seconds: TimeoutSeconds | None = None
    heartbeat_timeout_seconds: HeartbeatTimeoutSeconds | None = None
    max_attempts: MaxAttempts | None = None
    idle_timeout: Annotated[
        IdleTimeout | None,
        Meta(description='"0" (default): a pod per attempt; a duration such as 5m, or never: worker pods.'),
    ] = None
    scaling: Annotated[Scaling | None, Meta(description="How much of a job runs at once.")] = None
    template: Annotated[FreeForm | None, Meta(description="Pod template onto which each job's own is merged.")] = None


class Rollout(Strict, frozen=True, kw_only=True):
    """How the DAG moves from one version to the next."""

    strategy: Annotated[
        RolloutStrategy | None,
        Meta(description="WhenReady (default): the new version serves once it is built; Manual: once approved."),
    ] = None
    max_build_tasks: (
        Annotated[
            int,
            Meta(
                ge=0,
                le=1_000_000,
                description="A plan that would run more tasks waits for approval. Default 1000.",
            ),
        ]
        | None
    ) = None
    reuse: (
        Annotated[
            list[Name],
            Meta(
                max_length=names.MAX_INLINE_JOBS,
                extra_json_schema=LIST_SET,
                description="Jobs whose change leaves their data valid; new work uses the new code.",
            ),
        ]
        | None
    ) = None
    deadline_seconds: (
        Annotated[
            int,
            Meta(
                ge=1,
                le=31_536_000,
                description="A rollout not ready after so many seconds fails; the old version keeps serving.",
            ),
        ]
        | None
    ) = None


class DagSpec(Strict, frozen=True, kw_only=True):
    """A pipeline: jobs that make datasets from sources and from one another."""

    jobs: (
        Annotated[
            list[InlineJob],
            Meta(
                max_length=names.MAX_INLINE_JOBS,
                extra_json_schema=LIST_BY_NAME,
                description="The jobs, inline.",
            ),
        ]
        | None
    ) = None
    publish: (
        Annotated[
            list[Publish],
            Meta(
                max_length=1000,
                extra_json_schema=LIST_BY_NAME,
                description="Outputs that get a name of their own, by which other DAGs and people find them.",
            ),
        ]
        | None
    ) = None
    job_refs: (
        Annotated[
            list[ObjectName],
            Meta(
                max_length=10_000,
                extra_json_schema=LIST_SET,
                description="Names of the Job objects that belong to the DAG, exactly these.",
            ),
        ]
        | None
    ) = None
    dataset_refs: (
        Annotated[
            list[DatasetObjectName],
            Meta(
                max_length=10_000,
                extra_json_schema=LIST_SET,
                description="Names of the Dataset objects that belong to the DAG, exactly these.",
            ),
        ]
        | None
    ) = None
    defaults: Annotated[Defaults | None, Meta(description="What jobs that omit a field get.")] = None
    rollout: Annotated[Rollout | None, Meta(description="How the DAG moves from one version to the next.")] = None
    suspend: Annotated[
        bool | None,
        Meta(
            description="true: nothing new is dispatched; running tasks finish, events still queue work. Default false."
        ),
    ] = None
    deletion_policy: Annotated[
        DeletionPolicy | None,
        Meta(
            description="Retain (default): deleting the DAG stops its work and keeps every row;"
            " Delete: its rows go too."
        ),
    ] = None
