"""The three kinds as last seen: what reconcile observes of the cluster, kept from events, lists and our own writes.

An event that is older than what is known, such as the echo of our own status write, changes nothing and wakes nobody.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final, cast

from headrace.api import names
from headrace.cluster.client import Client, path_of
from headrace.compile.members import authored, dag_named, deleting, revision
from headrace.errors import TemporaryError

Body = dict[str, object]


@dataclass(frozen=True, order=True)
class Key:
    """A DAG: namespace and name."""

    namespace: str
    name: str


KINDS: Final = (names.DAG, names.JOB, names.DATASET)
Place = tuple[str, str]
"""Namespace and name."""


@dataclass
class Objects:
    """Bodies by kind and (namespace, name). `floors`: what is not known was not there at this version of its kind.

    `clock` is monotonic, in seconds. Indices keep every question that a reconcile asks to the objects of its own DAG.
    """

    clock: Callable[[], float] = time.monotonic
    known: dict[str, dict[Place, Body]] = field(default_factory=lambda: {kind: {} for kind in KINDS})
    versions: dict[tuple[str, str, str], int] = field(default_factory=dict)
    floors: dict[str, int] = field(default_factory=lambda: dict.fromkeys(KINDS, -1))
    _authored: dict[str, dict[Key, dict[str, Body]]] = field(default_factory=lambda: {kind: {} for kind in KINDS})
    _shown: dict[str, dict[Key, dict[str, Body]]] = field(default_factory=lambda: {kind: {} for kind in KINDS})
    _changes: dict[Key, Changes] = field(default_factory=dict)

    def note(self, kind: str, body: Mapping[str, object], *, deleted: bool = False) -> tuple[Key, ...]:
        """Take in an event; the DAGs that it concerns, none if it is older than what is known.

        An object that moves from one DAG to another concerns both.
        """
        metadata = cast("Mapping[str, str]", body["metadata"])
        place = (metadata["namespace"], metadata["name"])
        version = int(metadata["resourceVersion"])
        if version <= self.versions.get((kind, *place), self.floors[kind]):
            return ()
        self.versions[kind, *place] = version
        return self._put(kind, place, None if deleted else dict(body))

    def forget(self, kind: str, place: Place) -> None:
        """An object is gone, as a list says that is newer than what is known of it."""
        self._put(kind, place, None)

    def forget_unnamed(self) -> None:
        """Drop the changes of DAGs that are gone and that nothing names."""
        named = set(self.named_dags())
        self._changes = {key: found for key, found in self._changes.items() if key in named}

    def get(self, kind: str, namespace: str, name: str) -> Body | None:
        """The object as last seen."""
        return self.known[kind].get((namespace, name))

    def dags(self) -> list[Key]:
        """Every DAG that is there."""
        return sorted(Key(*place) for place in self.known[names.DAG])

    def named_dags(self) -> list[Key]:
        """Every DAG that is there, and every one that a Job or Dataset names."""
        return sorted({*self.dags(), *self._authored[names.JOB], *self._authored[names.DATASET]})

    def authored(self, kind: str, key: Key) -> Mapping[str, Body]:
        """The objects of `kind` that somebody wrote and that name the DAG `key`, by name."""
        return self._authored[kind].get(key, {})

    def projected(self, kind: str, key: Key) -> dict[str, Body]:
        """The objects of `kind` that show parts of the DAG `key`, by name: those named `<dag>.<part>`."""
        return dict(self._shown[kind].get(key, {}))

    def changes(self, key: Key) -> Changes:
        """What changed of the DAG `key` and of the objects that name it, since this process saw them first."""
        return self._changes.get(key, _UNCHANGED)

    def _put(self, kind: str, place: Place, body: Body | None) -> tuple[Key, ...]:
        """Keep `body`, or forget what was there, with the indices; the DAGs concerned."""
        old = self.known[kind].pop(place, None)
        if body is not None:
            self.known[kind][place] = body
        concerned = {key: None for one in (old, body) if one is not None and (key := dag_of(kind, one)) is not None}
        if kind != names.DAG:
            for index, of in ((self._authored[kind], _joins), (self._shown[kind], _shows)):
                was, now = of(kind, old), of(kind, body)
                if was is not None and was != now:
                    _remove(index, was, place[1])
                if now is not None and body is not None:
                    index.setdefault(now, {})[place[1]] = body
        if _said(kind, old) != _said(kind, body):
            for key in concerned:
                self._changes[key] = self.changes(key).after(self.clock(), member=kind != names.DAG)
        return tuple(concerned)


@dataclass(frozen=True)
class Changes:
    """How often what somebody wrote changed, and when last, by the clock of Objects: of all, and of members alone."""

    count: int = 0
    last: float = float("-inf")
    last_member: float = float("-inf")

    def after(self, now: float, *, member: bool) -> Changes:
        """These and one more."""
        return Changes(self.count + 1, now, now if member else self.last_member)


_UNCHANGED: Final = Changes()


def _said(kind: str, body: Body | None) -> object:
    """What of an object is its author's word on the set; a status, other annotations or what we projected are not."""
    if body is None or (kind != names.DAG and not authored(body)):
        return None
    metadata = cast("Mapping[str, object]", body["metadata"])
    return metadata.get("uid"), metadata.get("generation"), deleting(body), revision(body)


