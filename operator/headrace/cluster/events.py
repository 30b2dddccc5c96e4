"""Sends Kubernetes events about our objects: beside the reconcile, each once, and none is waited for.

What cannot be sent is lost: the status, which was written before, tells the same. `operate` runs it, and has it told
of each status that was written.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Final, cast

from headrace.api import names
from headrace.api.events import CONTROLLER, Event
from headrace.cluster.client import Client, path_of
from headrace.cluster.objects import Body
from headrace.errors import PermanentError, TemporaryError

logger = logging.getLogger(__name__)

_API: Final = "events.k8s.io/v1"
_MOST: Final = 5000
_OF_EACH: Final = 500
"""Events that wait to be sent, of all namespaces and of each; more at once are lost."""
_LONGEST: Final = 128


class Events:
    """What is to be sent, in order; `instance`: which operator it is."""

    def __init__(self, client: Client, instance: str) -> None:
        self._client = client
        self._instance = instance[:_LONGEST]
        self._waiting: asyncio.Queue[tuple[str, Body]] = asyncio.Queue(_MOST)
        self._of: Counter[str] = Counter()
        self._failing = False
        self._last = 0

    def send(self, kind: str, about: Body, told: Iterable[Event]) -> None:
        """Have these events about an object sent soon."""
        metadata = cast("Mapping[str, str]", about["metadata"])
        namespace = metadata["namespace"]
        for event in told:
            if self._waiting.full() or self._of[namespace] >= _OF_EACH:
                self._failed("too many at once")
                return
            self._of[namespace] += 1
            self._waiting.put_nowait((namespace, self._made(kind, about, event)))

    async def run(self) -> None:
        """Send for ever."""
        while True:
            namespace, event = await self._waiting.get()
            self._of[namespace] -= 1
            if not self._of[namespace]:
                del self._of[namespace]
            try:
                await self._client.create(path_of(_API, namespace, "events"), event, dict[str, object])
                self._failing = False
            except (TemporaryError, PermanentError) as error:
                self._failed(str(error))

    def _failed(self, why: str) -> None:
        """Said once, until one could be sent: thousands may be lost for one reason."""
        logger.log(logging.DEBUG if self._failing else logging.WARNING, "an event cannot be sent: %s", why)
        self._failing = True

    def _made(self, kind: str, about: Body, event: Event) -> Body:
        metadata = cast("Mapping[str, str]", about["metadata"])
        # By its name it comes after those before it: kubectl describe shows them in that order.
        self._last = max(time.time_ns(), self._last + 1)
        return {
            "apiVersion": _API,
            "kind": "Event",
            "metadata": {"name": f"{metadata['name']}.{self._last:016x}", "namespace": metadata["namespace"]},
            "eventTime": datetime.fromtimestamp(self._last / 1e9, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
            "type": event.type,
            "reason": event.reason,
            "action": event.action,
            "note": event.note,
            "regarding": {
                "apiVersion": names.API_VERSION,
                "kind": kind,
                "namespace": metadata["namespace"],
                "name": metadata["name"],
                "uid": metadata["uid"],
                "resourceVersion": metadata["resourceVersion"],
            },
            "reportingController": CONTROLLER,
            "reportingInstance": self._instance,
        }
