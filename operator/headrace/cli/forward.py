"""A port of a pod, through the API server: what `kubectl port-forward` does, without kubectl.

The protocol is a WebSocket (`v4.channel.k8s.io`) for each connection: the first byte of a message is its channel, 0
for data and 1 for an error in words; the first message of each channel is the port in two bytes. Here a socket in a
directory of the person's own stands for the port, so that no other account of the machine can reach it. Every
connection to it gets a WebSocket: the HTTP client above needs to know nothing of that.
"""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import aiohttp

from headrace.cli.connection import Connection
from headrace.cluster.client import path_of
from headrace.errors import HeadraceError

_PROTOCOL: Final = "v4.channel.k8s.io"
_DATA, _ERROR = 0, 1
_PIECE: Final = 64 * 1024


class Forward:
    """A forwarded port: the socket to connect to, and what went wrong last, in words."""

    def __init__(self, socket: Path) -> None:
        self.socket = socket
        self.failure: HeadraceError | str | None = None


@asynccontextmanager
async def forwarded(connection: Connection, namespace: str, pod: str, port: int) -> AsyncIterator[Forward]:
    """The pod's port, until the end of the block."""
    target = path_of("v1", namespace, "pods", pod, "portforward") + f"?ports={port}"
    with tempfile.TemporaryDirectory(prefix="headrace-") as directory:
        forward = Forward(Path(directory) / "gateway")
        bridges: set[asyncio.Task[None]] = set()

        async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            bridges.add(task := asyncio.ensure_future(_bridge(connection, target, forward, reader, writer)))
            task.add_done_callback(bridges.discard)

        server = await asyncio.start_unix_server(accept, forward.socket)
        try:
            yield forward
        finally:
            server.close()
            for task in list(bridges):
                task.cancel()
            await asyncio.gather(*bridges, return_exceptions=True)
            await server.wait_closed()


async def _bridge(
    connection: Connection,
    target: str,
    forward: Forward,
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
) -> None:
    """One connection, both ways, until either side ends it."""
    try:
        async with connection.websocket(target, _PROTOCOL) as websocket:
            up = asyncio.ensure_future(_up(reader, websocket))
            try:
                await _down(websocket, writer, forward)
            finally:
                up.cancel()
                await asyncio.gather(up, return_exceptions=True)
    except HeadraceError as error:
        forward.failure = error
    except (aiohttp.ClientError, OSError) as error:
        forward.failure = str(error)
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


async def _up(reader: asyncio.StreamReader, websocket: aiohttp.ClientWebSocketResponse) -> None:
    while piece := await reader.read(_PIECE):
        await websocket.send_bytes(bytes((_DATA,)) + piece)
    await websocket.close()


async def _down(websocket: aiohttp.ClientWebSocketResponse, writer: asyncio.StreamWriter, forward: Forward) -> None:
    begun: set[int] = set()
    async for message in websocket:
        if message.type is not aiohttp.WSMsgType.BINARY or not message.data:
            continue
        channel, content = message.data[0], message.data[1:]
        if channel not in begun:
            begun.add(channel)
            content = content[2:]  # the port
        if channel == _ERROR and content:
            forward.failure = content.decode(errors="replace").strip()
            return
        if channel == _DATA and content:
            writer.write(content)
            await writer.drain()
