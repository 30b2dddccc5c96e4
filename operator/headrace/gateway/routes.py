"""The route table: what is asked where, by whom, with what body; `app` serves it, `openapi` describes it.

A route names the right that it needs, so that none is without one. What it does is a function of `Services`, given by
`serve`, so that no part of the HTTP edge knows Postgres.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Final

from msgspec import Meta, Struct

from headrace.api import names
from headrace.api.base import Name
from headrace.api.history import History, Transferred
from headrace.gateway.errors import not_found
from headrace.gateway.identity import Person, PodIdentity
from headrace.gateway.rights import Access
from headrace.plan.explanation import Explanation
from headrace.signature import Delivery

MIB: Final = 1024 * 1024
WORKERS: Final = "/v1/worker/"
"""Where workers ask, and nobody else."""
WEBHOOKS: Final = "/v1/webhooks/"
"""Where events are delivered: signed, by whoever has a source's key. An Ingress may publish this path alone."""

# Patterns of a path, and what they stand for in words. A name that could not be one is not found.
PARAMETERS: Final = {
    "ns": ("[a-z0-9-]{1,63}", "Namespace."),
    "dag": ("[a-z][a-z0-9_-]{0,62}", "Name of a DAG."),
    "job": ("[a-z][a-z0-9_-]{0,62}", "Name of a job."),
    "name": ("[a-z][a-z0-9_]{0,127}", "Name of a published dataset."),
    "dataset": ("[a-z][a-z0-9_.-]{0,190}", "Name of a dataset: a published one, or DAG.JOB.OUTPUT."),
    "task": ("[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", "Id of a task."),
    "attempt": ("[1-9][0-9]{0,8}", "Number of its attempt."),
    "input": ("[a-z][a-z0-9_-]{0,127}", "Name of one of its inputs."),
    "page": ("[0-9]{1,6}", "Number of the page, from 0."),
    "pin": ("[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", "Id of an answer that has several pages."),
}


class PlanRequest(Struct, frozen=True, forbid_unknown_fields=True):
    """The whole set of objects as they are to be: manifests, as kubectl would send them."""

    objects: Annotated[list[dict[str, Any]], Meta(min_length=1, max_length=10_000)]


class TransferRequest(Struct, frozen=True, forbid_unknown_fields=True):
    """The DAG that a dataset's name is to belong to."""

    to: Name


@dataclass(frozen=True)
class Services:
    """What the routes do; errors of the domain come out and are answered as `errors` says."""

    preview: Callable[[str, Sequence[Mapping[str, object]]], Awaitable[list[Explanation]]]
    """Namespace and manifests to what each DAG concerned would do."""
    history: Callable[[str, str], Awaitable[History | None]]
    """Namespace and DAG to its versions; None when it never had one."""
    transfer: Callable[[str, str, str], Awaitable[Transferred]]
    """Namespace, dataset and the DAG that gets it."""


@dataclass(frozen=True)
class Right:
    """What a person needs in the namespace of the path; `named`: the parameter that is the object's name, if one is;
    `everywhere`: in all namespaces, which nobody's rights in the one of the path are enough for.
    """

    verb: str
    resource: str
    subresource: str = ""
    named: str = ""
    everywhere: bool = False

    def access(self, parameters: Mapping[str, str]) -> Access:
        """What to ask RBAC for a path's parameters."""
        return Access(
            verb=self.verb,
            resource=self.resource,
            subresource=self.subresource,
            namespace="" if self.everywhere else parameters["ns"],
            name=parameters[self.named] if self.named else "",
        )


@dataclass(frozen=True)
class Call:
    """One request, checked: the path's parameters, the typed body and query, None without; the worker's pod, if one's,
    else the person; of a delivery what its headers say, its signature yet to be checked.
    """

    parameters: Mapping[str, str]
    body: Any
    pod: PodIdentity | None = None
    query: Any = None
    person: Person | None = None
    delivery: Delivery | None = None

    @property
    def who(self) -> Person:
        """Who asks, on a route of people's."""
        assert self.person is not None  # noqa: S101 - by the path, the application has asked for one
        return self.person

    @property
    def user(self) -> str:
        """The name of who asks, on a route of people's."""
        return self.who.user


def pod_of(call: Call) -> PodIdentity:
    """The pod that asks, on a route of WORKERS."""
    assert call.pod is not None  # noqa: S101 - by the path, the application has asked for one
    return call.pod


@dataclass(frozen=True)
class Route:
    """One route. `right` None: any identity will do, or the act asks for more: `needs`, in words. `body`: its type,
    bytes for any content; `read`: what the act is given of it, where that is more than its type; `limit`: the body's
    bytes at most; `seconds`: the whole's time at most; `at_once`: how many requests are worked on, the others wait;
    `status`: of success.
    """

    name: str
    method: str
    path: str
    summary: str
    right: Right | None
    answer: Any
    act: Callable[[Call], Awaitable[object]]
    body: type[Struct] | type[bytes] | None = None
    read: Callable[[bytearray], object] | None = None
    query: type[Struct] | None = None
    limit: int = 64 * 1024
    seconds: float = 15.0
    at_once: int = 64
    also: tuple[Right, ...] = ()
    needs: str = ""
    status: int = 200


def routes(services: Services) -> tuple[Route, ...]:
    """Every route but health and the description."""

    async def plan(call: Call) -> object:
        return await services.preview(call.parameters["ns"], call.body.objects)

    async def history(call: Call) -> object:
        namespace, dag = call.parameters["ns"], call.parameters["dag"]
        found = await services.history(namespace, dag)
        if found is None:
            raise not_found(f"DAG {dag} has no version in namespace {namespace}")
        return found

    async def transfer(call: Call) -> object:
        return await services.transfer(call.parameters["ns"], call.parameters["name"], call.body.to)

    dags, datasets = names.PLURALS[names.DAG], names.PLURALS[names.DATASET]
    return (
        Route(
            name="plan",
            method="POST",
            path="/v1/namespaces/{ns}/plan",
            summary="What applying these objects would do, for each DAG concerned; nothing is changed.",
            right=Right("get", dags),
            # It tells the fields of jobs, as they serve.
            also=(Right("get", names.PLURALS[names.JOB]),),
            body=PlanRequest,
            answer=list[Explanation],
            act=plan,
            limit=16 * MIB,
            seconds=150.0,
            # A body of the limit is a few hundred megabytes as objects.
            at_once=2,
        ),
        Route(
            name="history",
            method="GET",
            path="/v1/namespaces/{ns}/dags/{dag}/history",
            summary="The versions of a DAG, newest first.",
            right=Right("get", dags, named="dag"),
            answer=History,
            act=history,
        ),
        Route(
            name="transfer",
            method="POST",
            path="/v1/namespaces/{ns}/datasets/{name}/transfer",
            summary="Give the name of a published dataset to another DAG of the namespace.",
            right=Right("create", datasets, "transfer", named="name"),
            body=TransferRequest,
            answer=Transferred,
            act=transfer,
        ),
    )
