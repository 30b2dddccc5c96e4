"""The parser: what it accepts, and that what it refuses is named with its place and the way out."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
import yaml

from headrace.api import names
from headrace.api.parse import InvalidObject, parse_dag, parse_dataset, parse_job
from headrace.api.rules import OBJECT_NAME_RULES, PATTERN_MESSAGES, RULES
from tests.api import cases

PARSERS: dict[str, Any] = {names.DAG: parse_dag, names.JOB: parse_job, names.DATASET: parse_dataset}


def parse(obj: cases.Object) -> Any:
    return PARSERS[obj["kind"]](obj)


def problems(obj: cases.Object) -> list[tuple[str, str]]:
    with pytest.raises(InvalidObject) as caught:
        parse(obj)
    return list(caught.value.problems)


@pytest.mark.parametrize("name", cases.ACCEPTED)
def test_accepts(name: str) -> None:
    parse(cases.ACCEPTED[name])


def test_a_large_dag_takes_no_time() -> None:
    started = time.perf_counter()
    parse(cases.ACCEPTED["largest"])
    assert time.perf_counter() - started < 2.0, "0.1 s when types are looked up once, 17 s when for each value"


def test_accepts_the_flights_example_and_applies_no_default() -> None:
    dag = parse_dag(yaml.safe_load((Path(__file__).parent / "flights.yaml").read_text()))
    assert dag.spec.jobs is not None
    assert [job.name for job in dag.spec.jobs] == ["month", "weather", "clean", "join", "rank"]
    clean = dag.spec.jobs[2]
    assert clean.outputs is None
    assert clean.inputs is not None
    assert clean.inputs[0].from_.output is None
    assert dag.spec.jobs[0].source is not None


def test_takes_what_the_operator_needs_of_the_metadata_and_skips_the_rest() -> None:
    obj = cases.dag()
    obj["metadata"] |= {
        "uid": "u",
        "generation": 3,
        "managedFields": [{}],
        "annotations": {names.ANNOTATION_RUN: "1 load"},
        "labels": {"a": "b"},
        "deletionTimestamp": "2026-01-01T00:00:00Z",
    }
    obj["status"] = {"observedGeneration": 2, "whatever": 1}
    dag = parse_dag(obj)
    assert (dag.metadata.uid, dag.metadata.generation, dag.deleting) == ("u", 3, True)
    assert dag.metadata.annotations == {"headrace.dev/run": "1 load"}


@pytest.mark.parametrize(("path", "message", "obj"), cases.REFUSED)
def test_refuses_with_place_and_way_out(path: str, message: str, obj: cases.Object) -> None:
    assert any(p == path and message in m for p, m in problems(obj)), problems(obj)


@pytest.mark.parametrize(("path", "obj"), cases.MISSHAPEN)
def test_refuses_misshapen(path: str, obj: cases.Object) -> None:
    parent = path.rsplit(".", 1)[0]
    assert {p for p, _ in problems(obj)} & {path, parent}, problems(obj)


def test_every_rule_has_a_case() -> None:
    said = [message for _, message, _ in cases.REFUSED]
    texts = [rule.message for rule in RULES] + [r.message for r in OBJECT_NAME_RULES.values()]
    assert [text for text in texts if not any(part in text for part in said)] == []


def test_names_all_problems_at_once() -> None:
    obj = cases.dag(jobs=[{"name": "A", "colour": 1}, {"name": "b", "outputs": 99}], publish="x")
    found = problems(obj)
    assert {p for p, _ in found} >= {"spec.jobs[0].name", "spec.jobs[0]", "spec.jobs[1].outputs", "spec.publish"}
    assert any("unknown field colour: known here are" in m for _, m in found)
    assert any(m == PATTERN_MESSAGES[names.NAME_PATTERN] for _, m in found)


def test_rules_of_sound_items_and_the_name_are_told_beside_what_is_misshapen() -> None:
    both = {"name": "b", "image": "i", "source": {"kind": "manual"}, "inputs": [{"from": {"job": "a"}}]}
    found = problems({**cases.dag(jobs=[{"name": "a", "colour": 1}, both]), "metadata": {"name": "A"}})
    assert {p for p, _ in found} == {"spec.jobs[0]", "spec.jobs[1].inputs", "metadata.name"}


def test_refuses_a_name_given_twice() -> None:
    job = {"name": "a", "source": {"kind": "manual"}}
    assert problems(cases.dag(jobs=[job, job])) == [("spec.jobs[1].name", "a is there twice: rename or remove one")]


def test_refuses_too_much_text() -> None:
    big = cases.reactive(args=["x" * 30_000] * 3)
    assert [p for p, _ in problems(big)] == ["spec.jobs[0]"]
    many = [{"name": f"j{n}", "inputs": [{"from": {"job": "a"}}], "args": ["x" * 30_000]} for n in range(20)]
    assert [p for p, _ in problems(cases.dag(jobs=many))] == ["spec"]


def test_refuses_another_kind_and_nonsense() -> None:
    with pytest.raises(InvalidObject, match="must be DAG"):
        parse_dag(cases.ACCEPTED["projected job"])
    with pytest.raises(InvalidObject):
        parse_dag({})
    assert problems({**cases.dag(), "spec": None})


def test_a_newline_is_no_end_of_a_name() -> None:
    assert problems(cases.dag(jobs=[{"name": "a\n", "source": {"kind": "manual"}}]))


@pytest.mark.parametrize(
    ("dag", "name", "projected"),
    [("flights", "clean", "flights.clean"), ("a", "flights_clean", "a.flights-clean"), ("a", "out_", "a.out")],
)
def test_projects_names(dag: str, name: str, projected: str) -> None:
    assert names.project_name(dag, name) == projected
