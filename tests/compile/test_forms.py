"""Three ways of writing one pipeline: inline, as objects, mixed. They mean the same; what is wrong names its object."""

from __future__ import annotations

import itertools
import random
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.api.parse import parse_dag, parse_job
from headrace.compile.dag import compile_dag
from headrace.compile.problems import CompileError
from tests.compile.documents import DAY, FULL, LOAD, Spec, Specs, apart, compiled, step
from tests.compile.test_fingerprints import LIMITS
from tests.compile.test_hashes import BASE, shuffled

JOBS, DATASETS = ("day", "load", "clean", "report"), ("clean_rows", "rejected")

# A pipeline of objects alone, whose names are the objects': yaml_hash, and the fingerprints of its jobs.
AUTHORED_JOBS: Specs = {
    "clean-up": {"image": "i", "inputs": [{"from": {"job": "day"}}], "config": {"n": 1}},
    "day": {"source": {"kind": "manual"}},
}
AUTHORED_DATASETS: Specs = {"clean-rows": {"from": {"dag": "events", "job": "clean-up"}, "description": "rows"}}
SOURCE: Spec = {"name": "s", "source": {"kind": "manual"}}


def reader(*inputs: Spec) -> Spec:
    """A DAG with a job `a` of these inputs beside a source `s`."""
    return {"jobs": [{**step("a", "s"), "inputs": [*inputs, {"name": "d", "from": {"job": "s"}}]}, SOURCE]}


EXTERNAL = reader({"from": {"dataset": "days"}})
DEEP: Spec = {
    "jobs": [{"name": "j0", "source": {"kind": "manual"}}, *(step(f"j{n}", f"j{n - 1}") for n in range(1, 400))]
}

GOLDEN: dict[str, tuple[str, dict[str, str]]] = {
    "authored": (
        "v1-d82de293206354aeeaa1c01fab27564cf5b6ccc4b48d30b6b1e8d38c4787c5a9",
        {
            "clean-up": "v1-df41270c5024ca250d1441a59a2c98152d602103bb424d1073e158bf5eb5abf6",
            "day": "v1-827e8f4157f3b3dd040622384eb1c9f20386831705d8f339c0fe08840fe954b0",
        },
    ),
    "mixed": (
        "v1-6d8a6f3a15bcfb7e8e1fce27980c74890dc2cc1b8e523e17ad5cae4df361f6cf",
        {
            "clean": "v1-43bd3e4e4b301748c6447c2f0d2789c684504fa1304a7fc24e73c13b3bb80418",
            "day": "v1-ee520c1deb197eeeb47f4893e97bd6327b168b37629de9fae8c25700fedd7e06",
            "load": "v1-827d2682ad2d0e84e875a2ed6e62b0f14f01ab8e9df5da8b6b6151c58bc1fc96",
            "report": "v1-5097a2070a32483e89598eedf9e38cf918a2e879593261f7b412bdc8d37600fd",
        },
    ),
    "another DAG's dataset": (
        "v1-953a1f141a84b04da193fa12d5c6e68e0aea17824faa58429545b3e76511a05e",
        {
            "a": "v1-ae16f9723d1050644f4bdbe6fb2040c2d51fef3ba334f6e23cc5531e160c4162",
            "s": "v1-827e8f4157f3b3dd040622384eb1c9f20386831705d8f339c0fe08840fe954b0",
        },
    ),
    "deep": (
        "v1-121fb7fc6bb83309411a496535cf85b882a0d539af4620906bc5b00a75c6f5ca",
        {
            "j0": "v1-827e8f4157f3b3dd040622384eb1c9f20386831705d8f339c0fe08840fe954b0",
            "j399": "v1-a380b64020433021efcbdcc0f24209ca0f5a1a0abeed7c42c261a878ea426030",
        },
    ),
}


def golden_cases() -> dict[str, Any]:
    """The pipelines whose hashes are recorded, compiled."""
    mixed, jobs, datasets = apart(FULL, ("day", "clean"), ("rejected",))
    deep = compiled(DEEP)
    return {
        "authored": compiled({}, jobs=AUTHORED_JOBS, datasets=AUTHORED_DATASETS),
        "mixed": compiled(mixed, jobs=jobs, datasets=datasets),
        "another DAG's dataset": compiled(EXTERNAL),
        "deep": deep,
    }


@pytest.mark.parametrize("name", GOLDEN)
def test_recorded_hashes_stay_what_they_were(name: str) -> None:
    """As in test_hashes: a new value here would rebuild everyone's data."""
    made = golden_cases()[name]
    yaml_hash, fingerprints = GOLDEN[name]
    assert made.yaml_hash == yaml_hash
    assert {job: made.jobs[job].fingerprint for job in fingerprints} == fingerprints


