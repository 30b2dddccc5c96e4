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
from collections.abc import Callable, Coroutine, Iterable
from typing import TypeVar
from uuid import UUID

from headrace.api import names
from headrace.cluster.client import Refused
from headrace.cluster.pods import Place, Pod, Pods
from headrace.errors import TemporaryError
from headrace.run.render import render_pod
from headrace.run.sources import Cron
from headrace.run.verdict import Alive, Broken, Succeeded, judge, vanished
from headrace.state import tasks, versions
from headrace.state.database import Database
from headrace.state.tasks import Attempt, Failure, Reported, RunningPod

logger = logging.getLogger(__name__)

T = TypeVar("T")

Touched = Callable[[str, str], None]
"""Told (namespace, dag) of every DAG whose rows changed."""

_POLL = 1.0
_BATCH = 200
_CREATES = 32
_RENEW = 10.0


class Dispatcher:
    """Runs the tasks of every followed namespace. `wake` after anything that may have made work."""

    def __init__(self, db: Database, pods: Pods, epoch: int, backoff: float, touched: Touched) -> None:
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
        self.cron = Cron(db)
        self.last_turn = time.monotonic()

    def wake(self) -> None:
        """There may be something to do."""
        self._event.set()

    def follow(self, org_id: UUID, namespace: str) -> None:
        """Run the work of an org whose namespace this is."""
        self._orgs[org_id] = namespace
        self._pods.follow(namespace)

    def why_waiting(self, namespace: str) -> dict[str, str]:
        """By pod's name, why pods of a namespace that are there do not run yet."""
        return {name: why for (ns, name), why in self._waiting.items() if ns == namespace}

    async def run(self) -> None:
        """Turn for ever. Only LostLeadership, and defects, come out."""
        while True:
            self._event.clear()
            try:
                await self._turn()
                self.last_turn = time.monotonic()
            except TemporaryError as error:
                logger.warning("dispatch: %s", error)
                await asyncio.sleep(_POLL)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._event.wait(), _POLL)

    async def _turn(self) -> None:
        for org_id, dag in await self.cron.look(self._epoch):
            self._touch(org_id, dag)
        async with self._db.transaction() as tx:
            left = await tasks.left(tx)
        if left.waiting:
            await self._start()
        if left.waiting or left.running or self._pods.gone or self._pods.seen.keys() - self._settled:
            await self._settle()
            await self._align()

    async def _start(self) -> None:
        """Run the operator's own tasks, then claim what pods can run now."""
        while True:
            async with self._db.transaction() as tx:
                done = await tasks.dispatch(tx, self._epoch, _BATCH)
            if not done:
                break
            self._touch_all(done)
        orgs = [org for org, namespace in self._orgs.items() if namespace in self._pods.listed]
        while orgs:
            async with self._db.transaction() as tx:
                started = await tasks.claim(tx, self._epoch, orgs, _BATCH)
            self._touch_all(started)
            if len(started) < _BATCH:
                break

    async def _settle(self) -> None:
        """Turn what pods say into rows: completions first, since they make work, then failures."""
        self._waiting.clear()
        attempts = {p: (pod, judge(pod)) for p, pod in self._pods.seen.items() if p not in self._settled}
        attempts |= {place: (pod, vanished(pod)) for place, pod in self._pods.gone.items()}
        done: list[Attempt] = []
        failed: list[Failure] = []
        reported: list[Reported] = []
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
                done.append(attempt)
                reported += [
                    Reported(task=attempt.id, output=p.output, key=p.key, rows=p.rows, bytes=p.bytes)
                    for p in verdict.partitions
                ]
            else:
                failed.append(_failure(attempt, verdict))
        for batch in _batches(done):
            async with self._db.transaction() as tx:
                await tasks.complete(tx, batch, reported)
        for lost in _batches(failed):
            await self._fail(lost)
        if done:
            await self._start()
        for place, pod in over:
            if self._pods.gone.pop(place, None) is not None:
                self._settled.discard(place)
            self._touch_pod(place, pod)

    async def _fail(self, failed: list[Failure]) -> None:
        async with self._db.transaction() as tx:
            await tasks.fail(tx, failed, self._backoff)

    async def _align(self) -> None:
        """Make the pods that should be there, end those that should not, keep the leases of those that live."""
        async with self._db.transaction() as tx:
            running = {(p.namespace, p.name) for p in await tasks.running_names(tx)}
        missing = [p for p in running if p[0] in self._pods.listed and p not in self._pods.seen]
        if missing:
            await self._create(missing)
        stray = {place: pod for place, pod in self._pods.seen.items() if place not in running}
        await _bounded(self._pods.delete(place) for place in _to_delete(stray))
        self._settled |= stray.keys()
        if running and time.monotonic() - self._renewed > _RENEW:
            await self._renew(running)

    async def _create(self, places: list[Place]) -> None:
        async with self._db.transaction() as tx:
            found = await tasks.running_pods(tx, [name for _, name in places])
        refused: list[Failure] = []

        async def create(task: RunningPod) -> None:
            try:
                await self._pods.create(task.org, render_pod(task))
            except Refused as error:
                attempt = Attempt(id=task.id, attempt=task.attempt, token=task.token)
                refused.append(_failure(attempt, Broken(f"the cluster refused the pod: {error}", lost=False)))
            self._touched(task.org, task.dag)

        await _bounded(create(task) for task in found)
        if refused:
            await self._fail(refused)

    async def _renew(self, running: set[Place]) -> None:
        """Renew the leases of pods that live; an attempt whose lease ran out, and whose pod is nowhere, is lost."""
        alive = [
            attempt.token
            for place, pod in self._pods.seen.items()
            if place in running and (attempt := attempt_of(pod)) is not None
        ]
        async with self._db.transaction() as tx:
            await tasks.renew(tx, alive)
            expired = await tasks.expired(tx)
        lost = [
            _failure(e, Broken("the lease ran out: no pod of this attempt was seen", lost=True))
            for e in expired
            if (namespace := self._orgs.get(e.org_id)) in self._pods.listed
            and (namespace, e.pod_name) not in self._pods.seen
        ]
        if lost:
            await self._fail(lost)
        self._renewed = time.monotonic()

    def _touch(self, org_id: UUID, dag: str) -> None:
        namespace = self._orgs.get(org_id)
        if namespace is not None:
            self._touched(namespace, dag)

    def _touch_all(self, dags: Iterable[tuple[UUID, str]]) -> None:
        for org_id, dag in dags:
            self._touch(org_id, dag)

    def _touch_pod(self, place: Place, pod: Pod) -> None:
        dag = pod.metadata.labels.get(names.LABEL_DAG)
        if dag is not None:
            self._touched(place[0], dag)


