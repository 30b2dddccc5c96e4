"""A DAG's object goes: its work stops, and its rows stay or, where it said Delete, go before it. reconcile calls this.

The finalizer is on objects that say `deletionPolicy: Delete` only, so that no other waits for the operator to be gone.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import cast

from headrace.api import names
from headrace.cluster.client import Client
from headrace.cluster.namespaces import namespace_uid
from headrace.cluster.objects import Body, Key, Objects
from headrace.cluster.writes import set_finalizer
from headrace.run.dispatch import Dispatcher
from headrace.state import locks, orgs, versions
from headrace.state.database import Database
from headrace.state.deletion import delete_dag

logger = logging.getLogger(__name__)


async def stop_dag(db: Database, epoch: int, dispatcher: Dispatcher, key: Key) -> None:
    """The object is gone, or going: stop its work, in the org that its namespace had."""
    async with db.transaction() as tx:
        gone = [d for d in await versions.present_dags(tx) if (d.namespace, d.name) == (key.namespace, key.name)]
    for dag in gone:
        async with db.transaction() as tx:
            if await versions.stop(tx, epoch, dag):
                dispatcher.changed()
                logger.info("DAG %s/%s is gone: its work stops, its rows stay", key.namespace, key.name)
        dispatcher.follow(dag.org_id, key.namespace)
    dispatcher.wake()


async def keep_finalizer(client: Client, objects: Objects, body: Body) -> None:
    """Have the finalizer on an object that says Delete, and on no other."""
    await set_finalizer(client, objects, body, wanted=says_delete(body))


async def finish_deletion(client: Client, db: Database, epoch: int, objects: Objects, key: Key, body: Body) -> None:
    """Delete the rows of an object that is being deleted and says Delete, then let it go; twice is once."""
    if names.FINALIZER not in _finalizers(body):
        return
    namespace = await namespace_uid(client, key.namespace)
    if says_delete(body) and namespace is not None:
        async with db.transaction() as tx:
            org = await orgs.find_org(tx, namespace)
            spared: list[str] = []
            if org is not None:
                await versions.lock_dag(tx, org, key.name)
                await locks.fence(tx, epoch)
                spared = await delete_dag(tx, org.id, key.name)
        told = f", but for {', '.join(spared)}, which others read" if spared else ""
        logger.info("DAG %s/%s said Delete: its rows are deleted%s", key.namespace, key.name, told)
    await set_finalizer(client, objects, body, wanted=False)


def says_delete(body: Body) -> bool:
    """Whether the object's rows are to go with it."""
    spec = body.get("spec")
    return isinstance(spec, Mapping) and spec.get("deletionPolicy") == "Delete"


def _finalizers(body: Body) -> list[str]:
    return list(cast("Mapping[str, list[str]]", body["metadata"]).get("finalizers") or ())