@pytest.mark.parametrize("count", range(len(JOBS) + 1))
def test_every_way_of_writing_is_one_document(count: int) -> None:
    """Any of the jobs and datasets as objects of their own: the same document, hashes, graph, and thus version."""
    for jobs in itertools.combinations(JOBS, count):
        for datasets in ((), ("rejected",), DATASETS):
            rest, job_specs, dataset_specs = apart(FULL, jobs, datasets)
            assert compiled(rest, jobs=job_specs, datasets=dataset_specs) == BASE


@LIMITS
@given(st.integers(), st.sets(st.sampled_from(JOBS)), st.sets(st.sampled_from(DATASETS)), st.randoms())
def test_any_order_and_any_form_give_the_same_hashes(seed: int, jobs: set[str], datasets: set[str], order: Any) -> None:
    rest, *authored = apart(FULL, jobs, datasets)
    shuffled_rest: Any = shuffled(rest, seed)
    mixed = []
    for specs in authored:
        items = [(name, shuffled(spec, seed)) for name, spec in specs.items()]
        order.shuffle(items)
        mixed.append(dict(items))
    made = compiled(shuffled_rest, jobs=mixed[0], datasets=mixed[1])
    assert (made.yaml_hash, made.jobs) == (BASE.yaml_hash, BASE.jobs)


def test_names_default_to_those_of_the_objects() -> None:
    document = compiled({}, jobs=AUTHORED_JOBS, datasets=AUTHORED_DATASETS).document
    assert [j.name for j in document.jobs] == ["clean-up", "day"]
    assert [(p.name, p.job, p.output) for p in document.publish] == [("clean_rows", "clean-up", 0)]


def test_defaults_of_the_dag_hold_for_objects_too() -> None:
    rest, jobs, _ = apart(FULL, ("report",))
    document = compiled(rest, jobs=jobs).document
    report = next(j for j in document.jobs if j.name == "report")
    assert (report.timeout_seconds, report.heartbeat_timeout_seconds, report.scaling.max_concurrency) == (600, 30, 2)
    assert report.pod is not None
    assert "volumes" in str(report.pod)


def test_a_dataset_that_the_dag_publishes_is_its_own_edge_and_any_other_is_another_dags() -> None:
    """Its own wins even when it is written as an object of its own; no other DAG can have the name then."""
    rest, jobs, datasets = apart(FULL, ("report",), ("clean_rows",))
    own = compiled(rest, jobs=jobs, datasets=datasets)
    assert own.external == ()
    assert "clean" in own.upstream_of("report")
    other = compiled(rest, jobs=jobs)
    assert other.external == ("clean_rows",)
    assert other.upstream_of("report") == {"load"}
    (given, _) = next(j for j in other.document.jobs if j.name == "report").inputs
    assert (given.name, given.job, given.output, given.dataset) == ("clean_rows", "", 0, "clean_rows")
    assert other.jobs["report"].fingerprint != own.jobs["report"].fingerprint


def test_another_dags_dataset_counts_by_its_name() -> None:
    made = compiled(EXTERNAL)
    renamed = compiled(reader({"name": "days", "from": {"dataset": "nights"}}))
    assert (made.external, renamed.external) == (("days",), ("nights",))
    assert made.jobs["a"].fingerprint != renamed.jobs["a"].fingerprint
    assert made.jobs["s"] == renamed.jobs["s"]
    assert made.upstream_of("a") == {"s"}


def refused(spec: Spec, jobs: Specs | None = None, datasets: Specs | None = None) -> list[tuple[str, str, str, str]]:
    """(object, path, value, message) of everything that is wrong."""
    with pytest.raises(CompileError) as caught:
        compiled(spec, jobs=jobs, datasets=datasets)
    return [(p.object, p.path, p.value, p.message) for p in caught.value.problems]


