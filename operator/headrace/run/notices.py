"""Sends news to the receivers that namespaces name (`settings.notify`): final failures, and how rollouts ended.

Beside the dispatcher, which only wakes it: a receiver that is slow, or gone, keeps no work waiting. Each message is
sent at least once: taken, sent, then ended, by one leader at a time; whoever dies in between sends it again.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Final

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

_TOLD_FROM: Final = 2
"""A receiver that fails so often is told of: one that does once may be good the next time."""

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
        self._troubles: dict[str, str] = {}

    def trouble(self, namespace: str) -> str | None:
        """Why news of a namespace does not arrive, in words, with the way out."""
        return self._troubles.get(namespace)

    async def run(self) -> None:
        """For ever. Only LostLeadership, and defects, come out."""
        while True:
            await self._due.wait()
            self._due.clear()
            try:
                await self.turn()
            except (TemporaryError, PermanentError) as error:
                logger.warning("news: %s", error)

    async def turn(self) -> int:
        """Send what is due, of each org a little; how much was due."""
        async with self._db.transaction() as tx:
            await self._marks.confirm(tx)  # what a backup has to tell may have been told
            taken = await notices.take(tx, self._epoch)
        self._marks.stir()
        over = await asyncio.gather(*(self._one(notice) for notice in taken), return_exceptions=True)
        ended = [notice for notice, done in zip(taken, over, strict=True) if done is True]
        if ended:
            async with self._db.transaction() as tx:
                await notices.end(tx, self._epoch, ended)
        for done in over:
            if isinstance(done, BaseException):
                raise done
        return len(taken)

    async def _one(self, notice: Notice) -> bool:
        """Send it; whether it is over."""
        if notice.secret is None:
            self._tell(notice.namespace, None)
            return True
        trouble = await self._send(notice, notice.secret)
        metrics.NOTICES.labels("failed" if trouble else "sent").inc()
        if trouble is None:
            self._tell(notice.namespace, None)
            return True
        words = f"news of namespace {notice.namespace} cannot be sent (settings.notify): {trouble}"
        if notice.old:
            metrics.NOTICES.labels("dropped").inc()
            self._dropped(notice, trouble)
            self._tell(notice.namespace, None)
            return True
        told = notice.tries >= _TOLD_FROM
        logger.log(logging.WARNING if told else logging.INFO, "%s; tried %d times", words, notice.tries)
        if told:
            self._tell(notice.namespace, f"{words}. It is tried again within an hour, and for a day")
        return False

    async def _send(self, notice: Notice, secret: str) -> str | None:
        """Send it; why that cannot be, in words that have nothing of the Secret's."""
        try:
            # A namespace made anew under an old name is another tenant's, and so are its Secrets.
            if await self._uids(notice.namespace) != notice.namespace_uid:
                return "the namespace is not there any more"
            receiver = await self._receiver(notice.namespace, secret)
        except Unfit as error:
            return f"Secret {secret} {error}"
        except TemporaryError as error:
            return str(error)
        message = message_of(notice)
        trouble = await self._outward.post(receiver.url, headers_of(receiver, message, int(time.time())), message.body)
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

    def _tell(self, namespace: str, trouble: str | None) -> None:
        if self._troubles.get(namespace) == trouble:
            return
        if trouble is None:
            del self._troubles[namespace]
        else:
            self._troubles[namespace] = trouble
        self._changed(namespace)


def _warn(notice: Notice, trouble: str) -> None:
    logger.warning(
        "news of %s/%s is given up after a day (%s, %d times): %s",
        notice.namespace, notice.dag, notice.kind, notice.times, trouble,
    )  # fmt: skip
