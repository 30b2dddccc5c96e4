"""Published names: what their owner says of them, and how they change hands (`headrace transfer`, by the gateway).

A name belongs to the DAG that asked for it first, also after that DAG is gone, so that nobody gets to stand in for
another's dataset by being quick.
"""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from msgspec import Struct

from headrace.compile.publishing import NameSettings
from headrace.errors import PermanentError
from headrace.state.database import Transaction, jsonb


class TransferRefused(PermanentError):
    """A name that cannot be transferred; the message says why and what to do."""


class _Owner(Struct, frozen=True):
    dag: str
    published: bool


async def say(tx: Transaction, org_id: UUID, dag: str, settings: Sequence[NameSettings]) -> bool:
    """What a DAG says of its names holds from now on, for every version; whether that is new. Under its lock."""
    if not settings:
        return False
    said = jsonb(list(settings))
    return bool(await tx.execute("say_of_names", org_id=org_id, dag=dag, settings=said)) | bool(
        await tx.execute("say_of_datasets", org_id=org_id, dag=dag)
    )


async def transfer(tx: Transaction, org_id: UUID, name: str, to: str) -> str:
    """Give the name of a dataset to the DAG `to`; the DAG that it was. TransferRefused when that still publishes it."""
    await tx.execute("lock_org", org_id=org_id)
    owner = await tx.row("find_owner", _Owner, org_id=org_id, name=name)
    if owner is None:
        raise TransferRefused(f"no DAG of this namespace has published a dataset {name}")
    if owner.dag == to:
        raise TransferRefused(f"the name {name} is DAG {to}'s already")
    if owner.published:
        raise TransferRefused(
            f"DAG {owner.dag} publishes {name}: let it publish it no more, or delete that DAG, and transfer it then"
        )
    await tx.execute("give_up_name", org_id=org_id, name=name)
    await tx.execute("give_name", org_id=org_id, name=name, to=to)
    await tx.execute("tell_owner", org_id=org_id, to=to)
    return owner.dag
