"""When a set of objects is complete: a table of what arrived so far, and what is awaited then."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.compile.members import Members, Waiting, authored, gather
from tests.compile.test_fingerprints import LIMITS

Body = dict[str, Any]
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(
        st.sampled_from(["spec", "metadata", "name", "dag", "from", "annotations", "jobRefs", "datasetRefs", "jobs",
                         "headrace.dev/revision", "deletionTimestamp", "projected"]), inner, max_size=4),
)  # fmt: skip


def obj(kind: str, name: str, spec: Body | None = None, revision: str | None = None, **metadata: object) -> Body:
    """An object as the API server gives it."""
    annotations = {} if revision is None else {"headrace.dev/revision": revision}
    return {"kind": kind, "metadata": {"name": name, "annotations": annotations, **metadata}, "spec": spec or {}}


def dag(revision: str | None = None, **spec: object) -> Body:
    return obj("DAG", "d", spec, revision)


def job(name: str, revision: str | None = None, dag: str = "d", **metadata: object) -> Body:
    return obj("Job", name, {"dag": dag}, revision, **metadata)


def dataset(name: str, revision: str | None = None, dag: str = "d", **metadata: object) -> Body:
    return obj("Dataset", name, {"from": {"dag": dag}}, revision, **metadata)


def found(about: Body, *objects: Body, quiet: float = 5.0, members_quiet: float = float("inf")) -> Members | Waiting:
    """What `gather` says when these objects are in the namespace."""
    written = [o for o in objects if authored(o)]
    names_it = [o for o in written if "d" in (o["spec"].get("dag"), o["spec"].get("from", {}).get("dag"))]
    by_name = {(o["kind"], o["metadata"]["name"]): o for o in objects}
    return gather(
        about,
        [o for o in names_it if o["kind"] == "Job"],
        [o for o in names_it if o["kind"] == "Dataset"],
        quiet,
        lambda kind, name: by_name.get((kind, name)),
        members_quiet,
    )


A, B, X = job("a"), job("b"), dataset("x")
READS = [{"name": "k", "inputs": [{"from": {"dataset": "x"}}, {"from": {"job": "j"}}]}]
INLINE = [{"name": "j", "source": {"kind": "manual"}}]


@pytest.mark.parametrize(
    ("about", "objects", "jobs", "datasets", "others"),
    [
        pytest.param(dag(jobs=INLINE), [], "", "", [], id="inline alone"),
        pytest.param(dag(), [A, B, X], "ab", "x", [], id="all that name it join"),
        pytest.param(dag(jobRefs=["b", "a"]), [A, B, X], "ab", "x", [], id="exactly the listed jobs, any dataset"),
        pytest.param(dag(jobRefs=["a"]), [A, B, X], "a", "x", [("Job", "b")], id="a job that is not listed waits"),
        pytest.param(dag(datasetRefs=[]), [A, X], "a", "", [("Dataset", "x")], id="no dataset is listed"),
        pytest.param(dag(jobRefs=[], datasetRefs=["x"]), [A, X], "", "x", [("Job", "a")], id="lists on their own"),
        pytest.param(dag(), [A, job("b", dag="other")], "a", "", [], id="another DAG's job"),
        pytest.param(dag(), [A, job("b", deletionTimestamp="2026-01-01T00:00:00Z")], "a", "", [], id="being deleted"),
        pytest.param(dag("r"), [job("a", "r"), dataset("x", "r")], "a", "x", [], id="one revision"),
        pytest.param(dag("r", jobRefs=["a"]), [job("a", "r"), job("b", "s")], "a", "", [("Job", "b")],
                     id="the revision of what is not listed"),
        pytest.param(dag(jobRefs=5, datasetRefs={"a": 1}), [A, X], "a", "x", [], id="lists that are none"),
        pytest.param(dag(jobRefs=["a", 5, None]), [A], "a", "", [], id="references that are none"),
    ],
)  # fmt: skip
def test_a_complete_set(about: Body, objects: list[Body], jobs: str, datasets: str, others: list[Any]) -> None:
    made = found(about, *objects)
    assert isinstance(made, Members)
    assert (sorted(made.jobs), sorted(made.datasets)) == (list(jobs), list(datasets))
    assert list(made.others) == others


@pytest.mark.parametrize(
    ("about", "objects", "reason", "told"),
    [
        pytest.param(dag(jobRefs=["a", "b", "c"]), [A], "MembersMissing",
                     ["spec.jobRefs: 2 of 3 Job objects are not there: b, c", "take them off the list"], id="missing"),
        pytest.param(dag(jobRefs=["b"], datasetRefs=["x", "y"]), [X], "MembersMissing",
                     ["jobRefs: 1 of 1 Job objects are not there: b", "datasetRefs: 1 of 2 Dataset objects", "y"],
                     id="of both lists"),
        pytest.param(dag(jobRefs=["a"]), [job("a", dag="other")], "MembersMissing",
                     ["Job a is there, but its spec.dag is other, not d"], id="it names another DAG"),
        pytest.param(dag(datasetRefs=["x"]), [dataset("x", dag="other")], "MembersMissing",
                     ["Dataset x is there, but its spec.from.dag is other, not d"], id="a dataset of another DAG"),
        pytest.param(dag(jobRefs=["a"]), [job("a", deletionTimestamp="2026-01-01T00:00:00Z")], "MembersMissing",
                     ["Job a is being deleted"], id="being deleted"),
        pytest.param(dag(jobRefs=["a"]), [obj("Job", "a", {"dag": "d", "projected": True})], "MembersMissing",
                     ["not there: a"], id="a projected namesake"),
        pytest.param(dag(jobRefs=[f"j{n}" for n in range(20)]), [], "MembersMissing",
                     ["20 of 20", "j0, j1, j10", "and 12 more"], id="many"),
        pytest.param(dag("r2", jobRefs=["a", "b"]), [job("a", "r2"), job("b", "r1")], "RevisionsDiffer",
                     ["r1 on Job b", "r2 on DAG d, Job a"], id="a job is behind"),
        pytest.param(dag("r1"), [job("a", "r2"), dataset("x", "r2")], "RevisionsDiffer",
                     ["r1 on DAG d", "r2 on Dataset x, Job a"], id="the DAG is behind"),
        pytest.param(dag(), [job("a", "r2"), B], "RevisionsDiffer", ["r2 on Job a", "none on DAG d, Job b"],
                     id="some have none"),
    ],
)  # fmt: skip
def test_an_incomplete_set_waits_for_a_change(about: Body, objects: list[Body], reason: str, told: list[str]) -> None:
    made = found(about, *objects)
    assert isinstance(made, Waiting)
    assert (made.reason, made.look_again_after) == (reason, None)
    for part in told:
        assert part in made.message


@pytest.mark.parametrize(
    ("about", "objects", "quiet", "members_quiet", "again"),
    [
        pytest.param(dag(), [A], 0.25, 0.25, 0.75, id="a member came just now"),
        pytest.param(dag(jobs=INLINE), [A], 0.25, 9.0, 0.75, id="the DAG changed just now"),
        pytest.param(dag(), [A], 1.0, 1.0, None, id="quiet for a second"),
        pytest.param(dag(jobs=INLINE), [], 0.0, float("inf"), None, id="a DAG without objects waits for nothing"),
        pytest.param(dag(jobs=INLINE), [], 0.0, 5.0, None, id="its last object left long ago"),
        pytest.param(dag(jobs=INLINE), [], 0.25, 0.25, 0.75, id="its last object left just now"),
        pytest.param(dag(), [], 0.25, float("inf"), 0.75, id="a DAG without any job: they are on their way"),
        pytest.param(dag(jobRefs=["a"]), [A, B], 0.5, 0.5, 0.5, id="an object that is not listed changed"),
        pytest.param(dag(jobs=READS), [], 0.5, float("inf"), 0.5, id="it reads what it does not publish inline"),
        pytest.param(dag(jobs=READS, publish=[{"name": "x"}]), [], 0.5, float("inf"), None, id="or does"),
    ],
)  # fmt: skip
def test_a_set_settles(about: Body, objects: list[Body], quiet: float, members_quiet: float, again: float) -> None:
    made = found(about, *objects, quiet=quiet, members_quiet=members_quiet)
    assert getattr(made, "look_again_after", None) == again
    assert isinstance(made, Members) == (again is None)
    assert getattr(made, "members", made) == found(about, *objects)


def test_what_leaves_a_dag_may_come_as_an_object() -> None:
    """A job that is moved out: for a second, the DAG is not compiled without it."""
    whole = dag(jobs=INLINE, publish=[{"name": "x"}])
    for was, waits in (({"j", "x"}, False), ({"j", "gone"}, True), (set(), False)):
        made = gather(whole, [], [], 0.5, lambda _kind, _name: None, was_inline=was)
        assert isinstance(made, Waiting) == waits


def test_those_not_listed_are_told_while_others_are_awaited() -> None:
    made = found(dag(jobRefs=["c"]), A)
    assert isinstance(made, Waiting)
    assert made.members == Members(others=(("Job", "a"),))


@LIMITS
@given(JSON, st.lists(JSON.filter(lambda v: isinstance(v, dict)), max_size=3))
def test_bodies_of_any_shape_break_nothing(about: Any, objects: list[Any]) -> None:
    body = about if isinstance(about, dict) else {"spec": about}
    assert gather(body, objects, objects, 0.0, lambda _kind, _name: objects[0] if objects else None)
