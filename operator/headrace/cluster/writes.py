"""The only writes to our own kinds: a status that differs, and the objects that show inline jobs and datasets.

Each write is one PATCH, POST or DELETE, made only when there is a difference; what the server answers is taken in, so
that its echo wakes nobody.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping
from typing import cast

import msgspec

from headrace.api import names
from headrace.api.status import DagStatus, DatasetStatus, JobStatus
from headrace.cluster.client import AlreadyExists, Client
from headrace.cluster.objects import Body, Key, Objects, object_path

logger = logging.getLogger(__name__)

_AT_ONCE = 8

Status = DagStatus | JobStatus | DatasetStatus
Written = Callable[[str, Body, Status], None]
"""Told of each status that was written: kind, the object with the status before it, the status."""


async def write_status(
    client: Client, objects: Objects, kind: str, body: Body, status: Status, written: Written
) -> bool:
    """Patch the status of the object `body` if it differs from `status`; whether it did."""
    change = _change(body, status)
    if not change or not await _write(client, objects, kind, body, change):
        return False
    written(kind, body, status)
    return True


async def write_statuses(
    client: Client, objects: Objects, told: Iterable[tuple[str, Body, Status]], written: Written
) -> None:
    """The same for many objects (kind, body, status), a few at a time; the first error comes out, after all."""
    differ = [(kind, body, status) for kind, body, status in told if _change(body, status)]
    gate = asyncio.Semaphore(_AT_ONCE)

    async def one(kind: str, body: Body, status: Status) -> None:
        async with gate:
            await write_status(client, objects, kind, body, status, written)

    ended = await asyncio.gather(*(one(*each) for each in differ), return_exceptions=True)
    for error in ended:
        if error is not None:
            raise error


def _change(body: Body, status: Status) -> Body:
    there = body.get("status")
    return difference(there if isinstance(there, Mapping) else {}, cast("Body", msgspec.to_builtins(status)))


async def _write(client: Client, objects: Objects, kind: str, body: Body, change: Body) -> bool:
    metadata = cast("Mapping[str, str]", body["metadata"])
    path = object_path(kind, metadata["namespace"], metadata["name"], "status")
    # The uid keeps the write off a namesake that was made anew meanwhile.
    answer = await client.patch(path, {"metadata": {"uid": metadata["uid"]}, "status": change}, dict[str, object])
    if answer is not None:
        objects.note(kind, answer)
    return answer is not None


async def set_finalizer(client: Client, objects: Objects, body: Body, *, wanted: bool) -> None:
    """Have our finalizer on the DAG `body`, or not; others' stay. TemporaryError when it was changed meanwhile."""
    metadata = cast("Mapping[str, object]", body["metadata"])
    there = list(cast("list[str]", metadata.get("finalizers") or ()))
    if (names.FINALIZER in there) == wanted:
        return
    kept = [finalizer for finalizer in there if finalizer != names.FINALIZER]
    # The version: a list is replaced as a whole, and whoever added another one meanwhile is not to lose it.
    change: Body = {
        "metadata": {
            "uid": metadata["uid"],
            "resourceVersion": metadata["resourceVersion"],
            "finalizers": [*kept, names.FINALIZER] if wanted else kept,
        }
    }
    path = object_path(names.DAG, str(metadata["namespace"]), str(metadata["name"]))
    answer = await client.patch(path, change, dict[str, object])
    if answer is not None and wanted:
        objects.note(names.DAG, answer)


def difference(there: Mapping[str, object], wanted: Mapping[str, object]) -> Body:
    """The merge patch from `there` to `wanted`: maps field by field, everything else whole, null for what goes."""
    change: Body = {key: None for key in there if key not in wanted}
    for key, value in wanted.items():
        old = there.get(key)
        if isinstance(value, Mapping) and isinstance(old, Mapping):
            inner = difference(old, value)
            if inner:
                change[key] = inner
        elif value != old:
            change[key] = value
    return change


async def project(client: Client, objects: Objects, kind: str, dag: Body, wanted: Mapping[str, Body]) -> None:
    """Make the projected objects of `dag` of one kind be `wanted`, name to spec: create, restore, delete."""
    metadata = cast("Mapping[str, str]", dag["metadata"])
    key = Key(metadata["namespace"], metadata["name"])
    there = objects.projected(kind, key)
    for name, spec in wanted.items():
        body = there.get(name)
        if body is None:
            await _create(client, objects, kind, dag, name, spec)
        elif body.get("spec") != spec or not _owned(body, dag):
            change = {"metadata": {"ownerReferences": [_owner(dag)]}, "spec": difference(_spec(body), spec)}
            answer = await client.patch(object_path(kind, key.namespace, name), change, dict[str, object])
            if answer is not None:
                objects.note(kind, answer)
    for name, body in there.items():
        if name not in wanted and _owned(body, dag):
            await client.delete(object_path(kind, key.namespace, name))


async def _create(client: Client, objects: Objects, kind: str, dag: Body, name: str, spec: Body) -> None:
    metadata = cast("Mapping[str, str]", dag["metadata"])
    body: Body = {
        "apiVersion": names.API_VERSION,
        "kind": kind,
        "metadata": {
            "name": name,
            "namespace": metadata["namespace"],
            "labels": {"app.kubernetes.io/managed-by": "headrace", names.LABEL_DAG: metadata["name"]},
            "ownerReferences": [_owner(dag)],
        },
        "spec": spec,
    }
    try:
        answer = await client.create(object_path(kind, metadata["namespace"]), body, dict[str, object])
    except AlreadyExists:
        # It is there already and its event is on the way: that event wakes the next reconcile.
        logger.debug("%s %s is there already", kind, name)
        return
    objects.note(kind, answer)


def _spec(body: Body) -> Body:
    spec = body.get("spec")
    return dict(spec) if isinstance(spec, Mapping) else {}


def _owner(dag: Body) -> Body:
    metadata = cast("Mapping[str, str]", dag["metadata"])
    return {
        "apiVersion": names.API_VERSION,
        "kind": names.DAG,
        "name": metadata["name"],
        "uid": metadata["uid"],
        "controller": True,
    }


def _owned(body: Body, dag: Body) -> bool:
    metadata = cast("Mapping[str, object]", body["metadata"])
    owners = metadata.get("ownerReferences")
    uid = cast("Mapping[str, str]", dag["metadata"])["uid"]
    return isinstance(owners, list) and any(isinstance(o, Mapping) and o.get("uid") == uid for o in owners)
