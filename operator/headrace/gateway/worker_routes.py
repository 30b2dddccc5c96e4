"""The routes of workers: claim, renew, complete, fail, leave. `serve` adds them to the table.

Who asks is the pod whose token it is; what it may touch is decided where the rows are, by pod and lease token.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Final
from uuid import UUID

import msgspec
from msgspec import Meta, Struct

from headrace.api.base import Output, PartitionKey
from headrace.gateway.errors import RequestError
from headrace.gateway.identity import PodIdentity
from headrace.gateway.routes import MIB, WORKERS, Call, Route
from headrace.run.reports import Count, ReportedColumn

_Attempt = Annotated[int, Meta(ge=1, lt=2**31)]
MOST: Final = 1000
WAIT_SECONDS: Final = 20.0


class ClaimRequest(Struct, frozen=True, forbid_unknown_fields=True):
    """At most so many tasks; if there are none, wait for so many seconds."""

    most: Annotated[int, Meta(ge=1, le=MOST)] = 1
    wait: Annotated[float, Meta(ge=0, le=WAIT_SECONDS)] = 0.0


class ClaimedTask(Struct, frozen=True):
    """A task to run: what fences it, its time at most, and the document of docs/contract.md."""

    id: UUID
    attempt: int
    token: UUID
    timeout_seconds: int
    task: msgspec.Raw


class ClaimAnswer(Struct, frozen=True):
    """What to run; `retire`: finish what is held, and end."""

    tasks: list[ClaimedTask]
    retire: bool = False


class HeldAttempt(Struct, frozen=True, forbid_unknown_fields=True):
    """An attempt, by what fences it."""

    id: UUID
    attempt: _Attempt
    token: UUID


class RecallRequest(Struct, frozen=True, forbid_unknown_fields=True):
    """All that the worker knows it holds."""

    tasks: Annotated[list[HeldAttempt], Meta(max_length=MOST)]


class RenewRequest(Struct, frozen=True, forbid_unknown_fields=True):
    """What the worker works on."""

    tasks: Annotated[list[HeldAttempt], Meta(max_length=MOST)]


class RenewAnswer(Struct, frozen=True):
    """What of that is not the worker's any more: give it up."""

    lost: list[UUID]


class Made(Struct, frozen=True, forbid_unknown_fields=True):
    """What an attempt made of a partition of an output."""

    key: PartitionKey
    output: Output = 0
    rows: Count | None = None
    bytes: Count | None = None


class Completed(HeldAttempt, frozen=True, forbid_unknown_fields=True):
    """An attempt that went well; `note`: what is wrong with its report, for the user."""

    partitions: Annotated[list[Made], Meta(max_length=10_000)] = []
    columns: Annotated[list[ReportedColumn], Meta(max_length=10_000)] = []
    cursor: msgspec.Raw = msgspec.field(default_factory=msgspec.Raw)
    lineage: msgspec.Raw = msgspec.field(default_factory=msgspec.Raw)
    note: Annotated[str, Meta(max_length=4096)] = ""


class CompleteRequest(Struct, frozen=True, forbid_unknown_fields=True):
    """Attempts that went well; and, if any of them counts, at most so many tasks in their place."""

    tasks: Annotated[list[Completed], Meta(min_length=1, max_length=MOST)]
    claim: Annotated[int, Meta(ge=0, le=MOST)] = 0


class Broke(HeldAttempt, frozen=True, forbid_unknown_fields=True):
    """An attempt that failed; `released`: it never began, and costs nothing."""

    reason: Annotated[str, Meta(max_length=16_384)]
    released: bool = False


class FailRequest(Struct, frozen=True, forbid_unknown_fields=True):
    """Attempts that failed."""

    tasks: Annotated[list[Broke], Meta(min_length=1, max_length=MOST)]


class EndAnswer(Struct, frozen=True):
    """Of each attempt whether that counts: a stale one has changed nothing. A repeated one gets its first answer."""

    accepted: list[UUID]
    stale: list[UUID]


class CompleteAnswer(EndAnswer, frozen=True):
    """The same, and what to run next; `retire`: finish what is held, and end."""

    tasks: list[ClaimedTask] = []
    retire: bool = False


class LeaveAnswer(Struct, frozen=True):
    """Whether the worker may end; if not, there is work, or it is the one that its job keeps."""

    leave: bool


@dataclass(frozen=True)
class WorkerServices:
    """What the routes do, for a pod."""

    claim: Callable[[PodIdentity, int, float], Awaitable[ClaimAnswer]]
    recall: Callable[[PodIdentity, Sequence[HeldAttempt]], Awaitable[ClaimAnswer]]
    renew: Callable[[PodIdentity, Sequence[HeldAttempt]], Awaitable[RenewAnswer]]
    complete: Callable[[PodIdentity, Sequence[Completed], int], Awaitable[CompleteAnswer]]
    fail: Callable[[PodIdentity, Sequence[Broke]], Awaitable[EndAnswer]]
    leave: Callable[[PodIdentity], Awaitable[LeaveAnswer]]


def worker_routes(services: WorkerServices) -> tuple[Route, ...]:
    """Every route of workers."""

    async def claim(call: Call) -> object:
        return await services.claim(_pod(call), call.body.most, call.body.wait)

    async def recall(call: Call) -> object:
        return await services.recall(_pod(call), call.body.tasks)

    async def renew(call: Call) -> object:
        return await services.renew(_pod(call), call.body.tasks)

    async def complete(call: Call) -> object:
        return _told(await services.complete(_pod(call), call.body.tasks, call.body.claim))

    async def fail(call: Call) -> object:
        return _told(await services.fail(_pod(call), call.body.tasks))

    async def leave(call: Call) -> object:
        return await services.leave(_pod(call))

    def route(name: str, summary: str, act: Callable[[Call], Awaitable[object]], answer: Any, **more: Any) -> Route:
        given = {"limit": MIB, "seconds": 30.0, "at_once": 512, **more}
        return Route(name, "POST", f"{WORKERS}{name}", summary, None, answer, act, **given)

    return (
        # Whoever waits here holds nothing but its connection.
        route("claim", "Claim tasks of the worker's job; waits for them if there are none.", claim, ClaimAnswer,
              body=ClaimRequest, seconds=WAIT_SECONDS + 30.0, at_once=16_384),
        route("recall", "What the worker holds beside these: the answer to its claim was lost.", recall, ClaimAnswer,
              body=RecallRequest),
        route("renew", "Renew the leases of what the worker works on.", renew, RenewAnswer, body=RenewRequest),
        route("complete", "Attempts that went well, with what they made; and claim others in their place.", complete,
              CompleteAnswer, body=CompleteRequest, limit=16 * MIB),
        route("fail", "Attempts that failed, with the reason.", fail, EndAnswer, body=FailRequest, limit=16 * MIB),
        route("leave", "The worker has nothing to do and asks to end.", leave, LeaveAnswer),
    )  # fmt: skip


def _pod(call: Call) -> PodIdentity:
    assert call.pod is not None  # noqa: S101 - by the path, the application has asked for one
    return call.pod


def _told(answer: EndAnswer) -> EndAnswer:
    """RequestError 409 when nothing of it counts."""
    if not answer.accepted:
        raise RequestError(409, "Stale", "these attempts are not this worker's any more: give them up")
    return answer
