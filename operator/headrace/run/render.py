"""Pods of claimed tasks and of workers. Pure; the dispatcher creates what this returns, reconcile tries it out before.

A pod satisfies the `restricted` pod security standard unless the job's template says otherwise, belongs to the DAG
object and has no finalizer. It mounts no service account token, but its own for the gateway: a worker, and an attempt
that reports there or reads an input from there.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, cast

from headrace.api import names
from headrace.api.duration import parse_idle_timeout
from headrace.compile.template import TASK_DIRECTORY, TASK_VOLUME, Tree, container, merge
from headrace.run.payload import ROOM, payload
from headrace.state.attempts import RunningPod
from headrace.state.workers import WorkerJob

ANNOTATION_TASK: Final = f"{names.GROUP}/task-document"
ANNOTATION_CONTAINER: Final = f"{names.GROUP}/task-container"
# The pod of an attempt that has a token: the gateway is to know it.
ANNOTATION_SPEAKS: Final = f"{names.GROUP}/speaks-to-gateway"
# The pod of a source that is to run on and on: its end is no success.
ANNOTATION_RUNS_ON: Final = f"{names.GROUP}/runs-on"
_ENVIRONMENT_LIMIT: Final = 64 * 1024
# Of all annotations of an object, names and values.
_ANNOTATIONS_LIMIT: Final = 256 * 1024
# The least that Kubernetes gives; the kubelet renews it in time.
_TOKEN_SECONDS: Final = 600
_TOKEN: Final[Tree] = {
    "serviceAccountToken": {
        "audience": names.WORKER_AUDIENCE,
        "expirationSeconds": _TOKEN_SECONDS,
        "path": "token",
    }
}
# After how many seconds without work a worker of `idleTimeout: never` asks to end; the last of them is told to stay.
_SPARE_SECONDS: Final = 60
_TERMINATION_LOG: Final = "/dev/termination-log"
# What the kubelet passes on of a termination message: the end of it, if it is longer.
MESSAGE_BYTES: Final = 4096

_POD_SECURITY: Final[Tree] = {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}
_CONTAINER_SECURITY: Final[Tree] = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}


def render_pod(task: RunningPod, url: str) -> Tree:
    """The manifest of the pod of this attempt; `url` is the gateway's, which a pod that speaks to it is told."""
    main, template = str(task.pod["container"]), cast("Tree", task.pod["template"])
    reports = task.pod.get("report") == "gateway"
    document = payload(task, min(ROOM, _annotations_room(template, main)))
    speaks = reports or bool(document.manifests)
    field = {"fieldPath": f"metadata.annotations['{ANNOTATION_TASK}']"}
    source: Tree = {"downwardAPI": {"items": [{"path": "task.json", "fieldRef": field}]}}
    environment = _task_environment(document.text)
    annotations = {ANNOTATION_TASK: document.text, ANNOTATION_CONTAINER: main}
    if not reports:
        log = str(container(template, main).get("terminationMessagePath") or _TERMINATION_LOG)
        environment += _variables({"HEADRACE_REPORT_FILE": log, "HEADRACE_REPORT_LIMIT": str(MESSAGE_BYTES)})
    if speaks:
        annotations[ANNOTATION_SPEAKS] = "true"
        environment += _variables(_gateway_environment(url))
        source = {"projected": {"sources": [source, _TOKEN]}}
    if task.runs_on:
        annotations[ANNOTATION_RUNS_ON] = "true"
    own = _owned(
        task.pod_name,
        task,
        labels={names.LABEL_TASK: str(task.id), names.LABEL_ATTEMPT: str(task.attempt)},
        annotations=annotations,
        spec={
            **({} if task.runs_on else {"activeDeadlineSeconds": task.timeout_seconds}),
            "volumes": [{"name": TASK_VOLUME, **source}],
            "containers": [_container(main, environment)],
        },
    )
    return _merged(template, main, own)


