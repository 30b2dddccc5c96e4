"""The objects as last seen: found by their DAG, with the time of the last real change, and whom a change wakes."""

from __future__ import annotations

from itertools import count
from typing import Any

import pytest

from headrace.api import names
from headrace.cluster.objects import Body, Changes, Key, Objects

FLIGHTS, OTHER = Key("air", "flights"), Key("air", "other")


class World:
    """Objects of one namespace, and a clock that the test moves."""

    def __init__(self) -> None:
        self.now = 100.0
        self.objects = Objects(clock=lambda: self.now)
        self._versions = count(1)

    def note(self, kind: str, name: str, spec: Body | None = None, *, gone: bool = False, **metadata: Any) -> list[str]:
        """An event of an object; the names of the DAGs that it concerns."""
        meta = {"namespace": "air", "name": name, "uid": name, "generation": 1, **metadata,
                "resourceVersion": str(next(self._versions))}  # fmt: skip
        concerned = self.objects.note(kind, {"metadata": meta, "spec": spec or {}}, deleted=gone)
        assert all(key.namespace == "air" for key in concerned)
        return [key.name for key in concerned]

    def job(self, name: str, dag: str = "flights", **metadata: Any) -> list[str]:
        return self.note(names.JOB, name, {"dag": dag}, **metadata)

    def dataset(self, name: str, dag: str = "flights", **metadata: Any) -> list[str]:
        return self.note(names.DATASET, name, {"from": {"dag": dag}}, **metadata)

    def authored(self, key: Key = FLIGHTS) -> tuple[list[str], list[str]]:
        return sorted(self.objects.authored(names.JOB, key)), sorted(self.objects.authored(names.DATASET, key))


@pytest.fixture
def world() -> World:
    return World()


def test_objects_are_found_by_the_dag_that_they_name(world: World) -> None:
    assert world.job("a") == world.dataset("x") == ["flights"]
    world.job("b", "other")
    world.note(names.JOB, "flights.inline", {"dag": "flights", "jobName": "inline", "projected": True})
    assert world.authored() == (["a"], ["x"])
    assert world.authored(OTHER) == (["b"], [])
    assert list(world.objects.projected(names.JOB, FLIGHTS)) == ["flights.inline"]
    assert world.objects.projected(names.DATASET, FLIGHTS) == {}
    assert world.objects.dags() == []
    assert world.objects.named_dags() == [FLIGHTS, OTHER]
    assert world.job("a", gone=True) == ["flights"]
    assert world.authored() == ([], ["x"])


def test_an_object_that_moves_wakes_both_dags(world: World) -> None:
    world.job("a")
    world.now += 5
    assert sorted(world.job("a", "other", generation=2)) == ["flights", "other"]
    assert (world.authored(), world.authored(OTHER)) == (([], []), (["a"], []))
    assert (world.objects.changes(FLIGHTS).last, world.objects.changes(OTHER).last) == (105.0, 105.0)


def test_an_older_event_concerns_nobody(world: World) -> None:
    body: Body = {"metadata": {"namespace": "air", "name": "a", "resourceVersion": "9"}, "spec": {"dag": "flights"}}
    assert world.objects.note(names.JOB, body) == (FLIGHTS,)
    assert world.objects.note(names.JOB, body) == ()


@pytest.mark.parametrize(
    ("metadata", "counts"),
    [
        pytest.param({"generation": 2}, True, id="its spec"),
        pytest.param({"uid": "anew"}, True, id="it was made anew"),
        pytest.param({"annotations": {"headrace.dev/revision": "r"}}, True, id="its revision"),
        pytest.param({"deletionTimestamp": "2026-01-01T00:00:00Z"}, True, id="it is being deleted"),
        pytest.param({"gone": True}, True, id="it is gone"),
        pytest.param({}, False, id="its status"),
        pytest.param({"annotations": {"headrace.dev/run": "1 a"}}, False, id="a command"),
        pytest.param({"labels": {"a": "b"}}, False, id="a label"),
    ],
)
@pytest.mark.parametrize("kind", [names.DAG, names.JOB, names.DATASET])
def test_only_what_somebody_wrote_of_the_set_is_a_change(
    world: World, kind: str, metadata: dict[str, Any], counts: bool
) -> None:
    spec: Body = {"dag": "flights", "from": {"dag": "flights"}}
    world.note(kind, "flights", spec)
    first = world.objects.changes(FLIGHTS)
    world.now += 7
    assert world.note(kind, "flights", spec, **metadata) == ["flights"]
    member = 107.0 if kind != names.DAG else float("-inf")
    assert first == Changes(1, 100.0, 100.0 if kind != names.DAG else float("-inf"))
    assert world.objects.changes(FLIGHTS) == (Changes(2, 107.0, member) if counts else first)


def test_what_the_operator_shows_is_no_change(world: World) -> None:
    shown: Body = {"dag": "flights", "jobName": "j", "projected": True}
    for generation in (1, 2):
        assert world.note(names.JOB, "flights.j", shown, generation=generation) == ["flights"]
    world.note(names.JOB, "flights.j", shown, gone=True)
    assert world.objects.changes(FLIGHTS) == Changes()


def test_what_a_list_does_not_have_is_gone_and_a_change(world: World) -> None:
    world.job("a")
    world.now += 3
    world.objects.forget(names.JOB, ("air", "a"))
    assert world.authored() == ([], [])
    assert world.objects.changes(FLIGHTS) == Changes(2, 103.0, 103.0)
    assert world.objects.named_dags() == []
    world.objects.forget_unnamed()
    assert world.objects.changes(FLIGHTS) == Changes()
