"""The gateway process: the application wired to Postgres and the API server, until it is told to stop.

`headrace gateway` calls `serve`. It keeps nothing that another replica would need, so there can be any number.
"""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import Mapping, Sequence

from aiohttp import web

from headrace import metrics
from headrace.api.history import History, Transferred
from headrace.cluster.client import Client
from headrace.cluster.namespaces import namespace_uid
from headrace.cluster.secrets import secret_values
from headrace.compiler import Compiler, collect_seldom
from headrace.errors import PermanentError, TemporaryError
from headrace.gateway.adoption import Adoption, adoption_routes
from headrace.gateway.app import application
from headrace.gateway.attempt_routes import Attempts, attempt_routes
from headrace.gateway.dataset_routes import dataset_routes
from headrace.gateway.datasets import Datasets
from headrace.gateway.errors import not_found
from headrace.gateway.event_routes import Events, event_routes
from headrace.gateway.identity import Identities
from headrace.gateway.people import People
from headrace.gateway.people_routes import people_routes
from headrace.gateway.purge_routes import Purges, purge_routes
from headrace.gateway.restores import Restores
from headrace.gateway.rights import Rights
from headrace.gateway.routes import Services, routes
from headrace.gateway.run_routes import run_routes
from headrace.gateway.runs import Runs
from headrace.gateway.wake import Waker
from headrace.gateway.webhooks import Webhooks, webhook_routes
from headrace.gateway.work import Work
from headrace.gateway.worker_routes import worker_routes
from headrace.health import serve_metrics
from headrace.plan.explanation import Explanation
from headrace.preview import preview
from headrace.settings import Settings
from headrace.state.database import Database
from headrace.state.history import read_history, schema_version
from headrace.state.migrate import default_directory, read_migrations
from headrace.state.names import transfer
from headrace.state.orgs import find_org

logger = logging.getLogger(__name__)

_LOOK_SECONDS = 2.0
_PEOPLE = 4
"""Connections for what people ask: however much that is, workers have theirs."""
_READERS = 4
"""Connections for readers and for purges, which may take long: nobody else waits for one."""
_RENEWALS = 2
"""Connections for renewals alone: completions that wait for a cutover must cost no lease."""
# Room for the tokens of identity providers, which list groups.
_HEADER = 20 * 1024


class Gateway:
    """The parts of a gateway; `services` is what its routes do. `looks`: for its readiness alone, whoever asks what."""

    def __init__(self, client: Client, db: Database, compiler: Compiler, looks: Database) -> None:
        self._client = client
        self._db = db
        self._looks = looks
        self._compiler = compiler
        self._known = len(read_migrations(default_directory()))
        self._draining = False

    @property
    def services(self) -> Services:
        """What the routes do."""
        return Services(preview=self._preview, history=self._history, transfer=self._transfer)

    def drain(self) -> None:
        """Be unready from now on."""
        self._draining = True

    async def part(self, _: web.Request, response: web.StreamResponse) -> None:
        """While it ends, each answer is the last on its connection: the next request goes to another replica."""
        if self._draining:
            response.headers["Connection"] = "close"
            response.force_close()

    async def ready(self) -> str | None:
        """Why nobody is to be sent here, if so: it ends, Postgres is away, or the operator has yet to migrate it."""
        if self._draining:
            return "shutting down"
        try:
            async with asyncio.timeout(_LOOK_SECONDS), self._looks.transaction() as tx:
                there = await schema_version(tx)
        except (TimeoutError, TemporaryError, PermanentError) as error:
            return f"Postgres: {error or 'no answer'}"
        if there < self._known:
            return f"the schema is at version {there} and will be migrated to {self._known}"
        return None

    async def uid(self, namespace: str) -> str | None:
        """The uid of a namespace."""
        return await namespace_uid(self._client, namespace)

    async def secret(self, namespace: str, name: str) -> Mapping[str, bytes] | None:
        """The values of a Secret, where a Role lets the gateway read it."""
        return await secret_values(self._client, namespace, name)

    async def _preview(self, namespace: str, objects: Sequence[Mapping[str, object]]) -> list[Explanation]:
        return await preview(self._db, self._client, self._compiler, namespace, objects)

    async def _history(self, namespace: str, dag: str) -> History | None:
        uid = await namespace_uid(self._client, namespace)
        if uid is None:
            return None
        async with self._db.transaction() as tx:
            org = await find_org(tx, uid)
            return None if org is None else await read_history(tx, org, dag)

    async def _transfer(self, namespace: str, dataset: str, dag: str) -> Transferred:
        uid = await namespace_uid(self._client, namespace)
        async with self._db.transaction() as tx:
            org = None if uid is None else await find_org(tx, uid)
            if org is None:
                raise not_found(f"no DAG of namespace {namespace} has published a dataset {dataset}")
            return Transferred(dataset=dataset, dag=dag, before=await transfer(tx, org.id, dataset, dag))


async def _told() -> bytes:
    return metrics.exposition(metrics.COMMON, metrics.GATEWAY)


async def serve(settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT, then finish what was begun."""
    logging.getLogger("aiohttp.server").setLevel(logging.CRITICAL)
    collect_seldom()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    client, compiler = await Client.connect(), Compiler()
    try:
        async with (
            Database(settings.database_url, connections=_PEOPLE) as db,
            Database(settings.database_url) as work,
            Database(settings.database_url, connections=_RENEWALS, checked=True) as renewals,
            Database(settings.database_url, connections=_READERS) as reads,
            Database(settings.database_url, connections=1) as looks,
        ):
            gateway, waker = Gateway(client, db, compiler, looks), Waker(work)
            table = routes(gateway.services) + run_routes(Runs(client, db, compiler).services)
            table += purge_routes(Purges(reads, gateway.uid).act)
            restores = Restores()
            table += worker_routes(Work(work, waker, settings.retry_backoff, renewals, restores).services)
            table += webhook_routes(Webhooks(work, waker, gateway.uid, gateway.secret).accept)
            table += attempt_routes(Attempts(work).services)
            table += event_routes(Events(work, waker, restores).accept)
            rights = Rights(client)
            people = People(client, reads, rights)
            table += dataset_routes(Datasets(reads, rights, people, gateway.uid).services)
            table += people_routes(people.members) + adoption_routes(Adoption(db, gateway.uid))
            app = application(table, Identities(client), rights, gateway.ready, people.came)
            app.on_response_prepare.append(gateway.part)
            runner = web.AppRunner(
                app,
                access_log=None,
                max_field_size=_HEADER,
                keepalive_timeout=75,
                shutdown_timeout=settings.drain,
                handler_cancellation=True,
            )
            measured = await serve_metrics(settings.metrics_port, _told)
            async with asyncio.TaskGroup() as group:
                loops = [group.create_task(waker.run()), group.create_task(people.run())]
                await runner.setup()
                await web.TCPSite(runner, port=settings.gateway_port, backlog=512).start()
                logger.info("serving on port %d", settings.gateway_port)
                await stop.wait()
                gateway.drain()
                waker.drain()
                logger.info("told to stop: finishing what was begun")
                # Until the Service has noticed, connections still come.
                await asyncio.sleep(settings.unready)
                await runner.cleanup()
                await measured.cleanup()
                for loop in loops:
                    loop.cancel()
    finally:
        compiler.close()
        await client.close()
