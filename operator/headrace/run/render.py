"""A claimed task to its pod. Pure; the dispatcher creates what this returns, reconcile tries it out beforehand.

The pod satisfies the `restricted` pod security standard unless the job's template says otherwise, mounts no service
account token, belongs to the DAG object and has no finalizer.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, cast

from headrace.api import names
from headrace.compile.template import TASK_DIRECTORY, TASK_VOLUME, Tree, container, merge
from headrace.run.payload import payload
from headrace.state.attempts import RunningPod

ANNOTATION_TASK: Final = f"{names.GROUP}/task-document"
ANNOTATION_CONTAINER: Final = f"{names.GROUP}/task-container"
_ENVIRONMENT_LIMIT: Final = 64 * 1024

_POD_SECURITY: Final[Tree] = {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}
_CONTAINER_SECURITY: Final[Tree] = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}


def render_pod(task: RunningPod) -> Tree:
    """The manifest of the pod of this attempt."""
    template = cast("Tree", task.pod["template"])
    main = str(task.pod["container"])
    document = payload(task)
    own: Tree = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": task.pod_name,
            "namespace": task.org,
            "labels": {
                "app.kubernetes.io/managed-by": "headrace",
                names.LABEL_DAG: task.dag,
                names.LABEL_JOB: task.job,
                names.LABEL_TASK: str(task.id),
                names.LABEL_ATTEMPT: str(task.attempt),
            },
            "annotations": {ANNOTATION_TASK: document, ANNOTATION_CONTAINER: main},
            "ownerReferences": [
                {
                    "apiVersion": names.API_VERSION,
                    "kind": names.DAG,
                    "name": task.dag,
                    "uid": task.dag_uid,
                    "controller": True,
                }
            ],
        },
        "spec": {
            "restartPolicy": "Never",
            "activeDeadlineSeconds": task.timeout_seconds,
            "volumes": [
                {
                    "name": TASK_VOLUME,
                    "downwardAPI": {
                        "items": [
                            {
                                "path": "task.json",
                                "fieldRef": {"fieldPath": f"metadata.annotations['{ANNOTATION_TASK}']"},
                            }
                        ]
                    },
                }
            ],
            "containers": [_task_container(main, document)],
        },
    }
    policy = {"name": main, "terminationMessagePolicy": "FallbackToLogsOnError"}
    if "terminationMessagePolicy" not in container(template, main):
        own = merge(own, {"spec": {"containers": [policy]}})
    pod = merge(_user_part(template), own)
    return _secured(pod)


def _user_part(template: Tree) -> Tree:
    """What the template may set: the spec, and labels and annotations of its own."""
    metadata = template.get("metadata")
    kept = (
        {key: metadata[key] for key in ("labels", "annotations") if key in metadata}
        if isinstance(metadata, Mapping)
        else {}
    )
    return {"metadata": kept, "spec": template.get("spec") or {}}


def _task_container(name: str, document: str) -> Tree:
    environment: list[Tree] = [{"name": "HEADRACE_TASK_FILE", "value": f"{TASK_DIRECTORY}/task.json"}]
    if len(document.encode()) <= _ENVIRONMENT_LIMIT:
        # `$$` stands for a dollar: the kubelet would take `$(X)` for a reference to another variable.
        environment.append({"name": "HEADRACE_TASK", "value": document.replace("$", "$$")})
    return {
        "name": name,
        "env": environment,
        "volumeMounts": [{"name": TASK_VOLUME, "mountPath": TASK_DIRECTORY, "readOnly": True}],
    }


def _secured(pod: Tree) -> Tree:
    """Defaults that the template does not speak of: pod security, no token, no environment of services."""
    spec = cast("Tree", pod["spec"])
    defaults: Tree = {
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "securityContext": _POD_SECURITY,
    }
    secured = merge(defaults, spec)
    for kind in ("containers", "initContainers"):
        containers = spec.get(kind)
        if isinstance(containers, list):
            secured[kind] = [
                merge({"securityContext": _CONTAINER_SECURITY}, c) if isinstance(c, Mapping) else c for c in containers
            ]
    return {**pod, "spec": secured}
