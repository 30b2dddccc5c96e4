"""Signatures as in Standard Webhooks: headers, keys and the check of what comes, the signing of what is sent.

Pure; the clock comes in as a number. The signed content is `id.timestamp.body`. An id has no dot, a timestamp is digits
and a body is a JSON object, so that it is read in one way only. What does not fit is told in words for our log: whoever
sent it learns nothing of why.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
import secrets
from collections.abc import Iterable, Mapping, Sequence
from typing import Final, Protocol

from msgspec import Struct

TOLERANCE: Final = 300
"""Seconds that a delivery's timestamp may be away from now."""

_ID: Final = re.compile(r"[A-Za-z0-9_:=+/@~-]{1,255}\Z")
_TIMESTAMP: Final = re.compile(r"[0-9]{1,12}\Z")
_PREFIX: Final = "whsec_"
_SIZES: Final = range(24, 65)
_MOST: Final = 16
# With no key to try, as much is done as with one: the time that an answer takes tells of no webhook.
_NO_KEY: Final = secrets.token_bytes(32)


class Unfit(Exception):
    """A delivery that is nobody's, with the reason for the log."""


class Headers(Protocol):
    """Headers of a request, by names of any case."""

    def getall(self, key: str, default: list[str], /) -> list[str]:
        """Every value of a header."""


class Delivery(Struct, frozen=True, kw_only=True):
    """What the headers of a delivery say; `timestamp` in seconds since 1970."""

    id: str
    timestamp: int
    signatures: tuple[bytes, ...]


class Keys(Struct, frozen=True):
    """Whatever a Secret has for keys; `trouble`: why that is none. Not to be shown: see __repr__."""

    values: tuple[bytes, ...] = ()
    trouble: str | None = None

    def __repr__(self) -> str:
        return f"Keys({len(self.values)} keys, {self.trouble!r})"


def delivery_of(headers: Headers, now: float) -> Delivery:
    """What the headers say, at `now`; Unfit when one is missing, there twice, malformed, or the time is another."""
    id_, timestamp, signature = (_one(headers, f"webhook-{name}") for name in ("id", "timestamp", "signature"))
    if _ID.match(id_) is None:
        raise Unfit("webhook-id is not 1 to 255 letters, digits and _ : = + / @ ~ -")
    if _TIMESTAMP.match(timestamp) is None:
        raise Unfit("webhook-timestamp is no number of seconds")
    away = now - int(timestamp)
    if abs(away) > TOLERANCE:
        raise Unfit(f"webhook-timestamp is {abs(away):.0f} s in the {'past' if away > 0 else 'future'}")
    found = tuple(_decoded(signature.split(" ")))
    if not found:
        raise Unfit("webhook-signature has no v1 signature")
    return Delivery(id=id_, timestamp=int(timestamp), signatures=found)


def keys_of(values: Mapping[str, bytes]) -> Keys:
    """The keys among a Secret's values: each that is `whsec_` and 24 to 64 bytes in base64, by whatever name.

    Nothing else is ever taken for a key: signatures checked with a password would help to guess it.
    """
    keys = [key for _, value in sorted(values.items()) if (key := _key(value)) is not None]
    if not keys:
        return Keys(trouble="has no value that is whsec_ and 24 to 64 random bytes in base64: add one")
    return Keys(values=tuple(keys[:_MOST]))


def fits(delivery: Delivery, body: bytes, keys: Sequence[bytes]) -> bool:
    """Whether one of the signatures is of one of the keys. As long for each outcome."""
    content = _content(delivery.id, delivery.timestamp, body)
    good = False
    for key in keys or (_NO_KEY,):
        expected = hmac.digest(key, content, hashlib.sha256)
        for signature in delivery.signatures:
            good |= hmac.compare_digest(expected, signature)
    return good and bool(keys)


def sign(id_: str, timestamp: int, body: bytes, key: bytes) -> str:
    """The value of `webhook-signature` for what is sent under this id, at this time."""
    digest = hmac.digest(key, _content(id_, timestamp, body), hashlib.sha256)
    return f"v1,{base64.b64encode(digest).decode()}"


def _content(id_: str, timestamp: int, body: bytes) -> bytes:
    return b".".join((id_.encode(), str(timestamp).encode(), body))


def _one(headers: Headers, name: str) -> str:
    found = headers.getall(name, [])
    if len(found) != 1:
        raise Unfit(f"{'no' if not found else 'more than one'} header {name}")
    return found[0]


def _decoded(signatures: Iterable[str]) -> Iterable[bytes]:
    for signature in list(signatures)[:_MOST]:
        version, _, text = signature.partition(",")
        if version != "v1":
            continue
        try:
            decoded = base64.b64decode(text, validate=True)
        except ValueError:
            continue
        if len(decoded) == hashlib.sha256().digest_size:
            yield decoded


def _key(value: bytes) -> bytes | None:
    text = value.strip()
    if not text.startswith(_PREFIX.encode()):
        return None
    encoded = text.removeprefix(_PREFIX.encode()).rstrip(b"=")
    try:
        key = base64.b64decode(encoded + b"=" * (-len(encoded) % 4), validate=True)
    except binascii.Error:
        return None
    return key if len(key) in _SIZES else None
