"""Sends news to the receivers that namespaces name (`settings.notify`): final failures, and how rollouts ended.

Beside the dispatcher, which only wakes it: a receiver that is slow, or gone, keeps no work waiting. Each message is
sent at least once: taken, sent, then ended, by one leader at a time; whoever dies in between sends it again.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Final
from uuid import UUID

from headrace import metrics
from headrace.cluster.client import Refused
from headrace.errors import PermanentError, TemporaryError
from headrace.run.marks import Marks
from headrace.run.outward import Outward
from headrace.run.receivers import Receiver, Unfit, headers_of, message_of, receiver_of
from headrace.state import notices
from headrace.state.database import Database
from headrace.state.notices import Notice

logger = logging.getLogger(__name__)

_UNKNOWN: Final = "the API server gives no answer"
_TOLD_FROM: Final = 2
"""A receiver that fails so often is told of: one that does once may be good the next time."""

_QUIET: Final = 60.0
"""Seconds in which a namespace is told once that something else is wrong."""

Uids = Callable[[str], Awaitable[str | None]]
"""A namespace to its uid; None when there is none."""
Secrets = Callable[[str, str], Awaitable[Mapping[str, bytes] | None]]
"""Namespace and name of a Secret to its values; None when there is none, Refused when it may not be read."""
Dropped = Callable[[Notice, str], None]
"""Told of news that is given up, and why."""


class Sender:
    """Sends news whenever some is `due`. `changed`: told of namespaces of whose receivers something else is wrong."""

    def __init__(
        self,
        db: Database,
        epoch: int,
        marks: Marks,
        uids: Uids,
        secrets: Secrets,
        outward: Outward,
        due: asyncio.Event,
        changed: Callable[[str], None],
        dropped: Dropped | None = None,
    ) -> None:
        self._uids = uids
        self._secrets = secrets
        self._db = db
        self._epoch = epoch
        self._marks = marks
        self._outward = outward
        self._changed = changed
        self._dropped = dropped or _warn
        self._due = due
        self._troubles: dict[UUID, str] = {}  # by org: why its receiver takes nothing
        self._told: set[UUID] = set()
        self._sent_to: set[UUID] = set()
        self._taking = asyncio.Lock()

    def trouble(self, org: UUID) -> str | None:
        """Why news of an org does not arrive, in words, with the way out."""
        return self._troubles.get(org)

    async def run(self) -> None:
        """For ever. Only LostLeadership, and defects, come out."""
        async with asyncio.TaskGroup() as group:
            while True:
                await self._due.wait()
                self._due.clear()
                # Not awaited: a receiver that hangs holds up its own namespace's news, and no other's.
                group.create_task(self._turn_of_many())

    async def _turn_of_many(self) -> None:
        try:
            await self.turn()
        except (TemporaryError, PermanentError) as error:
            logger.warning("news: %s", error)

    async def turn(self) -> int:
        """Send what is due, of each org a little, and nothing of those that are being sent to; how much that was."""
        async with self._taking:
            async with self._db.transaction() as tx:
                await self._marks.confirm(tx)  # what a backup has to tell may have been told
                taken = await notices.take(tx, self._epoch, self._sent_to)
            by_org: dict[UUID, list[Notice]] = {}
            for notice in taken:
                by_org.setdefault(notice.org_id, []).append(notice)
            self._sent_to |= by_org.keys()
        self._marks.stir()
        await _all(self._of_org(*one) for one in by_org.items())
        return len(taken)

    async def _of_org(self, org: UUID, taken: list[Notice]) -> None:
        try:
            await _all(map(self._through, taken))
        finally:
            self._sent_to.discard(org)
            self._due.set()  # there may be more of it

    async def _through(self, notice: Notice) -> None:
        """Send it, and end it if it is over: by itself, so that rows of several are never locked at once."""
        if await self._one(notice):
            async with self._db.transaction() as tx:
                await notices.end(tx, self._epoch, notice)

    async def _one(self, notice: Notice) -> bool:
        """Send it; whether it is over."""
        uid = await self._uid(notice)
        # A namespace made anew under an old name is another tenant's, and so are its Secrets.
        if notice.secret is None or uid not in (None, notice.namespace_uid):
            self._now(notice, None)
            return True
        trouble = await self._send(notice, notice.secret) if uid else _UNKNOWN
        metrics.NOTICES.labels("failed" if trouble else "sent").inc()
        if trouble is None:
            self._now(notice, None)
            return True
        words = f"news of namespace {notice.namespace} cannot be sent (settings.notify): {trouble}"
        if notice.old:
            metrics.NOTICES.labels("dropped").inc()
            self._dropped(notice, trouble)
            self._now(notice, f"{words}. After a day of it some was given up")
            return True
        told = notice.tries >= _TOLD_FROM
        logger.log(logging.WARNING if told else logging.INFO, "%s; tried %d times", words, notice.tries)
        if told:
            self._now(notice, f"{words}. It is tried again within an hour, and for a day")
        return False

    async def _uid(self, notice: Notice) -> str | None:
        """The uid of its namespace, empty when that is gone, None when nobody says."""
        try:
            return await self._uids(notice.namespace) or ""
        except TemporaryError:
            return None

    async def _send(self, notice: Notice, secret: str) -> str | None:
        """Send it; why that cannot be, in words that have nothing of the Secret's."""
        try:
            receiver = await self._receiver(notice.namespace, secret)
        except Unfit as error:
            return f"Secret {secret} {error}"
        except TemporaryError as error:
            logger.info("news of namespace %s: %s", notice.namespace, error)
            return _UNKNOWN
        message = message_of(notice)
        headers = headers_of(receiver, message, int(time.time()))
        trouble = await self._outward.post(notice.org_id, receiver.url, headers, message.body)
        return None if trouble is None else f"the receiver that Secret {secret} names: {trouble}"

    async def _receiver(self, namespace: str, secret: str) -> Receiver:
        try:
            values = await self._secrets(namespace, secret)
        except Refused as error:
            if error.status != 403:
                raise Unfit(f"cannot be read: HTTP {error.status}") from None
            raise Unfit("may not be read by the operator: bind it a Role with get on that Secret") from None
        if values is None:
            raise Unfit("is not there: create it")
        return receiver_of(values)

    def _now(self, notice: Notice, trouble: str | None) -> None:
        """What is so now of its org's receiver: one that has taken anything is well."""
        before = self._troubles.pop(notice.org_id, None)
        if trouble is not None:
            self._troubles[notice.org_id] = trouble
        if trouble != before:
            self._tell(notice.org_id, notice.namespace)

    def _tell(self, org: UUID, namespace: str) -> None:
        """At once, and then not for a while: all DAGs of the namespace are looked at, and a receiver may be moody."""
        if org in self._told:
            return
        self._told.add(org)
        self._changed(namespace)
        asyncio.get_running_loop().call_later(_QUIET, self._told_long_ago, org, namespace, self._troubles.get(org))

    def _told_long_ago(self, org: UUID, namespace: str, trouble: str | None) -> None:
        self._told.discard(org)
        if self._troubles.get(org) != trouble:
            self._tell(org, namespace)


async def _all(work: Iterable[Awaitable[None]]) -> None:
    """Do all of it, whatever some of it fails with; then raise what the first failed with."""
    for error in await asyncio.gather(*work, return_exceptions=True):
        if error is not None:
            raise error


def _warn(notice: Notice, trouble: str) -> None:
    logger.warning(
        "news of %s/%s is given up after a day (%s, %d times): %s",
        notice.namespace, notice.dag, notice.kind, notice.times, trouble,
    )  # fmt: skip
