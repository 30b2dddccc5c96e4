"""The leader's part: a certificate that holds, in the Secret that every replica serves from, and known to who asks.

It looks every half a minute and writes only what differs.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Final

from headrace.admission.certificate import LIFE, Pair, due, make
from headrace.cluster.client import Client
from headrace.cluster.webhook import NAME, configure, host, read_secret, write_secret
from headrace.errors import PermanentError, TemporaryError

logger = logging.getLogger(__name__)

LOOK_SECONDS: Final = 30.0
PATH: Final = "/admit/"


def pair_of(values: Mapping[str, bytes]) -> Pair:
    """The certificate of the Secret's values; empty parts where it has none."""
    return Pair(*(values.get(name, b"") for name in ("tls.crt", "tls.key", "ca.crt")))


def word_of(values: Mapping[str, bytes]) -> str:
    """The word by which the API server shows that it is who calls: the last part of the path; empty for none."""
    return values.get("path", b"").decode("ascii", "replace")


class Keeper:
    """Keeps the certificate; `run` beside the leader's other loops."""

    def __init__(
        self,
        client: Client,
        namespace: str,
        life: timedelta = LIFE,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._client = client
        self._namespace = namespace
        self._life = life
        self._clock = clock
        self._trouble = ""

    async def run(self) -> None:
        """Look for ever. What does not go well is logged, once, and tried again: admission is no one's only guard."""
        while True:
            try:
                trouble = await self.look()
            except (TemporaryError, PermanentError) as error:
                trouble = str(error)
            if trouble and trouble != self._trouble:
                logger.warning("admission: %s", trouble)
            self._trouble = trouble
            await asyncio.sleep(LOOK_SECONDS)

    async def look(self) -> str:
        """Renew what is due and tell the API server what differs; what is in the way, in words."""
        values = await read_secret(self._client, self._namespace)
        if values is None:
            return f"there is no Secret {NAME} in {self._namespace}: apply the manifests again"
        pair, word = pair_of(values), word_of(values)
        why = due(pair, host(self._namespace), self._clock()) or ("" if word else "it has no path")
        if why:
            word = word or secrets.token_hex(32)
            pair = make(host(self._namespace), self._clock(), self._life, pair.authorities)
        # First trusted, then served.
        if await configure(self._client, pair.authorities, f"{PATH}{word}"):
            logger.info("admission: the API server knows the certificate")
        if why:
            new = {"tls.crt": pair.certificate, "tls.key": pair.key, "ca.crt": pair.authorities, "path": word.encode()}
            await write_secret(self._client, self._namespace, new)
            logger.info("admission: a new certificate: %s", why)
        return ""
