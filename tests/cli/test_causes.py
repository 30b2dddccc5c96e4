"""`headrace why`: the chain from a DAG, a job or a dataset down to what has no cause itself, in the objects' words."""

from __future__ import annotations

import re
from collections.abc import Iterable
from contextlib import suppress
from itertools import pairwise
from random import Random
from typing import Any, TypeVar

import pytest

from headrace.cli.causes import Cause, cause_of
from headrace.cli.objects import NoSuchObject
from headrace.cli.why import show_cause
from tests.cli.views import OTHER, conditions, dag, dataset, job, namespace

T = TypeVar("T")
JOBS = {"month": (), "clean": ({"job": "month"},), "rank": ({"job": "clean"},)}
WORK = conditions(Ready="", Serving="", UpToDate_=("WorkLeft", "tasks: 3 waiting, 2 failed for good"))
FAILED = "2 failed for good, last 2013-04: exit code 3: no such column"
HELD = "3 of 3 wait for work upstream"
FAILING: dict[str, Any] = {
    "dags": [dag(jobs=JOBS, conditions=WORK)],
    "jobs": [
        job("month"),
        job("clean", state="Failing", failed=2, waitingFor=FAILED),
        job("rank", state="Waiting", waiting=3, waitingFor=HELD),
    ],
    "datasets": [dataset("clean_rows", "clean"), dataset("ranks", "rank")],
}


def chain(cause: Cause) -> list[str]:
    """The objects down the first branch."""
    return [cause.object, *(chain(cause.causes[0]) if cause.causes else [])]


def leaf(cause: Cause) -> Cause:
    """The root cause of the first branch."""
    return leaf(cause.causes[0]) if cause.causes else cause


@pytest.mark.parametrize(
    ("target", "objects"),
    [
        ("flights", ["DAG flights", "job flights/rank", "job flights/clean"]),
        ("flights/rank", ["job flights/rank", "job flights/clean"]),
        ("ranks", ["dataset ranks", "job flights/rank", "job flights/clean"]),
        ("clean_rows", ["dataset clean_rows", "job flights/clean"]),
        ("flights.rank.0", ["job flights/rank", "job flights/clean"]),
    ],
)
def test_a_chain_ends_at_the_task_that_failed(target: str, objects: list[str]) -> None:
    found = cause_of(namespace(**FAILING), target)
    assert chain(found) == objects
    assert leaf(found).words == (FAILED,)


@pytest.mark.parametrize("state", ["Running", "Suspended", "Failing"])
def test_what_failed_is_told_beside_a_job_below_it_that_has_words_of_its_own(state: str) -> None:
    jobs = [*FAILING["jobs"][:2], job("rank", state=state, running=1, failed=1, waitingFor="its own")]
    found = cause_of(namespace(**{**FAILING, "jobs": jobs}), "flights")
    assert [one.object for one in found.causes] == ["job flights/clean", "job flights/rank"]


def test_what_failed_comes_before_the_many_that_only_run() -> None:
    names = [f"j{n:02}" for n in range(24)]
    reads = {name: ({"job": above},) for above, name in pairwise(names)}
    jobs = [job(name, state="Running", running=1) for name in names[:-1]]
    objects = {**FAILING, "dags": [dag(jobs=reads, conditions=WORK)],
               "jobs": [*jobs, job(names[-1], state="Failing", failed=1, waitingFor=FAILED)]}  # fmt: skip
    found = cause_of(namespace(**objects), "flights")
    assert found.causes[0].object == "job flights/j23"


def test_it_is_shown_each_cause_below_what_it_causes() -> None:
    assert show_cause(cause_of(namespace(**FAILING), "ranks")).splitlines() == [
        "dataset ranks: Ready",
        "  - 3 partitions, the last made at 2026-01-05T11:53:00Z",
        "  ← job flights/rank: Waiting",
        f"    - {HELD}",
        "    ← job flights/clean: Failing",
        f"      - {FAILED}",
    ]
    long = {**FAILING, "jobs": [job("clean", state="Failing", waitingFor="word " * 60 + "\x1b[31m")]}
    text = show_cause(cause_of(namespace(**long), "flights"))
    assert "\x1b" not in text
    assert max(map(len, text.splitlines())) <= 80


