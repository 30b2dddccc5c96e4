"""HTTP to addresses that tenants name. It reaches nothing that only the operator's own machine could be meant by.

An address is looked at when the connection to it is opened, whatever the name was that led there, and however often
that is asked for another one: there is no time between the look and the connection. Nothing of an answer but its status
is told, and no text of an error: those have hosts in them.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import threading
from collections import Counter
from collections.abc import Callable, Coroutine, Mapping
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Final, Self, TypeVar, cast

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.connector import Connection

WITHIN: Final = 10.0
"""Seconds for all of a request: names, connection, answer."""
_READ: Final = 64 * 1024
_HEADS: Final = 8
"""Of an answer, those before it (HTTP 1xx) with it: whoever sends them for ever sends an answer never."""
_LOOKUPS: Final = 256
_OF_EACH: Final = 4
"""Names of one tenant under look-up: one that has slow name servers keeps no room from others."""
# IPv4 in their last 32 bits: NAT64, its local form as far as it is so, SIIT.
_EMBEDDED: Final = tuple(map(ip_network, ("64:ff9b::/96", "64:ff9b:1::/96", "::ffff:0:0:0/96")))
_RESERVED: Final = tuple(map(ip_network, ("240.0.0.0/4", "64:ff9b:1::/48")))
# Of clouds, for their machines alone, and not link-local as the others are.
_METADATA: Final = tuple(
    map(ip_network, ("fd00:ec2::/32", "fd20:ce::254", "100.100.100.200", "168.63.129.16", "192.0.0.192"))
)

T = TypeVar("T")
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
    if any(address in network for network in _METADATA):
        return "a cloud's metadata are there"
    if address.is_multicast or any(address in network for network in _RESERVED):
        return "it is no machine's (multicast, or reserved)"
    return None


def _meant(address: Address) -> Address:
    """The IPv4 address that an IPv6 one stands for, if it does."""
    if isinstance(address, IPv4Address):
        return address
    if any(address in network for network in _EMBEDDED):
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
    """Posts to anywhere but here. `loopback`: as in `refusal`."""

    def __init__(self, *, loopback: bool = False) -> None:
        self._loopback = loopback
        self._names = _Names()

    async def post(self, of: object, url: str, headers: Mapping[str, str], body: bytes) -> str | None:
        """Send it for the tenant `of`; what went wrong, in words, None if it was taken (2xx)."""
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
            force_close=True, use_dns_cache=False, resolver=_Resolver(self._names, of), socket_factory=opened
        )
        try:
            async with aiohttp.ClientSession(
                connector=connector,
                response_class=_Answer,
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


class _Answer(aiohttp.ClientResponse):
    """One that begins after a few heads, or never."""

    async def start(self, connection: Connection) -> Self:
        protocol = connection.protocol
        if protocol is not None:
            protocol.read = _few(protocol.read)  # type: ignore[method-assign]
        await super().start(connection)
        return self


def _few(read: Callable[[], Coroutine[object, object, T]]) -> Callable[[], Coroutine[object, object, T]]:
    left = iter(range(_HEADS))

    async def counted() -> T:
        if next(left, None) is None:
            raise aiohttp.ServerDisconnectedError("no answer, but many heads")
        return await read()

    return counted


def _told(error: Exception) -> str:
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        if isinstance(error.os_error, _BusyError):
            return "too many names are being looked up: those of its receivers take long"
        return "no address is known for its host"
    if isinstance(error, ssl.SSLError | aiohttp.ClientSSLError):
        return "it cannot be reached by TLS: its certificate does not fit, or it speaks none"
    if isinstance(error, aiohttp.ClientConnectorError):
        return "it cannot be reached"
    return "it gives no answer that is HTTP"


class _BusyError(OSError):
    """Too many names are under look-up."""


class _Names:
    """Threads that look up names: a name server that a tenant owns may be slow, and nothing waits for it to end."""

    def __init__(self) -> None:
        self._under_way = Counter[object]()

    async def look(self, of: object, work: Callable[[], T]) -> T:
        """Do it for the tenant `of`, in a thread of its own; _BusyError where too many are under way."""
        if self._under_way[of] >= _OF_EACH or self._under_way.total() >= _LOOKUPS:
            raise _BusyError("too many names are being looked up")
        loop = asyncio.get_running_loop()
        found: asyncio.Future[T] = loop.create_future()

        def settle(result: T | None, error: Exception | None) -> None:
            self._under_way[of] -= 1
            self._under_way += Counter()  # without those that have none
            if found.done():
                return  # nobody waits any more
            if error is not None:
                found.set_exception(error)
            else:
                found.set_result(cast("T", result))

        def run() -> None:
            result, error = None, None
            try:
                result = work()
            except OSError as failed:
                error = failed
            except Exception as failed:  # of a name that is none: else whoever waits would wait for ever
                error = OSError(type(failed).__name__)
            with contextlib.suppress(RuntimeError):  # the loop is over
                loop.call_soon_threadsafe(settle, result, error)

        self._under_way[of] += 1
        threading.Thread(target=run, name="headrace-names", daemon=True).start()
        return await found


class _Resolver(AbstractResolver):
    """The system's names, looked up by threads of their own."""

    def __init__(self, names: _Names, of: object) -> None:
        self._names = names
        self._of = of

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

        return await self._names.look(self._of, look)

    async def close(self) -> None:
        """The names are others', too."""