def render_worker(job: WorkerJob, name: str, url: str) -> Tree:
    """The manifest of a worker's pod called `name`; `url` is the gateway's. Its token is good for that alone."""
    main = str(job.pod["container"])
    idle = parse_idle_timeout(job.idle_timeout)
    environment = {
        **_gateway_environment(url),
        "HEADRACE_OPERATOR": job.operator,
        "HEADRACE_BATCH": str(job.batch),
        "HEADRACE_LEASE_SECONDS": str(job.heartbeat_timeout_seconds),
    }
    if idle is None:
        environment["HEADRACE_SPARE_SECONDS"] = str(_SPARE_SECONDS)
    else:
        environment["HEADRACE_IDLE_SECONDS"] = f"{idle.total_seconds():g}"
    own = _owned(
        name,
        job,
        labels={names.LABEL_WORKER: job.job_id.hex},
        annotations={ANNOTATION_CONTAINER: main},
        spec={
            "volumes": [{"name": TASK_VOLUME, "projected": {"sources": [_TOKEN]}}],
            "containers": [_container(main, _variables(environment))],
        },
    )
    return _merged(cast("Tree", job.pod["template"]), main, own)


def _owned(
    name: str,
    of: RunningPod | WorkerJob,
    *,
    labels: dict[str, str],
    annotations: dict[str, str],
    spec: dict[str, object],
) -> Tree:
    """What is ours of a pod of a job: it belongs to the DAG object, and is never started twice."""
    ours = {"app.kubernetes.io/managed-by": "headrace", names.LABEL_DAG: of.dag, names.LABEL_JOB: of.job}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": name,
            "namespace": of.org,
            "labels": labels | ours,
            "annotations": annotations,
            "ownerReferences": [
                {
                    "apiVersion": names.API_VERSION,
                    "kind": names.DAG,
                    "name": of.dag,
                    "uid": of.dag_uid,
                    "controller": True,
                }
            ],
        },
        "spec": {"restartPolicy": "Never", **spec},
    }


def _merged(template: Tree, main: str, own: Tree) -> Tree:
    policy = {"name": main, "terminationMessagePolicy": "FallbackToLogsOnError"}
    if "terminationMessagePolicy" not in container(template, main):
        own = merge(own, {"spec": {"containers": [policy]}})
    return _secured(merge(_user_part(template), own))


def _user_part(template: Tree) -> Tree:
    """What the template may set: the spec, and labels and annotations of its own."""
    metadata = template.get("metadata")
    kept = (
        {key: metadata[key] for key in ("labels", "annotations") if key in metadata}
        if isinstance(metadata, Mapping)
        else {}
    )
    return {"metadata": kept, "spec": template.get("spec") or {}}


def _task_environment(document: str) -> list[Tree]:
    environment: list[Tree] = [{"name": "HEADRACE_TASK_FILE", "value": f"{TASK_DIRECTORY}/task.json"}]
    if len(document.encode()) <= _ENVIRONMENT_LIMIT:
        # `$$` stands for a dollar: the kubelet would take `$(X)` for a reference to another variable.
        environment.append({"name": "HEADRACE_TASK", "value": document.replace("$", "$$")})
    return environment


def _annotations_room(template: Tree, main: str) -> int:
    """Bytes that the document may have beside the template's own annotations and the operator's."""
    metadata = template.get("metadata")
    given = metadata.get("annotations") if isinstance(metadata, Mapping) else None
    used = {ANNOTATION_TASK: "", ANNOTATION_CONTAINER: main, ANNOTATION_SPEAKS: "true", ANNOTATION_RUNS_ON: "true"}
    taken = {**(given if isinstance(given, Mapping) else {}), **used}
    return _ANNOTATIONS_LIMIT - sum(len(f"{name}{text}".encode()) for name, text in taken.items())


def _gateway_environment(url: str) -> dict[str, str]:
    return {"HEADRACE_URL": url, "HEADRACE_TOKEN_FILE": f"{TASK_DIRECTORY}/token"}


def _variables(environment: Mapping[str, str]) -> list[Tree]:
    return [{"name": name, "value": text} for name, text in environment.items()]


def _container(name: str, environment: list[Tree]) -> Tree:
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
