"""Fingerprints over random DAGs: a change reaches exactly the job that changed and everything downstream of it."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from headrace.compile.graph import ancestors, find_cycle, positions, topological
from tests.compile.documents import Spec, compiled

# The same examples each time, and no limits of time: a busy machine makes no test red.
LIMITS = settings(max_examples=100, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])


@st.composite
def dags(draw: st.DrawFn) -> list[Spec]:
    """Up to 20 jobs, each with up to three outputs, that read any outputs of those before them."""
    jobs: list[Spec] = []
    for index in range(draw(st.integers(1, 20))):
        above = st.integers(0, index - 1) if index else st.nothing()
        reads = draw(st.lists(above, max_size=3)) if index else []
        job: Spec = {"name": f"j{index}", "outputs": draw(st.integers(1, 3)), "image": "i", "config": {"n": 0}}
        if reads:
            job["inputs"] = [
                {"name": f"i{n}", "from": {"job": f"j{p}", "output": draw(st.integers(0, jobs[p]["outputs"] - 1))}}
                for n, p in enumerate(reads)
            ]
        else:
            job["source"] = {"kind": "manual"}
        jobs.append(job)
    return jobs


def downstream(jobs: list[Spec], name: str) -> set[str]:
    """The names of all jobs that read from `name`, at any distance; without the code under test."""
    found: set[str] = set()
    for job in jobs:  # in the order of data
        if {i["from"]["job"] for i in job.get("inputs", ())} & (found | {name}):
            found.add(job["name"])
    return found


@LIMITS
@given(st.data())
def test_changed_fingerprints_are_the_changed_job_and_everything_downstream(data: st.DataObject) -> None:
    jobs = data.draw(dags())
    target = data.draw(st.sampled_from(jobs))
    edit = data.draw(
        st.sampled_from([{"config": {"n": 1}}, {"image": "k"}, {"args": ["x"]}, {"outputs": target["outputs"] + 1}])
    )
    before = compiled({"jobs": jobs}).jobs
    after = compiled({"jobs": [{**j, **edit} if j is target else j for j in jobs]}).jobs
    expected = {target["name"]} | downstream(jobs, target["name"])
    assert {n for n in after if after[n].fingerprint != before[n].fingerprint} == expected
    assert {n for n in after if not set(after[n].outputs) & set(before[n].outputs)} == expected
    assert {n for n in after if after[n].config_hash != before[n].config_hash} == {target["name"]}


@LIMITS
@given(st.data())
def test_the_order_in_which_jobs_are_written_changes_nothing(data: st.DataObject) -> None:
    jobs = data.draw(dags())
    assert compiled({"jobs": data.draw(st.permutations(jobs))}) == compiled({"jobs": jobs})


@LIMITS
@given(dags())
def test_order_and_ancestors_follow_the_edges(jobs: list[Spec]) -> None:
    parents = {j["name"]: {i["from"]["job"] for i in j.get("inputs", ())} for j in jobs}
    order = topological(parents)
    assert sorted(order) == sorted(parents)
    assert all(order.index(above) < order.index(name) for name in parents for above in parents[name])
    assert find_cycle(parents) is None
    above = {name: {other for other in parents if name in downstream(jobs, other)} for name in parents}
    made = compiled({"jobs": jobs})
    assert above == {name: made.upstream_of(name) for name in made.jobs}
    places = sorted(parents)
    bits = ancestors(parents, order)
    assert above == {name: {places[place] for place in positions(bits[name])} for name in parents}
    assert [job.position for job in made.jobs.values()] == [places.index(job.name) for job in made.document.jobs]


@LIMITS
@given(dags(), st.data())
def test_a_cycle_is_found_and_told_in_the_direction_of_data(jobs: list[Spec], data: st.DataObject) -> None:
    parents = {j["name"]: {i["from"]["job"] for i in j.get("inputs", ())} for j in jobs}
    first = data.draw(st.sampled_from(sorted(parents)))
    last = data.draw(st.sampled_from(sorted({first} | downstream(jobs, first))))
    closed = {**parents, first: parents[first] | {last}}
    cycle = find_cycle(closed)
    assert cycle is not None
    assert cycle[0] == cycle[-1]
    assert all(a in closed[b] for a, b in pairwise(cycle))


def reading(**given: object) -> tuple[str, str]:
    """Hashes of a document, and of a job in it that reads a second input in this way."""
    day, rates = ({"name": name, "source": {"kind": "manual"}} for name in ("day", "rates"))
    inputs = [{"from": {"job": "day"}}, {"from": {"job": "rates"}, **given}]
    made = compiled({"jobs": [day, rates, {"name": "prices", "image": "i", "inputs": inputs}]})
    return made.yaml_hash, made.jobs["prices"].config_hash


def test_how_an_input_is_read_is_data_and_what_its_change_does_is_not() -> None:
    same, whole = reading(), reading(match="latest")
    assert same[1] != whole[1]
    rerun = reading(match="latest", onChange="rerun")
    assert (rerun[0] != whole[0], rerun[1]) == (True, whole[1])
    assert reading(match="latest", onChange="stale") == whole
    filtered = reading(where={"a": ["y", "x", "y"], "b": 1})
    assert filtered[1] != same[1]
    assert reading(where={"b": 1, "a": ["x", "y"]}) == filtered
    assert reading(where={"b": 1, "a": ["x"]}) != filtered
