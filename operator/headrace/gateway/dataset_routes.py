"""The routes of readers: datasets by name, the rest of a long answer, what columns are made from. `serve` adds them.

Who may not read is answered as if there was nothing: with 404 and the same words.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Annotated, Final
from uuid import UUID

from msgspec import Meta, Struct

from headrace.api import names
from headrace.api.datasets import ColumnLineage, PartitionsPage, Resolution
from headrace.gateway.identity import Person
from headrace.gateway.routes import Call, Right, Route

MOST: Final = 10_000
PAGE: Final = 1000
MOST_NAMES: Final = 64
READERS: Final = "`get` on `datasets`, of each by its name, and one of its readRoles where it has any"

At = Annotated[str, Meta(pattern=r"^(v[0-9]+-)?[0-9a-f]{4,64}\Z")]
_Most = Annotated[int, Meta(ge=1, le=MOST)]


class DatasetQuery(Struct, frozen=True, forbid_unknown_fields=True):
    """`at`: the beginning of the hash of a version of its DAG that has served; `most` partitions at once."""

    at: At | None = None
    most: _Most = PAGE


class DatasetsQuery(DatasetQuery, frozen=True, forbid_unknown_fields=True):
    """`names`: of datasets, with commas between them; the others as of one."""

    names: Annotated[str, Meta(pattern=r"^[a-z][a-z0-9_]{0,127}(,[a-z][a-z0-9_]{0,127})*\Z", max_length=8256)] = ""


class LineageQuery(Struct, frozen=True, forbid_unknown_fields=True):
    """One column of the dataset, or all of them."""

    column: Annotated[str, Meta(min_length=1, max_length=128)] | None = None


@dataclass(frozen=True)
class DatasetServices:
    """What the routes do."""

    resolve: Callable[[Person, str, tuple[str, ...], str | None, int], Awaitable[Resolution]]
    """Who reads, namespace, datasets, a version, partitions at once."""
    page: Callable[[Person, str, str, UUID, int], Awaitable[PartitionsPage]]
    """Who reads, namespace, dataset, pin and number of the page."""
    lineage: Callable[[str, str, str | None], Awaitable[ColumnLineage]]
    """Namespace, dataset, column."""


def page_path(namespace: str, name: str, pin: str, number: str) -> str:
    """Where a page of a long answer is."""
    return f"/v1/namespaces/{namespace}/datasets/{name}/pins/{pin}/pages/{number}"


def dataset_routes(services: DatasetServices) -> tuple[Route, ...]:
    """Every route of readers."""

    async def dataset(call: Call) -> object:
        given = call.parameters
        return await services.resolve(call.who, given["ns"], (given["name"],), call.query.at, call.query.most)

    async def datasets(call: Call) -> object:
        listed = tuple(dict.fromkeys(call.query.names.split(",")))
        return await services.resolve(call.who, call.parameters["ns"], listed, call.query.at, call.query.most)

    async def page(call: Call) -> object:
        given = call.parameters
        return await services.page(call.who, given["ns"], given["name"], UUID(given["pin"]), int(given["page"]))

    async def lineage(call: Call) -> object:
        return await services.lineage(call.parameters["ns"], call.parameters["dataset"], call.query.column)

    base = "/v1/namespaces/{ns}/datasets"
    return (
        Route(
            name="dataset",
            method="GET",
            path=f"{base}/{{name}}",
            summary="Where a published dataset's contents are: all of one moment, also the pages that follow.",
            right=None,
            needs=READERS,
            query=DatasetQuery,
            answer=Resolution,
            act=dataset,
            seconds=30.0,
            at_once=16,
        ),
        Route(
            name="datasets",
            method="GET",
            path=base,
            summary="Several of them, all of the same moment.",
            right=None,
            needs=READERS,
            query=DatasetsQuery,
            answer=Resolution,
            act=datasets,
            seconds=30.0,
            at_once=8,
        ),
        Route(
            name="pinned",
            method="GET",
            path=page_path("{ns}", "{name}", "{pin}", "{page}"),
            summary="More partitions of such an answer, for an hour, for whom it was given.",
            right=None,
            needs=READERS,
            answer=PartitionsPage,
            act=page,
        ),
        Route(
            name="lineage",
            method="GET",
            path=f"{base}/{{dataset}}/lineage",
            summary="What the columns of a dataset are made from, and what is made from them, over all DAGs.",
            right=Right("get", names.PLURALS[names.DATASET]),
            query=LineageQuery,
            answer=ColumnLineage,
            act=lineage,
            seconds=30.0,
            at_once=8,
        ),
    )
