"""`PerUpdate`: which input sets the job off, how the others are read, what waits for what, what decides on the data."""

from __future__ import annotations

from headrace.compile.document import Compiled
from tests.compile.documents import Spec, compiled, step

APPEND: Spec = {"updateStrategy": "append", "uniqueKey": ["n"]}


def job(*inputs: str, other: Spec | None = None, **fields: object) -> Compiled:
    """A job `a` that reads these sources so; `other`: how it reads the second."""
    sources = [{"name": name, "source": {"kind": "manual"}} for name in ("b", "c")]
    read = [{"from": {"job": name}, **(other or {} if place else {})} for place, name in enumerate(inputs)]
    return compiled({"jobs": [*sources, {**step("a"), "executionStrategy": "PerUpdate", "inputs": read, **fields}]})


def reading(found: Compiled) -> list[tuple[str, str, str]]:
    return [(i.name, i.match, i.on_change) for i in found.document_of("a").inputs]


def test_the_first_input_sets_it_off_and_the_others_are_read_as_a_whole() -> None:
    assert reading(job("b", "c")) == [("b", "latest", "rerun"), ("c", "latest", "stale")]
    assert reading(job("b", "c", **APPEND)) == [("b", "latest", "update"), ("c", "latest", "stale")]
    rerun = {"match": "latest", "onChange": "rerun"}
    assert reading(job("b", "c", other=rerun, **APPEND)) == [("b", "latest", "update"), ("c", "latest", "rerun")]


def awaited(found: Compiled) -> set[str]:
    bits = found.jobs["a"].awaited or 0
    return {one.name for place, one in enumerate(found.document.jobs) if bits >> place & 1}


def test_an_update_waits_for_nothing_else_on_its_way_to_the_same_dataset() -> None:
    assert awaited(job("b", "c")) == {"b", "c"}
    assert awaited(job("b", "c", **APPEND)) == {"c"}
    assert job("b", **APPEND).jobs["a"].awaited is None


def test_merging_decides_on_nothing_and_the_strategy_does() -> None:
    one, merged = job("b", **APPEND), job("b", coalesce=True, **APPEND)
    assert one.jobs["a"].fingerprint == merged.jobs["a"].fingerprint
    assert one.yaml_hash != merged.yaml_hash
    assert job("b").jobs["a"].fingerprint != one.jobs["a"].fingerprint
