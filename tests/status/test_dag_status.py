"""The conditions of a DAG, as kstatus, `kubectl wait` and GitOps tools read them."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import msgspec
import pytest

from headrace.api.names import COMMANDS
from headrace.state.report import CommandRow, GoneRow, Report
from headrace.status.dag import Outcome, dag_status, delayed_status
from tests.status.rows import HASH, LONG, NOW, body, build, dag, dataset, job, truths, written


def command(name: str, outcome: str = "made 1 of 1 tasks", *, ago: int = 0) -> CommandRow:
    """A request that was handled so many seconds before NOW."""
    return CommandRow(
        command=name, request_id="7", argument="", outcome=outcome, handled_at=NOW - timedelta(seconds=ago)
    )


GOOD = Outcome(yaml_hash=HASH)
BAD = Outcome(reason="InvalidSpec", message="spec.jobs[a].image: the job needs an image")
NO_TENANT = "the operator may not make pods in namespace air: bind it there"
SERVES, IDLE = ("True", "VersionServes"), ("True", "Idle")
NEWEST, WORK = ("True", "NewestSpecServes"), ("False", "WorkLeft")


def status(outcome: Outcome, report: Report, refused: str | None = None, before: Any = None) -> Any:
    """What is written for a DAG of generation 3."""
    return written(dag_status(body(before), 3, outcome, report, refused, NOW))


@pytest.mark.parametrize(
    ("outcome", "report", "refused", "conditions"),
    [
        pytest.param(GOOD, Report(dag=dag(), jobs=(job(done=9),)), None,
                     {"Ready": SERVES, "Serving": NEWEST, "UpToDate": IDLE}, id="idle"),
        pytest.param(GOOD, Report(dag=dag(), jobs=(job(waiting=1),)), None,
                     {"Ready": SERVES, "Serving": NEWEST, "UpToDate": WORK}, id="work waits"),
        pytest.param(GOOD, Report(dag=dag(), jobs=(job(), job("a", running=1))), None,
                     {"Ready": SERVES, "Serving": NEWEST, "UpToDate": WORK}, id="work runs"),
        pytest.param(GOOD, Report(dag=dag(), jobs=(job(failed=1),)), None,
                     {"Ready": SERVES, "Serving": NEWEST, "UpToDate": WORK, "Degraded": ("True", "TasksFailed")},
                     id="a task failed for good"),
        pytest.param(GOOD, Report(dag=dag()), NO_TENANT,
                     {"Ready": SERVES, "Serving": NEWEST, "UpToDate": IDLE, "Degraded": ("True", "NotATenant")},
                     id="pods are refused"),
        pytest.param(BAD, Report(), None,
                     {"Ready": ("False", "InvalidSpec"), "Stalled": ("True", "InvalidSpec"),
                      "Serving": ("False", "InvalidSpec"), "UpToDate": ("False", "NotServing")}, id="never good"),
        pytest.param(BAD, Report(dag=dag(), jobs=(job(),)), None,
                     {"Ready": SERVES, "Stalled": ("True", "InvalidSpec"), "Serving": ("False", "InvalidSpec"),
                      "UpToDate": ("False", "NotServing")}, id="a newer spec is bad, the version serves on"),
        pytest.param(Outcome(reason="NameTaken", message="m"), Report(dag=dag(), jobs=(job(failed=1),)), None,
                     {"Ready": SERVES, "Stalled": ("True", "NameTaken"), "Serving": ("False", "NameTaken"),
                      "UpToDate": ("False", "NotServing"), "Degraded": ("True", "TasksFailed")},
                     id="stalled, and failed"),
        pytest.param(GOOD, Report(), None,
                     {"Ready": ("False", "NoVersion"), "Serving": ("False", "NotCurrent"),
                      "UpToDate": ("False", "NotServing")}, id="nothing serves yet"),
        pytest.param(GOOD, Report(dag=dag(yaml_hash="v1-other"), jobs=(job(),)), None,
                     {"Ready": SERVES, "Serving": ("False", "NotCurrent"), "UpToDate": ("False", "NotServing")},
                     id="another version serves"),
        pytest.param(Outcome(reason="NotATenant", message=NO_TENANT), Report(), NO_TENANT,
                     {"Ready": ("False", "NotATenant"), "Stalled": ("True", "NotATenant"),
                      "Serving": ("False", "NotATenant"), "UpToDate": ("False", "NotServing")},
                     id="pods are refused from the start"),
    ],
)  # fmt: skip
def test_conditions(outcome: Outcome, report: Report, refused: str | None, conditions: dict[str, object]) -> None:
    """What is not said is not true; Reconciling and Stalled are absent when not true, and never both there."""
    made = status(outcome, report, refused)
    found = truths(made)
    assert found == conditions
    assert not {"Reconciling", "Stalled"} <= set(found)
    assert (made["observedGeneration"], {c["observedGeneration"] for c in made["conditions"]}) == (3, {3})
    assert {c["lastTransitionTime"] for c in made["conditions"]} == {"2026-01-05T12:00:00Z"}


WAITS = Outcome(reason="MembersMissing", message="spec.jobRefs: 1 of 2 Job objects are not there: b", waiting=True)


@pytest.mark.parametrize(("report", "ready"), [
    pytest.param(Report(), ("False", "MembersMissing"), id="before the first version"),
    pytest.param(Report(dag=dag(), jobs=(job(failed=1),)), SERVES, id="the serving version serves on"),
])  # fmt: skip
def test_a_set_that_is_not_complete_is_reconciling_and_not_handled(report: Report, ready: tuple[str, str]) -> None:
    before = {"observedGeneration": 2, "conditions": []}
    made = status(WAITS, report, before=before)
    found = truths(made)
    assert (found["Reconciling"], found["Ready"]) == (("True", "MembersMissing"), ready)
    assert (found["Serving"], found["UpToDate"]) == (("False", "MembersMissing"), ("False", "NotServing"))
    assert "Stalled" not in found
    assert (made["observedGeneration"], made["message"]) == (2, WAITS.message)
    assert status(WAITS, report)["observedGeneration"] == -1
    stalled = status(replace(WAITS, waiting=False), report)
    assert (truths(stalled)["Stalled"], stalled["observedGeneration"]) == (("True", "MembersMissing"), 3)
    assert "Reconciling" not in truths(stalled)


@pytest.mark.parametrize(
    ("report", "begins"),
    [
        pytest.param(Report(dag=dag(), jobs=(job(running=1, waiting=2), job("a", waiting=1))),
                     "tasks: 1 running, 3 waiting", id="counted over all jobs"),
        pytest.param(Report(dag=dag(suspended=True), jobs=(job(waiting=2),)),
                     "tasks: 2 waiting; the DAG is suspended", id="suspended"),
        pytest.param(Report(dag=dag(suspended=True), jobs=(job(),)),
                     "the DAG is suspended: set spec.suspend to false", id="suspended, with nothing to do"),
        pytest.param(Report(dag=dag(), jobs=(job(failed=1, failure="exit code 3", failed_key="2013-01"),)),
                     "job clean: 1 failed for good, last 2013-01: exit code 3. Mend the cause", id="a failure, first"),
        pytest.param(Report(dag=dag(), jobs=(job(),), builds=(build(waiting=3, running=1),)),
                     "job a: the image i has no digest", id="work of a build is told by the rollout"),
        pytest.param(Report(dag=dag(), jobs=(job(),), gone=(GoneRow(job="clean", dataset="rows", dag="feed"),)),
                     "nothing new comes of rows (of DAG feed, read by job clean): that DAG is gone",
                     id="nobody makes what it reads"),
        pytest.param(Report(dag=dag(), jobs=(job(),)), "job a: the image i has no digest", id="a warning, at last"),
    ],
)  # fmt: skip
def test_the_message_is_the_most_important_thing(report: Report, begins: str) -> None:
    outcome = Outcome(yaml_hash=HASH, warnings=("job a: the image i has no digest", "job b: too"))
    assert status(outcome, report)["message"].startswith(begins)


def test_what_else_is_wrong_is_told_beside_a_failure() -> None:
    """That the failure itself cannot be told to the namespace's receiver, most of all."""
    outcome = Outcome(yaml_hash=HASH, warnings=("news of namespace air cannot be sent",))
    message = status(outcome, Report(dag=dag(), jobs=(job(failed=1),)))["message"]
    assert message.endswith("; news of namespace air cannot be sent")