async def missing_work(db: Database) -> int:
    """The periodic pass: every unit that should exist and does not; the number made. Set-based, under shared locks."""
    made = 0
    async with db.transaction() as tx:
        present = [(d.org_id, d.name) for d in await versions.present_dags(tx)]
    for batch in _batches(present):
        async with db.transaction() as tx:
            await tasks.lock_dags_shared(tx, batch)
            made += await tasks.create_missing(tx, batch)
    return made


def attempt_of(pod: Pod) -> Attempt | None:
    """The attempt that a pod is, from its labels and its name, which ends in the lease token; None for a stranger's."""
    labels, (_, _, token) = pod.metadata.labels, pod.metadata.name.rpartition("-")
    try:
        return Attempt(id=UUID(labels[names.LABEL_TASK]), attempt=int(labels[names.LABEL_ATTEMPT]), token=UUID(token))
    except (KeyError, ValueError):
        return None


def _failure(attempt: Attempt, broken: Broken) -> Failure:
    return Failure(id=attempt.id, attempt=attempt.attempt, token=attempt.token, reason=broken.reason, lost=broken.lost)


def _to_delete(stray: dict[Place, Pod]) -> list[Place]:
    """Pods that nobody waits for any more. Of each job the youngest failed one stays, for its logs."""
    kept: dict[tuple[str, str, str], tuple[int, Place]] = {}
    for place, pod in stray.items():
        if isinstance(judge(pod), Broken) and pod.metadata.deletion_timestamp is None:
            job = (place[0], pod.metadata.labels.get(names.LABEL_DAG, ""), pod.metadata.labels.get(names.LABEL_JOB, ""))
            kept[job] = max(kept.get(job, (-1, place)), (int(pod.metadata.resource_version), place))
    spared = {place for _, place in kept.values()}
    return [place for place, pod in stray.items() if place not in spared and pod.metadata.deletion_timestamp is None]


def _batches(items: list[T]) -> list[list[T]]:
    return [items[start : start + _BATCH] for start in range(0, len(items), _BATCH)]


async def _bounded(calls: Iterable[Coroutine[None, None, None]]) -> None:
    """Run the calls, at most so many at once; a TemporaryError of any comes out after all have ended."""
    gate = asyncio.Semaphore(_CREATES)

    async def one(call: Coroutine[None, None, None]) -> None:
        async with gate:
            await call

    results = await asyncio.gather(*(one(call) for call in calls), return_exceptions=True)
    for result in results:
        if isinstance(result, BaseException):
            raise result
