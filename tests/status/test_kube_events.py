"""The Kubernetes events that a change of a status is worth: each once, and nothing of what is merely counted."""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any, get_args, get_type_hints
from uuid import UUID

import msgspec
import pytest

from headrace.api.events import NOTE_MAX, REASONS, Event
from headrace.api.status import DagStatus, DatasetStatus, JobStatus
from headrace.cluster.events import Events
from headrace.compile.members import Waiting
from headrace.plan.obstacles import _TELLS
from headrace.state.report import CommandRow, DagRow, JobRow, Report, RolloutRow
from headrace.status.dag import Outcome, dag_status
from headrace.status.datasets import Upkeep, dataset_status
from headrace.status.events import events_of
from headrace.status.members import Standing, member_job_status
from headrace.status.parts import NotRunning, job_status
from tests.status.rows import HASH, LONG, NOW, body, dag, dataset, job, written
from tests.status.test_rollout_status import NEW, PLAN, rollout

ROOT = Path(__file__).parents[2]
GOOD = Outcome(yaml_hash=HASH, registered=True)
BUILDS = Outcome(yaml_hash=NEW, registered=True)
WRONG = Outcome(reason="InvalidSpec", message="spec.jobs[a]: no")
FAILED = Outcome(yaml_hash=NEW, registered=True, reason="RolloutFailed", message="the rollout failed: it broke")
FIRST = rollout(yaml_hash=HASH, state="Done", plan=msgspec.structs.replace(PLAN, swap="first version"))
SERVES = dag(version=UUID(int=7), yaml_hash=NEW)

Stage = tuple[Outcome, Report] | tuple[Outcome, Report, int] | tuple[Outcome, Report, int, str]


def report(serving: DagRow | None = None, last: RolloutRow | None = FIRST, *jobs: JobRow, **fields: Any) -> Report:
    """A DAG of one job, that serves."""
    return Report(dag=serving or dag(), rollout=last, jobs=jobs or (job(),), **fields)


def played(*stages: Stage, status: Any = None) -> list[list[Event]]:
    """The events of each status that is written after another; that nothing is told when a stage comes twice."""
    told = []
    for stage in stages:
        outcome, found, generation, refused = (*stage, *(1, None)[len(stage) - 2 :])  # type: ignore[misc]
        made = dag_status(body(status), generation, outcome, found, refused, NOW)
        told.append([*events_of(body(status), made)])
        status = written(made)
        again = dag_status(body(status), generation, outcome, found, refused, NOW + timedelta(hours=1))
        assert events_of(body(status), again) == ()
        known(told[-1], "DAG")
    return told


def known(told: Sequence[Event], on: str) -> None:
    """Each is one that the table has, for this kind of object."""
    for one in told:
        kind = REASONS[one.reason]
        assert (one.type, one.action) == (kind.type, kind.action)
        assert on in kind.on
        assert 0 < len(one.note.encode()) <= NOTE_MAX
        assert one.note.isprintable()


def reasons(told: list[list[Event]]) -> list[list[str]]:
    return [[one.reason for one in listed] for listed in told]


NONE = Report()


def test_a_first_version_and_a_rollout_to_the_second() -> None:
    told = played(
        (Outcome(reason="Settling", message="m", waiting=True), NONE),
        (GOOD, report()),
        (GOOD, report(None, FIRST, job(waiting=1))),
        (GOOD, report(None, FIRST, job(running=1))),
        (BUILDS, report(None, rollout()), 2),
        (BUILDS, report(None, rollout(done=13, open=29)), 2),
        (BUILDS, report(None, rollout(held=True, done=42, open=0)), 2),
        (Outcome(yaml_hash=NEW, registered=True), report(SERVES, rollout(state="Done", finished_at=NOW)), 2),
    )
    assert reasons(told) == [[], ["VersionServes"], [], [], ["RolloutStarted"], [], [], ["VersionServes"]]
    assert told[1][0].note == "version ababababab serves: the first version"
    assert told[4][0].note.startswith(
        "to version cdcdcdcdcd: 1 added, 1 changed, 1 downstream, 1 removed; 90 partitions"
    )
    assert told[7][0].note == "version cdcdcdcdcd serves in place of ababababab"


