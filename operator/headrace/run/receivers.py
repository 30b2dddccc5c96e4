"""Where news goes and what it says: a receiver from the values of its Secret, a message from a notice. Pure.

Nothing of a receiver is ever told: a URL alone lets whoever has it post.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final, assert_never
from urllib.parse import urlsplit

import msgspec
from msgspec import Struct

from headrace.api.history import short_hash
from headrace.errors import PermanentError
from headrace.signature import keys_of, sign
from headrace.state.notices import Kind, Notice

_URL_MOST: Final = 2048
_HEADERS_MOST: Final = 20
_NAME: Final = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,128}\Z")
_VALUE: Final = re.compile(r"[!-~](?:[ !-~]{0,4094}[!-~])?\Z")
_OURS: Final = re.compile(
    r"(?i)(?:host|connection|content-.*|transfer-encoding|te|trailer|upgrade|expect|keep-alive|proxy-.*|webhook-.*)\Z"
)
_TYPES: Final[Mapping[Kind, str]] = {
    "TaskFailed": "task.failed",
    "RolloutDone": "rollout.done",
    "RolloutFailed": "rollout.failed",
    "RolledBack": "rollout.rolled_back",
}


class Unfit(PermanentError):
    """A Secret that names no receiver, in words that tell nothing of its values."""


class Receiver(Struct, frozen=True):
    """Whom to tell. Not to be shown: see __repr__."""

    url: str
    key: bytes | None
    headers: Mapping[str, str]

    def __repr__(self) -> str:
        return "Receiver()"


class Message(Struct, frozen=True):
    """What is sent: the same `id` however often, and another once it says something else."""

    id: str
    body: bytes


class _Told(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A message's body. `text` is what chats show; the others are for programs."""

    text: str
    type: str
    namespace: str
    dag: str
    job: str | None = None
    version: str
    rollout: str | None = None
    partition: str | None = None
    times: int
    error: str | None = None
    at: str


def receiver_of(values: Mapping[str, bytes]) -> Receiver:
    """The receiver that a Secret names: `url`, and if it has them `secret` and `headers`. Unfit."""
    url = _text(values, "url")
    if url is None:
        raise Unfit("has no value url: give it the address of the receiver")
    key = None
    if "secret" in values:
        keys = keys_of({"secret": values["secret"]})
        if keys.trouble is not None:
            raise Unfit("has a secret that is not whsec_ and 24 to 64 random bytes in base64")
        (key,) = keys.values
    return Receiver(_url(url), key, _headers(_text(values, "headers")))


def message_of(notice: Notice) -> Message:
    """What a notice says, as JSON."""
    told = _Told(
        text=_text_of(notice),
        type=_TYPES[notice.kind],
        namespace=notice.namespace,
        dag=notice.dag,
        job=notice.job or None,
        version=notice.version,
        rollout=None if notice.rollout is None else str(notice.rollout),
        partition=notice.partition,
        times=notice.times,
        error=notice.error,
        at=notice.at.isoformat(),
    )
    return Message(f"msg_{notice.message.hex}", msgspec.json.encode(told))


def headers_of(receiver: Receiver, message: Message, now: int) -> dict[str, str]:
    """The headers of a message that is sent `now`, in seconds since 1970."""
    headers = {
        **receiver.headers,
        "Content-Type": "application/json",
        "webhook-id": message.id,
        "webhook-timestamp": str(now),
    }
    if receiver.key is not None:
        headers["webhook-signature"] = sign(message.id, now, message.body, receiver.key)
    return headers


def _text_of(notice: Notice) -> str:
    """A line for people. What a task wrote calls nobody in a chat: `<`, `>` and `&` are as Slack has them."""
    version = short_hash(notice.version)
    place = f"{notice.namespace}/{notice.dag}"
    times = f"{notice.times} times" if notice.times > 1 else ""
    match notice.kind:
        case "TaskFailed":
            last = f"{', the last time' if times else ''} with partition {notice.partition}"
            words = f"{place}/{notice.job} failed for good{f' {times}' if times else ''}{last}: {notice.error}"
        case "RolloutDone":
            words = f"{place}: version {version} serves"
        case "RolloutFailed":
            words = f"{place}: the rollout of version {version} failed: {notice.error}"
        case "RolledBack":
            words = f"{place}: version {version}, which had served before, serves again"
        case _:
            assert_never(notice.kind)
    if times and notice.kind != "TaskFailed":
        words += f" (such news came {times} meanwhile, this is the last)"
    return words.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _text(values: Mapping[str, bytes], name: str) -> str | None:
    if name not in values:
        return None
    try:
        return values[name].decode().strip()
    except UnicodeDecodeError:
        raise Unfit(f"has a value {name} that is no text") from None


def _url(url: str) -> str:
    wrong = Unfit(f"has a url that is not http:// or https://, a host and a path, of {_URL_MOST} characters at most")
    if len(url) > _URL_MOST or not url.isascii() or not url.isprintable() or " " in url:
        raise wrong
    try:
        parts = urlsplit(url)
        whole = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        raise wrong from None
    if not whole:
        raise wrong
    return url


def _headers(text: str | None) -> Mapping[str, str]:
    if text is None:
        return {}
    try:
        found = msgspec.json.decode(text, type=dict[str, str])
    except (msgspec.DecodeError, RecursionError):
        raise Unfit("has headers that are no JSON object of texts") from None
    if len(found) > _HEADERS_MOST:
        raise Unfit(f"has more than {_HEADERS_MOST} headers")
    for name, value in found.items():
        if _NAME.match(name) is None or _OURS.match(name) or _VALUE.match(value) is None:
            raise Unfit("has a header that cannot be sent, or that is the message's own")
    return found
