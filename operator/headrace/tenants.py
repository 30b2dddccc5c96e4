"""What namespaces say of their orgs: settings, and roles that labelled RoleBindings give. `operate` runs it.

Watches only wake: what is brought into Postgres is read anew, one namespace at a time, so that no older reading comes
after a newer one. Nothing is written where nothing differs.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Final
from uuid import UUID
from weakref import WeakValueDictionary

from headrace.api.org import ANNOTATION_SETTINGS, SettingsRefused, kept, read_settings
from headrace.api.people import LABEL_ROLE
from headrace.cluster import namespaces, role_bindings
from headrace.cluster.client import Client, Refused
from headrace.cluster.namespaces import Namespace, find_namespace
from headrace.cluster.role_bindings import RoleBinding
from headrace.cluster.watch import Changed, Deleted, Listed, watch
from headrace.errors import PermanentError, TemporaryError
from headrace.state import orgs, roles
from headrace.state.database import Database
from headrace.state.locks import fence
from headrace.state.orgs import Org, Tenant

logger = logging.getLogger(__name__)

_AT_ONCE: Final = 4
_COALESCE: Final = 0.1
_AGAIN: Final = 1.0
_REFUSED: Final = 5.0
_LOOK: Final = 5.0

Said = tuple[str, str | None]
"""A namespace's uid, and what it says of its settings."""


@asynccontextmanager
async def _in_time(namespace: str) -> AsyncIterator[None]:
    """The gateway waits for the same lock before it answers who asks for a role."""
    try:
        async with asyncio.timeout(_LOOK):
            yield
    except TimeoutError:
        raise TemporaryError(f"what namespace {namespace} says could not be read in time") from None


