"""The objects that files hold, as `kubectl apply -f` would take them, for the gateway to plan."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final, cast

from headrace.api.names import GROUP
from headrace.cli.documents import Unreadable, documents, read_text

Manifest = dict[str, Any]
_SUFFIXES: Final = (".yaml", ".yml", ".json")
_KEPT: Final = ("name", "namespace", "annotations", "labels")


def manifests(given: Sequence[str], recursive: bool) -> list[Manifest]:
    """Every object of our group in the files, directories and standard input (`-`) given; those of others are left out.

    Of each what a person writes: no status, and of the metadata name, namespace, annotations and labels.
    """
    found: list[Manifest] = []
    for where, text in texts(given, recursive):
        for document in documents(text, where):
            found += (_kept(one) for one in _objects(document, where) if _ours(one))
    if not found:
        raise Unreadable(f"{', '.join(given)}: no object of {GROUP} is there")
    return found


def by_namespace(objects: Iterable[Manifest], chosen: str | None, default: str) -> dict[str, list[Manifest]]:
    """The objects by namespace: their own, else `chosen` (by -n), else the context's `default`.

    As in kubectl, an object for another namespace than the chosen one is an error.
    """
    found: dict[str, list[Manifest]] = {}
    for one in objects:
        own = one["metadata"].get("namespace")
        if chosen and own and own != chosen:
            name = one["metadata"].get("name")
            raise Unreadable(f"{one['kind']} {name} is for namespace {own}, and -n says {chosen}: leave one out")
        found.setdefault(own or chosen or default, []).append(one)
    return found


def texts(given: Sequence[str], recursive: bool) -> Iterator[tuple[str, str]]:
    """Name and text of each file in the files, directories and standard input (`-`) given; Unreadable."""
    for name in given:
        if name == "-":
            yield "standard input", _standard_input()
            continue
        path = Path(name)
        if not path.is_dir():
            yield name, read_text(path)
            continue
        inside = path.rglob("*") if recursive else path.iterdir()
        files = sorted(one for one in inside if one.suffix in _SUFFIXES and one.is_file())
        if not files:
            hint = "" if recursive else "; -R looks into directories"
            raise Unreadable(f"{name}: no {', '.join(_SUFFIXES)} file is there{hint}")
        yield from ((str(one), read_text(one)) for one in files)


def _standard_input() -> str:
    try:
        return sys.stdin.read()
    except UnicodeDecodeError as error:
        raise Unreadable(f"standard input: {error}") from error


def _objects(document: object, where: str) -> Iterator[Manifest]:
    """The object itself, or those of a List."""
    if not isinstance(document, dict) or not isinstance(document.get("kind"), str):
        raise Unreadable(f"{where}: a document is no Kubernetes object: it has no kind")
    if document["kind"].endswith("List") and isinstance(document.get("items"), list):
        for item in document["items"]:
            yield from _objects(item, where)
    else:
        yield cast("Manifest", document)


def _ours(one: Manifest) -> bool:
    return str(one.get("apiVersion")).startswith(f"{GROUP}/")


def _kept(one: Manifest) -> Manifest:
    given = one.get("metadata")
    metadata = {key: given[key] for key in _KEPT if key in given} if isinstance(given, dict) else {}
    kept: Manifest = {key: one[key] for key in ("apiVersion", "kind", "spec") if key in one}
    return {**kept, "metadata": metadata}
