"""A list and then its changes, for ever: the one way in which the operator follows pods.

The list comes first and after every gap; each gives the whole set, so that what vanished unseen is noticed. A read that
hears nothing for a while, not even a bookmark, is taken for a dead connection and opened again where it was.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import dataclass
from typing import Generic, TypeVar

import aiohttp
import msgspec

from headrace import metrics
from headrace.cluster.client import Client, Expired, Refused
from headrace.errors import TemporaryError

T = TypeVar("T")

_SILENCE = 100.0
_SERVER_SECONDS = "300"


@dataclass(frozen=True)
class Listed(Generic[T]):
    """The whole set at a resource version."""

    items: tuple[T, ...]
    version: int


@dataclass(frozen=True)
class Changed(Generic[T]):
    """One object is there, new or changed."""

    item: T


@dataclass(frozen=True)
class Deleted(Generic[T]):
    """One object is gone; `item` is how it was last."""

    item: T


class _ListMeta(msgspec.Struct, rename="camel"):
    resource_version: str


class _List(msgspec.Struct):
    metadata: _ListMeta
    items: list[msgspec.Raw]


class _Event(msgspec.Struct):
    type: str
    object: msgspec.Raw


class _Bookmark(msgspec.Struct):
    metadata: _ListMeta


async def watch(
    client: Client, path: str, shape: type[T], **query: str
) -> AsyncGenerator[Listed[T] | Changed[T] | Deleted[T], None]:
    """Follow the objects at `path`, each as a `shape`. Errors come out; the caller retries."""
    try:
        async for event in _follow(client, path, shape, query):
            yield event
    except (Refused, GeneratorExit, asyncio.CancelledError):
        metrics.unheard(path)
        raise


async def _follow(
    client: Client, path: str, shape: type[T], query: dict[str, str]
) -> AsyncGenerator[Listed[T] | Changed[T] | Deleted[T], None]:
    while True:
        listing = await client.get(path, _List, **query)
        if listing is None:
            metrics.unheard(path)
            yield Listed((), 0)
            return
        metrics.heard(path)
        version = listing.metadata.resource_version
        items = tuple(msgspec.json.decode(item, type=shape) for item in listing.items)
        yield Listed(items, int(version))
        try:
            async for change in _changes(client, path, shape, version, query):
                yield change
        except Expired:
            continue


async def _changes(
    client: Client, path: str, shape: type[T], version: str, query: dict[str, str]
) -> AsyncIterator[Changed[T] | Deleted[T]]:
    while True:
        opened = time.monotonic()
        response = await client.stream(
            path,
            _SILENCE,
            **query,
            watch="true",
            allowWatchBookmarks="true",
            resourceVersion=version,
            timeoutSeconds=_SERVER_SECONDS,
        )
        try:
            async for line in _lines(response):
                metrics.heard(path)
                event = msgspec.json.decode(line, type=_Event)
                if event.type == "ERROR":
                    raise Expired(bytes(event.object).decode(errors="replace")[:300])
                version = msgspec.json.decode(event.object, type=_Bookmark).metadata.resource_version
                if event.type in ("ADDED", "MODIFIED"):
                    yield Changed(msgspec.json.decode(event.object, type=shape))
                elif event.type == "DELETED":
                    yield Deleted(msgspec.json.decode(event.object, type=shape))
        except TimeoutError:
            continue
        except (aiohttp.ClientError, OSError) as error:
            raise TemporaryError(f"API server: the watch of {path} broke: {error}") from error
        finally:
            response.close()
        # A server that ends each watch at once is not to be asked again and again.
        await asyncio.sleep(max(0.0, 1.0 - (time.monotonic() - opened)))


async def _lines(response: aiohttp.ClientResponse) -> AsyncIterator[bytes]:
    rest = b""
    async for chunk in response.content.iter_any():
        *whole, rest = (rest + chunk).split(b"\n")
        for line in whole:
            if line:
                yield line
