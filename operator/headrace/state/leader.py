"""Leadership in Postgres: takeovers, marks, and the new incarnation of a Postgres that was restored from a backup.

`operate` takes over, `run.marks` keeps the marks, the gateway looks where Postgres stands.
"""

from __future__ import annotations

from typing import Final

from headrace.errors import LostLeadership
from headrace.plan.standing import RESTORED, Standing, restored
from headrace.state.database import Transaction

VOID: Final = (
    "Postgres was restored from a backup while it ran there: what became of this attempt is not known, and its pod no"
    " longer counts"
)


async def standing(tx: Transaction) -> Standing:
    """Where Postgres stands; LostLeadership when its row is missing."""
    return _there(await tx.row("standing", Standing))


async def take_over(tx: Transaction, holder: str, lease: Standing | None) -> tuple[Standing, bool]:
    """Lead from here on; whether Postgres is behind the Lease, and has begun a new incarnation therefore.

    The epoch's row comes first: it keeps every other leader's writes out until this transaction ends.
    """
    found = _there(await tx.row("raise_epoch", Standing, holder=holder))
    if lease is None or not restored(_before(found), lease):
        return found, False
    begun = await tx.row("begin_incarnation", Standing, holder=holder, epoch=lease.epoch, mark=lease.mark)
    await tx.execute("void_workers")
    await tx.execute("void_attempts", reason=VOID)
    return _there(begun), True


async def raise_mark(tx: Transaction, known: Standing) -> Standing:
    """Something has changed; LostLeadership when Postgres does not stand where this leader left it."""
    found = await tx.row("raise_mark", Standing, incarnation=known.incarnation, epoch=known.epoch, mark=known.mark)
    if found is None:
        await confirm(tx, known)
        raise LostLeadership(RESTORED)
    return found


async def confirm(tx: Transaction, known: Standing) -> None:
    """LostLeadership when Postgres was restored, or another operator leads, since `known` was read."""
    found = await standing(tx)
    if restored(found, known):
        raise LostLeadership(RESTORED)
    if found.epoch != known.epoch:
        raise LostLeadership(f"epoch {known.epoch} is over: another operator leads")


def _before(raised: Standing) -> Standing:
    return Standing(incarnation=raised.incarnation, epoch=raised.epoch - 1, mark=raised.mark)


def _there(found: Standing | None) -> Standing:
    if found is None:
        raise LostLeadership("the epoch's row is missing: run headrace migrate")
    return found
