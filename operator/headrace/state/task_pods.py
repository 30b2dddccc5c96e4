"""Pods of single attempts that speak to the gateway: who they are, what they report, the inputs that they ask for.

The dispatcher records them, the gateway asks. NoAttempt: a pod that the operator did not make for an attempt, or that
is not recorded yet. None: of an attempt that is over.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from uuid import UUID

from msgspec import Struct

from headrace.errors import PermanentError
from headrace.state.attempts import Told
from headrace.state.database import Transaction, jsonb
from headrace.state.locks import fence


class NoAttempt(PermanentError):
    """A pod that is no attempt, nor a worker."""


class NoInput(PermanentError):
    """The task has no input of this name."""


class SeenPod(Struct, frozen=True):
    """A pod as the operator sees it."""

    namespace: str
    name: str
    uid: str


class Page(Struct, frozen=True):
    """A part of an input: its partitions as JSON text, and how many the whole has."""

    count: int
    partitions: str


class _Own(Struct, frozen=True):
    id: UUID
    attempt: int
    partitions: list[str]
    outputs: int


class _Id(Struct, frozen=True):
    id: UUID


class _Known(Struct, frozen=True):
    known: bool


class _Page(Struct, frozen=True):
    count: int | None
    partitions: str


async def record(tx: Transaction, epoch: int, pods: Sequence[SeenPod]) -> int:
    """From now on the gateway knows these pods of running attempts; how many are new."""
    await fence(tx, epoch)
    return await tx.execute(
        "record_task_pods",
        namespaces=[p.namespace for p in pods],
        pods=[p.name for p in pods],
        uids=[p.uid for p in pods],
    )


async def report(tx: Transaction, pod: SeenPod, told: Callable[[Sequence[str], int], Told]) -> tuple[UUID, Told] | None:
    """Keep what a pod's attempt says it made, `told` of the task's keys and number of outputs; the task's id, too."""
    own = await tx.row("lock_task_pod", _Own, namespace=pod.namespace, pod_uid=pod.uid)
    if own is None:
        raise NoAttempt(f"pod {pod.namespace}/{pod.name} is no attempt that may report, or not yet")
    said = told(own.partitions, own.outputs)
    kept = await tx.row("keep_report", _Id, id=own.id, attempt=own.attempt, pod=pod.name, reported=jsonb(said))
    return None if kept is None else (kept.id, said)


async def page(
    tx: Transaction, pod: SeenPod, task: UUID, attempt: int, name: str, *, first: int, most: int
) -> Page | None:
    """At most so many partitions of an input of an attempt that the pod runs, after the `first`."""
    given = {"namespace": pod.namespace, "pod": pod.name, "pod_uid": pod.uid}
    who = await tx.row("speaks_for", _Known, **given)
    if who is None or not who.known:
        raise NoAttempt(f"pod {pod.namespace}/{pod.name} is no worker or attempt that the operator made, or not yet")
    found = await tx.row(
        "manifest_page", _Page, task=task, attempt=attempt, input=name, first=first, most=most, **given
    )
    if found is None:
        return None
    if found.count is None:
        raise NoInput(f"the task has no input {name!r}")
    return Page(count=found.count, partitions=found.partitions)
