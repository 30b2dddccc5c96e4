"""What documents say of columns: contracts and lineage change versions, never data; mistakes have their place."""

from __future__ import annotations

from typing import Any

import pytest

from headrace.compile.problems import CompileError
from tests.compile.documents import Spec, compiled, step

LINEAGE = [{"column": "delay", "from": [{"input": "clean", "column": "late"}, {"input": "clean", "column": "early"}]}]
COLUMNS = [{"name": "late", "type": "int"}, {"name": "day", "type": "date", "nullable": False}]


def spec(lineage: Any = (), columns: Any = (), **fields: object) -> Spec:
    joined = step("join", "clean", **fields)
    publish: dict[str, object] = {"name": "delays", "from": {"job": "join"}}
    if lineage:
        joined["lineage"] = lineage
    if columns:
        publish["columns"] = columns
    day = {"name": "day", "image": "i", "source": {"kind": "manual", "partitions": {"values": ["a"]}}}
    return {"jobs": [day, step("clean", "day"), joined], "publish": [publish]}


@pytest.mark.parametrize("said", [{"lineage": LINEAGE}, {"columns": COLUMNS}])
def test_a_word_on_columns_is_another_version_of_the_same_data(said: dict[str, Any]) -> None:
    plain, more = compiled(spec()), compiled(spec(**said))
    assert plain.yaml_hash != more.yaml_hash
    assert {n: j.fingerprint for n, j in plain.jobs.items()} == {n: j.fingerprint for n, j in more.jobs.items()}


def test_order_says_nothing() -> None:
    back = [{**LINEAGE[0], "output": 0, "from": list(reversed(LINEAGE[0]["from"]))}]  # type: ignore[call-overload]
    assert compiled(spec(LINEAGE, COLUMNS)).yaml_hash == compiled(spec(back, list(reversed(COLUMNS)))).yaml_hash
    assert (
        compiled(spec(columns=COLUMNS)).yaml_hash
        == compiled(spec(columns=[{**COLUMNS[0], "nullable": True}, COLUMNS[1]])).yaml_hash
    )


@pytest.mark.parametrize(("said", "path", "words"), [
    ([{"output": 1, **LINEAGE[0]}], "spec.jobs[join].lineage[0].output", "has 1 outputs, counted from 0"),
    ([*LINEAGE, *LINEAGE], "spec.jobs[join].lineage[1].column", "told of twice"),
    ([{"column": "x", "from": [{"input": "cleen", "column": "y"}]}], "spec.jobs[join].lineage[0].from", "one of clean"),
])  # fmt: skip
def test_mistakes_of_lineage(said: Any, path: str, words: str) -> None:
    with pytest.raises(CompileError) as caught:
        compiled(spec(said))
    (problem,) = caught.value.problems
    assert (problem.path, words in problem.message) == (path, True)


def test_what_runs_in_the_operator_keeps_no_contract() -> None:
    day = {"name": "day", "source": {"kind": "manual", "partitions": {"values": ["a"]}}}
    with pytest.raises(CompileError, match="has no image and runs in the operator"):
        compiled({"jobs": [day], "publish": [{"name": "days", "from": {"job": "day"}, "columns": COLUMNS}]})


def test_a_source_has_no_lineage() -> None:
    day = {"name": "day", "image": "i", "source": {"kind": "manual", "partitions": {"values": ["a"]}},
           "lineage": [{"column": "x", "from": [{"input": "y", "column": "z"}]}]}  # fmt: skip
    with pytest.raises(CompileError, match="the job has no inputs"):
        compiled({"jobs": [day]})
