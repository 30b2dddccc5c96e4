"""The routes of single attempts: an own pod's report, and inputs too large for a task's document. `serve` adds them.

Who asks is the pod whose token it is, as on the other routes of workers.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final
from uuid import UUID

import msgspec
from msgspec import Struct

from headrace.gateway.errors import RequestError, forbidden, not_found
from headrace.gateway.identity import PodIdentity
from headrace.gateway.routes import MIB, WORKERS, Call, Route, pod_of
from headrace.run.payload import manifest_path
from headrace.run.reports import Reading, TaskReport, read, told
from headrace.state import task_pods
from headrace.state.database import Database
from headrace.state.task_pods import NoAttempt, NoInput, SeenPod

PAGE: Final = 2000
_LIMIT: Final = 4 * MIB


class ReportAnswer(Struct, frozen=True, omit_defaults=True):
    """The task whose attempt has reported; `note`: what of the report counts for nothing, in words."""

    accepted: UUID
    note: str = ""


class ManifestPage(Struct, frozen=True):
    """Some of an input's partitions, each with `key` and `location`; `next`: the path of those that follow, if any do.

    `count`: how many the whole input has.
    """

    count: int
    partitions: msgspec.Raw
    next: str | None


@dataclass(frozen=True)
class AttemptServices:
    """What the routes do, for a pod; of a task, its attempt, its input and the number of a page."""

    report: Callable[[PodIdentity, Reading], Awaitable[ReportAnswer]]
    manifest: Callable[[PodIdentity, UUID, int, str, int], Awaitable[ManifestPage]]


class Attempts:
    """What attempts' own pods say and ask, over Postgres."""

    def __init__(self, db: Database) -> None:
        self._db = db

    @property
    def services(self) -> AttemptServices:
        """What the routes do."""
        return AttemptServices(report=self._report, manifest=self._manifest)

    async def _report(self, pod: PodIdentity, reading: Reading) -> ReportAnswer:
        try:
            async with self._db.transaction() as tx:
                kept = await task_pods.report(tx, _seen(pod), lambda keys, outputs: told(reading, keys, outputs))
        except NoAttempt as error:
            raise forbidden(str(error)) from None
        if kept is None:
            raise RequestError(409, "Stale", "this attempt is over: what it reports counts for nothing")
        task, said = kept
        return ReportAnswer(task, said.note)

    async def _manifest(self, pod: PodIdentity, task: UUID, attempt: int, name: str, page: int) -> ManifestPage:
        first = page * PAGE
        try:
            async with self._db.transaction() as tx:
                found = await task_pods.page(tx, _seen(pod), task, attempt, name, first=first, most=PAGE)
        except NoAttempt as error:
            raise forbidden(str(error)) from None
        except NoInput as error:
            raise not_found(str(error)) from None
        if found is None:
            raise RequestError(409, "Stale", "this attempt is not this pod's, or not any more")
        more = first + PAGE < found.count
        following = manifest_path(task, attempt, name, page + 1) if more else None
        return ManifestPage(found.count, msgspec.Raw(found.partitions.encode()), following)


def attempt_routes(services: AttemptServices) -> tuple[Route, ...]:
    """Every route of single attempts."""

    async def report(call: Call) -> object:
        return await services.report(pod_of(call), call.body)

    async def manifest(call: Call) -> object:
        given = call.parameters
        task, attempt, page = UUID(given["task"]), int(given["attempt"]), int(given["page"])
        return await services.manifest(pod_of(call), task, attempt, given["input"], page)

    return (
        Route(
            name="report",
            method="POST",
            path=f"{WORKERS}report",
            summary="What the attempt of a pod of its own has made; it counts once its container has ended well.",
            right=None,
            body=TaskReport,
            read=read,
            answer=ReportAnswer,
            act=report,
            limit=_LIMIT,
            seconds=30.0,
            at_once=16,
        ),
        Route(
            name="manifest",
            method="GET",
            path=manifest_path("{task}", "{attempt}", "{input}", "{page}"),
            summary="A page of the partitions of an input that is too large for its task's document.",
            right=None,
            answer=ManifestPage,
            act=manifest,
            seconds=30.0,
        ),
    )


def _seen(pod: PodIdentity) -> SeenPod:
    return SeenPod(pod.namespace, pod.name, pod.uid)
