"""News in Postgres that is to be sent to the receivers that orgs name: an outbox. `run.notices` empties it.

`attempts` and `rollouts` write it, in the transaction of what it tells of, for orgs alone whose settings say `notify`.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from typing import Final, Literal
from uuid import UUID

from msgspec import Struct

from headrace.state.database import Transaction
from headrace.state.locks import fence

MOST: Final = 128
"""At once, of all orgs together."""
OF_EACH: Final = 2
"""Of one org at once: its receiver may be slow, and those of others wait for their turn."""

Kind = Literal["TaskFailed", "RolloutDone", "RolloutFailed", "RolledBack"]


class Notice(Struct, frozen=True, kw_only=True):
    """What is to be told: what happened `times` since it was last told, the last time as the rest says.

    `message` names what is told: it is another one once there is more to tell. `tries`: this one included; `old`: it is
    the last. `secret`: of the namespace, None where nobody wants to hear of it any more.
    """

    org_id: UUID
    namespace: str
    namespace_uid: str
    dag: str
    job: str
    kind: Kind
    message: UUID
    times: int
    version: str
    rollout: UUID | None
    partition: str | None
    error: str | None
    at: datetime
    tries: int
    old: bool
    secret: str | None


async def take(tx: Transaction, epoch: int, but: Collection[UUID] = ()) -> list[Notice]:
    """News that is due, to be sent now, but of some orgs; each is due again later, unless it is ended. Asked where some
    is due.
    """
    await fence(tx, epoch)
    return await tx.rows("take_notices", Notice, but=list(but), most=MOST, of_each=OF_EACH)


async def end(tx: Transaction, epoch: int, notice: Notice) -> None:
    """It was sent, or is given up: what has come to it since it was taken is told by itself.

    One in a transaction: whoever fails tasks locks several, in another order, and waits for none that waits itself.
    """
    await fence(tx, epoch)
    place = {"org_id": notice.org_id, "dag": notice.dag, "job": notice.job, "kind": notice.kind}
    if not await tx.execute("end_notice", **place, message=notice.message):
        await tx.execute("renew_notice", **place, times=notice.times)
