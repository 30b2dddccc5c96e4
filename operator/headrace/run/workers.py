"""Worker pods: made as their jobs have work, buried when they are over. The dispatcher turns it.

Level-triggered like the rest: the workers that Postgres knows are compared with the pods that are seen. A pod claims
nothing before it is recorded, so that one which was made and not recorded is only deleted.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Final
from uuid import UUID, uuid4

from headrace.api import names
from headrace.cluster.client import Refused
from headrace.cluster.pods import Place, Pod, Pods
from headrace.errors import TemporaryError
from headrace.run.attempts import failure
from headrace.run.render import render_worker
from headrace.run.scaling import missing, pause
from headrace.run.verdict import LATE, Alive, Broken, Verdict, judge, runs_since, vanished
from headrace.state import attempts, workers
from headrace.state.attempts import Failure
from headrace.state.database import Database
from headrace.state.workers import WorkerJob, WorkerPod

logger = logging.getLogger(__name__)

Touched = Callable[[str, str], None]
"""Told (namespace, dag) of every DAG whose rows changed."""
_Job = tuple[str, str, str]
"""Namespace, DAG and name of a job."""
_MOST_AT_ONCE: Final = 16
_AGAIN: Final = 5.0
"""Seconds after which a job whose waiting work could not begin is looked at again."""
_STALLED: Final = 60.0
"""Seconds after which work that its workers leave lying gets another worker in the place of one: it may hang."""
_UNCLAIMED: Final = 60.0
"""Seconds that a worker's container may run before it claims; the job's heartbeatTimeoutSeconds, if that is more."""
_TROUBLE: Final = 30.0
"""Seconds after trouble with Postgres in which nothing is taken from workers, which could not renew either."""
_STILL: Final = "its worker ended while it held the task"
_SILENT: Final = "its worker did not renew the lease in time"
_CLAIMS_NOTHING: Final = (
    "its worker has run for {} and claimed nothing: is its command headrace-worker, or does its code call"
    " headrace.worker's run()? If so, its log says why it does not reach the gateway"
)


class Workers:
    """The workers of every followed namespace."""

    def __init__(self, db: Database, pods: Pods, epoch: int, backoff: float, url: str) -> None:
        self._db = db
        self._pods = pods
        self._epoch = epoch
        self._backoff = backoff
        self._url = url
        self._why: dict[_Job, str] = {}
        self._ended: dict[_Job, str] = {}  # how its last worker ended, if that was not well, in a sentence
        self._changed: set[tuple[str, str]] = set()  # DAGs that have more workers or fewer, of which nobody was told
        self._making: set[Place] = set()
        self._futile: dict[UUID, float] = {}  # jobs whose waiting work could not begin, and when that was seen
        self._left: dict[UUID, float] = {}  # jobs whose workers leave work lying, and since when
        self._troubled = float("-inf")

    def trouble(self) -> None:
        """Postgres was away, or may have been: workers could not renew their leases."""
        self._troubled = time.monotonic()

    def why(self, namespace: str, dag: str) -> dict[str, str]:
        """By job, why a worker of it does not run, or is not made."""
        return {job: why for (ns, of, job), why in self._why.items() if (ns, of) == (namespace, dag)}

    async def look(self, orgs: Mapping[UUID, str], touched: Touched) -> bool:
        """Bury the workers that are over, make those that are missing; whether tasks are to be tried again."""
        try:
            return await self._look(orgs, touched)
        finally:
            while self._changed:
                touched(*self._changed.pop())

    async def _look(self, orgs: Mapping[UUID, str], touched: Touched) -> bool:
        now = datetime.now(UTC)
        async with self._db.transaction() as tx:
            known = await workers.here(tx)
        failed = await self._settle(known, now)
        failed |= await self._reap()
        await self._dismiss(known, now)
        await self._scale(orgs, now, touched)
        return failed

    async def _settle(self, known: Sequence[WorkerPod], now: datetime) -> bool:
        over = {worker.pod_uid: verdict for worker in known if (verdict := self._over(worker, now)) is not None}
        failed: list[Failure] = []
        for worker in known:
            verdict, pod = over.get(worker.pod_uid), self._pods.workers.get((worker.namespace, worker.name))
            # One that was ended for its silence has its reason already.
            if isinstance(verdict, Broken) and pod is not None and (worker.seen or not worker.retired):
                self._ended[_job_of(worker.namespace, pod)] = f"its last worker failed: {verdict.reason}"
        if over:
            async with self._db.transaction() as tx:
                for uid, attempt in await workers.bury(tx, self._epoch, list(over)):
                    how = over[uid]
                    broken = how if isinstance(how, Broken) else Broken(_STILL, lost=True)
                    failed.append(failure(attempt, broken))
                await attempts.fail(tx, self._epoch, failed, self._backoff)
        uids = {worker.pod_uid for worker in known if not worker.stuck} - over.keys()
        for place, pod in list(self._pods.workers.items()):
            if pod.metadata.uid not in uids and place not in self._making and pod.metadata.deletion_timestamp is None:
                await self._delete(place)
        for worker in known:
            if worker.pod_uid in over:
                self._pods.workers_gone.pop((worker.namespace, worker.name), None)
                self._changed.add((worker.namespace, worker.dag))
        return bool(failed)

    async def _dismiss(self, known: Sequence[WorkerPod], now: datetime) -> None:
        """End the workers that have never claimed and will not, or need not. None of them holds anything."""
        if time.monotonic() - self._troubled < _TROUBLE:
            return
        silent: list[str] = []
        unneeded: list[str] = []
        for worker in known:
            pod = self._pods.workers.get((worker.namespace, worker.name))
            if worker.seen or worker.retired or pod is None or pod.metadata.uid != worker.pod_uid:
                continue
            since, limit = runs_since(pod), max(_UNCLAIMED, worker.heartbeat_timeout_seconds)
            if since is not None and now > since + timedelta(seconds=limit):
                silent.append(worker.pod_uid)
                ran = "a minute" if limit == _UNCLAIMED else f"{limit:g} s"
                self._ended[_job_of(worker.namespace, pod)] = _CLAIMS_NOTHING.format(ran)
            elif since is None and worker.unneeded:
                unneeded.append(worker.pod_uid)
        if silent or unneeded:
            async with self._db.transaction() as tx:
                await workers.retire_silent(tx, self._epoch, silent)
                await workers.forget_unneeded(tx, self._epoch, unneeded)
            self._changed.update((worker.namespace, worker.dag) for worker in known if worker.pod_uid in unneeded)

    async def _reap(self) -> bool:
        """What a worker has not renewed is tried again elsewhere. It learns that, or its pod is deleted in a minute."""
        if time.monotonic() - self._troubled < _TROUBLE:
            return False
        async with self._db.transaction() as tx:
            expired = await attempts.expired(tx, workers=True)
        if not expired:
            return False
        failed = [failure(e, Broken(LATE if e.late else _SILENT, lost=not e.late)) for e in expired]
        async with self._db.transaction() as tx:
            await workers.retire(tx, self._epoch, expired)
            await attempts.fail(tx, self._epoch, failed, self._backoff)
        return True

    def _over(self, worker: WorkerPod, now: datetime) -> Verdict | None:
        """How a worker ended; None while it lives, or as far as its namespace is not seen."""
        place = (worker.namespace, worker.name)
        pod = self._pods.workers.get(place)
        if pod is None or pod.metadata.uid != worker.pod_uid:
            gone = self._pods.workers_gone.get(place)
            if worker.namespace not in self._pods.listed:
                return None
            return vanished(gone, now) if gone is not None else Broken("the worker's pod is gone", lost=True)
        verdict = judge(pod, now)
        return None if isinstance(verdict, Alive) else verdict

    async def _scale(self, orgs: Mapping[UUID, str], now: datetime, touched: Touched) -> None:
        listed = [org for org, namespace in orgs.items() if namespace in self._pods.listed]
        if not listed:
            return
        async with self._db.transaction() as tx:
            jobs = await workers.jobs(tx, listed)
        why, room, begins = self._waiting(now), _MOST_AT_ONCE, await self._begins(jobs)
        for job in jobs:
            place = (job.org, job.dag, job.job)
            if job.fruitless and job.last_fruitless is not None:
                again = job.last_fruitless + timedelta(seconds=pause(job.fruitless))
                how = self._ended.get(place, "its last worker failed: it ended before it had claimed anything")
                why[place] = f"{how}; the next is made at {again:%H:%M:%S} UTC" if now < again else how
                if now < again:
                    continue
            wanted = missing(
                waiting=min(job.waiting, begins.get(job.job_id, 0)),
                running=job.running,
                most=job.most,
                batch=job.batch,
                keeps_one=job.idle_timeout == "never" and not job.suspended,
                workers=job.workers,
            ) or await self._instead(job, begins)
            wanted = min(wanted, room)
            room -= wanted
            for refused in await asyncio.gather(*(self._make(job) for _ in range(wanted))):
                if refused:
                    why[place] = refused
                else:
                    self._changed.add((job.org, job.dag))
        for changed in {place[:2] for place in why.keys() | self._why.keys() if why.get(place) != self._why.get(place)}:
            touched(*changed)
        self._why = why
        self._ended = {
            place: how for place, how in self._ended.items() if place in {(j.org, j.dag, j.job) for j in jobs}
        }

    async def _begins(self, jobs: Sequence[WorkerJob]) -> dict[UUID, int]:
        """How much of the waiting work could begin, of jobs that may need a worker for it: what is held needs none."""
        now = time.monotonic()
        here = {job.job_id for job in jobs}
        self._futile = {job: at for job, at in self._futile.items() if job in here and now - at < _AGAIN}
        asked = [
            job.job_id
            for job in jobs
            if job.waiting and not job.suspended and job.running < job.most and job.job_id not in self._futile
        ]
        if not asked:
            return {}
        async with self._db.transaction() as tx:
            found = await workers.claimable(tx, asked)
        self._futile |= {job: now for job in asked if not found.get(job)}
        return found

    async def _instead(self, job: WorkerJob, begins: Mapping[UUID, int]) -> int:
        """One worker in the place of another, when those that are there, and had claimed, left work lying for long."""
        now = time.monotonic()
        if not begins.get(job.job_id):
            if job.job_id not in self._futile:
                self._left.pop(job.job_id, None)
            return 0
        if min(now - self._left.setdefault(job.job_id, now), now - self._troubled) < _STALLED:
            return 0
        self._left[job.job_id] = now
        async with self._db.transaction() as tx:
            return int(await workers.retire_idle(tx, self._epoch, job.job_id))

    def _waiting(self, now: datetime) -> dict[_Job, str]:
        """Workers whose pods are there and do not run yet, in words."""
        found: dict[_Job, str] = {}
        for (namespace, name), pod in self._pods.workers.items():
            verdict = judge(pod, now)
            if isinstance(verdict, Alive) and verdict.waiting:
                found[_job_of(namespace, pod)] = f"worker {name}: {verdict.waiting}"
        return found

    async def _make(self, job: WorkerJob) -> str:
        """Make a worker and record it; why the cluster will not have it, if so."""
        stem = f"{job.dag}-{job.job}".replace("_", "-")[:40].rstrip("-")
        name = f"{stem}-w-{uuid4().hex[:12]}"
        place = (job.org, name)
        self._making.add(place)
        began = time.monotonic()
        try:
            pod = await self._pods.create(job.org, render_worker(job, name, self._url))
            if pod is not None:
                async with self._db.transaction() as tx:
                    await workers.record(tx, self._epoch, job.job_id, pod.metadata.uid, name)
                logger.info("worker %s/%s made in %.0f ms", job.org, name, (time.monotonic() - began) * 1000)
        except Refused as error:
            return f"the cluster refuses its worker: {error}"
        except TemporaryError as error:
            logger.warning("worker %s/%s: %s", job.org, name, error)
            return f"its worker is not made yet: {error}"
        finally:
            self._making.discard(place)
        return ""

    async def _delete(self, place: Place) -> None:
        try:
            await self._pods.delete(place)
        except (TemporaryError, Refused) as error:
            logger.warning("worker %s/%s cannot be deleted: %s", *place, error)


def _job_of(namespace: str, pod: Pod) -> _Job:
    labels = pod.metadata.labels
    return namespace, labels.get(names.LABEL_DAG, ""), labels.get(names.LABEL_JOB, "")
