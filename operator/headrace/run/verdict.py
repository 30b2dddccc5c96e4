"""What a pod says of its attempt. Pure; the dispatcher acts on it.

A wait that time alone will not end (an image that cannot be pulled, a container that cannot be made) is a failed
attempt with its reason, since a pod left waiting would hold its job for ever.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

import msgspec

from headrace.cluster.pods import ContainerState, Pod, Terminated
from headrace.plan.cursors import Range
from headrace.run.render import ANNOTATION_CONTAINER, ANNOTATION_RUNS_ON, MESSAGE_BYTES
from headrace.run.reports import ReportedColumn, ReportedPartition, cursors, lineage_of, read
from headrace.state.lineage import MadeFrom
from headrace.state.notes import joined

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


# After a pod's time to end is up, its kubelet tells its end within seconds; one that is lost tells nothing.
_LAST_WORDS: Final = timedelta(seconds=30)
# After its time is up, a kubelet that lives has ended a pod.
_OVERDUE: Final = timedelta(seconds=60)
_UNBEGUN: Final = (
    "it never started: in the timeoutSeconds after its node took it no container of it was begun; the events of the pod"
    " say why, such as an image that takes long or a volume that is not there"
)
_ENDED: Final = "it ended by itself, with exit code 0: an always_on source is started again"
LATE: Final = "timeout: it was not over a minute after its timeoutSeconds"


@dataclass(frozen=True)
class Alive:
    """Not over; `waiting` says in words why it does not run yet, empty when it does."""

    waiting: str = ""


@dataclass(frozen=True)
class Succeeded:
    """The task's container ended with exit code 0 and reported this; `note`: what is wrong with the report, if so.

    `cursors`: by output, the range of rows.
    """

    partitions: tuple[ReportedPartition, ...]
    note: str = ""
    columns: tuple[ReportedColumn, ...] = ()
    cursors: Mapping[int, Range] = field(default_factory=dict)
    lineage: tuple[MadeFrom, ...] = ()


@dataclass(frozen=True)
class Broken:
    """The attempt failed; `lost`: by its infrastructure."""

    reason: str
    lost: bool


Verdict = Alive | Succeeded | Broken


def judge(pod: Pod, now: datetime) -> Verdict:
    """What became of the attempt that `pod` is, as it is known at `now`."""
    state = _main(pod)
    if state is not None and state.terminated is not None:
        if state.terminated.exit_code == 0:
            if ANNOTATION_RUNS_ON in pod.metadata.annotations:
                return _stopped(pod, state.terminated) or Broken(_ENDED, lost=False)
            return _stopped(pod, state.terminated) or read_report(state.terminated.message)
        return _ended(pod, state.terminated)
    if pod.status.phase == "Failed":
        return _ended(pod, None, _failed_init(pod))
    if pod.status.phase == "Succeeded":
        return Broken("the pod succeeded without its task container having run", lost=True)
    if pod.metadata.deletion_timestamp is not None and now > pod.metadata.deletion_timestamp + _LAST_WORDS:
        return Broken("the pod was deleted and its node does not tell its end: the node may be lost", lost=True)
    waiting = [c.state.waiting for c in (*pod.status.init_container_statuses, *pod.status.container_statuses)]
    for wait in waiting:
        if wait is not None and wait.reason in _HOPELESS and pod.metadata.deletion_timestamp is None:
            return Broken(f"{wait.reason}: {_HOPELESS[wait.reason]} ({wait.message})", lost=False)
    return Alive(_unscheduled(pod))


def runs_since(pod: Pod) -> datetime | None:
    """When the container of the task, or of the worker, began to run; None while it does not."""
    state = _main(pod)
    return state.running.started_at if state is not None and state.running is not None else None


def _main(pod: Pod) -> ContainerState | None:
    """The state of the container that is the task; None as long as its node says nothing of it."""
    main = pod.metadata.annotations.get(ANNOTATION_CONTAINER, "main")
    return next((c.state for c in pod.status.container_statuses if c.name == main), None)


def _stopped(pod: Pod, how: Terminated) -> Broken | None:
    """The failure that an exit code 0 hides which may be the process' answer to SIGTERM; None if it ended by itself."""
    reason, ended = pod.status.reason, how.finished_at
    if reason in _INFRASTRUCTURE:
        return Broken(f"{reason}: the pod was told to stop while it ran ({pod.status.message})", lost=True)
    if ended is None:
        return None
    start, deadline = pod.status.start_time, pod.spec.active_deadline_seconds
    if reason == "DeadlineExceeded" and start is not None and deadline is not None:
        return _ended(pod, how) if ended >= start + timedelta(seconds=deadline) else None
    if pod.metadata.deletion_timestamp is not None:
        asked = pod.metadata.deletion_timestamp - timedelta(seconds=pod.metadata.deletion_grace_period_seconds)
        return Broken("the pod was deleted while it ran", lost=True) if ended >= asked else None
    return None


