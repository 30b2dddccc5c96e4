"""Pods and the attempts that they are. Pure; the dispatcher acts on it."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from headrace.api import names
from headrace.cluster.pods import Place, Pod
from headrace.run.reports import columns_of
from headrace.run.verdict import Broken, Succeeded
from headrace.state.attempts import Attempt, Completion, Failure, Reported


def attempt_of(pod: Pod) -> Attempt | None:
    """The attempt that a pod is, from its labels and its name, which ends in the lease token; None for a stranger's."""
    labels, (_, _, token) = pod.metadata.labels, pod.metadata.name.rpartition("-")
    try:
        number = int(labels[names.LABEL_ATTEMPT])
        attempt = Attempt(
            id=UUID(labels[names.LABEL_TASK]),
            attempt=number,
            token=UUID(token),
            namespace=pod.metadata.namespace,
            pod=pod.metadata.name,
        )
    except (KeyError, ValueError):
        return None
    return attempt if 0 < number < 2**31 else None


def completion(attempt: Attempt, verdict: Succeeded) -> Completion:
    """The attempt, ended well."""
    return Completion(
        **_fence(attempt), note=verdict.note or None, columns=columns_of(verdict.columns),
        cursors=dict(verdict.cursors), lineage=verdict.lineage,
    )  # fmt: skip


def failure(attempt: Attempt, broken: Broken, *, postponed: bool = False) -> Failure:
    """The attempt, ended in this way; `postponed`: it never began."""
    return Failure(**_fence(attempt), reason=broken.reason, lost=broken.lost, postponed=postponed)


def _fence(attempt: Attempt) -> dict[str, Any]:
    """What names an attempt, of one that may know more."""
    return {name: getattr(attempt, name) for name in Attempt.__struct_fields__}


def reported(attempt: Attempt, verdict: Succeeded) -> list[Reported]:
    """What the attempt's task said of its outputs."""
    return [
        Reported(task=attempt.id, output=p.output, key=p.key, rows=p.rows, bytes=p.bytes) for p in verdict.partitions
    ]


def to_delete(stray: dict[Place, Pod]) -> list[Place]:
    """Pods that nobody waits for any more. Of each job the youngest one that is over and failed stays, for its logs."""
    kept: dict[tuple[str, str, str], tuple[int, Place]] = {}
    for place, pod in stray.items():
        if _failed(pod) and pod.metadata.deletion_timestamp is None:
            job = (place[0], pod.metadata.labels.get(names.LABEL_DAG, ""), pod.metadata.labels.get(names.LABEL_JOB, ""))
            kept[job] = max(kept.get(job, (-1, place)), (int(pod.metadata.resource_version), place))
    spared = {place for _, place in kept.values()}
    return [place for place, pod in stray.items() if place not in spared and pod.metadata.deletion_timestamp is None]


def _failed(pod: Pod) -> bool:
    """Whether it is over and failed. One that waits for its image, or whose sidecar goes on, still holds resources.

    The kubelet may tell the phase a moment after the end of the last container.
    """
    own = [container.state.terminated for container in pod.status.container_statuses]
    over = None not in (*own, *(container.state.terminated for container in pod.status.init_container_statuses))
    return pod.status.phase == "Failed" or (over and any(end is not None and end.exit_code != 0 for end in own))
