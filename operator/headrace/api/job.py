"""A job's fields, inline in a DAG or as the `spec` of a Job object; both compile to the same document."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from headrace.api import names
from headrace.api.base import (
    LIST_ATOMIC,
    LIST_BY_NAME,
    LIST_SET,
    Column,
    FreeForm,
    Name,
    Strict,
)
from headrace.api.duration import IDLE_TIMEOUT_PATTERN
from headrace.api.inputs import Input, Lineage, PartitionBy
from headrace.api.source import Source

ExecutionStrategy = Literal["PerPartition", "PerUpdate"]
UpdateStrategy = Literal["replace", "append"]
Report = Literal["termination", "gateway"]
ScalingMode = Literal["live", "backfill"]

IdleTimeout = Annotated[str, Meta(pattern=IDLE_TIMEOUT_PATTERN, max_length=32)]
Argument = Annotated[str, Meta(max_length=32_768)]

ENV_NAME_PATTERN = r"^[A-Za-z_.-][A-Za-z0-9_.-]{0,255}\Z"
OPERATOR_PATTERN = r"^[A-Za-z_][A-Za-z0-9_.-]{0,127}\Z"

TimeoutSeconds = Annotated[
    int,
    Meta(
        ge=1,
        le=2_592_000,
        description="Seconds that an attempt may take from its pod's start on; then it is told to stop, then killed,"
        " after its template's terminationGracePeriodSeconds (30 by default). Default 3600.",
    ),
]
HeartbeatTimeoutSeconds = Annotated[
    int,
    Meta(ge=1, le=86_400, description="Seconds without a sign of life before an attempt is lost. Default 60."),
]
MaxAttempts = Annotated[int, Meta(ge=1, le=100, description="Attempts before a task fails for good. Default 3.")]


class EnvVar(Strict, frozen=True, kw_only=True):
    """An environment variable of the task's container."""

    name: Annotated[str, Meta(pattern=ENV_NAME_PATTERN, max_length=256, description="Name of the variable.")]
    value: Annotated[Argument | None, Meta(description="Its value, as it is.")] = None
    value_from: Annotated[
        FreeForm | None, Meta(description="Where the value comes from, as in a pod (secretKeyRef and so on).")
    ] = None


class Scaling(Strict, frozen=True, kw_only=True):
    """How much of a job runs at once."""

    max_concurrency: (
        Annotated[
            int,
            Meta(ge=1, le=1000, description="Tasks running at once, over all versions of the job. Default 1."),
        ]
        | None
    ) = None
    batch: Annotated[int, Meta(ge=1, le=1000, description="Tasks that one worker may hold. Default 1.")] | None = None
    mode: Annotated[ScalingMode | None, Meta(description="live (default), or backfill: all work has low priority.")] = (
        None
    )