def test_what_a_good_spec_may_be_better_in_is_no_message() -> None:
    made = status(Outcome(yaml_hash=HASH, notes=("images without a digest: i",)), Report(dag=dag(), jobs=(job(),)))
    assert "message" not in made
    (serving,) = [c for c in made["conditions"] if c["type"] == "Serving"]
    assert (serving["status"], serving["message"]) == ("True", "images without a digest: i")


REFUSED = "refused: 'x' is no source job"


@pytest.mark.parametrize(("annotations", "later", "ago", "told"), [
    pytest.param({"headrace.dev/run": "7 x"}, (), 5, True, id="just now"),
    pytest.param({}, (), 5, False, id="its annotation is gone"),
    pytest.param({"headrace.dev/run": "8 y"}, (), 5, False, id="another request is there"),
    pytest.param({"headrace.dev/run": "7 x"}, (), 900, False, id="a while ago"),
    pytest.param({"headrace.dev/run": "7 x"}, (command("pin"),), 5, False, id="another came after"),
])  # fmt: skip
def test_a_refusal_is_told_while_it_is_news(
    annotations: dict[str, str], later: tuple[CommandRow, ...], ago: int, told: bool
) -> None:
    given = body()
    given["metadata"] = {"name": "flights", "annotations": annotations}
    report = Report(dag=dag(), jobs=(job(),), commands=(command("run", REFUSED, ago=ago), *later))
    for outcome in (GOOD, BAD):
        message = written(dag_status(given, 3, outcome, report, None, NOW)).get("message", "")
        assert (f"run 7: {REFUSED}" in message) == told


