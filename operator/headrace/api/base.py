"""What every type of the API is made of: the strict and the lenient struct, and the bounded strings.

`Strict` is for what users write (an unknown field is an error), `Lenient` for what the API server or an
older operator wrote. The CRD generator and the parser read both through msgspec, so a bound stated here
holds in both places.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from headrace.api import duration, names


class Strict(msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True, omit_defaults=True):
    """What a user writes; None stands for a field that the object leaves out."""


class Lenient(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """What machines wrote: unknown fields are skipped, so that a downgrade can read a newer status."""


Name = Annotated[str, Meta(pattern=names.NAME_PATTERN, max_length=names.NAME_MAX)]
DatasetName = Annotated[str, Meta(pattern=names.DATASET_PATTERN, max_length=names.DATASET_MAX)]
ObjectName = Annotated[str, Meta(pattern=names.OBJECT_NAME_PATTERN, max_length=names.NAME_MAX)]
DatasetObjectName = Annotated[str, Meta(pattern=names.DATASET_OBJECT_NAME_PATTERN, max_length=names.DATASET_MAX)]
PartitionKey = Annotated[str, Meta(pattern=names.PARTITION_KEY_PATTERN, max_length=128)]
Column = Annotated[str, Meta(min_length=1, max_length=128)]
Text = Annotated[str, Meta(max_length=1024)]
Format = Annotated[str, Meta(min_length=1, max_length=64)]
Duration = Annotated[str, Meta(pattern=duration.DURATION_PATTERN, max_length=32)]
Output = Annotated[int, Meta(ge=0, le=names.MAX_OUTPUTS - 1)]

# JSON whose shape belongs to someone else (Kubernetes, JSON Schema, the task): kept as it is.
FreeForm = Annotated[
    dict[str, Any],
    Meta(max_length=256, extra_json_schema={"x-kubernetes-preserve-unknown-fields": True}),
]

LIST_SET = {"x-kubernetes-list-type": "set"}
LIST_ATOMIC = {"x-kubernetes-list-type": "atomic"}
LIST_BY_NAME = {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]}


def walk(value: object, path: str) -> Iterator[tuple[str, Strict]]:
    """Every struct within `value`, itself included, each with its path in the object (`spec.jobs[0].source`)."""
    if isinstance(value, list):
        for index, item in enumerate(value):
            yield from walk(item, f"{path}[{index}]")
    elif isinstance(value, Strict):
        yield path, value
        for json_name, name in attributes(type(value)).items():
            inner = getattr(value, name)
            if isinstance(inner, list | Strict):  # most fields are neither, and a DAG has ten thousand jobs
                yield from walk(inner, f"{path}.{json_name}")


@functools.cache
def attributes(owner: type[Strict]) -> Mapping[str, str]:
    """Name in JSON -> name in Python of the fields of `owner`; kept, since msgspec looks the types up each time."""
    return {info.encode_name: info.name for info in msgspec.structs.fields(owner)}
