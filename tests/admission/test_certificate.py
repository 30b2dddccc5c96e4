"""The webhook's certificate: a real handshake with it, renewed in time, former authorities trusted till their end."""

from __future__ import annotations

import asyncio
import ssl
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from headrace.admission.certificate import LIFE, Pair, due, make
from headrace.admission.serve import load

HOST = "headrace-admission.headrace-system.svc"
NOW = datetime.now(UTC).replace(microsecond=0)


async def shaken(server: ssl.SSLContext, trusted: bytes, host: str = HOST) -> None:
    """Connect as an API server does; ssl.SSLError when it would not trust what it meets."""
    listening = await asyncio.start_server(lambda _, w: w.close(), "127.0.0.1", 0, ssl=server)
    async with listening:
        port = listening.sockets[0].getsockname()[1]
        client = ssl.create_default_context(cadata=trusted.decode())
        _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=client, server_hostname=host)
        writer.close()


def serving(pair: Pair) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    load(context, pair.certificate, pair.key)
    return context


async def test_it_is_trusted_by_its_authority_for_its_host_alone() -> None:
    pair, other = make(HOST, NOW), make(HOST, NOW)
    await shaken(serving(pair), pair.authorities)
    with pytest.raises(ssl.SSLError):
        await shaken(serving(pair), other.authorities)
    with pytest.raises(ssl.SSLError):
        await shaken(serving(pair), pair.authorities, "headrace-admission.other.svc")


async def test_a_renewed_one_is_served_without_a_restart_and_both_are_trusted_meanwhile() -> None:
    old = make(HOST, NOW)
    new = make(HOST, NOW, former=old.authorities)
    context = serving(old)
    await shaken(context, new.authorities)  # by a replica that has not taken the new one up yet
    load(context, new.certificate, new.key)
    await shaken(context, new.authorities)
    with pytest.raises(ssl.SSLError):
        await shaken(context, old.authorities)


def of_version_6(certificate: bytes) -> bytes:
    """A certificate of a kind that nobody knows."""
    der = bytearray(x509.load_pem_x509_certificate(certificate).public_bytes(Encoding.DER))
    der[der.index(b"\xa0\x03\x02\x01\x02") + 4] = 5
    return ssl.DER_cert_to_PEM_cert(bytes(der)).encode()


def test_it_is_renewed_when_two_thirds_of_its_life_are_over() -> None:
    pair = make(HOST, NOW, timedelta(hours=3))
    assert due(pair, HOST, NOW) == ""
    assert due(pair, HOST, NOW + timedelta(minutes=119)) == ""
    assert "renewed since" in due(pair, HOST, NOW + timedelta(hours=2))
    assert due(make(HOST, NOW), HOST, NOW + LIFE / 2) == ""


def test_one_from_a_clock_that_was_ahead_is_made_anew() -> None:
    ahead = make(HOST, NOW + timedelta(days=70))
    assert due(ahead, HOST, NOW) == "it does not hold yet: the clock that made it was ahead"
    assert due(ahead, HOST, NOW + timedelta(days=70)) == ""


def test_what_does_not_hold_is_made_anew() -> None:
    pair, other = make(HOST, NOW), make(HOST, NOW)
    assert due(Pair(b"", b"", b""), HOST, NOW) == "there is none that holds"
    assert due(Pair(b"x", pair.key, pair.authorities), HOST, NOW) == "there is none that holds"
    assert due(Pair(pair.certificate, pair.key, other.authorities), HOST, NOW) == "there is none that holds"
    assert due(Pair(pair.certificate, other.key, pair.authorities), HOST, NOW) == "its key is another's"
    future = of_version_6(pair.certificate)
    assert due(Pair(future, pair.key, pair.authorities), HOST, NOW) == "there is none that holds"
    assert due(Pair(pair.certificate, pair.key, future), HOST, NOW) == "there is none that holds"
    assert len(x509.load_pem_x509_certificates(make(HOST, NOW, former=future).authorities)) == 1
    assert due(pair, "headrace-admission.elsewhere.svc", NOW) == "it is not for headrace-admission.elsewhere.svc"


def test_former_authorities_stay_until_they_expire_and_never_pile_up() -> None:
    pair = make(HOST, NOW, timedelta(days=1))
    for hour in range(5):
        pair = make(HOST, NOW + timedelta(hours=hour), timedelta(days=1), pair.authorities)
    assert len(x509.load_pem_x509_certificates(pair.authorities)) == 3
    later = make(HOST, NOW + timedelta(days=9), former=pair.authorities)
    assert len(x509.load_pem_x509_certificates(later.authorities)) == 1
    assert len(x509.load_pem_x509_certificates(make(HOST, NOW, former=b"no bundle").authorities)) == 1