def test_a_dag_says_why_in_the_words_of_its_conditions() -> None:
    told = conditions(
        Ready="", Stalled=("MembersMissing", "spec.jobRefs: 1 of 2 Job objects are not there: b. Apply them"),
        Serving_=("MembersMissing", "see Stalled"), UpToDate_=("NotServing", "see Serving"),
    )  # fmt: skip
    found = cause_of(namespace(dags=[dag(conditions=told)]), "flights")
    assert found.state == "Stalled"
    assert found.words == ("Stalled (MembersMissing): spec.jobRefs: 1 of 2 Job objects are not there: b. Apply them",)
    waits = "version fedcba9876 is planned, 0 of 9 tasks done; headrace approve flights lets it begin"
    told = conditions(Ready="", Serving_=("AwaitingApproval", "see Rebuilding"),
                      Rebuilding=("AwaitingApproval", waits), UpToDate_=("NotServing", "x"))  # fmt: skip
    found = cause_of(namespace(dags=[dag(conditions=told)]), "flights")
    assert (found.state, found.words) == ("AwaitingApproval", (f"Rebuilding (AwaitingApproval): {waits}",))
    told = conditions(Ready="", Serving_=("Pinned", "0123456789 is pinned"), UpToDate_=("NotServing", "x"))
    found = cause_of(namespace(dags=[dag(conditions=told)]), "flights")
    assert found.words == ("Serving is False (Pinned): 0123456789 is pinned",)


def test_a_dag_that_is_up_to_date_or_not_handled_yet() -> None:
    found = cause_of(namespace(dags=[dag(jobs=JOBS)], jobs=[job("month", waitingFor="no run yet: …")]), "flights")
    assert found == Cause(object="DAG flights", state="UpToDate",
                          words=("the newest spec serves, and nothing waits, runs or has failed",))  # fmt: skip
    found = cause_of(namespace(dags=[dag(generation=2)]), "flights")
    assert found.words == ("the operator has not handled the newest spec yet",)


def test_a_chain_goes_on_in_other_dags() -> None:
    suspended = "the DAG is suspended: set spec.suspend to false"
    objects = {
        "dags": [dag(jobs={"report": ({"dataset": "rows"},)}), dag("other", {"load": ()}, {"suspend": True})],
        "jobs": [job("report", units={"done": 0}), job("load", "other", state="Suspended", waiting=4,
                                                       waitingFor=suspended)],
        "datasets": [dataset("daily", "report", partitions=0), dataset("rows", "load", "other", partitions=0)],
    }  # fmt: skip
    found = cause_of(namespace(**objects), "daily")
    assert chain(found) == ["dataset daily", "job flights/report", "dataset rows", "job other/load"]
    assert leaf(found).words == (suspended,)
    assert found.state == "Empty"
    absent = {**objects, "datasets": objects["datasets"][:1]}
    assert leaf(cause_of(namespace(**absent), "daily")).words == ("there is no dataset rows in the namespace",)
    stalled = dag("other", {"load": ()}, conditions=conditions(Ready="", Stalled=("InvalidSpec", "spec: wrong")))
    told = cause_of(namespace(**{**objects, "dags": [objects["dags"][0], stalled]}), "rows")
    assert [one.object for one in told.causes] == ["job other/load"]
    assert [one.object for one in told.causes[0].causes] == ["DAG other"]
    assert leaf(told).words == ("Stalled (InvalidSpec): spec: wrong",)


