"""What the API server asks of every object, whatever its kind: fields beside the spec, labels and annotations. Pure.

kubectl has unknown fields refused, so that a misspelt `label:` is no silent loss; `lint` says the same offline.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

_TOP: Final = ("apiVersion", "kind", "metadata", "spec", "status")
_METADATA: Final = (
    "annotations", "creationTimestamp", "deletionGracePeriodSeconds", "deletionTimestamp", "finalizers", "generateName",
    "generation", "labels", "managedFields", "name", "namespace", "ownerReferences", "resourceVersion", "selfLink",
    "uid",
)  # fmt: skip
_PART: Final = r"[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?"
_DOMAIN: Final = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*"
_KEY: Final = re.compile(rf"((?=[^/]{{1,253}}/){_DOMAIN}/)?{_PART}\Z")
_VALUE: Final = re.compile(rf"({_PART})?\Z")
_WORD: Final = "at most 63 letters, digits, -, _ and ., which begin and end with a letter or digit"


def faults(body: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    """(path, value, message) of what is wrong; metadata that are no map are told elsewhere."""
    yield from _unknown(body, "", _TOP)
    metadata = body.get("metadata")
    if not isinstance(metadata, Mapping):
        return
    yield from _unknown(metadata, "metadata.", _METADATA)
    for field in ("labels", "annotations"):
        given = metadata.get(field)
        for key, value in given.items() if isinstance(given, Mapping) else ():
            path = f"metadata.{field}.{key}"
            # Of annotations the domain may have capitals, of labels not.
            checked = str(key).lower() if field == "annotations" else str(key)
            if not _KEY.match(checked):
                yield path, "", f"no key: {_WORD}; before them a domain and a /, if any"
            elif field == "labels" and isinstance(value, str) and not _VALUE.match(value):
                yield path, value[:64], f"no label: {_WORD}"


def _unknown(given: Mapping[str, Any], before: str, known: tuple[str, ...]) -> Iterator[tuple[str, str, str]]:
    for name in given:
        if name not in known:
            yield f"{before}{name}", "", f"unknown field: known here are {', '.join(known)}"
