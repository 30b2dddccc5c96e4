"""Pod templates: a strategic merge and the container that is the task. Pure; compile calls it.

Lists of things with a name merge by that name, all other lists replace, and null takes a field away, as in
Kubernetes' strategic merge patch for the same fields.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

Tree = dict[str, object]

_MERGE_KEYS = {
    "containers": "name",
    "initContainers": "name",
    "volumes": "name",
    "env": "name",
    "imagePullSecrets": "name",
    "volumeMounts": "mountPath",
    "ports": "containerPort",
}


def merge(base: Mapping[str, object], over: Mapping[str, object]) -> Tree:
    """`over` on top of `base`; neither is changed."""
    result: Tree = dict(base)
    for key, value in over.items():
        below = result.get(key)
        if value is None:
            result.pop(key, None)
        elif isinstance(value, Mapping):
            result[key] = merge(below if isinstance(below, Mapping) else {}, value)
        elif key in _MERGE_KEYS and isinstance(value, list) and isinstance(below, list):
            result[key] = _merge_list(below, value, _MERGE_KEYS[key])
        else:
            result[key] = value
    return result


def _merge_list(base: list[object], over: list[object], key: str) -> list[object]:
    """Items of `base` in their order, each merged with its namesake; then what is new. Items without a key are kept."""
    named = {_name(item, key): item for item in over if isinstance(item, Mapping) and _name(item, key) is not None}
    seen: set[str | int] = set()
    result: list[object] = []
    for item in base:
        name = _name(item, key)
        if isinstance(item, Mapping) and name is not None and name in named:
            result.append(merge(item, named[name]))
            seen.add(name)
        else:
            result.append(item)
    result.extend(item for item in over if _name(item, key) not in seen)
    return result


def _name(item: object, key: str) -> str | int | None:
    """What tells `item` apart in its list; None for an item that has none that could."""
    name = item.get(key) if isinstance(item, Mapping) else None
    return name if isinstance(name, str | int) else None


def task_container(template: Mapping[str, object]) -> str:
    """The name of the container that is the task: `main`, else the first; `main` when there is none yet."""
    names = [container.get("name") for container in containers(template)]
    if "main" in names or not names or not isinstance(names[0], str):
        return "main"
    return names[0]


def containers(template: Mapping[str, object]) -> list[Tree]:
    """The template's containers that are objects; what else is written there the API server refuses."""
    spec = template.get("spec")
    found = spec.get("containers") if isinstance(spec, Mapping) else None
    return [cast("Tree", c) for c in found if isinstance(c, Mapping)] if isinstance(found, list) else []


def container(template: Mapping[str, object], name: str) -> Tree:
    """The container called `name`, or an empty one."""
    return next((c for c in containers(template) if c.get("name") == name), {})
