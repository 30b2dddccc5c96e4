"""Which version a command is about, and what the status says came of it."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from headrace.api.history import History, VersionEntry
from headrace.cli.commands import chosen, outcome_of
from headrace.cli.dags import Dag, Meta, Plan, Status, Version
from headrace.cli.history import NoSuchVersion, whole_hash

A, B, C = ("v1-" + letter * 64 for letter in "abc")
NOW = datetime(2026, 1, 1, tzinfo=UTC)


def dag(serving: str | None = None, planned: str | None = None, message: str = "") -> Dag:
    version, plan = Version(serving) if serving else None, Plan(planned) if planned else None
    return Dag(Meta("x"), Status(version=version, plan=plan, message=message))


def history(*hashes: str, current: str | None = None, previous: str | None = None) -> History:
    versions = (VersionEntry(yaml_hash=h, short=h[3:13], created_at=NOW, current=h == current) for h in hashes)
    return History(dag="x", versions=tuple(versions), previous=previous)


def test_a_short_hash_is_the_one_that_begins_so() -> None:
    assert whole_hash("a", [A, B]) == A
    assert whole_hash("v1-a", [A, B]) == A
    assert whole_hash(B, [A, B, B]) == B
    with pytest.raises(NoSuchVersion, match="no version of the DAG begins with 'c'"):
        whole_hash("c", [A, B])
    with pytest.raises(NoSuchVersion, match="2 versions of the DAG begin with 'v1'"):
        whole_hash("v1", [A, B])
    with pytest.raises(NoSuchVersion):
        whole_hash("", [A])


def test_rollback_goes_to_the_version_before() -> None:
    assert chosen("pin", None, dag(B), history(B, A, current=B, previous=A)) == A
    assert chosen("pin", "c", dag(B), history(B, A, C, previous=A)) == C
    with pytest.raises(NoSuchVersion, match="no version of DAG x served before"):
        chosen("pin", None, dag(B), history(B, current=B))


def test_approve_is_about_what_waits() -> None:
    assert chosen("approve", None, dag(A, planned=C), history(B, A, current=A)) == C
    assert chosen("approve", None, dag(A), history(B, A, current=A)) == B
    assert chosen("approve", "c", dag(A, planned=C), history(A)) == C
    with pytest.raises(NoSuchVersion, match="nothing of DAG x waits"):
        chosen("approve", None, dag(B), history(B, A, current=B))


def test_an_outcome_is_read_from_the_message() -> None:
    told = "tasks: 1 waiting; retry r1: refused: nothing has failed for good; job a: run it"
    assert outcome_of(dag(message=told), "retry", "r1") == "refused: nothing has failed for good"
    assert outcome_of(dag(message=told), "retry", "r2") == "handled"
