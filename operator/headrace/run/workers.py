"""Worker pods: made as their jobs have work, buried when they are over. The dispatcher turns it.

Level-triggered like the rest: the workers that Postgres knows are compared with the pods that are seen. A pod claims
nothing before it is recorded, so that one which was made and not recorded is only deleted.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
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
from headrace.run.verdict import Alive, Broken, Verdict, judge, vanished
from headrace.state import attempts, workers
from headrace.state.attempts import Failure
from headrace.state.database import Database
from headrace.state.workers import WorkerJob, WorkerPod

logger = logging.getLogger(__name__)

_Job = tuple[str, str, str]
"""Namespace, DAG and name of a job."""
_MOST_AT_ONCE: Final = 16
_STILL: Final = "its worker ended while it held the task"
_SILENT: Final = "its worker did not renew the lease in time"
_LATE: Final = "timeout: it was not over a minute after its timeoutSeconds"


class Workers:
    """The workers of every followed namespace."""

    def __init__(self, db: Database, pods: Pods, epoch: int, backoff: float, url: str) -> None:
        self._db = db
        self._pods = pods
        self._epoch = epoch
        self._backoff = backoff
        self._url = url
        self._why: dict[_Job, str] = {}
        self._ended: dict[_Job, str] = {}  # how its last worker ended, if that was not well
        self._making: set[Place] = set()

    def why(self, namespace: str, dag: str) -> dict[str, str]:
        """By job, why a worker of it does not run, or is not made."""
        return {job: why for (ns, of, job), why in self._why.items() if (ns, of) == (namespace, dag)}

    async def look(self, orgs: Mapping[UUID, str], touched: Callable[[str, str], None]) -> bool:
        """Bury the workers that are over, make those that are missing; whether tasks are to be tried again."""
        now = datetime.now(UTC)
        failed = await self._settle(now)
        failed |= await self._reap()
        await self._scale(orgs, now, touched)
        return failed

    async def _settle(self, now: datetime) -> bool:
        async with self._db.transaction() as tx:
            known = await workers.here(tx)
        over = {worker.pod_uid: verdict for worker in known if (verdict := self._over(worker, now)) is not None}
        failed: list[Failure] = []
        for worker in known:
            verdict, pod = over.get(worker.pod_uid), self._pods.workers.get((worker.namespace, worker.name))
            if isinstance(verdict, Broken) and pod is not None:
                self._ended[_job_of(worker.namespace, pod)] = verdict.reason
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
        return bool(failed)

    async def _reap(self) -> bool:
        """What a worker has not renewed is tried again elsewhere. It learns that, or its pod is deleted in a minute."""
        async with self._db.transaction() as tx:
            expired = await attempts.expired(tx, workers=True)
        if not expired:
            return False
        failed = [failure(e, Broken(_LATE if e.late else _SILENT, lost=not e.late)) for e in expired]
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

    async def _scale(self, orgs: Mapping[UUID, str], now: datetime, touched: Callable[[str, str], None]) -> None:
        listed = [org for org, namespace in orgs.items() if namespace in self._pods.listed]
        if not listed:
            return
        async with self._db.transaction() as tx:
            jobs = await workers.jobs(tx, listed)
        why, room = self._waiting(now), _MOST_AT_ONCE
        for job in jobs:
            place = (job.org, job.dag, job.job)
            if job.fruitless and job.last_fruitless is not None:
                again = job.last_fruitless + timedelta(seconds=pause(job.fruitless))
                how = self._ended.get(place, "it ended before it had claimed anything")
                why[place] = f"its last worker failed: {how}; the next is made at {again:%H:%M:%S} UTC"
                if now < again:
                    continue
            wanted = missing(
                waiting=0 if job.suspended else job.waiting,
                running=job.running,
                most=job.most,
                batch=job.batch,
                keeps_one=job.idle_timeout == "never" and not job.suspended,
                workers=job.workers,
            )
            wanted = min(wanted, room)
            room -= wanted
            for refused in await asyncio.gather(*(self._make(job) for _ in range(wanted))):
                if refused:
                    why[place] = refused
        for changed in {place[:2] for place in why.keys() | self._why.keys() if why.get(place) != self._why.get(place)}:
            touched(*changed)
        self._why = why
        self._ended = {
            place: how for place, how in self._ended.items() if place in {(j.org, j.dag, j.job) for j in jobs}
        }

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