def test_what_waits_for_a_person_says_so_each_time() -> None:
    begin, serve = rollout(build_approved=False), rollout(state="Ready", cutover_approved=False, strategy="Manual")
    told = played(
        (GOOD, report()), (BUILDS, report(None, begin), 2),
        (BUILDS, report(None, rollout()), 2), (BUILDS, report(None, serve), 2),
    )  # fmt: skip
    assert reasons(told)[1:] == [["RolloutStarted", "AwaitingApproval"], [], ["AwaitingApproval"]]
    assert "headrace approve flights lets it begin" in told[1][1].note
    assert "headrace approve flights lets it serve" in told[3][0].note
    # Approved, built, and waiting again, between two looks.
    assert reasons(played((BUILDS, report(None, begin), 2), (BUILDS, report(None, serve), 2)))[1] == [
        "AwaitingApproval"
    ]


def test_a_rollout_that_fails_is_told_once_with_its_cause_and_so_is_its_way_out() -> None:
    broken = rollout(state="Failed", cause="job clean: exit code 3", finished_at=NOW)
    told = played(
        (GOOD, report()),
        (BUILDS, report(None, rollout()), 2),
        (BUILDS, report(None, broken), 2),  # seen by the report, and by the next plan only
        (FAILED, report(None, broken), 2),
        (FAILED, report(None, broken), 3),  # suspended, say
        (BUILDS, report(None, rollout()), 3),
    )
    assert reasons(told)[2:] == [["RolloutFailed"], [], [], ["RolloutResumed", "Recovered"]]
    assert told[2][0].note == "the rollout to version cdcdcdcdcd failed: job clean: exit code 3"
    assert told[5][1].note == "no longer so: RolloutFailed"


def test_a_document_that_failed_before_is_stalled_by_that() -> None:
    assert reasons(played((GOOD, report()), (FAILED, report(), 2)))[1] == ["RolloutFailed"]


def test_a_newer_document_and_a_person_end_a_rollout() -> None:
    other = rollout(yaml_hash="v1-" + "ef" * 32, created_at=NOW + timedelta(minutes=1))
    canceled = rollout(state="Canceled", cause="canceled by a person", finished_at=NOW)
    stopped = Outcome(yaml_hash=NEW, registered=True, reason="RolloutCanceled", message="the rollout was canceled")
    begun: tuple[Stage, ...] = ((GOOD, report()), (BUILDS, report(None, rollout()), 2))
    assert reasons(played(*begun, (BUILDS, report(None, other), 3)))[2] == ["RolloutSuperseded", "RolloutStarted"]
    gone = rollout(state="Superseded", finished_at=NOW)
    assert reasons(played(*begun, (WRONG, report(None, gone), 3)))[2] == ["RolloutSuperseded", "InvalidSpec"]
    assert reasons(played(*begun, (stopped, report(None, canceled), 2)))[2] == ["RolloutCanceled"]
    # It was done between two looks: nothing took its place.
    assert reasons(played(*begun, (BUILDS, report(SERVES, other), 3)))[2] == ["VersionServes", "RolloutStarted"]


def test_a_way_back_is_no_new_version() -> None:
    back = rollout(yaml_hash=HASH, base_hash=NEW, state="Done", plan=msgspec.structs.replace(PLAN, restorable=True))
    told = played((BUILDS, report(SERVES, None)), (GOOD, report(None, back), 2))
    assert reasons(told) == [["VersionServes"], ["RolledBack"]]
    assert told[1][0].note.startswith("version ababababab serves in place of cdcdcdcdcd: 1 added")