def overdue(pod: Pod, now: datetime) -> Broken | None:
    """What became of an attempt that was not over in time, counted from its claim, and a minute more; None: its pod,
    which started later, has time left. One that never ran did nothing wrong.
    """
    start, deadline = pod.status.start_time, pod.spec.active_deadline_seconds
    if start is not None and deadline is not None and now <= start + timedelta(seconds=deadline) + _OVERDUE:
        return None
    return Broken(LATE, lost=False) if _began(pod) else Broken(f"it never started: {_unstarted(pod)}", lost=True)


def _began(pod: Pod) -> bool:
    """Whether any container of the pod ran. A kubelet that ends a pod says of those that did not that their end is not
    known, and of no time when it was.
    """
    states = [c.state for c in (*pod.status.init_container_statuses, *pod.status.container_statuses)]
    return any(
        state.running is not None
        or (
            (how := state.terminated) is not None
            and (how.reason != "ContainerStatusUnknown" or how.finished_at is not None)
        )
        for state in states
    )


def _unstarted(pod: Pod) -> str:
    """In words, what a pod waits for of which nothing has run."""
    if unscheduled := _unscheduled(pod):
        return unscheduled
    for container in (*pod.status.init_container_statuses, *pod.status.container_statuses):
        wait = container.state.waiting
        if wait is not None and wait.reason != "PodInitializing":
            return f"container {container.name}: {wait.reason}" + (f": {wait.message}" if wait.message else "")
    if pod.status.start_time is None and any(c.type == "PodScheduled" for c in pod.status.conditions):
        return "its node has not begun with it: the node may be lost"
    return "no node was chosen for it" if pod.status.start_time is None else "its node does not say why"


def _unscheduled(pod: Pod) -> str:
    """In words, why no node takes the pod; empty if one did."""
    for condition in pod.status.conditions:
        if condition.type == "PodScheduled" and condition.status == "False":
            return f"{condition.reason}: {condition.message}"
    return ""


def vanished(pod: Pod, now: datetime) -> Verdict:
    """What became of an attempt whose pod is gone; `pod` is how it was last."""
    last = judge(pod, now)
    if isinstance(last, Alive):
        return Broken("the pod was deleted while it ran", lost=True)
    return last


def read_report(message: str) -> Succeeded:
    """The success with what a termination message reports, of each partition as said last; `note`: what is wrong.

    A message that is no JSON object is no report, and nothing is wrong with that.
    """
    try:
        said, note = read(message)
    except (msgspec.DecodeError, msgspec.ValidationError, RecursionError) as error:
        wrong = f"its report was not understood and counts for nothing: {error}"
        if len(message.encode()) >= MESSAGE_BYTES and message.rstrip().endswith("}"):
            wrong = (
                f"its report has more than the {MESSAGE_BYTES} bytes of a termination message and counts for nothing:"
                " with `report: gateway` the job may report more"
            )
        elif not message.lstrip().startswith("{"):
            wrong = ""
        return Succeeded((), wrong)
    ranges, trouble = cursors(said.cursor)
    lineage, more = lineage_of(said.lineage)
    last = tuple({(p.output, p.key): p for p in said.partitions}.values())
    return Succeeded(last, joined(note, trouble, more), said.columns, ranges, lineage)


def _failed_init(pod: Pod) -> str:
    """In words, the init container whose failure ended the pod before its task began; empty if none did."""
    for container in pod.status.init_container_statuses:
        how = container.state.terminated
        if how is not None and how.exit_code != 0:
            return f"init container {container.name}: {_told(how)}"
    return ""


def _told(how: Terminated) -> str:
    words = how.message.strip()
    told = f"exit code {how.exit_code}" if how.reason in ("", "Error") else f"{how.reason}, exit code {how.exit_code}"
    return f"{told}: {words[-2000:]}" if words else told


def _ended(pod: Pod, how: Terminated | None, failed_init: str = "") -> Broken:
    reason = pod.status.reason
    if reason == "DeadlineExceeded" and not _began(pod):
        return Broken(f"{_UNBEGUN} ({pod.status.message})", lost=True)
    if reason == "DeadlineExceeded":
        seconds = pod.spec.active_deadline_seconds
        told = "timeoutSeconds" + (f", {seconds} s" if seconds is not None else "")
        return Broken(f"timeout: it ran longer than {told} ({pod.status.message})", lost=False)
    if pod.metadata.deletion_timestamp is not None and reason not in _INFRASTRUCTURE:
        return Broken("the pod was deleted while it ran", lost=True)
    if how is None and failed_init:
        return Broken(failed_init, lost=reason in _INFRASTRUCTURE)
    if how is None:
        return Broken(f"{reason or 'the pod failed'}: {pod.status.message}", lost=True)
    return Broken(_told(how), lost=reason in _INFRASTRUCTURE)
