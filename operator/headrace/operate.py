"""The operator process: takes the lead, then runs the watches, the reconcile queue, the dispatch and the passes.

Everything runs in one task group: what dies takes the process with it, and the Deployment starts it anew. `headrace
operator` calls `operate`.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import sys
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, cast

import kopf

from headrace import handlers, health, metrics
from headrace.admission.keep import Keeper
from headrace.admission.serve import serve as admission
from headrace.api import names
from headrace.cluster.client import Client
from headrace.cluster.events import Events
from headrace.cluster.lease import Leadership
from headrace.cluster.namespaces import namespace_uid
from headrace.cluster.objects import Body, Key, Objects, read_all
from headrace.cluster.pods import Pods
from headrace.cluster.secrets import secret_values
from headrace.cluster.writes import Status
from headrace.compiler import Compiler, collect_seldom
from headrace.errors import PermanentError, TemporaryError
from headrace.plan.standing import Standing
from headrace.queue import Queue
from headrace.reconcile import Reconciler
from headrace.run.dispatch import Dispatcher
from headrace.run.looks import missing_work
from headrace.run.marks import Marks
from headrace.run.notices import Sender
from headrace.run.outward import Outward
from headrace.run.tidy import Tidy
from headrace.run.workers import Workers
from headrace.settings import Settings
from headrace.state import backlog, datasets, leader, people, runs, versions, workers
from headrace.state.database import Database
from headrace.state.listen import TOUCHED, listen
from headrace.status.events import events_of
from headrace.tenants import Tenants

logger = logging.getLogger(__name__)

_STUCK = 120.0
_LATE = 30.0
_DEEPEST = 20_000
_SCRAPE = 5.0
"""Seconds for which the backlog is not read again, and for which a scrape waits for it."""


class Operator:
    """The parts of a leading operator, wired together."""

    def __init__(
        self, settings: Settings, client: Client, db: Database, standing: Standing, written: Callable[[Standing], None]
    ) -> None:
        epoch = standing.epoch
        self._settings = settings
        self._client = client
        self._db = db
        self._objects = Objects()
        self._queue = Queue(self._reconcile)
        self._pods = Pods(client, self._pods_changed, self._namespace_told)
        self._epoch = epoch
        self._compiler = Compiler()
        self._events = Events(client, settings.identity)
        self._marks = Marks(db, standing, written)
        self._tidy = Tidy(db)
        self._passed = time.monotonic()
        self._scraping = asyncio.Lock()
        self._scraped = -_SCRAPE
        url = settings.gateway_url
        scaled = Workers(db, self._pods, epoch, settings.retry_backoff, url)
        self._dispatcher = Dispatcher(
            db, self._pods, epoch, settings.retry_backoff, self._touched, scaled, url, self._marks
        )
        self._tenants = Tenants(client, db, epoch, self._tenant_changed)
        outward = Outward(loopback=settings.notify_loopback)
        uids, secrets = partial(namespace_uid, client), partial(secret_values, client)
        self._sender = Sender(
            db, epoch, self._marks, uids, secrets, outward, self._dispatcher.news, self._namespace_told
        )
        self._reconciler = Reconciler(
            client=client,
            db=db,
            objects=self._objects,
            pods=self._pods,
            dispatcher=self._dispatcher,
            compiler=self._compiler,
            tenants=self._tenants,
            news_trouble=self._sender.trouble,
            storage_base=settings.storage_base,
            epoch=epoch,
            wake=self._queue.add,
            written=self._written,
        )

    async def run(self) -> None:
        """Run until kopf is told to stop, or a part dies."""
        try:
            await self._run()
        finally:
            self._compiler.close()

    async def _run(self) -> None:
        await self._first_pass()
        async with asyncio.TaskGroup() as group:
            self._pods.start(group)
            parts = [
                group.create_task(self._queue.run()),
                group.create_task(self._dispatcher.run()),
                group.create_task(self._marks.run()),
                group.create_task(self._passes()),
                group.create_task(self._tenants.run()),
                group.create_task(self._events.run()),
                group.create_task(self._sender.run()),
                group.create_task(Keeper(self._client, self._settings.namespace).run()),
                group.create_task(listen(self._db.url, self._told)),
            ]
            await kopf.operator(
                registry=handlers.registry(self._objects, self._queue.add, self._queue.add_later),
                settings=handlers.settings(),
                clusterwide=True,
                standalone=True,
                # Given, since kopf would otherwise look the account up, and a container's has no name.
                identity=cast("Any", self._settings.identity),
            )
            for part in [*parts, *self._pods.watches()]:
                part.cancel()

    def stuck(self) -> str | None:
        """Which loop has not turned for long, in words."""
        now = time.monotonic()
        for name, last in (("dispatch", self._dispatcher.last_turn), ("queue", self._queue.last_look)):
            if now - last > _STUCK:
                return f"the {name} loop has not turned for {now - last:.0f} s"
        return None

    def late(self) -> str | None:
        """Which loop is late, in words: Postgres or the API server may be away."""
        behind = time.monotonic() - self._dispatcher.last_success
        return f"no turn of the dispatch loop went well for {behind:.0f} s" if behind > _LATE else None

    async def told(self) -> bytes:
        """The metrics of who leads. The backlog is left out while Postgres does not say it."""
        now = time.monotonic()
        metrics.LEADS.set(1)
        metrics.EPOCH.set(self._epoch)
        metrics.DISPATCH_AGE.set(now - self._dispatcher.last_success)
        metrics.PASS_AGE.set(now - self._passed)
        metrics.tell_watches()
        async with self._scraping:
            if time.monotonic() - self._scraped >= _SCRAPE:
                await self._count()
                self._scraped = time.monotonic()
        return metrics.exposition(metrics.COMMON, metrics.OPERATOR, metrics.LEADER)

    async def _count(self) -> None:
        try:
            async with asyncio.timeout(_SCRAPE), self._db.transaction() as tx:
                found = await backlog.backlog(tx)
        except (TemporaryError, PermanentError, TimeoutError) as error:
            logger.warning("the backlog cannot be counted: %s", error or "no answer")
            found = []
        metrics.WAITING.clear()
        metrics.WAITING_AGE.clear()
        metrics.UNDER_WAY.clear()
        metrics.RUNNING.set(float("nan"))
        for row in found:
            if row.kind == "running":
                metrics.RUNNING.set(row.tasks)
                continue
            if row.kind in ("building", "ready"):
                metrics.UNDER_WAY.labels(row.kind).set(row.tasks)
                continue
            metrics.WAITING.labels(row.kind).set(row.tasks)
            if row.kind != "retry":
                metrics.WAITING_AGE.labels(row.kind).set(row.oldest)

    async def _reconcile(self, key: Key) -> float | None:
        return await self._reconciler.reconcile(key)

    async def _first_pass(self) -> None:
        """Before it nothing is known: wait for an API server and a Postgres that are not ready yet."""
        while True:
            try:
                return await self._pass()
            except TemporaryError as error:
                logger.warning("first pass: %s", error)
                await asyncio.sleep(1.0)
                self._dispatcher.last_turn = self._queue.last_look = time.monotonic()

    async def _passes(self) -> None:
        while True:
            await asyncio.sleep(self._settings.full_pass)
            try:
                await self._pass()
                # Not with the first pass, which a takeover waits for.
                if await self._tidy.run(self._epoch):
                    self._marks.stir()
            except (TemporaryError, PermanentError) as error:
                logger.warning("full pass: %s", error)

    async def _pass(self) -> None:
        """List everything, look at every DAG, stop those whose object is gone, make work that is missing."""
        # Read before the list: what is made later than this is not taken for absent.
        async with self._db.transaction() as tx:
            present = await versions.present_dags(tx)
        await read_all(self._client, self._objects)
        there = {self._uid(key) for key in self._objects.dags()}
        for dag in present:
            if dag.object_uid in there:
                continue
            async with self._db.transaction() as tx:
                if await versions.stop(tx, self._epoch, dag):
                    self._marks.stir()
                    logger.info("DAG %s/%s is gone: its work stops, its rows stay", dag.namespace, dag.name)
        async with self._db.transaction() as tx:
            await workers.forget(tx, self._epoch)
            await runs.forget_requests(tx, self._epoch)
            await people.forget(tx, self._epoch)
            await datasets.forget_pins(tx, self._epoch)
        if await missing_work(self._db, self._epoch):
            self._marks.stir()
            self._dispatcher.wake()
        self._dispatcher.cron.changed()
        self._tenants.wake_all()
        self._reconciler.say_again()
        for key in self._objects.named_dags():  # those of DAGs that are not there too: their members are told so
            self._queue.add(key)
        pods = self._pods.seen.keys() | self._pods.workers.keys() | self._pods.workers_gone.keys()
        used = {key.namespace for key in self._objects.dags()} | {namespace for namespace, _ in pods}
        for namespace in self._pods.followed() - used:
            self._dispatcher.unfollow(namespace)
        self._passed = time.monotonic()

    def _uid(self, key: Key) -> str:
        body = self._objects.get(names.DAG, key.namespace, key.name) or {}
        return cast("Mapping[str, str]", body.get("metadata") or {"uid": ""})["uid"]

    def _written(self, kind: str, before: Body, status: Status) -> None:
        """A status was written: what it tells for the first time is sent as events."""
        self._events.send(kind, before, events_of(before, status))

    def _touched(self, namespace: str, dag: str) -> None:
        self._queue.add_later(Key(namespace, dag))

    def _told(self, channel: str, payload: str) -> None:
        """Postgres tells: there is work, workers have done something of a DAG, or a namespace has another org."""
        namespace, _, dag = payload.partition("/")
        if channel == TOUCHED and not dag:
            logger.info("namespace %s has another org", namespace)
            self._reconciler.forget(namespace)
            self._dispatcher.forget(namespace)
            self._tenants.wake(namespace)
            self._namespace_told(namespace)
        elif channel == TOUCHED:
            self._dispatcher.told(namespace, dag)
        else:
            self._dispatcher.wake()

    def _pods_changed(self) -> None:
        self._dispatcher.wake()

    def _tenant_changed(self, namespace: str) -> None:
        self._namespace_told(namespace)
        self._dispatcher.wake()

    def _namespace_told(self, namespace: str) -> None:
        for key in self._objects.dags():
            if key.namespace == namespace:
                self._queue.add(key)


async def operate(settings: Settings) -> None:
    """Run the operator until it is told to stop. LostLeadership, or a part's error, comes out."""
    logging.getLogger("kopf").setLevel(logging.WARNING)
    # The API server takes objects nested far deeper than Python's limit; reading one must not end the operator.
    sys.setrecursionlimit(_DEEPEST)
    collect_seldom()
    operator: Operator | None = None
    runner = await health.serve(
        settings.health_port,
        lambda: operator.stuck() if operator else None,
        lambda: operator.late() if operator else None,
        lambda: operator.told() if operator else _waits(),
    )
    client = await Client.connect()
    leadership = Leadership(client, settings.namespace, settings.identity)
    try:
        async with Database(settings.database_url) as db, asyncio.TaskGroup() as group:
            # Whoever leads: those that wait answer the API server as well.
            url, namespace = settings.database_url, settings.namespace
            answering = group.create_task(admission(client, url, namespace, settings.admission_port))
            await leadership.acquire()
            async with asyncio.TaskGroup() as leading:
                holding = leading.create_task(leadership.hold())
                standing = await _take_over(db, leadership, settings.identity)
                operator = Operator(settings, client, db, standing, leadership.note)
                await operator.run()
                holding.cancel()
            answering.cancel()
            with contextlib.suppress(TemporaryError):
                await leadership.release()
    finally:
        await client.close()
        await runner.cleanup()


async def _waits() -> bytes:
    """The metrics of an operator that does not lead."""
    return metrics.exposition(metrics.COMMON, metrics.OPERATOR)


async def _take_over(db: Database, leadership: Leadership, identity: str) -> Standing:
    """Raise the epoch in Postgres, then have the Lease say so.

    What the Lease said before tells whether Postgres was restored from a backup meanwhile.
    """
    standing, anew = await _raise(db, leadership, identity)
    if anew:
        logger.warning("Postgres is behind the Lease: it was restored. Incarnation %s begins", standing.incarnation)
    await leadership.write_down(standing)
    logger.info("%s leads, epoch %d", identity, standing.epoch)
    return standing


async def _raise(db: Database, leadership: Leadership, identity: str) -> tuple[Standing, bool]:
    """The epoch, raised, and whether an incarnation began with it; waits for a Postgres that is not there yet."""
    while True:
        try:
            async with db.transaction() as tx:
                return await leader.take_over(tx, identity, leadership.known)
        except TemporaryError as error:
            logger.warning("taking over: %s", error)
            await asyncio.sleep(1.0)