class JobFields(Strict, frozen=True, kw_only=True):
    """The fields that an inline job and a Job object share."""

    source: Annotated[Source | None, Meta(description="Makes it a source job: what sets it off. Without inputs.")] = (
        None
    )
    inputs: (
        Annotated[
            list[Input],
            Meta(
                max_length=16,
                extra_json_schema=LIST_ATOMIC,
                description="Makes it a reactive job: what it reads. Without source.",
            ),
        ]
        | None
    ) = None
    image: Annotated[str, Meta(min_length=1, max_length=512, description="Image of the container main.")] | None = None
    command: (
        Annotated[
            list[Argument],
            Meta(max_length=64, extra_json_schema=LIST_ATOMIC, description="Entry point of the container main."),
        ]
        | None
    ) = None
    args: (
        Annotated[
            list[Argument],
            Meta(max_length=256, extra_json_schema=LIST_ATOMIC, description="Arguments of the container main."),
        ]
        | None
    ) = None
    env: (
        Annotated[
            list[EnvVar],
            Meta(
                max_length=100,
                extra_json_schema=LIST_BY_NAME,
                description="Environment of the container main.",
            ),
        ]
        | None
    ) = None
    resources: Annotated[FreeForm | None, Meta(description="Resources of the container main, as in a pod.")] = None
    template: Annotated[
        FreeForm | None,
        Meta(
            description="Pod template, merged onto defaults.template (both list-maps by name);"
            " its container main, else the first, is the task."
        ),
    ] = None
    operator: (
        Annotated[
            str,
            Meta(
                pattern=OPERATOR_PATTERN,
                max_length=128,
                description="Name by which worker code registers. Default: container or the source's kind.",
            ),
        ]
        | None
    ) = None
    outputs: (
        Annotated[int, Meta(ge=0, le=names.MAX_OUTPUTS, description="Number of outputs, 0 to 16. Default 1.")] | None
    ) = None
    execution_strategy: Annotated[
        ExecutionStrategy | None,
        Meta(description="PerPartition (default): a task per partition; PerUpdate: a task per update."),
    ] = None
    coalesce: Annotated[
        bool | None, Meta(description="PerUpdate: queued updates are merged into one task. Default false.")
    ] = None
    update_strategy: Annotated[
        UpdateStrategy | None,
        Meta(description="replace (default): a task rewrites its partition; append: it adds a part."),
    ] = None
    unique_key: (
        Annotated[
            list[Column],
            Meta(
                min_length=1,
                max_length=16,
                extra_json_schema=LIST_SET,
                description="append: the columns that identify a row; the latest part wins.",
            ),
        ]
        | None
    ) = None
    report: Annotated[
        Report | None,
        Meta(description="How a task reports: termination (default), its termination message; or gateway."),
    ] = None
    idle_timeout: Annotated[
        IdleTimeout | None,
        Meta(description='"0" (default): a pod per attempt; a duration such as 5m, or never: worker pods.'),
    ] = None
    scaling: Annotated[Scaling | None, Meta(description="How much of the job runs at once.")] = None
    timeout_seconds: TimeoutSeconds | None = None
    heartbeat_timeout_seconds: HeartbeatTimeoutSeconds | None = None
    max_attempts: MaxAttempts | None = None
    config: Annotated[FreeForm | None, Meta(description="Free object passed to the task.")] = None
    config_schema: Annotated[FreeForm | None, Meta(description="JSON Schema (2020-12) that config must satisfy.")] = (
        None
    )
    params_schema: Annotated[
        FreeForm | None, Meta(description="JSON Schema of the parameters that a manual run may give.")
    ] = None
    partition_by: Annotated[
        PartitionBy | None, Meta(description="How a row's column gives the key of its partition.")
    ] = None
    code_version: (
        Annotated[
            str,
            Meta(
                min_length=1,
                max_length=128,
                description="Stands for image, command, args and env in the hash that decides on remaking.",
            ),
        ]
        | None
    ) = None
    lineage: (
        Annotated[
            list[Lineage],
            Meta(max_length=512, extra_json_schema=LIST_ATOMIC, description="Declared column lineage."),
        ]
        | None
    ) = None
    side_effects: Annotated[
        bool | None,
        Meta(
            description="true: the job acts on the world; it needs outputs 0 and never runs for a version"
            " that is not current."
        ),
    ] = None


class InlineJob(JobFields, frozen=True, kw_only=True):
    """A job written inline in its DAG."""

    name: Annotated[Name, Meta(description="Name of the job, unique in its DAG.")]


class JobSpec(JobFields, frozen=True, kw_only=True):
    """The spec of a Job object: a job of a DAG written apart, or the operator's picture of an inline one."""

    dag: Annotated[Name, Meta(description="The DAG that the job belongs to.")]
    job_name: Annotated[Name | None, Meta(description="Name of the job. Default: the object's name.")] = None
    projected: Annotated[
        bool | None, Meta(description="Set by the operator: shows a job that is written inline in its DAG.")
    ] = None
