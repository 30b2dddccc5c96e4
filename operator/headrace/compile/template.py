"""Pod templates: a strategic merge and the container that is the task. Pure; compile calls it.

Lists of things with a name merge by that name, all other lists replace, and null takes a field away, as in
Kubernetes' strategic merge patch for the same fields.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final, cast

from headrace.api.names import GROUP

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
    return _listed(_tree(template.get("spec")), "containers")


def container(template: Mapping[str, object], name: str) -> Tree:
    """The container called `name`, or an empty one."""
    return next((c for c in containers(template) if c.get("name") == name), {})


TASK_DIRECTORY: Final = "/var/run/headrace"
TASK_VOLUME: Final = "headrace-task"

_OURS: Final = {
    "restartPolicy": "an attempt is one pod, which is never restarted: leave it out",
    "activeDeadlineSeconds": "the operator sets it from timeoutSeconds: set that, and leave it out",
}


def conflicts(template: Mapping[str, object], main: str) -> Iterator[tuple[str, str]]:
    """(path, message) of what a template says that its pods would not have: what the operator drops or sets itself.

    Misspelt fields of the pod are refused by the API server, when the pod is tried out.
    """
    for key in template.keys() - {"metadata", "spec"}:
        yield key, "a pod template has metadata and spec: remove it"
    metadata = _tree(template.get("metadata"))
    for key in metadata.keys() - {"labels", "annotations"}:
        yield f"metadata.{key}", "of a pod's metadata only labels and annotations are the template's: remove it"
    for kind in ("labels", "annotations"):
        for key in _tree(metadata.get(kind)):
            if key.startswith(f"{GROUP}/") or (kind, key) == ("labels", "app.kubernetes.io/managed-by"):
                yield f"metadata.{kind}[{key}]", "the operator sets it: remove it"
    spec = _tree(template.get("spec"))
    for key, message in _OURS.items():
        if key in spec:
            yield f"spec.{key}", message
    if any(volume.get("name") == TASK_VOLUME for volume in _listed(spec, "volumes")):
        yield f"spec.volumes[{TASK_VOLUME}]", "the operator's own volume has this name: choose another"
    yield from _container_conflicts(container(template, main), main)


def _container_conflicts(own: Tree, main: str) -> Iterator[tuple[str, str]]:
    for variable in _listed(own, "env"):
        if str(variable.get("name")).startswith("HEADRACE_"):
            yield f"spec.containers[{main}].env[{variable.get('name')}]", "the operator sets it: choose another name"
    for mount in _listed(own, "volumeMounts"):
        if str(mount.get("mountPath")).rstrip("/") == TASK_DIRECTORY:
            yield f"spec.containers[{main}].volumeMounts", f"the task is at {TASK_DIRECTORY}: mount it elsewhere"


class Bases:
    """Jobs' templates on top of the DAG's `default`. Most jobs have none, so that theirs is worked out once for all."""

    def __init__(self, default: Tree) -> None:
        self._default = default
        self._plain = self._over({})

    def under(self, template: Tree | None) -> tuple[Tree, str, tuple[tuple[str, str], ...]]:
        """The merged template, not to be changed; the name of its task container; (path, message) of its conflicts."""
        return self._over(template) if template else self._plain

    def _over(self, template: Tree) -> tuple[Tree, str, tuple[tuple[str, str], ...]]:
        merged = merge(self._default, template)
        main = task_container(merged)
        return merged, main, tuple(sorted(conflicts(merged, main)))


def _tree(value: object) -> Tree:
    return cast("Tree", value) if isinstance(value, Mapping) else {}


def _listed(tree: Mapping[str, object], key: str) -> list[Tree]:
    found = tree.get(key)
    return [cast("Tree", item) for item in found if isinstance(item, Mapping)] if isinstance(found, list) else []
