"""The routes of people's work: run, cancel, invalidate, tasks, why. `serve` adds them to the table.

A request that changes something may carry an id: whoever repeats it gets the first answer, and nothing happens twice.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Annotated, Final, Literal
from uuid import UUID

from msgspec import Meta, Struct

from headrace.api import names
from headrace.api.base import Name, PartitionKey
from headrace.api.invalidations import Invalidated, Invalidation
from headrace.api.runs import MOST_TASKS, Cancel, Canceled, Followed, Ran, RequestId, Run, TaskEntry, Tasks, Why
from headrace.gateway.routes import MIB, Call, Right, Route

State = Literal["Queued", "Retrying", "Running", "Completed", "Failed", "Canceled"]
MOST_FOLLOWED: Final = 20_000


class RunRequest(Run, frozen=True, kw_only=True):
    """A run; `id`: a new word for each request."""

    id: RequestId | None = None


class CancelRequest(Cancel, frozen=True, kw_only=True):
    """A cancellation; `id`: a new word for each request."""

    id: RequestId | None = None


class InvalidationRequest(Invalidation, frozen=True, kw_only=True):
    """An invalidation; `id`: a new word for each request."""

    id: RequestId | None = None


class TasksQuery(Struct, frozen=True, forbid_unknown_fields=True):
    """Which tasks: of a job, of a partition, in a state, older than the task `before`; at most so many."""

    job: Name | None = None
    partition: PartitionKey | None = None
    state: State | None = None
    before: UUID | None = None
    most: Annotated[int, Meta(ge=1, le=MOST_TASKS)] = 50


class FollowRequest(Struct, frozen=True, forbid_unknown_fields=True):
    """Tasks to look at."""

    tasks: Annotated[tuple[UUID, ...], Meta(min_length=1, max_length=MOST_FOLLOWED)]


class WhyQuery(Struct, frozen=True, forbid_unknown_fields=True):
    """One partition of the job, or the next in its turn."""

    partition: PartitionKey | None = None


@dataclass(frozen=True)
class RunServices:
    """What the routes do, for a namespace and a DAG, or a task."""

    run: Callable[[str, str, str, Run, str, str | None], Awaitable[Ran]]
    """Namespace, DAG, job, what to run, who asks, the request's id."""
    cancel: Callable[[str, str, Cancel, str, str | None], Awaitable[Canceled]]
    """Namespace, DAG, what to cancel, who asks, the request's id."""
    invalidate: Callable[[str, str, Invalidation, str, str | None], Awaitable[Invalidated]]
    """Namespace, dataset, what is wrong, who asks, the request's id."""
    tasks: Callable[[str, str, TasksQuery], Awaitable[Tasks]]
    task: Callable[[str, UUID], Awaitable[TaskEntry]]
    follow: Callable[[str, tuple[UUID, ...]], Awaitable[Followed]]
    why: Callable[[str, str, str, str | None], Awaitable[Why]]


def run_routes(services: RunServices) -> tuple[Route, ...]:
    """Every route of people's work."""

    async def run(call: Call) -> object:
        given = call.parameters
        return await services.run(given["ns"], given["dag"], given["job"], call.body, call.user, call.body.id)

    async def cancel(call: Call) -> object:
        return await services.cancel(call.parameters["ns"], call.parameters["dag"], call.body, call.user, call.body.id)

    async def invalidate(call: Call) -> object:
        given = call.parameters
        return await services.invalidate(given["ns"], given["dataset"], call.body, call.user, call.body.id)

    async def tasks(call: Call) -> object:
        return await services.tasks(call.parameters["ns"], call.parameters["dag"], call.query)

    async def task(call: Call) -> object:
        return await services.task(call.parameters["ns"], UUID(call.parameters["task"]))

    async def follow(call: Call) -> object:
        return await services.follow(call.parameters["ns"], call.body.tasks)

    async def why(call: Call) -> object:
        given = call.parameters
        return await services.why(given["ns"], given["dag"], given["job"], call.query.partition)

    dags, jobs = names.PLURALS[names.DAG], names.PLURALS[names.JOB]
    dag = "/v1/namespaces/{ns}/dags/{dag}"
    return (
        Route(
            name="run",
            method="POST",
            path=f"{dag}/jobs/{{job}}/run",
            summary="Run a job of the version that serves: partitions, a range of them, or what it lists and lacks.",
            right=Right("create", jobs, "run"),
            body=RunRequest,
            answer=Ran,
            act=run,
            limit=2 * MIB,
            seconds=60.0,
            at_once=8,
        ),
        Route(
            name="cancel",
            method="POST",
            path=f"{dag}/cancel",
            summary="Cancel what waits, runs or has failed for good: of a job, a task, the rollout, or all.",
            right=Right("create", jobs, "cancel"),
            body=CancelRequest,
            answer=Canceled,
            act=cancel,
            limit=2 * MIB,
            seconds=60.0,
            at_once=8,
        ),
        Route(
            name="invalidate",
            method="POST",
            path="/v1/namespaces/{ns}/datasets/{dataset}/invalidations",
            summary="Say that a partition or rows of a dataset are wrong: what is made from them is made again.",
            right=Right("create", names.PLURALS[names.DATASET], "invalidate", named="dataset"),
            body=InvalidationRequest,
            answer=Invalidated,
            act=invalidate,
            seconds=60.0,
            at_once=8,
        ),
        Route(
            name="tasks",
            method="GET",
            path=f"{dag}/tasks",
            summary="Tasks of a DAG, newest first.",
            right=Right("get", dags, named="dag"),
            query=TasksQuery,
            answer=Tasks,
            act=tasks,
        ),
        Route(
            name="task",
            method="GET",
            path="/v1/namespaces/{ns}/tasks/{task}",
            summary="One task.",
            right=Right("get", dags),
            answer=TaskEntry,
            act=task,
        ),
        Route(
            name="follow",
            method="POST",
            path="/v1/namespaces/{ns}/tasks/follow",
            summary="How many of these tasks are in each state, and what failed of them; nothing is changed.",
            right=Right("get", dags),
            body=FollowRequest,
            answer=Followed,
            act=follow,
            limit=MIB,
            at_once=8,
        ),
        Route(
            name="why",
            method="GET",
            path=f"{dag}/jobs/{{job}}/why",
            summary="Why a job does not run, or one partition of it: in words, and what it waits for.",
            right=Right("get", dags, named="dag"),
            query=WhyQuery,
            answer=Why,
            act=why,
        ),
    )