def test_a_source_that_was_never_run_is_a_root() -> None:
    never = "no run yet: headrace run flights/month"
    objects = {"dags": [dag(jobs=JOBS)],
               "jobs": [job("month", units={"done": 0}, waitingFor=never), job("clean", units={"done": 0})],
               "datasets": [dataset("clean_rows", "clean", partitions=0)]}  # fmt: skip
    found = cause_of(namespace(**objects), "clean_rows")
    assert chain(found) == ["dataset clean_rows", "job flights/clean", "job flights/month"]
    assert leaf(found).words == (never,)
    assert "nothing waits: 0 units done" in found.causes[0].words


def test_a_dataset_tells_whether_it_is_fresh_and_what_of_it_is_late() -> None:
    late = conditions(Ready="", Fresh_=("Late", "the newest partition is 3 h late"))
    objects = {**FAILING, "datasets": [dataset("ranks", "rank", conditions=late)]}
    found = cause_of(namespace(**objects), "ranks")
    assert (found.state, found.words[0]) == ("Late", "Fresh is False (Late): the newest partition is 3 h late")
    assert leaf(found).words == (FAILED,)
    idle = {"dags": [dag(jobs=JOBS)], "jobs": [job(name) for name in JOBS], "datasets": objects["datasets"]}
    assert chain(cause_of(namespace(**idle), "ranks")) == ["dataset ranks", "job flights/rank"]
    assert chain(cause_of(namespace(**idle), "flights")) == ["DAG flights", "dataset ranks", "job flights/rank"]
    fresh = dataset("ranks", "rank", conditions=conditions(Ready="", Fresh=("OnTime", "")))
    found = cause_of(namespace(**{**idle, "datasets": [fresh]}), "ranks")
    assert (found.state, found.causes) == ("Fresh", ())


def test_a_dataset_that_is_made_anew_says_how_far() -> None:
    building = "version fedcba9876 is being built: 5 of 20 tasks done"
    told = conditions(Ready="", Serving_=("Building", "see Rebuilding"), Rebuilding=("Building", building))
    plan = {"changed": ["clean: config.limit"], "downstream": ["rank"]}
    one = dag(jobs=JOBS, conditions=told, plan=plan, rollout={"state": "Building", "yamlHash": OTHER})
    objects = {**FAILING, "dags": [one], "datasets": [*FAILING["datasets"], dataset("months", "month")]}
    for name, told_of in (("clean_rows", True), ("ranks", True), ("months", False)):
        words = cause_of(namespace(**objects), name).words
        assert (f"Rebuilding (Building): {building}" in words) is told_of


def test_a_dataset_that_does_not_serve_yet_is_found_in_the_spec() -> None:
    publish = {"publish": [{"name": "new_rows", "from": {"job": "clean"}}]}
    told = conditions(Ready_=("NoVersion", ""), Stalled=("InvalidSpec", "spec: wrong"))
    found = cause_of(namespace(dags=[dag(jobs=JOBS, spec=publish, conditions=told)]), "new_rows")
    assert chain(found) == ["dataset new_rows", "DAG flights"]
    assert "Stalled (InvalidSpec): spec: wrong" in leaf(found).words


def test_a_chain_goes_on_through_a_dataset_of_another_dag_that_does_not_serve_yet() -> None:
    stalled = conditions(Ready="", Stalled=("InvalidSpec", "spec: wrong"))
    dags = [
        dag(jobs={"report": ({"dataset": "rows"},)}),
        dag("other", {"load": ()}, {"publish": [{"name": "rows", "from": {"job": "load"}}]}, conditions=stalled),
    ]
    found = cause_of(namespace(dags=dags, jobs=[job("report", state="Waiting", waiting=1)]), "flights/report")
    assert chain(found) == ["job flights/report", "dataset rows", "DAG other"]
    assert leaf(found).words == ("Stalled (InvalidSpec): spec: wrong",)


