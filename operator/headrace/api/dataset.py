"""A dataset's fields, published inline in a DAG or as the `spec` of a Dataset object."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, field

from headrace.api.base import (
    LIST_BY_NAME,
    LIST_SET,
    Column,
    DatasetName,
    Duration,
    Name,
    Output,
    Strict,
    Text,
)

URI_PATTERN = r"^[a-z][a-z0-9+.-]*://[^\s?#]+\Z"


class PublishFrom(Strict, frozen=True, kw_only=True):
    """The output of a job of this DAG that gets the name."""

    job: Annotated[Name, Meta(description="A job of this DAG.")]
    output: Annotated[Output | None, Meta(description="Which output of that job. Default 0.")] = None


class DatasetFrom(PublishFrom, frozen=True, kw_only=True):
    """The output of a job of some DAG that gets the name."""

    dag: Annotated[Name, Meta(description="The DAG of the job.")]


class Storage(Strict, frozen=True, kw_only=True):
    """Where the contents live."""

    base: (
        Annotated[
            str,
            Meta(
                pattern=URI_PATTERN,
                max_length=512,
                description="URI prefix of the contents, such as s3://bucket/prefix; else the operator's."
                " A change holds for data that are made anew, not for those that are there.",
            ),
        ]
        | None
    ) = None


class DatasetColumn(Strict, frozen=True, kw_only=True):
    """A column that the contents must have."""

    name: Annotated[Column, Meta(description="Name of the column.")]
    type: Annotated[str, Meta(min_length=1, max_length=64, description="Its type, as in SQL.")]
    nullable: Annotated[bool | None, Meta(description="Whether it may be null. Default true.")] = None


class Retention(Strict, frozen=True, kw_only=True):
    """How long what is no longer current stays."""

    versions: (
        Annotated[int, Meta(ge=1, le=1000, description="Versions of the DAG whose contents stay. Default 10.")] | None
    ) = None


class DatasetFields(Strict, frozen=True, kw_only=True):
    """The fields that a published dataset and a Dataset object share."""

    storage: Annotated[Storage | None, Meta(description="Where the contents live.")] = None
    read_roles: (
        Annotated[
            list[Name],
            Meta(
                max_length=64,
                extra_json_schema=LIST_SET,
                description="Roles of the org of which a person needs one to read. It gates no DAG.",
            ),
        ]
        | None
    ) = None
    description: Annotated[Text | None, Meta(description="What the dataset is, for people.")] = None
    columns: (
        Annotated[
            list[DatasetColumn],
            Meta(
                max_length=512,
                extra_json_schema=LIST_BY_NAME,
                description="The columns that the contents must have; checked when a task completes.",
            ),
        ]
        | None
    ) = None
    retention: Annotated[Retention | None, Meta(description="How long old contents stay.")] = None
    freshness: Annotated[
        Duration | None, Meta(description="How old the last update may be before condition Fresh is False.")
    ] = None


class Publish(DatasetFields, frozen=True, kw_only=True):
    """An output that gets a name of its own, by which other DAGs and people find it."""

    name: Annotated[DatasetName, Meta(description="Name of the dataset, unique in the namespace.")]
    from_: Annotated[PublishFrom, Meta(description="The output that gets the name.")] = field(name="from")


class DatasetSpec(DatasetFields, frozen=True, kw_only=True):
    """The spec of a Dataset object: a publish written apart, or the operator's picture of an inline one."""

    from_: Annotated[DatasetFrom, Meta(description="The output that gets the name.")] = field(name="from")
    dataset_name: Annotated[
        DatasetName | None, Meta(description="Name of the dataset. Default: the object's name, - as _.")
    ] = None
    projected: Annotated[
        bool | None,
        Meta(description="Set by the operator: shows a dataset that is published inline in its DAG."),
    ] = None