def test_problems_name_the_object_that_they_are_in_all_at_once() -> None:
    found = refused(
        {"jobs": [DAY, step("a", "dya")], "rollout": {"reuse": ["a", "b"]}},
        {
            "b-obj": {**step("x", "nobody"), "jobName": "b-obj", "configSchema": {"type": "int"}},
            "c": {"inputs": [{"from": {"job": "day", "output": 3}}]},
        },
        {"d": {"from": {"dag": "events", "job": "lost"}}, "e": {"from": {"dag": "events", "job": "day", "output": 2}}},
    )  # fmt: skip
    assert [(o, p, v) for o, p, v, _ in found] == [
        ("Job b-obj", "spec.configSchema", ""),
        ("Job c", "spec.image", ""),
        ("DAG events", "spec.jobs[a].inputs[0].from.job", "dya"),
        ("Job b-obj", "spec.inputs[0].from.job", "nobody"),
        ("Job c", "spec.inputs[0].from.output", "3"),
        ("Dataset d", "spec.from.job", "lost"),
        ("Dataset e", "spec.from.output", "2"),
        ("DAG events", "spec.rollout.reuse", "b"),
    ]
    assert "use one of a, b-obj, c, day" in found[2][3]


@pytest.mark.parametrize(
    ("jobs", "datasets", "told"),
    [
        pytest.param({"a": {**LOAD, "jobName": "day"}}, {}, [
            ("Job a", "spec.jobName", "day", "also the name of spec.jobs[day] of DAG events: rename one")],
            id="a job inline and as an object"),
        pytest.param({"a": LOAD, "b": {**LOAD, "jobName": "a"}}, {}, [
            ("Job a", "metadata.name", "a", "also the name of Job b: rename one"),
            ("Job b", "spec.jobName", "a", "also the name of Job a: rename one")], id="two objects"),
        pytest.param({}, {"days": {"from": {"dag": "events", "job": "day"}}}, [
            ("Dataset days", "metadata.name", "days", "also the name of spec.publish[days] of DAG events: rename one"),
            ("Dataset days", "spec.from", "day[0]", "already published as days: publish it once")],
            id="a dataset inline and as an object"),
    ],
)  # fmt: skip
def test_names_given_twice_over_all_objects(jobs: Specs, datasets: Specs, told: list[tuple[str, ...]]) -> None:
    spec: Spec = {"jobs": [DAY], "publish": [{"name": "days", "from": {"job": "day"}}]}
    assert refused(spec, jobs, datasets) == told


def test_an_object_is_never_shown_like_an_inline_job() -> None:
    """`a_b` inline is shown as `events.a-b`, with a dot; the object `a-b` shows itself."""
    spec = {"jobs": [DAY, step("a_b", "day")], "publish": [{"name": "x_", "from": {"job": "day"}}]}
    datasets: Specs = {"x": {"from": {"dag": "events", "job": "a_b"}}}
    made = compiled(spec, jobs={"a-b": step("", "day")}, datasets=datasets)
    assert {"a_b", "a-b"} <= set(made.jobs)
    assert {p.name for p in made.document.publish} == {"x_", "x"}


def test_more_jobs_than_a_dag_may_have_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("headrace.api.names.MAX_JOBS", 3)
    assert compiled({"jobs": [DAY, LOAD, step("a", "day")]})
    rest, jobs, _ = apart({"jobs": [DAY, LOAD, step("a", "day"), step("b", "day")]}, ("a",))
    assert refused(rest, jobs)[0][:3] == ("DAG events", "spec", "4")


def layered(count: int) -> list[dict[str, Any]]:
    """Job objects in 20 layers, each reading one to three jobs of the layer above."""
    draw, width = random.Random(1), max(3, count // 20)
    found = []
    for n in range(count):
        first = n // width * width
        above = draw.sample(range(first - width, first), draw.randint(1, 3)) if first else []
        spec = {"dag": "big", "image": "example/etl:1", "args": [str(n)], "config": {"n": n}}
        spec |= {"inputs": [{"from": {"job": f"j{p}"}} for p in above]} if above else {"source": {"kind": "manual"}}
        found.append(
            {"apiVersion": "headrace.dev/v1alpha1", "kind": "Job", "metadata": {"name": f"j{n}"}, "spec": spec}
        )
    return found


def test_ten_thousand_job_objects_take_seconds() -> None:
    """Processor time of parsing and compiling: 2 s; any step that is quadratic takes minutes."""
    bodies, template = (
        layered(10_000),
        {"spec": {"containers": [{"name": "main", "env": [{"name": "A", "value": "1"}]}]}},
    )
    body = {"apiVersion": "headrace.dev/v1alpha1", "kind": "DAG", "metadata": {"name": "big"},
            "spec": {"defaults": {"template": template}}}  # fmt: skip
    began = time.process_time()
    parsed = [parse_job(one) for one in bodies]
    made = compile_dag("big", parse_dag(body).spec, {one.metadata.name: one.spec for one in parsed})
    assert time.process_time() - began < 8.0
    assert len(made.jobs) == 10_000
    assert {job.position for job in made.jobs.values()} == set(range(10_000))
