"""The rest of a set, as it lives: what one object that is being written belongs to.

Projected objects are left out by their label, so that what is read does not grow with the inline jobs of a namespace.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, cast

from msgspec import Struct, field

from headrace.api import names
from headrace.cluster.client import Client
from headrace.cluster.objects import object_path
from headrace.compile.members import Body, Members, Waiting, authored, dag_named, gather, inline, name_of

_MOST: Final = 1000
MEMBERS: Final = 100
"""Members of a set up to which each member's write is judged with the whole of it: a set of thousands, applied one by
one, would otherwise be compiled thousands of times."""


class _ListMeta(Struct, rename="camel"):
    continue_: str = field(default="", name="continue")


class _Listing(Struct):
    items: list[dict[str, object]]
    metadata: _ListMeta = field(default_factory=_ListMeta)


class TooMany(Exception):
    """The set has more objects than are looked at for one write."""


class LiveSet(Struct, frozen=True, kw_only=True):
    """A DAG with its members, one of them as it is to be; `found`: the set, or what of it is awaited.

    `there`: whether the DAG's object is there or is being written; `whole`: it is the written one, and nothing else is
    known to belong to it. `lost`: the jobs that it had inline before: they may be on their way as objects.
    """

    dag: str
    body: Body
    found: Members | Waiting
    there: bool
    whole: bool = False
    lost: frozenset[str] = frozenset()

    @property
    def members(self) -> Members:
        """Those that are there."""
        return self.found.members if isinstance(self.found, Waiting) else self.found


async def live_set(client: Client, namespace: str, kind: str, body: Body, old: Body | None) -> LiveSet | None:
    """The set that `body`, an object of `kind`, is of; None for what names no DAG. TooMany for very many members."""
    dag = name_of(body) if kind == names.DAG else dag_named(kind, body)
    if dag is None:
        return None
    given = {kind: {name_of(body): body}}
    live = {each: await _authored(client, namespace, each) for each in (names.JOB, names.DATASET)}
    for each, there in live.items():
        there.update(given.get(each, {}))
    of_dag = {k: {n: b for n, b in bodies.items() if dag_named(k, b) == dag} for k, bodies in live.items()}
    if kind != names.DAG and sum(map(len, of_dag.values())) > MEMBERS:
        raise TooMany
    path = object_path(names.DAG, namespace, dag)
    written = body if kind == names.DAG else await client.get(path, dict[str, object])
    owner = written or _nobody(namespace, dag)

    def find(kind: str, name: str) -> Body | None:
        return live[kind].get(name)

    found = gather(owner, of_dag[names.JOB].values(), of_dag[names.DATASET].values(), float("inf"), find)
    return LiveSet(
        dag=dag,
        body=owner,
        found=found,
        there=written is not None,
        whole=kind == names.DAG and not any(of_dag.values()) and not _lists(body),
        lost=inline(old, "jobs") - inline(body, "jobs") if kind == names.DAG and old is not None else frozenset(),
    )


def _lists(dag: Body) -> bool:
    """Whether a DAG says that objects of their own belong to it."""
    spec = cast("Mapping[str, object]", dag.get("spec") or {})
    return bool(spec.get("jobRefs") or spec.get("datasetRefs"))


async def _authored(client: Client, namespace: str, kind: str) -> dict[str, Body]:
    query = {"labelSelector": f"!{names.LABEL_DAG}", "limit": str(_MOST)}
    listing = await client.get(object_path(kind, namespace), _Listing, **query)
    if listing is None:
        return {}
    if listing.metadata.continue_:
        raise TooMany
    bodies = ({"apiVersion": names.API_VERSION, "kind": kind, **body} for body in listing.items)
    return {name_of(body): body for body in bodies if authored(body)}


def _nobody(namespace: str, dag: str) -> Body:
    """A DAG that is not there yet, for what of its members can be judged without it."""
    metadata = {"name": dag, "namespace": namespace}
    return {"apiVersion": names.API_VERSION, "kind": names.DAG, "metadata": metadata, "spec": {}}
