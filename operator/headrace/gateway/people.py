"""People at the gateway: their roles as the cluster has them now, a note of who came, who is in an org.

The operator mirrors roles as well. A read that asks for a role does not rely on that: `fresh` looks for itself, so that
access which was taken away is closed with the operator away, too.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from typing import Final
from uuid import UUID
from weakref import WeakValueDictionary

from headrace.api.names import DAG, DATASET, PLURALS
from headrace.api.people import Members
from headrace.cluster.client import Client, Refused
from headrace.cluster.namespaces import namespace_uid
from headrace.cluster.role_bindings import role_bindings
from headrace.errors import HeadraceError, TemporaryError
from headrace.gateway.cache import Cache
from headrace.gateway.errors import not_found
from headrace.gateway.identity import Person
from headrace.gateway.rights import Access, Rights
from headrace.state import people, roles
from headrace.state.database import Database
from headrace.state.orgs import Org, find_org

logger = logging.getLogger(__name__)

FRESH_SECONDS: Final = 2.0
_LOOK_SECONDS: Final = 5.0
_NOTED_SECONDS: Final = 60.0
_MOST: Final = 8192
_WAITING: Final = 256
_KEPT: Final = 3600.0


class People:
    """Of all namespaces; `run` notes who came."""

    def __init__(
        self, client: Client, db: Database, rights: Rights, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._client = client
        self._db = db
        self._rights = rights
        self._clock = clock
        self._read: Cache[tuple[str, UUID], float] = Cache(_MOST, clock)  # when the roles of an org were last read
        self._reading: WeakValueDictionary[tuple[str, UUID], asyncio.Lock] = WeakValueDictionary()
        self._noted: Cache[tuple[str, str], bool] = Cache(_MOST, clock)
        self._came: asyncio.Queue[tuple[Person, str]] = asyncio.Queue(_WAITING)

    async def fresh(self, namespace: str, org: Org) -> None:
        """Have the org's roles in Postgres be what the namespace's RoleBindings gave within the last two seconds.

        TemporaryError when the API server, or Postgres, cannot be asked.
        """
        asked, place = self._clock(), (namespace, org.id)
        if self._is_fresh(place, asked):
            return
        lock = self._reading.get(place)
        if lock is None:
            lock = self._reading[place] = asyncio.Lock()
        async with lock:
            if self._is_fresh(place, asked):
                return
            try:
                async with asyncio.timeout(_LOOK_SECONDS):
                    await self._mirror(namespace, org)
            except TimeoutError:
                raise TemporaryError(f"the roles of namespace {namespace} could not be read in time") from None
            except Refused as error:
                raise TemporaryError(f"the gateway cannot ask who has which role: {error}") from error

    def _is_fresh(self, place: tuple[str, UUID], asked: float) -> bool:
        """Whether they were read after `asked`, or little before."""
        read = self._read.get(place)
        return read is not None and read >= asked - FRESH_SECONDS

    async def _mirror(self, namespace: str, org: Org) -> None:
        async with self._db.transaction() as tx:
            await roles.lock_roles(tx, org)
            began = self._clock()
            await roles.mirror(tx, org, await role_bindings(self._client, namespace))
        self._read.put((namespace, org.id), began, _KEPT)

    async def members(self, namespace: str) -> Members:
        """Who is in the namespace's org; RequestError 404 when it has none."""
        org = await self._org(namespace)
        if org is None:
            raise not_found(f"namespace {namespace} has no DAG")
        await self.fresh(namespace, org)
        async with self._db.transaction() as tx:
            return await people.members(tx, namespace, org)

    def came(self, person: Person, namespace: str) -> None:
        """Somebody may do something in a namespace: that is noted soon, once a minute at most."""
        if self._noted.get((person.user, namespace)) is None and not self._came.full():
            self._noted.put((person.user, namespace), True, _NOTED_SECONDS)
            self._came.put_nowait((person, namespace))

    async def run(self) -> None:
        """Note for ever. What cannot be noted is logged, and noted when they come again."""
        while True:
            await self.note(*await self._came.get())

    async def note(self, person: Person, namespace: str) -> None:
        """Keep that somebody came to a namespace, with what RBAC allows there, if that is news."""
        try:
            async with asyncio.timeout(_LOOK_SECONDS):
                await self._note(person, namespace)
        except (HeadraceError, TimeoutError) as error:
            logger.warning("%r came to %s, and could not be noted: %s", person.user, namespace, error or "no answer")

    async def _note(self, person: Person, namespace: str) -> None:
        org = await self._org(namespace)
        if org is None:
            return
        async with self._db.transaction() as tx:
            known = await people.find(tx, person.user)
        if known is not None and known.came and known.org_id != org.id:
            role, news = known.role, known.due
        else:
            role = await self._role(person, namespace)
            news = known is None or known.due or known.role != role
        if news:
            async with self._db.transaction() as tx:
                await people.record(tx, org.id, person.user, role)

    async def _role(self, person: Person, namespace: str) -> str:
        """In a word, what RBAC allows in a namespace."""
        transfer = Access(verb="create", resource=PLURALS[DATASET], subresource="transfer", namespace=namespace)
        if await self._rights.allows(person, transfer):
            return "admin"
        write = Access(verb="create", resource=PLURALS[DAG], namespace=namespace)
        return "writer" if await self._rights.allows(person, write) else "reader"

    async def _org(self, namespace: str) -> Org | None:
        uid = await namespace_uid(self._client, namespace)
        if uid is None:
            return None
        async with self._db.transaction() as tx:
            return await find_org(tx, uid)