@pytest.mark.parametrize("seed", range(40))
def test_every_question_about_what_is_there_has_an_answer(seed: int) -> None:
    """Whatever of DAGs, jobs and datasets is there, or is not yet, in whatever state."""
    dice = Random(seed)
    dags, names, rows = ("a", "b", "c"), ("i", "j", "k"), ("x", "y")

    def reads() -> list[dict[str, str]]:
        return [
            {"dataset": dice.choice(rows)} if dice.random() < 0.5 else {"job": dice.choice(names)}
            for _ in range(dice.randint(0, 2))
        ]

    def some(made: Iterable[T], share: float) -> list[T]:
        return [one for one in made if dice.random() < share]

    for _ in range(25):
        shown = namespace(
            dags=some((
                dag(name, {one: reads() for one in some(names, 0.7)},
                    {"publish": [{"name": row, "from": {"job": dice.choice(names)}} for row in some(rows, 0.5)]},
                    conditions=conditions(**dict.fromkeys(some(("Ready", "Stalled", "Degraded", "UpToDate"), 0.5), "")))
                for name in dags), 0.8),
            jobs=some((
                job(one, of, state=dice.choice(("Idle", "Waiting", "Failing", "Running")),
                    units={"done": dice.choice((0, 3))})
                for of in dags for one in names), 0.7),
            datasets=some((dataset(row, dice.choice(names), dice.choice(dags)) for row in rows), 0.5),
        )  # fmt: skip
        for target in (*dags, *rows, *(f"{of}/{one}" for of in dags for one in names), "a.i.0"):
            with suppress(NoSuchObject):
                assert show_cause(cause_of(shown, target))


@pytest.mark.parametrize("target", ["absent", "absent/job", "absent.job.0"])
def test_what_is_not_there_is_told(target: str) -> None:
    with pytest.raises(NoSuchObject, match="in namespace air"):
        cause_of(namespace(**FAILING), target)


def test_a_circle_of_dags_and_a_long_chain_end() -> None:
    circle = {"dags": [dag("a", {"x": ({"dataset": "of_b"},)}), dag("b", {"x": ({"dataset": "of_a"},)})],
              "jobs": [job("x", "a", units={"done": 0}), job("x", "b", units={"done": 0})],
              "datasets": [dataset("of_a", "x", "a"), dataset("of_b", "x", "b")]}  # fmt: skip
    assert len(chain(cause_of(namespace(**circle), "of_a"))) == 4
    many = 3000
    jobs: dict[str, Any] = {f"j{n}": ({"job": f"j{n - 1}"},) if n else () for n in range(many)}
    long = {"dags": [dag(jobs=jobs, conditions=WORK)],
            "jobs": [job(name, state="Waiting", waiting=1, waitingFor=HELD) for name in jobs]}  # fmt: skip
    found = cause_of(namespace(**long), "flights")
    assert len(chain(found)) == 22
    assert leaf(found).words == ("and on: headrace why flights/j2979",)
    text = show_cause(found)
    assert max(map(len, text.splitlines())) <= 80
    wide = {"dags": [dag(conditions=WORK)], "jobs": [job(f"j{n}", state="Waiting") for n in range(100)]}
    found = cause_of(namespace(**wide), "flights")
    assert (len(found.causes), found.more) == (20, 80)


def test_a_chain_over_hundreds_of_dags_is_told_as_far_as_it_can_be_read() -> None:
    dags, jobs, datasets = [], [], []
    for n in range(400):
        reads = ({"dataset": f"made{n - 1}"},) if n else ()
        dags.append(dag(f"d{n}", jobs={"j": reads}, conditions=conditions(Ready="", UpToDate_="")))
        jobs.append(job("j", f"d{n}", state="Waiting" if n else "Failing", waiting=1, waitingFor="it waits"))
        datasets.append(dataset(f"made{n}", "j", f"d{n}"))
    text = show_cause(cause_of(namespace(dags=dags, jobs=jobs, datasets=datasets), "made399"))
    assert all(len(line) <= 80 for line in text.splitlines())
    assert re.fullmatch(r"- and on: headrace why (d\d+/j|made\d+)", text.splitlines()[-1].strip())
