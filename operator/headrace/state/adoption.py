"""`headrace adopt`: a namespace that was made anew gets the org that its namesake had. The gateway calls it.

One transaction: no commit of either org comes between, and whoever still knows the former one is told (OrgMoved).
"""

from __future__ import annotations

from uuid import UUID, uuid4

from msgspec import Struct

from headrace.api.adoption import Adoptable, Adopted
from headrace.errors import PermanentError
from headrace.state import versions
from headrace.state.database import Transaction
from headrace.state.orgs import find_org
from headrace.state.queue import tell_touched
from headrace.state.versions import PresentDag


class AdoptionRefused(PermanentError):
    """An org that cannot be adopted; the message says why and what to do."""


class Left(Struct, frozen=True, kw_only=True):
    """An org as it is asked for."""

    id: UUID
    slug: str
    namespace_uid: str

    @property
    def namespace(self) -> str:
        """The namespace that it has, or had."""
        return self.slug.partition("~")[0]


async def adoptable(tx: Transaction, namespace: str, uid: str) -> list[Adoptable]:
    """The orgs that were of a namespace of this name; not that of the present one, whose uid this is."""
    return await tx.rows("adoptable_orgs", Adoptable, namespace=namespace, uid=uid)


async def find(tx: Transaction, given: str) -> Left | None:
    """The org that is called so, or has this id."""
    return await tx.row("find_left_org", Left, given=given)


async def adopt(tx: Transaction, namespace: str, uid: str, old: Left) -> Adopted:
    """Give the namespace with this uid the org `old`, whose own namespace is gone.

    The org that it has trades places: its work ends as if its DAGs were deleted, and its rows stay under another name.
    TemporaryError when the org that it has is made, or trades places, at this moment: that a namespace has one, and an
    org one, are constraints.
    """
    await tx.execute("wait_briefly")
    young = await find_org(tx, uid)
    orgs = [old.id] if young is None else [old.id, young.id]
    await tx.execute("lock_tenants", org_ids=orgs)
    await _stop(tx, orgs)
    before = None
    if young is not None:
        # Of no namespace, now or ever.
        mark = str(uuid4())
        before = f"{namespace}~{mark[:8]}"
        await tx.execute("part_org", org_id=young.id, slug=before, uid=f"left-{mark}")
        await tx.execute("move_people", org_id=old.id, young=young.id)
    if not await tx.execute("give_org", org_id=old.id, was=old.namespace_uid, namespace=namespace, uid=uid):
        raise AdoptionRefused(f"another namespace has adopted the org {old.slug} meanwhile")
    await tell_touched(tx, [f"{namespace}/"])
    return Adopted(namespace=namespace, org=old.slug, id=old.id, before=before)


async def _stop(tx: Transaction, orgs: list[UUID]) -> None:
    """Nothing of these orgs runs any more. Also of the old one, whose end the operator may have missed."""
    dags = await tx.rows("present_of_orgs", PresentDag, org_ids=orgs)
    await tx.execute("lock_dags", org_ids=[dag.org_id for dag in dags], dags=[dag.name for dag in dags])
    for dag in dags:
        await versions.stop(tx, None, dag)
    await tx.execute("void_workers_of", org_ids=orgs)