def test_a_stalled_spec_is_told_before_everything_else() -> None:
    assert status(BAD, Report(dag=dag(), jobs=(job(failed=1),)))["message"] == BAD.message


def test_nothing_to_say_says_nothing() -> None:
    assert "message" not in status(GOOD, Report(dag=dag(), jobs=(job(),)))


def test_counts_version_and_handled_commands() -> None:
    commands = (command("run"),)
    jobs = (job(waiting=1, running=2, failed=3, done=4), job("b", waiting=10, running=20, failed=30, done=40))
    made = status(GOOD, Report(dag=dag(), jobs=jobs, datasets=(dataset(), dataset("b")), commands=commands))
    assert made["version"] == {"id": "00000000-0000-0000-0000-000000000001", "yamlHash": HASH, "short": "ab" * 5,
                               "since": "2026-01-05T12:00:00Z"}  # fmt: skip
    assert made["tasks"] == {"waiting": 11, "running": 22, "failed": 33, "completed": 44}
    beside = status(GOOD, Report(dag=dag(), jobs=jobs, builds=(build(waiting=100, running=200, failed=300),)))
    assert beside["tasks"] == {"waiting": 111, "running": 222, "failed": 333, "completed": 44}
    assert (made["jobs"], made["datasets"]) == ({"total": 2}, {"total": 2})
    assert made["lastHandled"] == {"run": "7"}
    assert list(made["lastOutcome"]) == ["run"]


def test_without_a_version_there_is_nothing_to_count() -> None:
    assert set(status(BAD, Report())) == {"observedGeneration", "conditions", "message"}


