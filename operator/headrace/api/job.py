"""A job's fields, written inline in a DAG or as the `spec` of a Job object; both compile to the same document."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, field

from headrace.api import names
from headrace.api.base import (
    LIST_ATOMIC,
    LIST_BY_NAME,
    LIST_SET,
    Column,
    DatasetName,
    Duration,
    Format,
    FreeForm,
    Name,
    Output,
    Strict,
)
from headrace.api.duration import IDLE_TIMEOUT_PATTERN
from headrace.api.source import Source

Match = Literal["same", "latest"]
OnChange = Literal["stale", "rerun"]
ExecutionStrategy = Literal["PerPartition", "PerUpdate"]
UpdateStrategy = Literal["replace", "append"]
Report = Literal["termination", "gateway"]
ScalingMode = Literal["live", "backfill"]

Scalar = Annotated[str, Meta(max_length=1024)] | int | float | bool
Where = Annotated[
    dict[str, Scalar | Annotated[list[Scalar], Meta(max_length=256)]],
    Meta(
        max_length=16,
        extra_json_schema={"additionalProperties": {"x-kubernetes-preserve-unknown-fields": True}},
    ),
]
IdleTimeout = Annotated[str, Meta(pattern=IDLE_TIMEOUT_PATTERN, max_length=8)]
Argument = Annotated[str, Meta(max_length=32_768)]

INPUT_NAME_PATTERN = names.INPUT_PATTERN
ENV_NAME_PATTERN = r"^[A-Za-z_.-][A-Za-z0-9_.-]{0,255}\Z"
OPERATOR_PATTERN = r"^[A-Za-z_][A-Za-z0-9_.-]{0,127}\Z"

TimeoutSeconds = Annotated[
    int, Meta(ge=1, le=2_592_000, description="Seconds that an attempt may take. Default 3600.")
]
HeartbeatTimeoutSeconds = Annotated[
    int,
    Meta(
        ge=1, le=86_400, description="Seconds without a sign of life before an attempt is lost. Default 60."
    ),
]
MaxAttempts = Annotated[
    int, Meta(ge=1, le=100, description="Attempts before a task fails for good. Default 3.")
]


class EnvVar(Strict, frozen=True, kw_only=True):
    """An environment variable of the task's container."""

    name: Annotated[str, Meta(pattern=ENV_NAME_PATTERN, max_length=256, description="Name of the variable.")]
    value: Annotated[Argument | None, Meta(description="Its value, as it is.")] = None
    value_from: Annotated[
        FreeForm | None, Meta(description="Where the value comes from, as in a pod (secretKeyRef and so on).")
    ] = None


class InputFrom(Strict, frozen=True, kw_only=True):
    """What an input reads: an output of a job of this DAG, or a dataset by name."""

    job: Annotated[Name | None, Meta(description="A job of the same DAG.")] = None
    output: Annotated[Output | None, Meta(description="Which output of that job. Default 0.")] = None
    dataset: Annotated[
        DatasetName | None, Meta(description="A published dataset of any DAG of the namespace.")
    ] = None


class Input(Strict, frozen=True, kw_only=True):
    """One input of a reactive job."""

    name: (
        Annotated[
            str,
            Meta(
                pattern=INPUT_NAME_PATTERN,
                max_length=128,
                description="Name under which the task sees the input. Default: the job's or dataset's name.",
            ),
        ]
        | None
    ) = None
    from_: Annotated[InputFrom, Meta(description="What is read.")] = field(name="from")
    match: Annotated[
        Match | None,
        Meta(
            description="same (default): the partition of the task's key; latest: the whole dataset as it is when"
            " the task is claimed."
        ),
    ] = None
    where: Annotated[
        Where | None,
        Meta(description="Filter handed to the task: field to scalar or list. It filters no trigger."),
    ] = None
    on_change: Annotated[
        OnChange | None,
        Meta(
            description="What a later change of a `latest` input does to outputs: stale (default) or rerun."
        ),
    ] = None


class Scaling(Strict, frozen=True, kw_only=True):
    """How much of a job runs at once."""

    max_concurrency: (
        Annotated[
            int,
            Meta(
                ge=1, le=1000, description="Tasks running at once, over all versions of the job. Default 1."
            ),
        ]
        | None
    ) = None
    batch: (
        Annotated[int, Meta(ge=1, le=1000, description="Tasks that one worker may hold. Default 1.")] | None
    ) = None
    mode: Annotated[
        ScalingMode | None, Meta(description="live (default), or backfill: all work has low priority.")
    ] = None


class PartitionBy(Strict, frozen=True, kw_only=True):
    """How a row's column gives the key of its partition."""

    column: Annotated[Column, Meta(description="The column.")]
    every: Annotated[Duration | None, Meta(description="Width of a partition of times, such as 1d.")] = None
    format: Annotated[Format | None, Meta(description="strftime format of the key, such as %Y-%m-%d.")] = None


class LineageFrom(Strict, frozen=True, kw_only=True):
    """A column of an input."""

    input: Annotated[str, Meta(pattern=INPUT_NAME_PATTERN, max_length=128, description="The input's name.")]
    column: Annotated[Column, Meta(description="Its column.")]


class Lineage(Strict, frozen=True, kw_only=True):
    """Which columns of the inputs a column of an output is made from."""

    output: Annotated[Output | None, Meta(description="Which output. Default 0.")] = None
    column: Annotated[Column, Meta(description="Its column.")]
    from_: Annotated[
        list[LineageFrom],
        Meta(
            min_length=1,
            max_length=32,
            extra_json_schema=LIST_ATOMIC,
            description="The columns it is made from.",
        ),
    ] = field(name="from")


class JobFields(Strict, frozen=True, kw_only=True):
    """The fields that an inline job and a Job object share."""

    source: Annotated[
        Source | None, Meta(description="Makes it a source job: what sets it off. Without inputs.")
    ] = None
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
    image: (
        Annotated[str, Meta(min_length=1, max_length=512, description="Image of the container main.")] | None
    ) = None
    command: (
        Annotated[
            list[Argument],
            Meta(
                max_length=64, extra_json_schema=LIST_ATOMIC, description="Entry point of the container main."
            ),
        ]
        | None
    ) = None
    args: (
        Annotated[
            list[Argument],
            Meta(
                max_length=256, extra_json_schema=LIST_ATOMIC, description="Arguments of the container main."
            ),
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
    resources: Annotated[
        FreeForm | None, Meta(description="Resources of the container main, as in a pod.")
    ] = None
    template: Annotated[
        FreeForm | None,
        Meta(
            description="Pod template, merged onto defaults.template (both list-maps by name); its container main,"
            " else the first, is the task."
        ),
    ] = None
    operator: (
        Annotated[
            str,
            Meta(
                pattern=OPERATOR_PATTERN,
                max_length=128,
                description="Name under which worker code registers. Default: container, or the source's kind.",
            ),
        ]
        | None
    ) = None
    outputs: (
        Annotated[int, Meta(ge=0, le=names.MAX_OUTPUTS, description="Number of outputs, 0 to 16. Default 1.")]
        | None
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
    config_schema: Annotated[
        FreeForm | None, Meta(description="JSON Schema (2020-12) that config must satisfy.")
    ] = None
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
                description="Stands for image, command, args and env when deciding whether data must be made anew.",
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
            description="true: the job acts on the world; it needs outputs 0 and never runs for a version that"
            " is not current."
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
