"""The gateway as the command line reaches it: by HEADRACE_URL, else through the API server; with the person's token."""

from __future__ import annotations

import io
import os
from argparse import Namespace
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final, TypeVar
from urllib.parse import urlsplit

import aiohttp
import msgspec
from msgspec import Struct, field

from headrace.api.runs import NotUnderstood
from headrace.cli.connection import Connection
from headrace.cli.forward import Forward, forwarded
from headrace.cli.service import SERVICE, GatewayError, ready_pod
from headrace.cluster.client import Client, Refused, path_of
from headrace.errors import TemporaryError

T = TypeVar("T")
_TIMEOUT: Final = aiohttp.ClientTimeout(total=180, connect=30)


class _Detail(Struct):
    reason: str = ""
    message: str = ""


class _Error(Struct):
    error: _Detail = field(default_factory=_Detail)


class Gateway:
    """The gateway; `reached` makes it."""

    def __init__(self, session: aiohttp.ClientSession, url: str, token: str, forward: Forward | None) -> None:
        self._session = session
        self._url = url
        self._headers = {"Authorization": f"Bearer {token}"}
        self._forward = forward

    async def ask(self, method: str, path: str, shape: type[T], body: object = None) -> T:
        """Send a request; its answer as a `shape`. GatewayError with the gateway's message when it says no,
        NotUnderstood when that is about what was asked.
        """
        headers = self._headers | ({} if body is None else {"Content-Type": "application/json"})
        data = None if body is None else io.BytesIO(msgspec.json.encode(body))
        try:
            async with self._session.request(
                method, self._url + path, data=data, headers=headers, timeout=_TIMEOUT, allow_redirects=False
            ) as response:
                content, status = await response.read(), response.status
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise self._unreached(error) from error
        try:
            if status == 200:
                return msgspec.json.decode(content, type=shape)
            told = msgspec.json.decode(content, type=_Error).error
        except msgspec.DecodeError:
            told = _Detail()
        message = told.message
        if message and (status == 400 or told.reason == "NotUnderstood"):
            raise NotUnderstood(message)
        raise GatewayError(message or f"{self._url}: HTTP {status}, and not an answer of the gateway", status)

    def _unreached(self, error: Exception) -> Exception:
        failure = self._forward and self._forward.failure
        if isinstance(failure, Refused) and failure.status == 403:
            return GatewayError(
                f"you may not forward ports in the gateway's namespace ({failure}): ask for its role"
                " headrace-port-forward, or for the gateway's address, and set HEADRACE_URL"
            )
        return TemporaryError(f"the gateway cannot be reached: {failure or error or type(error).__name__}")


@asynccontextmanager
async def reached(
    arguments: Namespace, client: Client, connection: Connection, namespace: str
) -> AsyncIterator[Gateway]:
    """The gateway, as the person of the context, or as the namespace's service account for who has no token."""
    url = os.environ.get("HEADRACE_URL", "").rstrip("/")
    if url:
        _check(url)
    token = await connection.token() or await _account_token(client, namespace, arguments.service_account)
    if url:
        async with aiohttp.ClientSession(trust_env=True) as session:
            yield Gateway(session, url, token, None)
        return
    system = os.environ.get("HEADRACE_SYSTEM_NAMESPACE") or "headrace-system"
    pod, port = await ready_pod(client, system)
    async with (
        forwarded(connection, system, pod, port) as forward,
        aiohttp.ClientSession(connector=aiohttp.UnixConnector(str(forward.socket))) as session,
    ):
        yield Gateway(session, f"http://{SERVICE}", token, forward)


def _check(url: str) -> None:
    """A token is sent there: in clear only where it stays on this machine or in the cluster."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    inside = host in ("localhost", "127.0.0.1", "::1") or host.endswith((".svc", ".cluster.local"))
    if parts.scheme not in ("http", "https") or not host:
        raise GatewayError(f"HEADRACE_URL is {url!r}: give it as https://HOST")
    if parts.scheme == "http" and not inside:
        raise GatewayError("HEADRACE_URL is http://, and your token would travel in clear: give it as https://")


class _Token(Struct):
    token: str


class _TokenRequest(Struct):
    status: _Token


async def _account_token(client: Client, namespace: str, account: str) -> str:
    """A token of a service account, for ten minutes: the API server gives it to who may have one (TokenRequest)."""
    body = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {"expirationSeconds": 600}}
    path = path_of("v1", namespace, "serviceaccounts", account, "token")
    try:
        return (await client.create(path, body, _TokenRequest)).status.token
    except Refused as error:
        if error.status == 403:
            raise GatewayError(f"your kubeconfig has no token, and you may not request one: {error}") from error
        if error.status != 404:
            raise
    raise GatewayError(
        f"your kubeconfig has no token for the gateway, and namespace {namespace} has no service account {account} to\n"
        "request one for. Create it, and give it the rights that it is to have:\n"
        f"  kubectl create serviceaccount {account} -n {namespace}\n"
        f"  kubectl create rolebinding {account} -n {namespace} --clusterrole=view"
        f" --serviceaccount={namespace}:{account}\n"
        "or name another one with --service-account."
    )
