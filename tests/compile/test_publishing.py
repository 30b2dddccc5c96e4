"""Who may read is said beside the document, and holds whatever else of an object is wrong: pure."""

from __future__ import annotations

from typing import Any

import pytest

from headrace.compile.publishing import NameSettings, name_settings


def dag(*publish: Any, **spec: Any) -> dict[str, Any]:
    return {"metadata": {"name": "flights"}, "spec": {"publish": list(publish), **spec}}


def own(**fields: Any) -> dict[str, Any]:
    return {"name": "delays", "from": {"job": "join"}, **fields}


def dataset(**fields: Any) -> dict[str, Any]:
    return {"spec": {"from": {"dag": "flights", "job": "join"}, **fields}}


def test_both_ways_of_writing() -> None:
    said = {"readRoles": ["b", "a"], "retention": {"versions": 3}}
    expected = (NameSettings(name="delays", read_roles=("a", "b"), versions=3),)
    assert name_settings(dag(own(**said)), {}) == expected
    assert name_settings(dag(), {"x": dataset(datasetName="delays", **said)}) == expected
    assert name_settings(dag(), {"delays": dataset(**said)}) == expected


def test_nothing_said_is_open_and_keeps_ten() -> None:
    assert name_settings(dag(own()), {}) == (NameSettings(name="delays", read_roles=(), versions=10),)


def test_only_what_the_dag_lists_speaks_for_it() -> None:
    opens, closes = {"delays": dataset()}, {"delays": dataset(readRoles=["a"])}
    assert name_settings(dag(datasetRefs=["other"]), opens) == ()
    assert len(name_settings(dag(datasetRefs=["delays"]), closes)) == 1
    gone = {"delays": {**dataset(), "metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"}}}
    assert name_settings(dag(), gone) == ()


def test_no_other_object_opens_what_a_dag_publishes() -> None:
    """Also where the set is refused for it: two objects claim one name."""
    found = name_settings(dag(own(readRoles=["a"])), {"delays": dataset()})
    assert found == (NameSettings(name="delays", read_roles=("a",)),)
    assert name_settings(dag(), {"delays": dataset(readRoles=["a"]), "d": dataset(datasetName="delays")}) == ()


@pytest.mark.parametrize("publish", [
    own(readRoles="a"), own(readRoles=[1]), own(retention={"versions": 0}), own(retention={"versions": "3"}),
    {"from": 1}, {"name": 7}, "x",
])  # fmt: skip
def test_of_what_is_malformed_nothing_holds(publish: Any) -> None:
    assert name_settings(dag(publish), {}) == ()


@pytest.mark.parametrize("body", [{}, {"spec": None}, {"spec": {"publish": {"a": 1}}}])
def test_objects_of_any_form(body: dict[str, Any]) -> None:
    assert name_settings(body, {}) == ()
