"""What a pod says of its attempt. Pure; the dispatcher acts on it.

A wait that time alone will not end (an image that cannot be pulled, a container that cannot be made) is a failed
attempt with its reason, since a pod left waiting would hold its job for ever.
"""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

from headrace.cluster.pods import Pod, Terminated
from headrace.run.render import ANNOTATION_CONTAINER

_HOPELESS = {
    "ErrImageNeverPull": "the image is not on the node and its pull policy is Never: load it, or change the policy",
    "InvalidImageName": "the image's name is malformed: correct it",
    "ImagePullBackOff": "the image cannot be pulled: check its name, tag and pull secret",
    "CreateContainerConfigError": "the container cannot be configured: check what its environment and user refer to",
    "CreateContainerError": "the container cannot be created",
    "RunContainerError": "the container cannot be started: check command and mounts",
}
_INFRASTRUCTURE = frozenset({
    "Evicted", "NodeLost", "NodeShutdown", "Terminated", "Shutdown", "Preempting", "UnexpectedAdmissionError",
    "NodeAffinity", "OutOfcpu", "OutOfmemory", "OutOfpods", "TerminationByKubelet",
})  # fmt: skip


class ReportedPartition(msgspec.Struct, frozen=True):
    """What a termination message says of a partition."""

    key: str
    rows: int | None = None
    bytes: int | None = None
    output: int = 0


class _Report(msgspec.Struct, frozen=True):
    partitions: tuple[ReportedPartition, ...] = ()


@dataclass(frozen=True)
class Alive:
    """Not over; `waiting` says in words why it does not run yet, empty when it does."""

    waiting: str = ""


@dataclass(frozen=True)
class Succeeded:
    """The task's container ended with exit code 0 and reported this."""

    partitions: tuple[ReportedPartition, ...]


@dataclass(frozen=True)
class Broken:
    """The attempt failed; `lost`: by its infrastructure."""

    reason: str
    lost: bool


Verdict = Alive | Succeeded | Broken


def judge(pod: Pod) -> Verdict:
    """What became of the attempt that `pod` is."""
    main = pod.metadata.annotations.get(ANNOTATION_CONTAINER, "main")
    states = {c.name: c.state for c in pod.status.container_statuses}
    state = states.get(main)
    if state is not None and state.terminated is not None:
        if state.terminated.exit_code == 0:
            return Succeeded(read_report(state.terminated.message))
        return _ended(pod, state.terminated)
    if pod.status.phase == "Failed":
        return _ended(pod, None)
    if pod.status.phase == "Succeeded":
        return Broken("the pod succeeded without its task container having run", lost=True)
    waiting = [c.state.waiting for c in (*pod.status.init_container_statuses, *pod.status.container_statuses)]
    for wait in waiting:
        if wait is not None and wait.reason in _HOPELESS and pod.metadata.deletion_timestamp is None:
            return Broken(f"{wait.reason}: {_HOPELESS[wait.reason]} ({wait.message})", lost=False)
    for condition in pod.status.conditions:
        if condition.type == "PodScheduled" and condition.status == "False":
            return Alive(f"{condition.reason}: {condition.message}")
    return Alive()


def vanished(pod: Pod) -> Verdict:
    """What became of an attempt whose pod is gone; `pod` is how it was last."""
    last = judge(pod)
    if isinstance(last, Alive):
        return Broken("the pod was deleted while it ran", lost=True)
    return last


def read_report(message: str) -> tuple[ReportedPartition, ...]:
    """The partitions that a termination message reports; none if it is no report."""
    try:
        return msgspec.json.decode(message, type=_Report).partitions
    except (msgspec.DecodeError, msgspec.ValidationError):
        return ()


def _ended(pod: Pod, how: Terminated | None) -> Broken:
    reason = pod.status.reason
    if reason == "DeadlineExceeded":
        return Broken(f"timeout: it ran longer than timeoutSeconds ({pod.status.message})", lost=False)
    if pod.metadata.deletion_timestamp is not None and reason not in _INFRASTRUCTURE:
        return Broken("the pod was deleted while it ran", lost=True)
    if how is None:
        return Broken(f"{reason or 'the pod failed'}: {pod.status.message}", lost=True)
    words = how.message.strip()
    told = f"exit code {how.exit_code}" if how.reason in ("", "Error") else f"{how.reason}, exit code {how.exit_code}"
    return Broken(f"{told}: {words[-2000:]}" if words else told, lost=reason in _INFRASTRUCTURE)