def test_the_time_of_a_condition_moves_only_with_its_truth() -> None:
    """Not with its reason, its message or the generation: `kubectl wait` and alerts go by it."""
    before = status(GOOD, Report(dag=dag(), jobs=(job(waiting=1),)))
    for condition in before["conditions"]:
        condition["lastTransitionTime"] = "2025-12-31T00:00:00Z"
    later = written(
        dag_status(body(before), 4, GOOD, Report(dag=dag(), jobs=(job(failed=2),)), None, NOW + timedelta(hours=1))
    )
    times = {c["type"]: c["lastTransitionTime"] for c in later["conditions"]}
    old, new = "2025-12-31T00:00:00Z", "2026-01-05T13:00:00Z"
    assert times == {"Ready": old, "Serving": old, "UpToDate": old, "Degraded": new}
    assert next(c for c in later["conditions"] if c["type"] == "UpToDate")["message"] == "tasks: 2 failed for good"
    last = written(dag_status(body(later), 4, GOOD, Report(dag=dag(), jobs=(job(),)), None, NOW + timedelta(hours=2)))
    assert {c["type"]: c["lastTransitionTime"] for c in last["conditions"]} == {
        "Ready": old, "Serving": old, "UpToDate": "2026-01-05T14:00:00Z",
    }  # fmt: skip


def test_the_same_rows_give_the_same_status() -> None:
    """Whatever the time is: a reconcile with nothing new to say writes nothing."""
    report = Report(dag=dag(), jobs=(job(failed=1),))
    first = status(GOOD, report)
    assert written(dag_status(body(first), 3, GOOD, report, None, NOW + timedelta(days=1))) == first


@pytest.mark.parametrize("outcome", [GOOD, Outcome(reason="InvalidSpec", message=LONG, warnings=(LONG,))])
def test_a_dag_of_500_jobs_stays_small(outcome: Outcome) -> None:
    """Under 32 KiB however much goes wrong at once; every message within its bound."""
    jobs = tuple(
        job(f"{n:03}" + "x" * 60, failed=10**6, waiting=10**6, failure=LONG, failed_key="k" * 128) for n in range(500)
    )
    commands = tuple(command(name, "refused: " + LONG) for name in COMMANDS)
    report = Report(dag=dag(), jobs=jobs, datasets=tuple(dataset(f"d{n}") for n in range(8000)), commands=commands)
    made = dag_status(body(), 3, outcome, report, None, NOW)
    messages = [c.get("message", "") for c in written(made)["conditions"]]
    assert max(map(len, messages)) <= 1000
    assert len(msgspec.json.encode(made)) < 32 * 1024


def test_a_newer_spec_that_cannot_be_registered_yet_is_reconciling() -> None:
    """What served stays told as it was, and its generation too, so that tools see that the newer one is awaited."""
    before = status(BAD, Report(dag=dag(), jobs=(job(failed=1),)))
    later = NOW + timedelta(hours=1)
    delayed = delayed_status(body(before), 4, "Postgres is away", later)
    assert delayed is not None
    made = written(delayed)
    told = made["conditions"].pop()
    assert told == {"type": "Reconciling", "status": "True", "observedGeneration": 4, "reason": "Delayed",
                    "lastTransitionTime": "2026-01-05T13:00:00Z",
                    "message": "the newest spec is not registered yet: Postgres is away"}  # fmt: skip
    assert made == {**before, "conditions": [c for c in before["conditions"] if c["type"] != "Stalled"]}
    again = delayed_status(body({**made, "conditions": [*made["conditions"], told]}), 4, "still", NOW)
    assert again is not None
    assert written(again)["conditions"][-1]["lastTransitionTime"] == told["lastTransitionTime"]


def test_a_registered_spec_is_not_delayed() -> None:
    before = status(GOOD, Report(dag=dag(), jobs=(job(),)))
    assert delayed_status(body(before), 3, "Postgres is away", NOW) is None


@pytest.mark.parametrize("given", [None, {}, {"observedGeneration": -1}])
def test_a_first_spec_that_is_delayed_is_reconciling(given: object) -> None:
    made = delayed_status(body(given), 1, LONG, NOW)
    assert made is not None
    assert truths(written(made)) == {"Reconciling": ("True", "Delayed")}
