"""What a plan says of changed jobs: fields in the form that people write, causes, and what becomes of lists; pure."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import msgspec

from headrace.compile.document import Compiled
from headrace.plan.explain import explain
from headrace.plan.explanation import KEPT, Explanation, kept
from headrace.plan.observed import DifferingJob, Observed, UnitCount
from tests.compile.documents import Spec, compiled, step


def days(*keys: str, **source: object) -> Spec:
    """A source over these keys."""
    return {"name": "day", "source": {"kind": "manual", "partitions": {"values": list(keys)}, **source}}


def plain(found: Compiled, job: str) -> Any:
    """A job's document as Postgres gives it."""
    return msgspec.json.decode(msgspec.json.encode(found.document_of(job)))


def change(old: Compiled, new: Compiled, *units: tuple[str, int, int]) -> Explanation:
    """What going from one document to another says; `units`: of a job, all and done."""
    jobs = tuple(
        DifferingJob(name=name, wanted=name in new.jobs, document=plain(old, name) if name in old.jobs else None,
                     fingerprint=old.jobs[name].fingerprint if name in old.jobs else None)
        for name in sorted(old.jobs.keys() | new.jobs.keys())
    )  # fmt: skip
    counts = tuple(UnitCount(job=job, units=total, done=done) for job, total, done in units)
    observed = Observed(org_id=UUID(int=1), compiled=new, current_version=UUID(int=2), current_hash=old.yaml_hash,
                        jobs=jobs, counts=counts)  # fmt: skip
    return explain(new, observed, (), "build first")


def document(*jobs: Spec) -> Compiled:
    return compiled({"jobs": list(jobs)}, dag="flights")


OLD = document(days("a"), step("clean", "day", config={"n": 1}), step("join", "clean"), step("other", "day"))


def test_changed_fields_and_what_follows() -> None:
    new = document(days("a"), step("clean", "day", config={"n": 2}), step("join", "clean"), step("added", "day"))
    told = change(OLD, new, ("clean", 3, 1), ("join", 3, 0), ("added", 3, 0))
    found = {job.job: job for job in told.jobs}
    assert {name: job.change for name, job in found.items()} == {
        "added": "added", "clean": "changed", "join": "downstream", "other": "removed",
    }  # fmt: skip
    assert [(f.path, f.old, f.new) for f in found["clean"].fields] == [("config.n", 1, 2)]
    assert (found["join"].because, found["join"].units, found["clean"].units) == (("clean",), 3, 2)
    assert {d.dataset: d.action for d in told.datasets} == {
        "flights.added.0": "added", "flights.clean.0": "caught up", "flights.join.0": "rebuilt",
    }  # fmt: skip
    assert (told.unchanged, told.tasks, told.partitions) == (1, 8, 8)


def test_an_input_is_told_as_it_is_written() -> None:
    """Not as it is compiled: there a dataset of another DAG has an empty job."""
    reads = {"name": "join", "image": "i", "inputs": [{"from": {"dataset": "rows"}}]}
    new = document(days("a"), step("clean", "day", config={"n": 1}), reads, step("other", "day"))
    (job,) = change(OLD, new).jobs
    assert [(f.path, f.old, f.new) for f in job.fields] == [
        ("inputs[0].from", {"job": "clean", "output": 0}, {"dataset": "rows"}),
        ("inputs[0].name", "clean", "rows"),
    ]


def test_a_longer_list_is_told_what_makes_it_come_true() -> None:
    rest = [step("clean", "day", config={"n": 1}), step("join", "clean"), step("other", "day")]
    told = change(OLD, document(days("a", "b"), *rest))
    assert told.notes == ("job day: what is new in its list is made by its next run; what left it keeps its data",)
    assert change(OLD, document(days("a"), *rest)).notes == ()


def test_lineage_is_told_by_column() -> None:
    def made(*sources: str) -> Compiled:
        said = [{"column": "late", "from": [{"input": "day", "column": one} for one in sources]}]
        return document(days("a"), step("clean", "day", lineage=said))

    (found,) = change(made("arr"), made("arr", "dep")).jobs
    assert (found.change, found.rebuilds) == ("changed", False)
    assert [(f.path, f.old, f.new) for f in found.fields] == [("lineage.late", "day.arr", "day.arr, day.dep")]


def test_what_is_kept_with_a_rollout_names_fields_and_not_their_values() -> None:
    secret = step("clean", "day", config={"n": "canary"}, env=[{"name": "A", "value": "canary"}])
    for others in ((), tuple(step(f"j{number}", "day") for number in range(KEPT))):
        new = document(days("a"), secret, step("join", "clean"), *others)
        told = change(OLD, new)
        assert "canary" in str(told)
        whole = kept(told)
        assert "canary" not in str(whole)
        (job,) = [job for job in whole.jobs if job.job == "clean"]
        assert "config.n" in [f.path for f in job.fields]
