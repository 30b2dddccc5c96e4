"""The API server as the person at the command line: a transport for `cluster.client`, and WebSockets for `forward`.

aiohttp alone, which imports in half the time of the official client.
"""

from __future__ import annotations

import os
import ssl
from argparse import Namespace
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

import aiohttp
import msgspec

from headrace.cli.credentials import Credentials
from headrace.cli.kubeconfig import Access, access
from headrace.cluster.client import Client, Refused
from headrace.errors import TemporaryError


class Connection:
    """A transport to the API server of an access; `open` makes it."""

    def __init__(self, access: Access, credentials: Credentials, tls: ssl.SSLContext) -> None:
        self._access = access
        self._credentials = credentials
        self._tls = tls
        self._session = self._new_session()

    @classmethod
    async def open(cls, access: Access) -> Connection:
        """A connection as the kubeconfig says; KubeconfigError when its credentials cannot be had."""
        credentials = Credentials(access)
        return cls(access, credentials, await credentials.tls())

    def _new_session(self) -> aiohttp.ClientSession:
        # Proxies from the environment, as kubectl takes them.
        connector = aiohttp.TCPConnector(ssl=self._tls, limit=0)
        return aiohttp.ClientSession(connector=connector, trust_env=True, read_bufsize=2**20)

    async def close(self) -> None:
        """Close every connection."""
        await self._session.close()

    async def token(self) -> str | None:
        """The person's bearer token; None for somebody with a certificate or a password."""
        return await self._credentials.token()

    async def request(
        self,
        method: str,
        target: str,
        body: Mapping[str, object] | None,
        headers: Mapping[str, str],
        timeout: aiohttp.ClientTimeout,
    ) -> aiohttp.ClientResponse:
        """Send a request; see `cluster.client.Transport`."""
        return await self._session.request(
            method,
            self._access.server + target,
            data=None if body is None else msgspec.json.encode(body),
            headers={**headers, **await self._credentials.header()},
            timeout=timeout,
            allow_redirects=False,
            proxy=self._access.proxy,
            server_hostname=self._access.server_name,
        )

    @asynccontextmanager
    async def websocket(self, target: str, protocol: str) -> AsyncIterator[aiohttp.ClientWebSocketResponse]:
        """A WebSocket until the end of the block; Refused or TemporaryError when the API server will not open it.

        It has a session of its own, since closing that is what ends a connection at once, whatever is still unsent.
        """
        session = self._new_session()
        try:
            websocket = await self._open(session, target, protocol)
        except BaseException:  # also a cancelled one leaves no session open
            await session.close()
            raise
        try:
            yield websocket
        finally:
            await session.close()
            await websocket.close()

    async def _open(
        self, session: aiohttp.ClientSession, target: str, protocol: str
    ) -> aiohttp.ClientWebSocketResponse:
        try:
            return await session.ws_connect(
                self._access.server + target,
                protocols=(protocol,),
                headers=await self._credentials.header(),
                proxy=self._access.proxy,
                server_hostname=self._access.server_name,
                max_msg_size=0,
            )
        except aiohttp.WSServerHandshakeError as error:
            if error.status in (403, 404):
                raise Refused(error.status, f"{error.status} at {target.partition('?')[0]}") from error
            raise TemporaryError(f"API server: {error.status} at {target.partition('?')[0]}") from error
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise TemporaryError(f"API server: {type(error).__name__}: {error}") from error


@asynccontextmanager
async def connected(arguments: Namespace) -> AsyncIterator[tuple[Client, Connection, str]]:
    """The API server of the context chosen, as a client and as a connection, and the namespace meant."""
    found = access(os.environ, arguments.kubeconfig, arguments.context)
    connection = await Connection.open(found)
    try:
        yield Client(connection), connection, arguments.namespace or found.namespace
    finally:
        await connection.close()
