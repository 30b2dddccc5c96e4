"""The loop that runs work: what Postgres says should run becomes pods, what pods say becomes rows.

Level-triggered: each turn compares the Running rows with the pods that are seen and acts on the difference, so that a
turn lost to a crash, a closed connection or a killed server is made up for by the next. Pods come only from committed
rows. One leader runs it; the epoch fences one that was replaced.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Coroutine, Iterable
from datetime import UTC, datetime
from typing import Final
from uuid import UUID

from headrace.api import names
from headrace.cluster.client import Refused, is_quota, lacks_right
from headrace.cluster.pods import Place, Pod, Pods
from headrace.errors import HeadraceError, LostLeadership, PermanentError, TemporaryError
from headrace.run.attempts import attempt_of, completion, failure, reported, to_delete
from headrace.run.looks import batches, look_for_work
from headrace.run.marks import Marks
from headrace.run.payload import beyond_bounds
from headrace.run.render import ANNOTATION_SPEAKS, render_pod
from headrace.run.rollouts import Rollouts
from headrace.run.sources import Cron
from headrace.run.verdict import Alive, Broken, Succeeded, judge, overdue, vanished
from headrace.run.workers import Touched, Workers
from headrace.state import attempts, events, queue, task_pods
from headrace.state.attempts import Completion, Failure, PodName, Reported, RunningPod
from headrace.state.contracts import ContractBroken
from headrace.state.database import Database
from headrace.state.task_pods import SeenPod

logger = logging.getLogger(__name__)

_POLL = 1.0
_BATCH = 200
_BATCHES = 5
_CREATES = 32
_RENEW = 10.0
_REMEMBERED = 50_000

UNSEEN: Final = "the pod is gone, and nobody saw how it ended"


class Dispatcher:
    """Runs the tasks of every followed namespace. `wake` after anything that may have made work."""

    def __init__(
        self,
        db: Database,
        pods: Pods,
        epoch: int,
        backoff: float,
        touched: Touched,
        workers: Workers,
        url: str,
        marks: Marks,
    ) -> None:
        self._db = db
        self._pods = pods
        self._epoch = epoch
        self._backoff = backoff
        self._touched = touched
        self._event = asyncio.Event()
        self._orgs: dict[UUID, str] = {}
        self._renewed = 0.0
        self._waiting: dict[Place, str] = {}
        self._settled: set[Place] = set()  # pods seen whose end is in Postgres and that are deleted, or kept for logs
        self._made: set[Place] = set()  # pods that this process has made, each once: also if Postgres forgot its end
        self.cron = Cron(db)
        self._rollouts = Rollouts(db)
        self._known: set[Place] = set()  # pods of running attempts that the gateway knows, as they speak to it
        self._workers = workers
        self._marks = marks
        self._url = url
        self.news = asyncio.Event()  # set while something is to be sent, which others do
        self.last_turn = self.last_success = time.monotonic()

    def wake(self) -> None:
        """There may be something to do."""
        self._event.set()

    def changed(self) -> None:
        """Postgres has what a backup of a moment ago has not."""
        self._marks.stir()

    def told(self, namespace: str, dag: str) -> None:
        """Workers have done something of a DAG."""
        self._marks.stir()
        self._rollouts.touch((org, dag) for org, known in self._orgs.items() if known == namespace)
        self._touched(namespace, dag)
        self._event.set()

    def follow(self, org_id: UUID, namespace: str) -> None:
        """Run the work of an org whose namespace this is."""
        self._orgs[org_id] = namespace
        self._pods.follow(namespace)

    def forget(self, namespace: str) -> None:
        """A namespace has another org: whose it is, the next reconcile says."""
        self._orgs = {org: known for org, known in self._orgs.items() if known != namespace}

    def unfollow(self, namespace: str) -> None:
        """Nothing is left to run in a namespace."""
        self.forget(namespace)
        self._settled = {place for place in self._settled if place[0] != namespace}
        self._pods.unfollow(namespace)

    def why_workers(self, namespace: str, dag: str) -> dict[str, str]:
        """By job of a DAG, why no worker of it runs."""
        return self._workers.why(namespace, dag)

    def why_waiting(self, namespace: str) -> dict[str, str]:
        """By pod's name, why pods of a namespace that are there do not run yet."""
        return {name: why for (ns, name), why in self._waiting.items() if ns == namespace}

    async def run(self) -> None:
        """Turn for ever. Only LostLeadership, and defects, come out."""
        while True:
            self._event.clear()
            self.last_turn = time.monotonic()
            try:
                await self._turn()
                self.last_success = time.monotonic()
            except (TemporaryError, PermanentError) as error:
                # Level-triggered: what was left undone is found again by the next turn.
                logger.warning("dispatch: %s", error)
                self._workers.trouble()
                await asyncio.sleep(_POLL)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._event.wait(), _POLL)

    async def _turn(self) -> None:
        for org_id, dag in await self.cron.look(self._epoch):
            self._touch(org_id, dag)
        async with self._db.transaction() as tx:
            await self._marks.confirm(tx)
            left = await queue.left(tx)
        if left.running:
            self._marks.stir()
        if left.notices:
            self.news.set()
        if left.looks:
            await self._look_for_work()
        if left.due:
            async with self._db.transaction() as tx:
                await queue.requeue_due(tx, self._epoch)
        if left.waiting or left.due:
            await self._start()
        if left.waiting or left.running or left.workers or self._pods.workers:
            await self._work()
        if left.waiting or left.running or self._pods.gone or self._pods.seen.keys() - self._settled:
            await self._settle()
            await self._align()
        if left.rollouts:
            await self._roll_out()

    async def _look_for_work(self) -> None:
        """DAGs whose inputs from other DAGs changed make their units."""
        async for org_id, dag, made in look_for_work(self._db, self._epoch):
            if made:
                self._event.set()
            self._touch(org_id, dag)

    async def _work(self) -> None:
        if await self._workers.look(self._orgs, self._touched):
            self._event.set()

    async def _roll_out(self) -> None:
        for moved in await self._rollouts.look(self._epoch):
            logger.info("DAG %s/%s: its rollout moved on", moved.namespace, moved.dag)
            self._touched(moved.namespace, moved.dag)
            self.cron.changed()
            self._event.set()

    async def _start(self) -> None:
        """Run the operator's own tasks, then claim what pods can run; so many batches, the rest in the next turn."""
        for _ in range(_BATCHES):
            done = await self._dispatch()
            self._touch_all(done)
            if not done:
                break
        orgs = [org for org, namespace in self._orgs.items() if namespace in self._pods.listed]
        for _ in range(_BATCHES if orgs else 0):
            async with self._db.transaction() as tx:
                started = await queue.claim(tx, self._epoch, orgs, _BATCH)
            self._touch_all(started)
            if len(started) < _BATCH:
                return
        self._event.set()

    async def _dispatch(self) -> list[tuple[UUID, str]]:
        """Run the operator's own tasks. That these cannot be done keeps the pods and workers of nobody from theirs."""
        try:
            async with self._db.transaction() as tx:
                return await queue.dispatch(tx, self._epoch, _BATCH)
        except LostLeadership:
            raise
        except HeadraceError as error:
            logger.warning("the operator's own tasks: %s", error)
            return []

    async def _settle(self) -> None:
        """Turn what pods say into rows: completions first, since they make work, then failures."""
        now = datetime.now(UTC)
        self._waiting.clear()
        attempts = {p: (pod, judge(pod, now)) for p, pod in self._pods.seen.items() if p not in self._settled}
        attempts |= {place: (pod, vanished(pod, now)) for place, pod in self._pods.gone.items()}
        done: list[tuple[Completion, list[Reported]]] = []
        failed: list[Failure] = []
        over: list[tuple[Place, Pod]] = []
        for place, (pod, verdict) in attempts.items():
            attempt = attempt_of(pod)
            if isinstance(verdict, Alive):
                if verdict.waiting:
                    self._waiting[place] = verdict.waiting
                continue
            over.append((place, pod))
            if attempt is None:
                continue
            if isinstance(verdict, Succeeded):
                done.append((completion(attempt, verdict), reported(attempt, verdict)))
            else:
                failed.append(failure(attempt, verdict))
        for batch in batches(done):
            failed += await self._complete(batch)
        await self._fail(failed)
        if done:
            await self._start()
        for place, pod in over:
            if self._pods.gone.pop(place, None) is not None:
                self._settled.discard(place)
            self._touch_pod(place, pod)

    async def _complete(self, done: list[tuple[Completion, list[Reported]]]) -> list[Failure]:
        """Accept a batch; what Postgres refuses of it, for what one task reported, fails alone and with the reason."""
        try:
            async with self._db.transaction() as tx:
                await attempts.complete(tx, self._epoch, [a for a, _ in done], [r for _, told in done for r in told])
        except ContractBroken as error:
            broken = [failure(a, Broken(error.breaches[a.id], lost=False)) for a, _ in done if a.id in error.breaches]
            rest = [one for one in done if one[0].id not in error.breaches]
            return broken + (await self._complete(rest) if rest else [])
        except PermanentError as error:
            if len(done) == 1:
                return [failure(done[0][0], Broken(f"its completion is refused: {error}", lost=False))]
            return [failed for one in done for failed in await self._complete([one])]
        return []

    async def _fail(self, failed: list[Failure]) -> None:
        for batch in batches(failed):
            async with self._db.transaction() as tx:
                await attempts.fail(tx, self._epoch, batch, self._backoff)

    async def _align(self) -> None:
        """Make the pods that should be there, end those that should not, keep the leases of those that live.

        A pod that was made and is nowhere is a failed attempt, never made again: what it wrote may be anywhere.
        """
        async with self._db.transaction() as tx:
            running = {(p.namespace, p.name) for p in await attempts.running_names(tx)}
        if len(self._made) > _REMEMBERED:
            self._made &= running
        missing = [p for p in running - self._made if p[0] in self._pods.listed and p not in self._pods.seen]
        if missing:
            await self._create(missing)
        await self._introduce(running)
        stray = {place: pod for place, pod in self._pods.seen.items() if place not in running}
        await _bounded(self._delete(place) for place in to_delete(stray))
        self._settled |= stray.keys()
        if running and time.monotonic() - self._renewed > _RENEW:
            await self._renew(running)

    async def _create(self, places: list[Place]) -> None:
        async with self._db.transaction() as tx:
            await self._marks.confirm(tx)  # an attempt of a backup has had its pod
            found = await attempts.running_pods(tx, [name for _, name in places])
        failed: list[Failure] = []

        async def create(task: RunningPod) -> None:
            if task.epoch != self._epoch:
                failed.append(failure(task.as_attempt, Broken(UNSEEN, lost=True)))
                return
            beyond = beyond_bounds(task)
            if beyond is not None:
                failed.append(failure(task.as_attempt, Broken(beyond, lost=False)))
                return
            try:
                await self._pods.create(task.org, render_pod(task, self._url))
                self._made.add((task.org, task.pod_name))
            except Refused as error:
                # Forbidden is a matter of roles, which may come; the rest is the manifest's.
                broken = Broken(f"the cluster refused the pod: {error}", lost=error.status == 403)
                # A namespace that has taken its leave back may give it again: its work waits for that at no cost.
                waits = is_quota(error) or lacks_right(error)
                failed.append(failure(task.as_attempt, broken, postponed=waits))
            except TemporaryError as error:
                logger.warning("pod %s/%s: %s", task.org, task.pod_name, error)
                self._event.set()
            self._touched(task.org, task.dag)

        await _bounded(create(task) for task in found)
        await self._fail(failed)

    async def _introduce(self, running: set[Place]) -> None:
        """Tell the gateway of pods that speak to it, by way of Postgres; of those that an operator before made, too."""
        self._known &= running
        new = [
            SeenPod(*place, pod.metadata.uid)
            for place in running - self._known
            if (pod := self._pods.seen.get(place)) is not None and ANNOTATION_SPEAKS in pod.metadata.annotations
        ]
        if new:
            async with self._db.transaction() as tx:
                await task_pods.record(tx, self._epoch, new)
            self._known |= {(pod.namespace, pod.name) for pod in new}

    async def _delete(self, place: Place) -> None:
        """What cannot be deleted stays, and holds nothing else up."""
        try:
            await self._pods.delete(place)
        except (TemporaryError, Refused) as error:
            logger.warning("pod %s/%s cannot be deleted: %s", *place, error)

    async def _renew(self, running: set[Place]) -> None:
        """Renew the leases of pods that live; an attempt whose lease ran out, and whose pod is nowhere, is lost."""
        alive = [PodName(name=place[1], namespace=place[0]) for place in running if place in self._pods.seen]
        async with self._db.transaction() as tx:
            if alive:
                await attempts.renew(tx, self._epoch, alive)
            expired = await attempts.expired(tx)
            paused = await events.paused(tx)
        now = datetime.now(UTC)
        stopped = Broken("its DAG is suspended", lost=True)
        lost = [failure(attempt, stopped, postponed=True) for attempt in paused]
        for attempt in expired:
            place = (attempt.namespace, attempt.pod)
            # What is gone since the last look says its end at the next.
            if attempt.namespace not in self._pods.listed or place in self._pods.gone:
                continue
            pod = self._pods.seen.get(place)
            if pod is None:
                lost.append(failure(attempt, Broken(UNSEEN, lost=True)))
            elif attempt.late and (broken := overdue(pod, now)) is not None:
                lost.append(failure(attempt, broken))
        await self._fail(lost)
        self._renewed = time.monotonic()

    def _touch(self, org_id: UUID, dag: str) -> None:
        self._marks.stir()
        self._rollouts.touch([(org_id, dag)])
        namespace = self._orgs.get(org_id)
        if namespace is not None:
            self._touched(namespace, dag)

    def _touch_all(self, dags: Iterable[tuple[UUID, str]]) -> None:
        for org_id, dag in dags:
            self._touch(org_id, dag)

    def _touch_pod(self, place: Place, pod: Pod) -> None:
        dag = pod.metadata.labels.get(names.LABEL_DAG)
        if dag is not None:
            self.told(place[0], dag)


async def _bounded(calls: Iterable[Coroutine[None, None, None]]) -> None:
    """Run the calls, at most so many at once; an error of any comes out after all have ended."""
    gate = asyncio.Semaphore(_CREATES)

    async def one(call: Coroutine[None, None, None]) -> None:
        async with gate:
            await call

    results = await asyncio.gather(*(one(call) for call in calls), return_exceptions=True)
    for result in results:
        if isinstance(result, BaseException):
            raise result
