"""HTTP to where tenants say: addresses that nothing is sent to, by whatever name, and receivers that mean harm."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from ipaddress import ip_address

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from headrace.run import outward
from headrace.run.outward import Outward, refusal

Stream = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@pytest.mark.parametrize("address", [
    "127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1", "::127.0.0.1", "64:ff9b::7f00:1", "2002:7f00:1::1",
    "0.0.0.0", "0.1.2.3", "::", "::ffff:0.0.0.0",
    "169.254.169.254", "169.254.0.1", "fe80::1", "::ffff:169.254.169.254", "64:ff9b::a9fe:a9fe", "2002:a9fe:a9fe::",
    "100.100.100.200", "168.63.129.16", "192.0.0.192", "fd00:ec2::254", "fd20:ce::254", "::ffff:100.100.100.200",
    "224.0.0.1", "239.1.1.1", "ff02::1", "255.255.255.255", "240.0.0.1", "fd00:ec2::23",
    "64:ff9b:1::7f00:1", "64:ff9b:1:ffff::1", "::ffff:0:7f00:1", "::ffff:0:a9fe:a9fe",
])  # fmt: skip
def test_addresses_that_nothing_is_sent_to(address: str) -> None:
    assert refusal(ip_address(address)) is not None


@pytest.mark.parametrize("address", ["10.96.0.1", "192.168.1.1", "172.16.0.9", "8.8.8.8", "2606:4700::1", "fd12::1"])
def test_addresses_of_others(address: str) -> None:
    """Receivers within the cluster, too."""
    assert refusal(ip_address(address)) is None


def test_this_machine_may_be_let_be() -> None:
    assert refusal(ip_address("127.0.0.1"), loopback=True) is None
    assert refusal(ip_address("169.254.169.254"), loopback=True) is not None


@asynccontextmanager
async def receiver(status: int = 200, **headers: str) -> AsyncIterator[tuple[str, list[bytes]]]:
    """One of this machine: where it is, and what came."""
    came: list[bytes] = []

    async def take(request: web.Request) -> web.Response:
        came.append(await request.read())
        return web.Response(status=status, headers=headers)

    app = web.Application()
    app.router.add_route("*", "/{rest:.*}", take)
    async with TestServer(app) as server:
        yield str(server.make_url("/in")), came


@asynccontextmanager
async def stream(answer: Stream) -> AsyncIterator[str]:
    """One that answers in its own way."""
    serving: dict[asyncio.Task[None] | None, asyncio.StreamWriter] = {}

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        serving[asyncio.current_task()] = writer
        try:
            await reader.readuntil(b"\r\n\r\n")
            await answer(reader, writer)
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1")
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
    finally:
        server.close()
        for writer in serving.values():
            writer.transport.abort()
        await asyncio.gather(*filter(None, serving))
        await server.wait_closed()


async def post(url: str, *, loopback: bool = True) -> str | None:
    return await Outward(loopback=loopback).post("air", url, {"webhook-id": "m"}, b"{}")


@pytest.mark.parametrize(("status", "trouble"), [
    (200, None), (204, None), (500, "it answers HTTP 500"), (404, "it answers HTTP 404"),
])  # fmt: skip
async def test_what_is_taken_and_what_is_not(status: int, trouble: str | None) -> None:
    async with receiver(status) as (url, came):
        assert await post(url) == trouble
        assert came == [b"{}"]


async def test_a_redirect_is_not_followed() -> None:
    async with receiver() as (elsewhere, reached), receiver(307, Location=elsewhere) as (url, came):
        assert await post(url) == "it answers HTTP 307: it is somewhere else, where nothing is sent to"
        assert (came, reached) == ([b"{}"], [])


@pytest.mark.parametrize("host", [
    "127.0.0.1", "localhost", "2130706433", "0x7f.1", "127.1", "0", "0.0.0.0", "[::ffff:127.0.0.1]", "127.0.0.1.",
])  # fmt: skip
async def test_this_machine_by_any_name_is_refused(host: str) -> None:
    """As an address it is not looked up, as a name it is: both are refused where the connection is opened. The odd ones
    are no URLs to the client, and would be this machine to others."""
    async with receiver() as (url, came):
        port = url.partition(":")[2].partition(":")[2].partition("/")[0]
        trouble = await post(f"http://{host}:{port}/in", loopback=False)
        assert trouble is not None
        assert ("not allowed" in trouble) is (host not in {"2130706433", "127.1", "0", "127.0.0.1."})
        assert came == []


async def test_a_name_that_leads_elsewhere_at_the_second_look_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """A name server of the tenant's own answers first with a good address: what counts is where it connects."""
    asked: list[str] = []
    known = socket.getaddrinfo

    def names(host: str, port: int, **more: int) -> object:
        if host != "rebind.test":
            return known(host, port, **more)
        asked.append(host)
        address = "192.0.2.1" if len(asked) == 1 else "127.0.0.1"
        return [(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", (address, port))]

    monkeypatch.setattr(outward.socket, "getaddrinfo", names)
    monkeypatch.setattr(outward, "WITHIN", 0.5)
    async with receiver() as (url, came):
        there = url.replace("127.0.0.1", "rebind.test")
        assert await post(there, loopback=False) is not None
        assert await post(there, loopback=False) == "its address is not allowed: it is this machine's own (loopback)"
        assert len(asked) == 2
        assert came == []
        assert await post(there) is None
        assert came == [b"{}"]


async def test_one_that_never_answers_and_one_that_never_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outward, "WITHIN", 0.3)

    async def silent(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        await reader.read()

    async def trickle(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
        while True:
            writer.write(b"a")
            await writer.drain()
            await asyncio.sleep(0.01)

    for answer in (silent, trickle):
        async with stream(answer) as url:
            began = time.monotonic()
            assert await post(url) == "there was no answer within 0 s"
            assert time.monotonic() - began < 5


async def test_an_answer_is_read_to_a_bound() -> None:
    """What it says is enough; a tenant fills no memory."""
    written = 0

    async def endless(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal written
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        while True:
            writer.write(b"10000\r\n" + b"a" * 0x10000 + b"\r\n")
            await writer.drain()
            written += 0x10000

    async with stream(endless) as url:
        assert await post(url) is None
    assert written < 64 * 1024 * 1024  # all that buffers of the system may take


@pytest.mark.parametrize("answer", [
    b"nothing of the kind\r\n\r\n", b"HTTP/1.1 200 OK\r\nX: " + b"a" * 100_000 + b"\r\n\r\n", b"", b"\x00" * 5000,
])  # fmt: skip
async def test_what_is_no_answer(answer: bytes) -> None:
    async def odd(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(answer)
        await writer.drain()

    async with stream(odd) as url:
        assert await post(url) == "it gives no answer that is HTTP"


async def test_faults_are_told_without_the_host() -> None:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port = one.getsockname()[1]
    assert await post(f"http://127.0.0.1:{port}/") == "it cannot be reached"
    assert await post("http://canary.invalid/") == "no address is known for its host"
    async with receiver() as (url, came):
        assert await post(url.replace("http:", "https:")) == (
            "it cannot be reached by TLS: its certificate does not fit, or it speaks none"
        )
        assert came == []


async def test_names_that_hang_are_bounded_and_leave_room_once_they_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outward, "_LOOKUPS", 3)
    monkeypatch.setattr(outward, "_OF_EACH", 2)
    names, go = outward._Names(), threading.Event()
    hanging = [asyncio.create_task(names.look("air", go.wait)) for _ in range(2)]
    await asyncio.sleep(0)
    with pytest.raises(OSError, match="too many names"):
        await names.look("air", lambda: True)
    assert await names.look("sea", lambda: True), "another tenant's"
    hanging[0].cancel()  # nobody waits for it, and it still takes a place
    hanging.append(asyncio.create_task(names.look("sea", go.wait)))
    await asyncio.sleep(0)
    for of in ("air", "sea", "land"):
        with pytest.raises(OSError, match="too many names"):
            await names.look(of, lambda: True)
    go.set()
    assert await hanging[1]
    assert await hanging[2]
    assert await names.look("land", lambda: True)
    assert not names._under_way, "nothing is kept of a tenant"


async def test_one_that_has_its_names_looked_up_already_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outward, "_OF_EACH", 0)
    assert "too many names" in str(await post("http://canary.invalid/"))


async def test_heads_before_an_answer_are_few() -> None:
    async def answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            writer.write(b"HTTP/1.1 103 Early Hints\r\n\r\n")
            await writer.drain()

    async with stream(answer) as url, asyncio.timeout(5):
        assert await post(url) == "it gives no answer that is HTTP"

    async def soon(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 103 Early Hints\r\n\r\n" * 3 + b"HTTP/1.1 204 No Content\r\n\r\n")
        await writer.drain()

    async with stream(soon) as url:
        assert await post(url) is None