class Tenants:
    """All namespaces. `changed`: told of each whose settings, or what is wrong with them, are others now."""

    def __init__(self, client: Client, db: Database, epoch: int, changed: Callable[[str], None]) -> None:
        self._client = client
        self._db = db
        self._epoch = epoch
        self._changed = changed
        self._said: dict[str, Said] = {}
        self._bound: set[str] = set()  # namespaces that have, or had, a labelled RoleBinding
        self._troubles: dict[str, str] = {}
        self._settled: dict[str, UUID] = {}  # namespaces whose settings were taken since they have this org
        self._looked: dict[str, UUID] = {}  # namespaces that were looked at since they have this org
        self._due: set[str] = set()
        self._event = asyncio.Event()
        self._turns: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    def trouble(self, namespace: str) -> str | None:
        """What is wrong with the settings of a namespace, in words, with the way out."""
        return self._troubles.get(namespace)

    def wake(self, *given: str) -> None:
        """Look at these namespaces soon."""
        self._due.update(given)
        self._event.set()

    def wake_all(self) -> None:
        """Look at all of them."""
        self.wake(*self._said)

    async def run(self) -> None:
        """Follow for ever. Only LostLeadership, and defects, come out."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._follow("namespaces", self._namespaces))
            group.create_task(self._follow("role bindings", self._role_bindings))
            group.create_task(self._work())

    async def first_look(self, namespace: str, org: Org) -> None:
        """The same of a namespace whose org may be new, before anything of it runs; nothing if it was looked at.

        What stays wrong with its roles keeps none of its DAGs from running.
        """
        if self._looked.get(namespace) == org.id:
            return
        try:
            await self.look(namespace)
        except PermanentError as error:
            logger.warning("what namespace %s says: %s", namespace, error)
        except TemporaryError as error:
            if self._settled.get(namespace) != org.id:
                raise
            logger.warning("the roles of namespace %s: %s", namespace, error)

    async def look(self, namespace: str) -> None:
        """Bring what a namespace says into Postgres, if it has an org. TemporaryError when that cannot be done now."""
        turn = self._turns.get(namespace)
        if turn is None:
            turn = self._turns[namespace] = asyncio.Lock()
        async with turn, _in_time(namespace):
            found = await find_namespace(self._client, namespace)
            if found is None:
                return
            async with self._db.transaction() as tx:
                org = await orgs.find_tenant(tx, found.metadata.uid)
            if org is not None:
                await self._settle(namespace, org, found.settings)
                self._settled[namespace] = org.id
                await self._mirror(namespace, org)
                self._looked[namespace] = org.id

    async def _settle(self, namespace: str, org: Tenant, said: str | None) -> None:
        """Keep the settings; faulty ones change nothing, and are told."""
        trouble, settings = None, org.settings
        try:
            settings = kept(read_settings(said))
        except SettingsRefused as error:
            trouble = (
                f"the annotation {ANNOTATION_SETTINGS} of namespace {namespace} is not taken: {error}. The settings of"
                ' before hold; write it as JSON such as {"maxRunningTasks": 10}'
            )
        if settings != org.settings:
            async with self._db.transaction() as tx:
                await orgs.set_settings(tx, self._epoch, org, settings)
            logger.info("namespace %s: its settings are %s", namespace, settings)
        known = self._troubles.pop(namespace, None)
        if trouble is not None:
            self._troubles[namespace] = trouble
        if settings != org.settings or trouble != known:
            self._changed(namespace)

    async def _mirror(self, namespace: str, org: Org) -> None:
        async with self._db.transaction() as tx:
            if namespace not in self._bound and not await roles.has_roles(tx, org.id):
                return
            await roles.lock_roles(tx, org)
            found = await role_bindings.role_bindings(self._client, namespace)
            if await roles.mirror(tx, org, found):
                await fence(tx, self._epoch)
                logger.info("namespace %s: its roles, or who has them, are others now", namespace)

    async def _work(self) -> None:
        while True:
            await self._event.wait()
            await asyncio.sleep(_COALESCE)
            self._event.clear()
            due, self._due = self._due, set()
            for namespace in await self._looks(due):
                self.wake(namespace)
            if self._event.is_set():
                await asyncio.sleep(_AGAIN)

    async def _looks(self, due: set[str]) -> set[str]:
        """Look at these; those that could not be looked at."""
        try:
            async with self._db.transaction() as tx:
                uids = {said[0]: namespace for namespace in due if (said := self._said.get(namespace)) is not None}
                there = [uids[uid] for uid in sorted(await orgs.tenants_among(tx, list(uids)))]
        except TemporaryError as error:
            logger.warning("what namespaces say: %s", error)
            return due
        again: set[str] = set()
        gate = asyncio.Semaphore(_AT_ONCE)

        async def one(namespace: str) -> None:
            async with gate:
                try:
                    await self.look(namespace)
                except TemporaryError as error:
                    logger.warning("what namespace %s says: %s", namespace, error)
                    again.add(namespace)
                except PermanentError as error:
                    # Told in the log: it is looked at again with its next change, and by the next full pass.
                    logger.warning("what namespace %s says: %s", namespace, error)

        async with asyncio.TaskGroup() as group:
            for namespace in there:
                group.create_task(one(namespace))
        return again

    async def _follow(self, what: str, follow: Callable[[], AsyncIterator[None]]) -> None:
        while True:
            try:
                async for _ in follow():
                    pass
            except Refused as error:
                logger.warning("the %s cannot be followed: %s", what, error)
                await asyncio.sleep(_REFUSED)
            except TemporaryError as error:
                logger.warning("the %s: %s", what, error)
                await asyncio.sleep(_AGAIN)
            else:
                await asyncio.sleep(_REFUSED)

    async def _namespaces(self) -> AsyncIterator[None]:
        async for event in watch(self._client, namespaces.PATH, Namespace):
            if isinstance(event, Listed):
                there = {item.metadata.name: item for item in event.items}
                for name in self._said.keys() - there.keys():
                    self._gone(name)
                self._note(*there.values())
            elif isinstance(event, Changed):
                self._note(event.item)
            elif isinstance(event, Deleted):
                self._gone(event.item.metadata.name)
            yield

    def _note(self, *found: Namespace) -> None:
        """What they say now; their other changes, such as of a status, are none."""
        for item in found:
            name, said = item.metadata.name, (item.metadata.uid, item.settings)
            if self._said.get(name) != said:
                self._said[name] = said
                self.wake(name)

    def _gone(self, namespace: str) -> None:
        self._said.pop(namespace, None)
        self._looked.pop(namespace, None)
        self._settled.pop(namespace, None)
        self._troubles.pop(namespace, None)
        self._due.discard(namespace)

    async def _role_bindings(self) -> AsyncIterator[None]:
        async for event in watch(self._client, role_bindings.PATH, RoleBinding, labelSelector=LABEL_ROLE):
            found = event.items if isinstance(event, Listed) else (event.item,)
            there = {binding.metadata.namespace for binding in found}
            known = self._bound if isinstance(event, Listed) else set[str]()
            self.wake(*there, *known)
            self._bound |= there
            yield
