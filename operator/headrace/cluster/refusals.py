"""What the cluster says against a pod, as it may be shown. `cluster.pods` calls it."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Final, cast

_LONG: Final = 8
"""A value that is shorter may be a word of the message, or in one: it is one of the pod's where it stands as such."""


def unquoted(message: str, manifest: Mapping[str, object]) -> str:
    """What the cluster says against a pod, without the values of its environment: some admission quotes what it checks,
    and the message becomes a status.
    """
    for value in sorted(_values(manifest), key=len, reverse=True):
        for written in {value, json.dumps(value)[1:-1], json.dumps(value, ensure_ascii=False)[1:-1]}:
            if len(value) >= _LONG:
                message = message.replace(written, "…")
            else:
                message = re.sub(_as_value(written), r"\1…", message)
    return message


def _as_value(written: str) -> str:
    """Where it is in quotes, or after `=` or `: `."""
    return rf"""((?:["'`]|[=:]\s?)){re.escape(written)}(?=["'`]|$|[\s,;.)\]}}])"""


def _values(manifest: Mapping[str, object]) -> set[str]:
    """Values of environment variables, but those that are names of the pod's and thus shown anyway."""
    spec = cast("Mapping[str, object]", manifest.get("spec") or {})
    metadata = cast("Mapping[str, object]", manifest.get("metadata") or {})
    kinds = (spec.get("containers"), spec.get("initContainers"))
    containers = [one for kind in kinds if isinstance(kind, list) for one in kind if isinstance(one, Mapping)]
    variables = [v for one in containers if isinstance(env := one.get("env"), list) for v in env]
    values = (one.get("value") for one in variables if isinstance(one, Mapping))
    shown = [metadata.get("name"), metadata.get("namespace"), *(one.get("name") for one in containers)]
    return {value for value in values if isinstance(value, str) and value and value not in shown}
