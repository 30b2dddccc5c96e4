"""The three kinds as last seen: what reconcile observes of the cluster, kept from events, lists and our own writes.

An event that is older than what is known, such as the echo of our own status write, changes nothing and wakes nobody.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, cast

from headrace.api import names
from headrace.cluster.client import Client, path_of
from headrace.errors import TemporaryError

Body = dict[str, object]


@dataclass(frozen=True, order=True)
class Key:
    """A DAG: namespace and name."""

    namespace: str
    name: str


KINDS: Final = (names.DAG, names.JOB, names.DATASET)


@dataclass
class Objects:
    """Bodies by kind and (namespace, name). `floors`: what is not known was not there at this version of its kind."""

    known: dict[str, dict[tuple[str, str], Body]] = field(default_factory=lambda: {kind: {} for kind in KINDS})
    versions: dict[tuple[str, str, str], int] = field(default_factory=dict)
    floors: dict[str, int] = field(default_factory=lambda: dict.fromkeys(KINDS, -1))

    def note(self, kind: str, body: Mapping[str, object], *, deleted: bool = False) -> bool:
        """Take in an event; False if it is older than what is known."""
        metadata = cast("Mapping[str, str]", body["metadata"])
        place = (metadata["namespace"], metadata["name"])
        version = int(metadata["resourceVersion"])
        if version <= self.versions.get((kind, *place), self.floors[kind]):
            return False
        self.versions[kind, *place] = version
        if deleted:
            self.known[kind].pop(place, None)
        else:
            self.known[kind][place] = dict(body)
        return True

    def get(self, kind: str, namespace: str, name: str) -> Body | None:
        """The object as last seen."""
        return self.known[kind].get((namespace, name))

    def dags(self) -> list[Key]:
        """Every DAG that is there."""
        return sorted(Key(*place) for place in self.known[names.DAG])

    def projected(self, kind: str, key: Key) -> dict[str, Body]:
        """The objects of `kind` that show parts of the DAG `key`, by name: those named `<dag>.<part>`."""
        prefix = names.project_name(key.name, "")
        return {
            name: body
            for (namespace, name), body in self.known[kind].items()
            if namespace == key.namespace and name.startswith(prefix)
        }


def dag_of(kind: str, body: Mapping[str, object]) -> Key | None:
    """The DAG that an object belongs to, by its spec; None where that says nothing."""
    metadata = cast("Mapping[str, str]", body["metadata"])
    if kind == names.DAG:
        return Key(metadata["namespace"], metadata["name"])
    spec = body.get("spec")
    if not isinstance(spec, Mapping):
        return None
    given = spec.get("from") if kind == names.DATASET else spec
    dag = given.get("dag") if isinstance(given, Mapping) else None
    return Key(metadata["namespace"], dag) if isinstance(dag, str) else None


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
                del objects.known[kind][place]
        objects.floors[kind] = max(version, objects.floors[kind])
        for one in [v for v, at in objects.versions.items() if v[0] == kind and at <= version]:
            if one[1:] not in objects.known[kind]:
                del objects.versions[one]
