"""HTTP to addresses that tenants name. It reaches nothing that only the operator's own machine could be meant by.

An address is looked at when the connection to it is opened, whatever the name was that led there, and however often
that is asked for another one: there is no time between the look and the connection. Nothing of an answer but its status
is told, and no text of an error: those have hosts in them.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Final

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult

WITHIN: Final = 10.0
"""Seconds for all of a request: names, connection, answer."""
_READ: Final = 64 * 1024
_NAT64: Final = ip_network("64:ff9b::/96")
# Of clouds, for their machines alone, and not link-local as the others are.
_METADATA: Final = tuple(
    map(ip_address, ("fd00:ec2::254", "fd20:ce::254", "100.100.100.200", "168.63.129.16", "192.0.0.192"))
)

Address = IPv4Address | IPv6Address
_Info = tuple[int | socket.AddressFamily, int | socket.SocketKind, int, str, tuple[object, ...]]


def refusal(address: Address, *, loopback: bool = False) -> str | None:
    """Why nothing is sent there, in words; None if it is. `loopback`: this machine is let be, for tests."""
    address = _meant(address)
    if address.is_loopback:
        return None if loopback else "it is this machine's own (loopback)"
    if address.is_unspecified or (address.version == 4 and address in ip_network("0.0.0.0/8")):
        return "it is none (unspecified)"
    if address.is_link_local:
        return "it is link-local, as a cloud's metadata are"
    if address in _METADATA:
        return "a cloud's metadata are there"
    if address.is_multicast or address == IPv4Address("255.255.255.255"):
        return "it is no single machine's (multicast)"
    return None


def _meant(address: Address) -> Address:
    """The IPv4 address that an IPv6 one stands for, if it does."""
    if isinstance(address, IPv4Address):
        return address
    if address in _NAT64:
        return IPv4Address(int(address) & 0xFFFFFFFF)
    teredo = address.teredo
    return address.ipv4_mapped or address.sixtofour or (teredo[1] if teredo else _compatible(address))


def _compatible(address: IPv6Address) -> Address:
    """`::127.0.0.1`, as it was once written."""
    number = int(address)
    return IPv4Address(number) if 1 < number < 1 << 32 else address


class _Forbidden(OSError):
    """An address that nothing is sent to."""


class Outward:
    """Posts to anywhere but here; `close` ends it. `loopback`: as in `refusal`."""

    def __init__(self, *, loopback: bool = False) -> None:
        self._loopback = loopback
        # Of its own: a name server that a tenant owns may be slow, and keeps nobody else's names waiting.
        self._names = ThreadPoolExecutor(16, thread_name_prefix="names")

    def close(self) -> None:
        """No more names are looked up."""
        self._names.shutdown(wait=False, cancel_futures=True)

    async def post(self, url: str, headers: Mapping[str, str], body: bytes) -> str | None:
        """Send it; what went wrong, in words, None if it was taken (2xx)."""
        refused: list[str] = []

        def opened(info: _Info) -> socket.socket:
            family, kind, protocol, _, place = info
            why = refusal(ip_address(str(place[0]).partition("%")[0]), loopback=self._loopback)
            if why is not None:
                refused.append(why)
                raise _Forbidden(why)
            return socket.socket(family, kind, protocol)

        # A connection for each: none outlives the look at its address.
        connector = aiohttp.TCPConnector(
            force_close=True, use_dns_cache=False, resolver=_Resolver(self._names), socket_factory=opened
        )
        try:
            async with aiohttp.ClientSession(
                connector=connector,
                timeout=aiohttp.ClientTimeout(total=WITHIN),
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,
                headers={"User-Agent": "headrace"},
                skip_auto_headers=("Accept-Encoding",),
            ) as session:
                return await _post(session, url, headers, body)
        except TimeoutError:
            return f"there was no answer within {WITHIN:.0f} s"
        except (aiohttp.ClientError, OSError, ValueError) as error:
            return f"its address is not allowed: {refused[0]}" if refused else _told(error)


async def _post(session: aiohttp.ClientSession, url: str, headers: Mapping[str, str], body: bytes) -> str | None:
    sent = session.post(url, data=body, headers=headers, allow_redirects=False)
    async with sent as answer:
        # An answer is read so that the sender of it need not fail, and no further than that.
        left = _READ
        while left > 0 and (piece := await answer.content.read(left)):
            left -= len(piece)
        if 200 <= answer.status < 300:
            return None
        if 300 <= answer.status < 400:
            return f"it answers HTTP {answer.status}: it is somewhere else, where nothing is sent to"
        return f"it answers HTTP {answer.status}"


def _told(error: Exception) -> str:
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return "no address is known for its host"
    if isinstance(error, ssl.SSLError | aiohttp.ClientSSLError):
        return "it cannot be reached by TLS: its certificate does not fit, or it speaks none"
    if isinstance(error, aiohttp.ClientConnectorError):
        return "it cannot be reached"
    return "it gives no answer that is HTTP"


class _Resolver(AbstractResolver):
    """The system's names, looked up by threads of their own."""

    def __init__(self, threads: ThreadPoolExecutor) -> None:
        self._threads = threads

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        def look() -> list[ResolveResult]:
            found = socket.getaddrinfo(host, port, family=family, type=socket.SOCK_STREAM, flags=socket.AI_ADDRCONFIG)
            return [
                ResolveResult(hostname=host, host=str(place[0]), port=port, family=family_, proto=protocol,
                              flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV)
                for family_, _, protocol, _, place in found
            ]  # fmt: skip

        return await asyncio.get_running_loop().run_in_executor(self._threads, look)

    async def close(self) -> None:
        """The threads are others', too."""
