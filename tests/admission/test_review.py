"""Answers to the API server: short warnings, few of them, no value of any field; refusals whole."""

from __future__ import annotations

import msgspec
import pytest

from headrace.admission.review import LONGEST, MOST, Review, Verdict, answer, shortened
from headrace.admission.words import plan_lines
from headrace.api.history import short_hash
from headrace.plan.explanation import Consumer, Explanation, FieldChange, JobChange

OLD, NEW = "v1:" + "a" * 64, "v1:" + "b" * 64


def test_a_question_is_read_and_the_answer_is_as_the_api_server_wants_it() -> None:
    asked = {
        "apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview",
        "request": {"uid": "u1", "kind": {"group": "headrace.dev", "version": "v1alpha1", "kind": "DAG"},
                    "namespace": "air", "name": "d", "operation": "CREATE", "object": {"spec": {}}, "oldObject": None,
                    "userInfo": {"username": "ann"}, "dryRun": True},
    }  # fmt: skip
    request = msgspec.json.decode(msgspec.json.encode(asked), type=Review).request
    assert (request.uid, request.kind.kind, request.new, request.old) == ("u1", "DAG", {"spec": {}}, None)
    assert msgspec.to_builtins(answer("u1", Verdict(warnings=["w"]))) == {
        "apiVersion": "admission.k8s.io/v1",
        "kind": "AdmissionReview",
        "response": {"uid": "u1", "allowed": True, "warnings": ["w"]},
    }
    refused = msgspec.to_builtins(answer("u1", Verdict("spec.jobs[a]: wrong\nspec.jobs[b]: too")))["response"]
    assert refused["allowed"] is False
    assert refused["status"] == {"message": "spec.jobs[a]: wrong\nspec.jobs[b]: too", "code": 422, "reason": "Invalid"}
    assert len(answer("u", Verdict("x" * 9000)).response.status.message) == 4000  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("given", "told"),
    [
        pytest.param([], [], id="none"),
        pytest.param(["a", "a", "b"], ["a", "b"], id="each once"),
        pytest.param(["a\nb\n\n"], ["a", "b"], id="a line each"),
        pytest.param(["\x1b[31mred\ttab"], ["[31mred tab"], id="nothing for a terminal"),
        pytest.param(["é" * 200], ["é" * (LONGEST - 1) + "…"], id="short"),
    ],
)
def test_warnings_are_short(given: list[str], told: list[str]) -> None:
    assert shortened(given) == told


def test_many_warnings_become_few() -> None:
    told = shortened([f"w{n}" for n in range(300)])
    assert len(told) == MOST + 1
    assert told[-1] == "and 290 more: headrace plan -f FILES"


def plan(**fields: object) -> Explanation:
    given = {"dag": "d", "yaml_hash": NEW, "base_hash": OLD, "swap": "build first", **fields}
    return msgspec.convert(given, Explanation)


def test_a_plan_is_told_by_names_and_counts_and_never_by_values() -> None:
    fields = [FieldChange(path="env[0].value", old="s3cret-old", new="s3cret-new"), FieldChange(path="image")]
    lines = list(plan_lines(plan(
        totals={"changed": 1, "downstream": 1}, unchanged=3, tasks=24, partitions=24, approval="it is large",
        jobs=[JobChange(job="clean", change="changed", fields=tuple(fields), rebuilds=True, units=12),
              JobChange(job="rank", change="downstream", because=("clean",), rebuilds=True, units=12)],
        consumers=[Consumer(dataset="x", dag="other", job="reads")], notes=["a note"],
    )))  # fmt: skip
    short = short_hash(NEW)
    assert lines == [
        f"plan: DAG d {short}: what is new is built first, then the pointers swap",
        "plan: jobs: 1 changed, 1 downstream, 3 unchanged",
        "plan: rebuilds 24 partitions in 24 tasks",
        f"plan: waits for headrace approve d {short}",
        "plan: read by other DAGs: other/reads",
        "plan: clean: changed (env[0].value, image), rebuilds 12 units",
        "plan: rank: downstream of clean, rebuilds 12 units",
        "a note",
    ]


def test_nothing_to_do_is_nothing_to_tell_and_what_is_in_the_way_comes_first() -> None:
    assert list(plan_lines(plan(base_hash=NEW, swap="none"))) == []
    blocked = list(plan_lines(plan(swap="none", blocked="dataset x is another DAG's")))
    assert blocked == ["blocked: dataset x is another DAG's"]
    first = list(plan_lines(plan(base_hash=None, swap="first version", totals={"added": 2})))
    assert first == [f"plan: DAG d {short_hash(NEW)}: the first version: nothing is built before it serves"]
