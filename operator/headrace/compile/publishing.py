"""What the owner of a name says beside the document: who may read, how many versions keep their contents, how old its
last update may be. Pure.

It holds at once and for every version, so reconcile reads it from the objects as they are, whatever else of them is
wrong or awaited: access closes before a document compiles. Bodies are as the API server gives them, unchecked.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import timedelta
from typing import Final

from msgspec import Struct

from headrace.api.duration import parse_duration
from headrace.compile.members import Body, deleting
from headrace.compile.parts import dataset_name

VERSIONS: Final = 10
"""How many versions of the DAG keep their contents, where nothing else is said."""


class NameSettings(Struct, frozen=True, kw_only=True):
    """`read_roles`: of which a person needs one to read; none: nobody needs any."""

    name: str
    read_roles: tuple[str, ...] = ()
    versions: int = VERSIONS


def name_settings(dag: Body, datasets: Mapping[str, Body]) -> tuple[NameSettings, ...]:
    """By name, sorted; `datasets`: the Dataset objects that name the DAG.

    Of a name that is not clearly one's, nothing.
    """
    found = (_settings(name, entry) for name, entry in _said(dag, datasets))
    return tuple(sorted((one for one in found if one is not None), key=lambda one: one.name))


def freshness(dag: Body, datasets: Mapping[str, Body]) -> dict[str, timedelta]:
    """How old the last update of a name's contents may be, of the names of which that is said; as in name_settings."""
    found = {name: _duration(entry.get("freshness")) for name, entry in _said(dag, datasets)}
    return {name: most for name, most in found.items() if most is not None}


def _said(dag: Body, datasets: Mapping[str, Body]) -> Iterator[tuple[str, Mapping[str, object]]]:
    """Each name with its entry or spec, once.

    What a DAG publishes itself is its own word: no other object can open it, nor can one that it does not list.
    """
    refs = _map(dag.get("spec")).get("datasetRefs")
    listed = refs if isinstance(refs, list) else datasets.keys()
    datasets = {name: body for name, body in datasets.items() if name in listed and not deleting(body)}
    inline = [(_text(entry.get("name")), entry) for entry in _entries(dag)]
    own = {name for name, _ in inline}
    objects = [(_named(name, body), _map(body.get("spec"))) for name, body in datasets.items()]
    said = [*inline, *(one for one in objects if one[0] not in own)]
    times = Counter(name for name, _ in said)
    yield from ((name, entry) for name, entry in said if name is not None and times[name] == 1)


def _duration(text: object) -> timedelta | None:
    """None where nothing is said, or what the API server would not have taken."""
    try:
        return parse_duration(text) if isinstance(text, str) else None
    except ValueError:
        return None


def _settings(name: str, entry: Mapping[str, object]) -> NameSettings | None:
    """None for what the API server would not have taken."""
    roles, retention = entry.get("readRoles"), _map(entry.get("retention"))
    versions = retention.get("versions", VERSIONS)
    if not isinstance(roles, list | None) or not all(isinstance(role, str) for role in roles or ()):
        return None
    if not isinstance(versions, int) or not 1 <= versions <= 1000:
        return None
    return NameSettings(name=name, read_roles=tuple(sorted(set(roles or ()))), versions=versions)


def _entries(dag: Body) -> Iterator[Mapping[str, object]]:
    publish = _map(dag.get("spec")).get("publish")
    for entry in publish if isinstance(publish, list) else ():
        if isinstance(entry, Mapping):
            yield entry


def _named(name: str, body: Body) -> str:
    return dataset_name(name, _map(body.get("spec")).get("datasetName"))


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _map(value: object) -> Mapping[str, object]:
    return value if isinstance(value, Mapping) else {}
