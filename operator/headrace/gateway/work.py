"""What the routes of workers do: claims that wait, ends of attempts, each in one transaction. `serve` wires it.

A gateway keeps nothing of this but who waits: any replica can answer any call.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import TypeVar
from uuid import UUID

import msgspec

from headrace.gateway.errors import forbidden
from headrace.gateway.identity import PodIdentity
from headrace.gateway.restores import Restores
from headrace.gateway.wake import Waker
from headrace.gateway.worker_routes import (
    Broke,
    ClaimAnswer,
    ClaimedTask,
    CompleteAnswer,
    Completed,
    EndAnswer,
    HeldAttempt,
    LeaveAnswer,
    RenewAnswer,
    WorkerServices,
)
from headrace.run.payload import worker_payload
from headrace.run.reports import columns_of, cursors, lineage_of
from headrace.state import attempts, workers
from headrace.state.attempts import Completion, Failure, Reported
from headrace.state.contracts import ContractBroken
from headrace.state.database import Conflict, Database, Transaction
from headrace.state.leader import standing
from headrace.state.notes import joined
from headrace.state.workers import Claimed, Held, NoWorker, Worker

T = TypeVar("T", Completed, Broke)
_BACKOFF = 10.0
# Who comes to a gateway that ends waits for a moment, since it would come again at once.
_DRAINING = 0.5


class Work:
    """Workers' calls over Postgres; `renewals`: connections for renewals alone, which must not wait behind others.

    `restores`: shared with whatever else attempts' pods are told.
    """

    def __init__(
        self,
        db: Database,
        waker: Waker,
        backoff: float = _BACKOFF,
        renewals: Database | None = None,
        restores: Restores | None = None,
    ) -> None:
        self._db = db
        self._renewals = renewals or db
        self._waker = waker
        self._backoff = backoff
        self._restores = restores or Restores()

    @property
    def services(self) -> WorkerServices:
        """What the routes do."""
        return WorkerServices(
            claim=self._claim,
            recall=self._recall,
            renew=self._renew,
            complete=self._complete,
            fail=self._fail,
            leave=self._leave,
        )

    async def _claim(self, pod: PodIdentity, most: int, wait: float) -> ClaimAnswer:
        until, drained = time.monotonic() + wait, False
        async with self._db.transaction() as tx:
            worker = await self._find(tx, pod)
        while True:
            with self._waker.waits(worker.identity) as told:
                async with self._db.transaction() as tx:
                    worker = await self._find(tx, pod)
                    claimed = await workers.claim(tx, worker, most)
                left = until - time.monotonic()
                if claimed.tasks or claimed.retire or left <= 0 or drained:
                    break
                if self._waker.draining:
                    left = min(left, _DRAINING)
                try:
                    await asyncio.wait_for(told, left)
                except TimeoutError:
                    break
                drained = self._waker.draining
        if claimed.tasks:
            self._waker.touch(worker.org, worker.dag)
        return _answer(claimed)

    async def _recall(self, pod: PodIdentity, held: Sequence[HeldAttempt]) -> ClaimAnswer:
        async with self._db.transaction() as tx:
            return _answer(await workers.recall(tx, await self._find(tx, pod), [_held(one) for one in held]))

    async def _renew(self, pod: PodIdentity, held: Sequence[HeldAttempt]) -> RenewAnswer:
        async with self._renewals.transaction() as tx:
            own = await workers.renew(tx, await self._find(tx, pod), [_held(one) for one in held])
        return RenewAnswer(lost=[one.id for one in held if one.id not in own])

    async def _complete(self, pod: PodIdentity, done: Sequence[Completed], claim: int = 0) -> CompleteAnswer:
        try:
            return await self._complete_all(pod, done, claim)
        except ContractBroken as error:
            broken = [Broke(one.id, one.attempt, one.token, error.breaches[one.id])
                      for one in done if one.id in error.breaches]  # fmt: skip
            ended = await self._fail(pod, broken)
            rest = [one for one in done if one.id not in error.breaches]
            answer = await self._complete(pod, rest, claim) if rest else CompleteAnswer([], [])
            return msgspec.structs.replace(
                answer, accepted=[*ended.accepted, *answer.accepted], stale=[*ended.stale, *answer.stale]
            )
        except Conflict as error:
            # What Postgres refuses of one, for what that reported, is that one's failure.
            if len(done) == 1:
                reason = f"its completion is refused: {error}"
                only = done[0]
                ended = await self._fail(pod, [Broke(only.id, only.attempt, only.token, reason)])
                return CompleteAnswer(ended.accepted, ended.stale)
            answers = [await self._complete(pod, [one]) for one in done]
            return CompleteAnswer(
                accepted=[id_ for answer in answers for id_ in answer.accepted],
                stale=[id_ for answer in answers for id_ in answer.stale],
            )

    async def _complete_all(self, pod: PodIdentity, done: Sequence[Completed], claim: int) -> CompleteAnswer:
        # The last word on a partition counts.
        said = {(one.id, made.output, made.key): made for one in done for made in one.partitions}
        reported = [
            Reported(task=id_, output=output, key=key, rows=made.rows, bytes=made.bytes)
            for (id_, output, key), made in said.items()
        ]
        completions = [_completion(pod, one) for one in done]
        async with self._db.transaction() as tx:
            worker = await self._find(tx, pod)
            accepted = await attempts.complete_of(tx, worker.org_id, worker.dag, completions, reported)
            ended = await self._ended(tx, worker, done, accepted, {"Completed"})
            # An answer that says only what is stale could not say what was claimed.
            claimed = await workers.claim(tx, worker, claim) if claim and ended.accepted else Claimed()
        next_ = _answer(claimed)
        return CompleteAnswer(ended.accepted, ended.stale, next_.tasks, next_.retire)

    async def _fail(self, pod: PodIdentity, failed: Sequence[Broke]) -> EndAnswer:
        failures = [
            Failure(id=one.id, attempt=one.attempt, token=one.token, namespace=pod.namespace, pod=pod.name,
                    reason=one.reason, lost=False)
            for one in failed if not one.released
        ]  # fmt: skip
        async with self._db.transaction() as tx:
            worker = await self._find(tx, pod)
            accepted = await attempts.fail(tx, None, failures, self._backoff)
            accepted |= await workers.release(tx, worker, [_held(one) for one in failed if one.released])
            return await self._ended(tx, worker, failed, accepted, {"Failed", "Queued", "Canceled"})

    async def _ended(
        self, tx: Transaction, worker: Worker, given: Sequence[T], accepted: set[UUID], as_: set[str]
    ) -> EndAnswer:
        """The answer; whoever repeats a call that was accepted is told so again."""
        rest = [one for one in given if one.id not in accepted]
        before = await workers.ended_before(tx, worker, [_held(one) for one in rest]) if rest else {}
        counts = accepted | {id_ for id_, status in before.items() if status in as_}
        if accepted:
            self._waker.touch(worker.org, worker.dag)
        return EndAnswer(
            accepted=[one.id for one in given if one.id in counts],
            stale=[one.id for one in given if one.id not in counts],
        )

    async def _leave(self, pod: PodIdentity) -> LeaveAnswer:
        async with self._db.transaction() as tx:
            return LeaveAnswer(leave=await workers.leave(tx, await self._find(tx, pod)))

    async def _find(self, tx: Transaction, pod: PodIdentity) -> Worker:
        """Who the pod is. TemporaryError while Postgres is an earlier one than was seen before."""
        seen = self._restores.seen
        try:
            worker = await workers.find(tx, pod.namespace, pod.uid, pod.name)
        except NoWorker as error:
            self._restores.check(await standing(tx), seen)
            raise forbidden(str(error)) from None
        self._restores.check(worker.standing, seen)
        return worker


def _completion(pod: PodIdentity, done: Completed) -> Completion:
    ranges, wrong = cursors(done.cursor)
    lineage, more = lineage_of(done.lineage)
    note = joined(done.note, wrong, more).replace("\0", "")
    return Completion(
        id=done.id, attempt=done.attempt, token=done.token, namespace=pod.namespace, pod=pod.name,
        columns=columns_of(done.columns), cursors=ranges, lineage=lineage, note=note or None,
    )  # fmt: skip


def _held(one: HeldAttempt) -> Held:
    return Held(id=one.id, attempt=one.attempt, token=one.token)


def _answer(claimed: Claimed) -> ClaimAnswer:
    job = claimed.job
    tasks = (
        []
        if job is None
        else [
            ClaimedTask(
                id=task.id,
                attempt=task.attempt,
                token=task.token,
                timeout_seconds=job.timeout_seconds,
                task=msgspec.Raw(worker_payload(job, task)),
            )
            for task in claimed.tasks
        ]
    )
    return ClaimAnswer(tasks=tasks, retire=claimed.retire)
