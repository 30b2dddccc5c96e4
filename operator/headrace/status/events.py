"""What a change of a status is worth telling as an event: from the status that was and the one that is written. Pure.

The status is the record of what was told: whoever begins anew, or looks again, finds no change and tells nothing. What
is counted, such as tasks that end, is no event; that the first of them failed for good is.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

import msgspec

from headrace.api.events import NOTE_MAX, Event, event
from headrace.api.status import Condition, DagStatus, DatasetStatus, JobStatus, RolloutStatus
from headrace.status.conditions import words
from headrace.status.rollout import UNDER_WAY

Status = DagStatus | JobStatus | DatasetStatus

_OF_ROLLOUTS: Final = {"RolloutFailed": "Failed", "RolloutCanceled": "Canceled"}
"""Reasons for which a DAG is Stalled that say no more than the state of its rollout."""


def events_of(body: Mapping[str, object], now: Status) -> tuple[Event, ...]:
    """What the status `now` of the object `body`, which has the one before, tells that that did not."""
    try:
        was = _before(body, type(now))
    except msgspec.ValidationError:
        return ()  # nobody knows what was told
    found = [*_conditions(was, now)]
    if isinstance(was, DagStatus) and isinstance(now, DagStatus):
        found = [*_version(was, now), *_rollout(was, now), *found, *_refused(was, now)]
    return tuple(dict.fromkeys(found))


def _before(body: Mapping[str, object], shape: type[Status]) -> Status:
    given = body.get("status")
    return msgspec.convert(given if isinstance(given, Mapping) else {}, shape)


def _version(was: DagStatus, now: DagStatus) -> Iterator[Event]:
    """Another version serves: a new one, or one that has served before and has all its data still."""
    if now.version is None or (was.version is not None and was.version.id == now.version.id):
        return
    told = f"version {now.version.short} serves"
    if was.version is not None:
        told += f" in place of {was.version.short}"
    plan = now.plan if now.rollout is not None and now.rollout.yaml_hash == now.version.yaml_hash else None
    # What is planned of a rollout was told when it began.
    if plan is not None and not (was.rollout and was.rollout.yaml_hash == now.version.yaml_hash):
        told += f": {plan.summary}"
    back = was.version is not None and plan is not None and plan.restorable
    yield _event("RolledBack" if back else "VersionServes", told)


def _rollout(was: DagStatus, now: DagStatus) -> Iterator[Event]:
    """A rollout began, goes on, waits for a person or ended; that it is done is told of the version."""
    old, new = was.rollout, now.rollout
    if new is None:
        return
    same = old is not None and (old.yaml_hash, old.started) == (new.yaml_hash, new.started)
    before = old.state if old is not None and same else ""
    if old is not None and not same and old.state in UNDER_WAY and not _serves(now, old):
        yield _event("RolloutSuperseded", f"version {old.short} is not built any more: {new.short} takes its place")
    if new.state in UNDER_WAY and before not in UNDER_WAY:
        plan = f": {now.plan.summary}" if now.plan is not None and not same else ""
        yield _event("RolloutResumed" if same else "RolloutStarted", f"to version {new.short}{plan}")
    if new.waiting_for and (before != new.state or not (old and old.waiting_for)):
        yield _event("AwaitingApproval", f"version {new.short}: {new.waiting_for}")
    ended = {"Failed": "failed", "Superseded": "was superseded", "Canceled": "was canceled"}.get(new.state)
    # Of a DAG that is new here, as when it was made anew, what ended before is no news.
    if ended is not None and before != new.state and was.conditions is not None:
        cause = f": {new.cause}" if new.cause else ""
        yield _event(f"Rollout{new.state}", f"the rollout to version {new.short} {ended}{cause}")


def _serves(now: DagStatus, rollout: RolloutStatus) -> bool:
    return now.version is not None and now.version.yaml_hash == rollout.yaml_hash


def _conditions(was: Status, now: Status) -> Iterator[Event]:
    """What is wrong that was not, or with another spec; that all is well again."""
    before, there = _wrong(was), _wrong(now)
    for type_, found in there.items():
        old = before.get(type_)
        anew = old is None or old.reason != found.reason
        # Another spec that is wrong, too, is news; that what it left behind still fails is none.
        other_spec = type_ == "Stalled" and old is not None and old.observed_generation != found.observed_generation
        if (anew or other_spec) and not _told_by_rollout(now, found):
            yield _event(found.reason, found.message)
    waits = any((c.type, c.status) == ("Reconciling", "True") for c in now.conditions or ())
    if before and not there and not waits and now.conditions is not None:
        over = ", ".join(dict.fromkeys(c.reason for c in before.values()))
        yield _event("Recovered", f"no longer so: {over}")


def _told_by_rollout(now: Status, found: Condition) -> bool:
    rollout = now.rollout if isinstance(now, DagStatus) else None
    return found.type == "Stalled" and rollout is not None and _OF_ROLLOUTS.get(found.reason) == rollout.state


def _wrong(status: Status) -> dict[str, Condition]:
    """The conditions that tell of something wrong, by type. Of a dataset that nothing was ever made of nothing is."""
    return {
        c.type: c
        for c in status.conditions or ()
        if (c.type in ("Stalled", "Degraded") and c.status == "True") or (c.type, c.reason) == ("Fresh", "Late")
    }


def _refused(was: DagStatus, now: DagStatus) -> Iterator[Event]:
    """Commands that were handled since, and refused. Of a DAG that is new here, those of its namesake are no news."""
    if was.conditions is None:
        return
    for command, request in (now.last_handled or {}).items():
        outcome = (now.last_outcome or {}).get(command, "")
        if (was.last_handled or {}).get(command) != request and outcome.startswith("refused"):
            yield _event("CommandRefused", f"{command} {request}: {outcome}")


def _event(reason: str, note: str) -> Event:
    return event(reason, _short(note))


def _short(text: str) -> str:
    """As `words`, by bytes: how a reason ends is often the cause."""
    text = words(text, NOTE_MAX)
    raw = text.encode()
    if len(raw) <= NOTE_MAX:
        return text
    half = (NOTE_MAX - 3) // 2
    return f"{raw[:half].decode(errors='ignore')}...{raw[-half:].decode(errors='ignore')}"
