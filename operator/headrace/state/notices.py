"""News in Postgres that is to be sent to the receivers that orgs name: an outbox. `run.notices` empties it.

`attempts` and `rollouts` write it, in the transaction of what it tells of, for orgs alone whose settings say `notify`.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Final, Literal
from uuid import UUID

from msgspec import Struct

from headrace.state.database import Transaction
from headrace.state.locks import fence

MOST: Final = 32
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


async def take(tx: Transaction, epoch: int) -> list[Notice]:
    """News that is due, to be sent now; each is due again later, unless it is ended. Asked where some is due."""
    await fence(tx, epoch)
    return await tx.rows("take_notices", Notice, most=MOST, of_each=OF_EACH)


async def end(tx: Transaction, epoch: int, ended: Sequence[Notice]) -> None:
    """These were sent, or are given up: what has come to them since they were taken is told by itself."""
    await fence(tx, epoch)
    for notice in ended:
        place = {"org_id": notice.org_id, "dag": notice.dag, "job": notice.job, "kind": notice.kind}
        if not await tx.execute("end_notice", **place, message=notice.message):
            await tx.execute("renew_notice", **place, times=notice.times)
