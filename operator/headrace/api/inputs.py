"""What a reactive job reads, and what it says of rows and columns; fields of the job in `job`."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, field

from headrace.api.base import LIST_ATOMIC, Column, DatasetName, Format, Name, Output, Strict
from headrace.api.names import INPUT_PATTERN

Match = Literal["same", "latest"]
OnChange = Literal["stale", "rerun"]
Scalar = Annotated[str, Meta(max_length=1024)] | int | float | bool
Where = Annotated[dict[str, Scalar | Annotated[list[Scalar], Meta(max_length=256)]], Meta(max_length=16)]


class InputFrom(Strict, frozen=True, kw_only=True):
    """What an input reads: an output of a job of this DAG, or a dataset by name."""

    job: Annotated[Name | None, Meta(description="A job of the same DAG.")] = None
    output: Annotated[Output | None, Meta(description="Which output of that job. Default 0.")] = None
    dataset: Annotated[DatasetName | None, Meta(description="A published dataset of any DAG of the namespace.")] = None


class Input(Strict, frozen=True, kw_only=True):
    """One input of a reactive job."""

    name: (
        Annotated[
            str,
            Meta(
                pattern=INPUT_PATTERN,
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
            description="same (default): the partition of the task's key; latest: the whole dataset"
            " as it is when the task is claimed."
        ),
    ] = None
    where: Annotated[
        Where | None,
        Meta(description="Filter handed to the task: field to scalar or list. It filters no trigger."),
    ] = None
    on_change: Annotated[
        OnChange | None,
        Meta(description="What a later change of a `latest` input does to outputs: stale (default) or rerun."),
    ] = None


class PartitionBy(Strict, frozen=True, kw_only=True):
    """How a row's column gives the key of its partition: of numbers the multiple of `every` below, of times a text."""

    column: Annotated[Column, Meta(description="The column.")]
    every: (
        Annotated[
            int,
            Meta(
                ge=1,
                le=10**15,
                description="Of whole numbers: how many a partition has; its key is the first, as 5000.",
            ),
        ]
        | None
    ) = None
    format: Annotated[Format | None, Meta(description="Of times: strftime format of the key, such as %Y-%m-%d.")] = None


class LineageFrom(Strict, frozen=True, kw_only=True):
    """A column of an input."""

    input: Annotated[str, Meta(pattern=INPUT_PATTERN, max_length=128, description="The input's name.")]
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