@pytest.mark.parametrize("reason", ["InvalidSpec", "PodRefused", "NameTaken", "ConsumersExist", "NotATenant"])
def test_what_stalls_a_dag_is_told_once_for_each_spec(reason: str) -> None:
    wrong = Outcome(reason=reason, message="the cause and the way out")
    told = played((GOOD, report()), (wrong, report(), 2), (wrong, report(), 3), (GOOD, report(), 4))
    assert reasons(told)[1:] == [[reason], [reason], ["Recovered"]]
    assert told[1][0].note == "the cause and the way out"


def test_what_is_awaited_is_told_when_it_stalls_and_not_before() -> None:
    missing = Outcome(reason="MembersMissing", message="Job a is not there", waiting=True)
    stalled = replace(missing, waiting=False)
    settling = Outcome(reason="Settling", message="m", waiting=True)
    told = played((missing, NONE), (stalled, NONE), (settling, NONE), (GOOD, report()))
    assert reasons(told) == [[], ["MembersMissing"], [], ["VersionServes"]]


def test_tasks_that_fail_for_good_are_told_with_the_first_and_when_none_is_left() -> None:
    def failed(count: int) -> Report:
        return report(None, FIRST, job(failed=count, failed_key="a", failure="exit code 3: no disk"))

    told = played((GOOD, report()), (GOOD, failed(1)), (GOOD, failed(2)), (GOOD, failed(2), 2), (GOOD, report(), 2))
    assert reasons(told)[1:] == [["TasksFailed"], [], [], ["Recovered"]]
    assert told[1][0].note.startswith("job clean: 1 failed for good, last a: exit code 3: no disk")
    barred: Stage = (GOOD, report(), 1, "the operator may not make pods in namespace air")
    assert reasons(played((GOOD, report()), barred, (GOOD, report())))[1:] == [["NotATenant"], ["Recovered"]]


def test_a_command_that_is_refused_is_told_and_one_of_a_namesake_before_is_not() -> None:
    def after(*given: tuple[str, str, str]) -> Report:
        rows = [CommandRow(command=c, request_id=i, argument="", outcome=o, handled_at=NOW) for c, i, o in given]
        return report(commands=tuple(rows))

    no, yes = ("unpin", "r1", "refused: no version is pinned"), ("retry", "r2", "queued 2 tasks again")
    told = played(
        (GOOD, report()), (GOOD, after(no)), (GOOD, after(no, yes)), (GOOD, after(("unpin", "r3", no[2]), yes))
    )
    assert reasons(told)[1:] == [["CommandRefused"], [], ["CommandRefused"]]
    assert told[1][0].note == "unpin r1: refused: no version is pinned"
    assert reasons(played((GOOD, after(no)))) == [["VersionServes"]]


def test_of_a_dag_made_anew_what_ended_before_is_no_news() -> None:
    assert reasons(played((GOOD, report(None, rollout(state="Canceled", finished_at=NOW))))) == [["VersionServes"]]


def test_what_an_older_release_wrote_and_nobody_understands_tells_nothing() -> None:
    made = dag_status(body(), 1, WRONG, NONE, None, NOW)
    assert events_of(body({"conditions": "many"}), made) == ()


def test_a_note_of_the_longest_cause_is_one_that_the_api_server_takes() -> None:
    ((told,),) = played((replace(WRONG, message=LONG), NONE))
    assert NOTE_MAX - 8 <= len(told.note.encode()) <= NOTE_MAX
    assert "..." in told.note
    assert told.note.endswith("ü")


def jobs_told(*rows: JobRow) -> list[list[Event]]:
    status, told = None, []
    for row in rows:
        made = job_status(body(status), 1, "flights", dag(), row, None, NotRunning())
        told.append([*events_of(body(status), made)])
        known(told[-1], "Job")
        status = written(made)
        assert events_of(body(status), msgspec.convert(status, JobStatus)) == ()
    return told


def test_a_job_tells_that_tasks_of_it_failed_and_that_none_has_any_more() -> None:
    bad = job(failed=1, failed_key="a", failure="exit code 3")
    told = jobs_told(job(), job(running=1), bad, job(failed=2, failed_key="b", failure="exit code 4"), job(done=2))
    assert reasons(told) == [[], [], ["TasksFailed"], [], ["Recovered"]]
    assert told[2][0].note == "1 failed for good, last a: exit code 3"


