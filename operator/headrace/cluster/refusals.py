"""What the cluster says against a pod, as it may be shown. `cluster.pods` calls it."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Final, cast

_LONG: Final = 8
"""A value that is shorter may be a word of the message, or in one: it is one of the pod's where it stands as such."""
_SECRET: Final = 5
_PLAIN: Final = re.compile(r"[\d.]+|true|false", re.I)
"""No secrets, and what a message about a quota or a field is for."""


def unquoted(message: str, manifest: Mapping[str, object]) -> str:
    """What the cluster says against a pod, without the values of its environment: some admission quotes what it checks,
    and the message becomes a status. Short ones are told where they are no more than a word: see docs/security.md.
    """
    for name, value in sorted(_variables(manifest), key=lambda one: len(one[1]), reverse=True):
        for written in {value, json.dumps(value)[1:-1], json.dumps(value, ensure_ascii=False)[1:-1]}:
            if len(value) >= _LONG:
                message = message.replace(written, "…")
            else:
                # After its name, or a mark: `NAME=value`, `"value"`, `{NAME value}`, `(value)`.
                found = rf"([^\w\s]\s*|\b{re.escape(name)}\s+){re.escape(written)}(?!\w)"
                message = re.sub(found, r"\1…", message)
    return message


def _variables(manifest: Mapping[str, object]) -> set[tuple[str, str]]:
    """Variables of the environment and their values, but plain ones, and what is shown anyway as a name of the pod."""
    spec = cast("Mapping[str, object]", manifest.get("spec") or {})
    metadata = cast("Mapping[str, object]", manifest.get("metadata") or {})
    kinds = (spec.get("containers"), spec.get("initContainers"))
    containers = [one for kind in kinds if isinstance(kind, list) for one in kind if isinstance(one, Mapping)]
    variables = [v for one in containers if isinstance(env := one.get("env"), list) for v in env]
    values = ((str(one.get("name")), one.get("value")) for one in variables if isinstance(one, Mapping))
    shown = [metadata.get("name"), metadata.get("namespace"), *(one.get("name") for one in containers)]
    return {
        (name, value)
        for name, value in values
        if isinstance(value, str) and len(value) >= _SECRET and value not in shown and not _PLAIN.fullmatch(value)
    }
