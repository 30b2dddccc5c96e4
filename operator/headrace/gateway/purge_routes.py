"""The route of purges: what contents nothing needs, and their retirement. `serve` adds it to the table."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeAlias

from headrace.api import names
from headrace.api.purge import Purge, Purged, checked_purge
from headrace.cluster.client import Client
from headrace.cluster.namespaces import namespace_uid
from headrace.gateway.errors import not_found
from headrace.gateway.routes import Call, Right, Route
from headrace.run.requests import missing
from headrace.state import purge, runs
from headrace.state.database import Database
from headrace.state.orgs import find_org

Act: TypeAlias = Callable[[str, str, Purge], Awaitable[Purged]]
"""Namespace, DAG, what is wanted."""


class Purges:
    """Purges over Postgres, each in one transaction."""

    def __init__(self, client: Client, db: Database) -> None:
        self._client = client
        self._db = db

    async def act(self, namespace: str, dag: str, wanted: Purge) -> Purged:
        """Show, retire or forget; Busy while the DAG's lock is not to be had."""
        age = checked_purge(wanted)
        uid = await namespace_uid(self._client, namespace)
        async with self._db.transaction() as tx:
            org = None if uid is None else await find_org(tx, uid)
            if org is None:
                raise not_found(f"namespace {namespace} has no DAG")
            if not await runs.is_known(tx, org.id, dag):
                raise await missing(tx, org.id, dag)
            if wanted.forget is not None:
                return await purge.forget(tx, org.id, dag, wanted.forget)
            return await (purge.purge if wanted.confirm else purge.look)(tx, org.id, dag, age)


def purge_routes(act: Act) -> tuple[Route, ...]:
    """It."""

    async def run(call: Call) -> object:
        return await act(call.parameters["ns"], call.parameters["dag"], call.body)

    return (
        Route(
            name="purge",
            method="POST",
            path="/v1/namespaces/{ns}/dags/{dag}/purge",
            summary="What contents of a DAG's datasets nothing needs; retire them, or say that they are deleted.",
            right=Right("create", names.PLURALS[names.DAG], "purge", named="dag"),
            body=Purge,
            answer=Purged,
            act=run,
            seconds=120.0,
            at_once=2,
        ),
    )
