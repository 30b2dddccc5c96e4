"""The route of purges: what contents nothing needs, and their retirement. `serve` adds it to the table."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeAlias

from headrace.api import names
from headrace.api.purge import Purge, Purged, checked_purge
from headrace.gateway.errors import not_found
from headrace.gateway.routes import Call, Right, Route
from headrace.run.requests import missing
from headrace.state import purge, runs
from headrace.state.database import Database
from headrace.state.orgs import find_org
from headrace.state.queue import tell_touched

Act: TypeAlias = Callable[[str, str, Purge], Awaitable[Purged]]
"""Namespace, DAG, what is wanted."""


class Purges:
    """Purges over Postgres, each in one transaction; `uid`: that of a namespace, if it is there."""

    def __init__(self, db: Database, uid: Callable[[str], Awaitable[str | None]]) -> None:
        self._db = db
        self._uid = uid

    async def act(self, namespace: str, dag: str, wanted: Purge) -> Purged:
        """Show, retire or forget; Busy while the DAG's lock is not to be had."""
        age = checked_purge(wanted)
        uid = await self._uid(namespace)
        async with self._db.transaction() as tx:
            org = None if uid is None else await find_org(tx, uid)
            if org is None:
                raise not_found(f"namespace {namespace} has no DAG")
            if not await runs.is_known(tx, org.id, dag):
                raise await missing(tx, org.id, dag)
            if wanted.forget is None and not wanted.confirm:
                return await purge.look(tx, org.id, dag, age)
            # The operator notes that Postgres has changed: in one from before this, what is deleted would be there.
            await tell_touched(tx, [f"{org.slug}/{dag}"])
            if wanted.forget is not None:
                return await purge.forget(tx, org.id, dag, wanted.forget)
            return await purge.purge(tx, org.id, dag, age)


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
