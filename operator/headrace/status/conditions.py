"""Conditions as kstatus and kubectl wait understand them. Pure; the statuses of the three kinds are made with it.

`Reconciling` and `Stalled` are absent when not true, and never both there.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime

from headrace.api.status import Condition, Truth


def words(text: str, limit: int = 1000) -> str:
    """`text` on one line, as `kubectl get` prints no other, without what a terminal would act on; of a long one both
    ends: how a reason ends is often the cause.
    """
    if len(text) > 8 * limit:
        text = text[: 4 * limit] + text[-4 * limit :]
    text = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    if len(text) <= limit:
        return text
    tail = (limit - 3) // 2
    return text[: limit - 3 - tail] + "..." + text[len(text) - tail :]


def condition(type_: str, status: bool, reason: str, message: str = "") -> Condition:
    """A condition that is not yet dated."""
    truth: Truth = "True" if status else "False"
    return Condition(type=type_, status=truth, reason=reason, message=words(message), last_transition_time=datetime.min)


def dated(wanted: Iterable[Condition], body: Mapping[str, object], generation: int, now: datetime) -> list[Condition]:
    """The wanted conditions for this generation; the time of one whose truth is as in `body` stays as it was."""
    before = _times(body)
    return [
        Condition(
            type=c.type,
            status=c.status,
            reason=c.reason,
            message=c.message,
            observed_generation=generation,
            last_transition_time=before.get((c.type, c.status), now.replace(microsecond=0)),
        )
        for c in wanted
    ]


def observed_generation(body: Mapping[str, object]) -> int:
    """The generation that the status in `body` speaks of; -1 when it speaks of none."""
    status = body.get("status")
    given = status.get("observedGeneration") if isinstance(status, Mapping) else None
    return given if isinstance(given, int) else -1


def told(body: Mapping[str, object], type_: str) -> str | None:
    """The reason of a condition that is True in `body`; None when it is not."""
    for item in _listed(body):
        if (item.get("type"), item.get("status")) == (type_, "True"):
            return str(item.get("reason"))
    return None


def _times(body: Mapping[str, object]) -> dict[tuple[str, str], datetime]:
    return {
        (str(item.get("type")), str(item.get("status"))): datetime.fromisoformat(item["lastTransitionTime"])
        for item in _listed(body)
        if isinstance(item.get("lastTransitionTime"), str)
    }


def _listed(body: Mapping[str, object]) -> Iterator[Mapping[str, str]]:
    status = body.get("status")
    listed = status.get("conditions") if isinstance(status, Mapping) else None
    yield from (item for item in (listed if isinstance(listed, list) else ()) if isinstance(item, Mapping))


def whole_seconds(at: datetime | None) -> datetime | None:
    """A time as the API writes it."""
    return None if at is None else at.replace(microsecond=0)