def test_a_member_that_is_wrong_says_so_itself() -> None:
    one: dict[str, object] = {"metadata": {"name": "clean", "uid": "u", "generation": 2}, "spec": {"dag": "flights"}}
    standing = Standing(wrong={"Job clean": "spec.image: m"})
    made = member_job_status(one, standing, dag(), job(), None, NotRunning(), NOW)
    (told,) = events_of(one, made)
    known([told], "Job")
    assert (told.reason, told.note) == ("InvalidSpec", "spec.image: m")


def test_a_dataset_tells_that_it_is_late_and_that_it_is_fresh_again() -> None:
    hour, status, told = timedelta(hours=1), None, []
    ages: list[int | None] = [None, 0, 2, 3, 0, 2]
    for age in ages:
        row = dataset(updated=None if age is None else NOW - age * hour)
        made = dataset_status(body(status), 1, "flights", dag(), row, Upkeep(hour))
        told.append([*events_of(body(status), made)])
        known(told[-1], "Dataset")
        status = written(made)
        assert events_of(body(status), msgspec.convert(status, DatasetStatus)) == ()
    assert reasons(told) == [[], [], ["Late"], [], ["Recovered"], ["Late"]]
    assert told[2][0].note.startswith("last updated 2026-01-05 10:00:00 UTC, freshness 1h; job flights/clean: ")


def given_reasons() -> Iterator[str]:
    """Every reason for which the code says that an object is Stalled or Degraded."""
    yield from _TELLS
    yield from set(get_args(get_type_hints(Waiting)["reason"])) - {"Settling"}
    for path in (ROOT / "operator" / "headrace").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name):
                continue
            texts = [one.value for one in node.args if isinstance(one, ast.Constant) and isinstance(one.value, str)]
            if node.func.id == "condition" and texts and texts[0] in ("Stalled", "Degraded"):
                yield from texts[1:2]
            elif node.func.id in ("Outcome", "Blocked"):
                values = [key.value for key in node.keywords if key.arg == "reason"]
                yield from (str(one.value) for one in values if isinstance(one, ast.Constant))


def test_every_reason_of_what_is_wrong_is_one_of_the_table() -> None:
    found = set(given_reasons())
    assert {"InvalidSpec", "NotATenant", "RolloutFailed", "TasksFailed", "NameTaken", "MembersMissing"} <= found
    assert found <= set(REASONS)


def test_the_documentation_has_every_reason_and_no_other() -> None:
    rows = [line.strip("|").split("|") for line in (ROOT / "docs" / "events.md").read_text().splitlines()]
    told = {
        cells[0].strip(" `"): (cells[1].strip(), tuple(cells[2].strip().split(", ")))
        for cells in rows
        if len(cells) == 4 and cells[0].strip().startswith("`")
    }
    assert told == {reason: (kind.type, kind.on) for reason, kind in REASONS.items()}


def test_a_status_that_was_never_written_is_that_of_the_definition() -> None:
    """The API server's default is no record of anything told."""
    made = dag_status(body(), 1, GOOD, report(), None, NOW)
    assert isinstance(made, DagStatus)
    assert [one.reason for one in events_of(body({"observedGeneration": -1}), made)] == ["VersionServes"]


def test_one_namespaces_events_leave_the_others_room() -> None:
    nothing: Any = None
    events = Events(nothing, "operator-1")
    one = Event(type="Normal", reason="Recovered", action="Look", note="well")
    for namespace, count in (("loud", 10_000), ("quiet", 1)):
        metadata = {"name": "d", "namespace": namespace, "uid": "u", "resourceVersion": "1"}
        events.send("DAG", {"metadata": metadata}, [one] * count)
    waiting = [events._waiting.get_nowait()[0] for _ in range(events._waiting.qsize())]
    assert Counter(waiting) == {"loud": 500, "quiet": 1}
