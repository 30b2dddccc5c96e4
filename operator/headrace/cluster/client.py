"""The way to the API server: JSON in, JSON out, the client's errors as ours. Every module of `cluster` goes through it.

The way itself is a transport: the official client's in the operator and the gateway (`cluster.official`), one that
starts faster in the command line (`cli.connection`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Protocol, TypeVar
from urllib.parse import quote, urlencode

import aiohttp
import msgspec

from headrace.errors import PermanentError, TemporaryError

T = TypeVar("T")
Json = dict[str, object]

MERGE_PATCH = "application/merge-patch+json"
_TIMEOUT = 30.0
_RETRY = frozenset({408, 409, 429})


class Refused(PermanentError):
    """The API server said no and will say it again: `status` is the HTTP one, the text is its message."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class Conflict(TemporaryError):
    """It was changed meanwhile (409), or something that the request also changes, such as a quota's count."""


class AlreadyExists(Conflict):
    """It exists already: what was to be created is there."""


class Expired(TemporaryError):
    """The resource version asked for is too old (410): list again."""


class Body(Protocol):
    """A response that is read piece by piece."""

    async def readany(self) -> bytes:
        """What has arrived; empty at the end."""


class _Status(msgspec.Struct, frozen=True):
    message: str = ""
    reason: str = ""


class Transport(Protocol):
    """Requests to one API server, as one identity."""

    async def request(
        self,
        method: str,
        target: str,
        body: Mapping[str, object] | None,
        headers: Mapping[str, str],
        timeout: aiohttp.ClientTimeout,
    ) -> aiohttp.ClientResponse:
        """Send `body` as JSON to `target` (path and query); the response as its head arrives."""

    async def close(self) -> None:
        """Close every connection."""


class Client:
    """A connection to one API server; `close` ends it."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    @classmethod
    async def connect(cls) -> Client:
        """Connect from inside a pod, else as the kubeconfig says (`KUBECONFIG`, `~/.kube/config`)."""
        from headrace.cluster.official import Official  # noqa: PLC0415 - slow to import, and not everybody's

        return cls(await Official.connect())

    async def close(self) -> None:
        """Close every connection."""
        await self._transport.close()

    async def get(self, path: str, shape: type[T], **query: str) -> T | None:
        """What is at `path` as a `shape`; None where nothing is."""
        found = await self._send("GET", path, query)
        return None if found is None else msgspec.json.decode(found, type=shape)

    async def create(self, path: str, body: Mapping[str, object], shape: type[T], **query: str) -> T:
        """Create `body` under `path`; AlreadyExists if it does."""
        made = await self._send("POST", path, query, body)
        if made is None:
            raise Refused(404, f"{path}: no such namespace or kind")
        return msgspec.json.decode(made, type=shape)

    async def patch(self, path: str, body: Mapping[str, object], shape: type[T]) -> T | None:
        """Merge `body` into what is at `path`; None where nothing is."""
        made = await self._send("PATCH", path, {}, body, MERGE_PATCH)
        return None if made is None else msgspec.json.decode(made, type=shape)

    async def replace(self, path: str, body: Mapping[str, object], shape: type[T]) -> T | None:
        """Replace what is at `path`; Conflict if it changed meanwhile, None where nothing is."""
        made = await self._send("PUT", path, {}, body)
        return None if made is None else msgspec.json.decode(made, type=shape)

    async def delete(self, path: str, body: Mapping[str, object] | None = None) -> None:
        """Delete what is at `path`; nothing there is fine."""
        await self._send("DELETE", path, {}, body)

    async def stream(self, path: str, seconds: float, **query: str) -> aiohttp.ClientResponse:
        """Open a watch; reads that wait longer than `seconds` fail. The caller closes it."""
        timeout = aiohttp.ClientTimeout(total=None, connect=10, sock_read=seconds)
        try:
            response = await self._request("GET", path, query, None, "application/json", timeout)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise TemporaryError(f"API server: {type(error).__name__}: {error}") from error
        if response.status != 200:
            body = await response.read()
            response.close()
            raise _error(response.status, body, path)
        return response

    async def _send(
        self,
        method: str,
        path: str,
        query: Mapping[str, str],
        body: Mapping[str, object] | None = None,
        content_type: str = "application/json",
    ) -> bytes | None:
        timeout = aiohttp.ClientTimeout(total=_TIMEOUT)
        try:
            response = await self._request(method, path, query, body, content_type, timeout)
            content = await response.read()
        except (aiohttp.ClientError, TimeoutError, OSError, asyncio.IncompleteReadError) as error:
            raise TemporaryError(f"API server: {type(error).__name__}: {error}") from error
        if response.status == 404:
            return None
        if response.status >= 300:
            raise _error(response.status, content, path)
        return content

    async def _request(
        self,
        method: str,
        path: str,
        query: Mapping[str, str],
        body: Mapping[str, object] | None,
        content_type: str,
        timeout: aiohttp.ClientTimeout,
    ) -> aiohttp.ClientResponse:
        target = path + (f"?{urlencode(query)}" if query else "")
        headers = {"Accept": "application/json", "Content-Type": content_type}
        return await self._transport.request(method, target, body, headers, timeout)


def path_of(group_version: str, namespace: str | None, plural: str, name: str | None = None, sub: str = "") -> str:
    """The path of a kind or of one object: `path_of("v1", "air", "pods", "p")`."""
    root = f"/api/{group_version}" if "/" not in group_version else f"/apis/{group_version}"
    scope = f"/namespaces/{quote(namespace, safe='')}" if namespace else ""
    return f"{root}{scope}/{plural}" + (f"/{quote(name, safe='')}" if name else "") + (f"/{sub}" if sub else "")


def is_quota(error: Refused) -> bool:
    """Whether a quota is full: what is refused now is taken later."""
    return error.status == 403 and "exceeded quota" in str(error)


def lacks_right(error: Refused) -> bool:
    """Whether it is RBAC that says no to the making of something, and not what is to be made."""
    return error.status == 403 and "cannot create resource" in str(error)


def _error(status: int, content: bytes, path: str) -> Exception:
    try:
        told = msgspec.json.decode(content, type=_Status)
    except (msgspec.DecodeError, msgspec.ValidationError):
        told = _Status(message=content[:500].decode(errors="replace"))
    message = told.message or f"HTTP {status}"
    if status == 409:
        return AlreadyExists(message) if told.reason == "AlreadyExists" else Conflict(message)
    if status == 410:
        return Expired(message)
    if status >= 500 or status in _RETRY or status == 401:
        return TemporaryError(f"API server: {status} at {path}: {message}")
    return Refused(status, message)
