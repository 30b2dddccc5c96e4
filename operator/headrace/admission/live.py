"""The rest of a set, as it lives: what one object that is being written belongs to.

Projected objects are left out by their label, so that what is read does not grow with the inline jobs of a namespace.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Final, cast

import msgspec
from msgspec import Raw, Struct, field

from headrace.api import names
from headrace.cluster.client import Client
from headrace.cluster.objects import object_path
from headrace.compile.members import Body, Members, Waiting, authored, dag_named, gather, name_of

_MOST: Final = 500
LISTS: Final = 2
"""Lists at once: each is up to 500 Jobs and as many Datasets, of 64 KiB at most."""
MEMBERS: Final = 100
"""Members of a set up to which each member's write is judged with the whole of it: a set of thousands, applied one by
one, would otherwise be compiled thousands of times."""


class _ListMeta(Struct, rename="camel"):
    continue_: str = field(default="", name="continue")


class _Listing(Struct):
    items: list[Raw]
    metadata: _ListMeta = field(default_factory=_ListMeta)


class LiveSet(Struct, frozen=True, kw_only=True):
    """A DAG with its members, one of them as it is to be; `found`: the set, or what of it is awaited, or None for a set
    of more objects than are looked at for one write. `alone`: the written object alone.

    `there`: whether the DAG's object is there or is being written; `whole`: it is the written one, and nothing else is
    known to belong to it.
    """

    dag: str
    body: Body
    alone: Members
    found: Members | Waiting | None
    there: bool = True
    whole: bool = False

    @property
    def complete(self) -> bool:
        """Whether all of it is known, and nothing awaited."""
        return self.there and isinstance(self.found, Members)

    @property
    def members(self) -> Members:
        """Those to judge it with: all, or while others are awaited the written one alone."""
        return self.found if self.there and isinstance(self.found, Members) else self.alone


async def live_set(client: Client, namespace: str, kind: str, body: Body, gate: asyncio.Semaphore) -> LiveSet | None:
    """The set that `body`, an object of `kind`, is of; None for what names no DAG. `gate`: for lists."""
    dag = name_of(body) if kind == names.DAG else dag_named(kind, body)
    if dag is None:
        return None
    given = {kind: {name_of(body): body}}
    alone = Members(given.get(names.JOB, {}), given.get(names.DATASET, {}))
    path = object_path(names.DAG, namespace, dag)
    owner = body if kind == names.DAG else await client.get(path, dict[str, object])
    if owner is None:
        # A set may come before its DAG. What else of it is there says nothing of this one.
        return LiveSet(dag=dag, body=_nobody(namespace, dag), alone=alone, found=None, there=False)
    # The API server takes a tenth of a second for lists that are as of now.
    live = None
    if kind == names.DAG or len(_listed(owner)) <= MEMBERS:
        async with gate:
            live = await _live(client, namespace, dag, _listed(owner), given)
    if live is None:
        return LiveSet(dag=dag, body=owner, alone=alone, found=None)
    of_dag = {k: {n: b for n, b in bodies.items() if dag_named(k, b) == dag} for k, bodies in live.items()}
    if kind != names.DAG and sum(map(len, of_dag.values())) > MEMBERS:
        return LiveSet(dag=dag, body=owner, alone=alone, found=None)

    def find(kind: str, name: str) -> Body | None:
        return live[kind].get(name)

    found = gather(owner, of_dag[names.JOB].values(), of_dag[names.DATASET].values(), float("inf"), find)
    return LiveSet(
        dag=dag,
        body=owner,
        alone=alone,
        found=found,
        whole=kind == names.DAG and not any(of_dag.values()) and not _listed(body),
    )


def _listed(dag: Body) -> set[object]:
    """The names of the objects that a DAG says to belong to it."""
    spec = cast("Mapping[str, object]", dag.get("spec") or {})
    refs = (spec.get("jobRefs"), spec.get("datasetRefs"))
    return {name for given in refs if isinstance(given, list) for name in given if isinstance(name, str)}


async def _live(
    client: Client, namespace: str, dag: str, listed: set[object], given: Mapping[str, Mapping[str, Body]]
) -> dict[str, dict[str, Body]] | None:
    """The authored Jobs and Datasets of a namespace that name the DAG or are listed by it, with those that are being
    written; None where there are many in the namespace.
    """
    kinds = (names.JOB, names.DATASET)
    # Projected ones are made by the operator, as pods are.
    query = {"labelSelector": "app.kubernetes.io/managed-by!=headrace", "limit": str(_MOST)}
    found = await asyncio.gather(*(client.get(object_path(k, namespace), _Listing, **query) for k in kinds))
    live: dict[str, dict[str, Body]] = {}
    for kind, listing in zip(kinds, found, strict=True):
        if listing is not None and listing.metadata.continue_:
            return None
        live[kind] = {}
        for item in listing.items if listing else ():
            body: Body = {"apiVersion": names.API_VERSION, "kind": kind, **msgspec.json.decode(item, type=dict)}
            # One after another: together they may be large, and most are of other DAGs.
            if authored(body) and (dag_named(kind, body) == dag or name_of(body) in listed):
                live[kind][name_of(body)] = body
        live[kind].update(given.get(kind, {}))
    return live


def _nobody(namespace: str, dag: str) -> Body:
    """A DAG that is not there yet, for what of its members can be judged without it."""
    metadata = {"name": dag, "namespace": namespace}
    return {"apiVersion": names.API_VERSION, "kind": names.DAG, "metadata": metadata, "spec": {}}
