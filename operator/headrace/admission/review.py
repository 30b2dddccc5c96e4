"""The question and the answer of an admission webhook, `AdmissionReview` of admission.k8s.io/v1. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from msgspec import Struct, field

LONGEST: Final = 120
"""Characters of a warning, as the API conventions ask."""
MOST: Final = 10
_LONGEST_MESSAGE: Final = 4000


Body = dict[str, object]


class _Kind(Struct, frozen=True):
    kind: str = ""


class Request(Struct, frozen=True):
    """What is to be stored: `new`, over `old` where there is one."""

    uid: str
    kind: _Kind = _Kind()
    namespace: str = ""
    name: str = ""
    new: Body | None = field(default=None, name="object")
    old: Body | None = field(default=None, name="oldObject")


class Review(Struct, frozen=True):
    """The whole question."""

    request: Request


class Verdict(Struct, frozen=True):
    """The answer in our terms: `refused` says why, empty where it is allowed; `warnings` the weightiest first."""

    refused: str = ""
    warnings: Sequence[str] = field(default_factory=tuple)


class _Status(Struct, frozen=True):
    message: str
    code: int = 422
    reason: str = "Invalid"


class _Response(Struct, frozen=True, omit_defaults=True):
    uid: str
    allowed: bool | None = None
    status: _Status | None = None
    warnings: list[str] = field(default_factory=list)


class Answer(Struct, frozen=True, rename="camel"):
    """The whole answer."""

    response: _Response
    api_version: str = "admission.k8s.io/v1"
    kind: str = "AdmissionReview"


def answer(uid: str, verdict: Verdict) -> Answer:
    """The answer to the request `uid`: a refusal with everything that is wrong; warnings short, and few."""
    message = verdict.refused
    if len(message) > _LONGEST_MESSAGE:
        message = message[: _LONGEST_MESSAGE - 1] + "…"
    status = _Status(message) if message else None
    return Answer(_Response(uid, status is None, status, shortened(verdict.warnings)))


def shortened(warnings: Sequence[str]) -> list[str]:
    """At most MOST warnings of at most LONGEST characters, each once; then how many more there are, and where."""
    lines = list(dict.fromkeys(one for given in warnings for line in given.splitlines() if (one := _line(line))))
    if len(lines) <= MOST:
        return lines
    return [*lines[:MOST], f"and {len(lines) - MOST} more: headrace plan -f FILES"]


def _line(text: str) -> str:
    """What fits a header: one line of printable characters."""
    clean = "".join(c if c.isprintable() else " " for c in text).strip()
    return clean if len(clean) <= LONGEST else clean[: LONGEST - 1].rstrip() + "…"
