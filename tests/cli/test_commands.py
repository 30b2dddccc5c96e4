"""Which version a command is about, and how its status is read."""

from __future__ import annotations

from datetime import UTC, datetime

import msgspec
import pytest

from headrace.api.history import History, VersionEntry
from headrace.cli.commands import chosen
from headrace.cli.dags import Condition, Dag, Meta, Rollout, Status, Version
from headrace.cli.history import NoSuchVersion, whole_hash

A, B, C = ("v1-" + letter * 64 for letter in "abc")
NOW = datetime(2026, 1, 1, tzinfo=UTC)


def dag(serving: str | None = None, state: str = "", to: str = "") -> Dag:
    version, rollout = Version(serving) if serving else None, Rollout(state, to) if state else None
    return Dag(Meta("x"), Status(version=version, rollout=rollout))


def history(*hashes: str, current: str | None = None, previous: str | None = None) -> History:
    versions = (VersionEntry(yaml_hash=h, short=h[3:13], created_at=NOW, current=h == current) for h in hashes)
    return History(dag="x", versions=tuple(versions), previous=previous)


def test_a_short_hash_is_the_one_that_begins_so() -> None:
    assert whole_hash("aaaa", [A, B]) == A
    assert whole_hash("v1-aaaa", [A, B]) == A
    assert whole_hash(B, [A, B, B]) == B
    with pytest.raises(NoSuchVersion, match="no version of the DAG begins with 'cccc'"):
        whole_hash("cccc", [A, B])
    with pytest.raises(NoSuchVersion, match="2 versions of the DAG begin with 'aaaa'"):
        whole_hash("aaaa", [A, A[:-1] + "b"])
    for short in ("", "a", "v1", "v1-", "v1-aaa"):
        with pytest.raises(NoSuchVersion, match="too short"):
            whole_hash(short, [A])


def test_rollback_goes_to_the_version_before() -> None:
    assert chosen("pin", None, dag(B), history(B, A, current=B, previous=A)) == A
    assert chosen("pin", "cccc", dag(B), history(B, A, C, previous=A)) == C
    with pytest.raises(NoSuchVersion, match="no version of DAG x served before"):
        chosen("pin", None, dag(B), history(B, current=B))


def test_approve_is_about_the_rollout_under_way() -> None:
    assert chosen("approve", None, dag(A, "Building", C), history(C, A, current=A)) == C
    assert chosen("approve", None, dag(A, "Ready", B), history(C, B, A, current=A)) == B
    assert chosen("approve", "cccc", dag(A, "Ready", B), history(C, B, A)) == C
    for state in ("", "Done", "Failed", "Superseded", "Canceled"):
        with pytest.raises(NoSuchVersion, match="nothing of DAG x waits"):
            chosen("approve", None, dag(B, state, C), history(C, B, A, current=B))


def test_a_status_as_the_operator_writes_it_is_read() -> None:
    version = {"id": "i", "yamlHash": A, "short": "a"}
    told = {"observedGeneration": 1, "version": version, "lastHandled": {"pin": "1"}, "lastOutcome": {"pin": "pinned"},
            "rollout": {"state": "Ready", "yamlHash": B, "short": "b", "tasksDone": 0, "waitingFor": "approval"},
            "plan": {"summary": "s", "swap": "swap only"},
            "conditions": [{"type": "Stalled", "status": "True", "lastTransitionTime": "x",
                            "reason": "R"}]}  # fmt: skip
    found = msgspec.convert({"metadata": {"name": "x", "uid": "u"}, "status": told}, Dag)
    assert found.status.rollout == Rollout("Ready", B, "approval")
    assert found.condition("Stalled") == Condition("Stalled", "True", "R")
    assert found.condition("Ready") is None