def _joins(kind: str, body: Body | None) -> Key | None:
    return dag_of(kind, body) if body is not None and authored(body) else None


def _shows(_kind: str, body: Body | None) -> Key | None:
    """The DAG of a part that is shown, by the object's name: a dot is reserved for these."""
    metadata = cast("Mapping[str, str]", body["metadata"]) if body is not None else {}
    dag, dot, _ = metadata.get("name", "").partition(".")
    return Key(metadata["namespace"], dag) if dot else None


def _remove(index: dict[Key, dict[str, Body]], key: Key, name: str) -> None:
    there = index[key]
    there.pop(name, None)
    if not there:
        del index[key]


def dag_of(kind: str, body: Mapping[str, object]) -> Key | None:
    """The DAG that an object belongs to, by its spec; None where that says nothing."""
    metadata = cast("Mapping[str, str]", body["metadata"])
    dag = metadata["name"] if kind == names.DAG else dag_named(kind, body)
    return None if dag is None else Key(metadata["namespace"], dag)


def object_path(kind: str, namespace: str | None, name: str | None = None, sub: str = "") -> str:
    """The API path of an object of our group, or of the kind."""
    return path_of(names.API_VERSION, namespace, names.PLURALS[kind], name, sub)


async def read_all(client: Client, objects: Objects) -> None:
    """List every object of the three kinds and take it in; what is known and not in the list is gone.

    TemporaryError when a kind is not served: that is no absence of its objects.
    """
    for kind in KINDS:
        listing = await client.get(object_path(kind, None), dict[str, object])
        if listing is None:
            raise TemporaryError(f"the API server does not serve {names.PLURALS[kind]}.{names.GROUP}: apply crds/")
        metadata = cast("Mapping[str, str]", listing["metadata"])
        version = int(metadata["resourceVersion"])
        there: set[tuple[str, str]] = set()
        for item in cast("list[Body]", listing["items"]):
            body = {"apiVersion": names.API_VERSION, "kind": kind, **item}
            objects.note(kind, body)
            meta = cast("Mapping[str, str]", body["metadata"])
            there.add((meta["namespace"], meta["name"]))
        for place in set(objects.known[kind]) - there:
            if objects.versions[kind, *place] <= version:
                objects.forget(kind, place)
        objects.floors[kind] = max(version, objects.floors[kind])
        for one in [v for v, at in objects.versions.items() if v[0] == kind and at <= version]:
            if one[1:] not in objects.known[kind]:
                del objects.versions[one]
    objects.forget_unnamed()
