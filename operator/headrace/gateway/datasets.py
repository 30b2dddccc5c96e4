"""What the routes of readers do. Whoever may not read learns nothing, not even that there is something.

RBAC decides first, then the dataset's readRoles, by roles as the cluster has them now.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Final
from uuid import UUID

import msgspec

from headrace.api.datasets import ColumnLineage, PartitionsPage, Resolution, ResolvedDataset
from headrace.api.history import short_hash
from headrace.api.names import DATASET, PLURALS
from headrace.gateway.dataset_routes import MOST_NAMES, DatasetServices, page_path
from headrace.gateway.errors import RequestError, bad_request, not_found
from headrace.gateway.identity import Person
from headrace.gateway.people import People
from headrace.gateway.rights import Access, Rights
from headrace.state import datasets, lineage
from headrace.state.database import Database, Transaction
from headrace.state.datasets import Found, Reader
from headrace.state.orgs import Org, find_org
from headrace.state.roles import roles_of

_ASKS: Final = 8


class Datasets:
    """Datasets over Postgres, for people; `uid` of a namespace."""

    def __init__(
        self, db: Database, rights: Rights, people: People, uid: Callable[[str], Awaitable[str | None]]
    ) -> None:
        self._db = db
        self._rights = rights
        self._people = people
        self._uid = uid

    @property
    def services(self) -> DatasetServices:
        """What the routes do."""
        return DatasetServices(resolve=self._resolve, page=self._page, lineage=self._lineage)

    async def _resolve(
        self, person: Person, namespace: str, names: tuple[str, ...], at: str | None, most: int
    ) -> Resolution:
        if not names[0] or len(names) > MOST_NAMES:
            raise bad_request(f"give names: 1 to {MOST_NAMES} datasets, with commas between them")
        org = await self._org(person, namespace, names)
        async with self._db.transaction() as tx:
            found = await datasets.resolve(tx, await _reader(tx, org, person), names, at, most)
        known = {one.name for one in found}
        for name in names:
            if name not in known:
                raise _nothing(namespace, name)
        told = [_resolved(namespace, one, at) for one in found if one.version is not None or at is not None]
        if len(told) < len(found):
            raise _nothing(namespace, next(one.name for one in found if one.version is None))
        if len(told) > len(known):
            raise RequestError(422, "Refused", f"several versions begin with {at}: give more of the hash")
        return Resolution(at=found[0].at, datasets=tuple(told))

    async def _page(self, person: Person, namespace: str, name: str, pin: UUID, number: int) -> PartitionsPage:
        org = await self._org(person, namespace, (name,))
        async with self._db.transaction() as tx:
            found = await datasets.page(tx, await _reader(tx, org, person), name, pin, number)
        if found is None:
            raise _nothing(namespace, name)
        return PartitionsPage(
            name=name,
            version=found.version,
            partitions=msgspec.Raw(found.partitions.encode()),
            next=page_path(namespace, name, str(pin), str(number + 1)) if found.more else None,
        )

    async def _lineage(self, namespace: str, dataset: str, column: str | None) -> ColumnLineage:
        uid = await self._uid(namespace)
        async with self._db.transaction() as tx:
            org = None if uid is None else await find_org(tx, uid)
            found = None if org is None else await lineage.read_lineage(tx, org.id, dataset, column)
        if found is None:
            raise not_found(f"there is no dataset {dataset} in namespace {namespace}")
        return found

    async def _org(self, person: Person, namespace: str, names: Sequence[str]) -> Org:
        """The org of a namespace where RBAC lets somebody read these, its roles as they are now; 404 else."""
        gate = asyncio.Semaphore(_ASKS)

        async def may(name: str) -> bool:
            access = Access(verb="get", resource=PLURALS[DATASET], namespace=namespace, name=name)
            async with gate:
                return await self._rights.allows(person, access)

        allowed = await asyncio.gather(*map(may, names))
        for name, one in zip(names, allowed, strict=True):
            if not one:
                raise _nothing(namespace, name)
        uid = await self._uid(namespace)
        async with self._db.transaction() as tx:
            org = None if uid is None else await find_org(tx, uid)
        if org is None:
            raise _nothing(namespace, names[0])
        await self._people.fresh(namespace, org)
        self._people.came(person, namespace)
        return org


async def _reader(tx: Transaction, org: Org, person: Person) -> Reader:
    roles = await roles_of(tx, org.id, person.user, person.groups)
    return Reader(org_id=org.id, user=person.user, roles=roles)


def _nothing(namespace: str, name: str) -> RequestError:
    """There is none, or it is not theirs: nobody is told which."""
    return not_found(f"there is no dataset {name} in namespace {namespace}, or none that you may read")


def _resolved(namespace: str, found: Found, at: str | None) -> ResolvedDataset:
    """RequestError 404 for one who may read, and asks for a version that is not there."""
    if found.uuid is None or found.version is None or found.dag_version is None or found.location is None:
        raise not_found(
            f"dataset {found.name}: DAG {found.dag} has no version {at} that has served and made it: see headrace"
            f" history {found.dag}"
        )
    if found.retired:
        raise not_found(
            f"dataset {found.name}: its contents under version {short_hash(found.dag_version)} are retired (headrace"
            " purge): returning to that version makes them anew"
        )
    return ResolvedDataset(
        name=found.name,
        uuid=found.uuid,
        dag=found.dag,
        dag_version=found.dag_version,
        version=found.version,
        location=found.location,
        schema_hash=found.schema_hash,
        columns=found.columns,
        unique_key=found.unique_key,
        count=found.count,
        partitions=msgspec.Raw(found.partitions.encode()),
        next=page_path(namespace, found.name, str(found.pin), "1") if found.pages > 1 else None,
    )
