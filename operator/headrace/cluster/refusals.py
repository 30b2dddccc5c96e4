"""What the cluster says against a pod, as it may be shown. `cluster.pods` calls it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Final, cast

# Shorter ones would be found in words, and are no secrets.
_SECRET: Final = 8


def unquoted(message: str, manifest: Mapping[str, object]) -> str:
    """What the cluster says against a pod, without the values of its environment: some admission quotes what it checks,
    and the message becomes a status.
    """
    for value in sorted(_values(manifest), key=len, reverse=True):
        for written in {value, json.dumps(value)[1:-1], json.dumps(value, ensure_ascii=False)[1:-1]}:
            message = message.replace(written, "…")
    return message


def _values(manifest: Mapping[str, object]) -> set[str]:
    """Values of environment variables that are long enough to be a secret, and to be no word of the message."""
    spec = cast("Mapping[str, object]", manifest.get("spec") or {})
    kinds = (spec.get("containers"), spec.get("initContainers"))
    containers = [one for kind in kinds if isinstance(kind, list) for one in kind if isinstance(one, Mapping)]
    variables = [v for one in containers if isinstance(env := one.get("env"), list) for v in env]
    values = (one.get("value") for one in variables if isinstance(one, Mapping))
    return {value for value in values if isinstance(value, str) and len(value) >= _SECRET}
