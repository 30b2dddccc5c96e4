"""What each way that a pod can end says of its attempt: done, failed by its own doing, or lost by infrastructure."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from typing import Any

import msgspec
import pytest

from headrace.cluster.pods import Pod
from headrace.plan.cursors import Range
from headrace.run.reports import ReportedColumn, ReportedPartition
from headrace.run.verdict import Alive, Broken, Succeeded, Verdict, judge, overdue, read_report, vanished
from tests.run.claimed import Tree

STOP, GRACE = "2026-01-01T00:00:30Z", 30  # deleted half a minute before its time to end is up
NOW = datetime.fromisoformat(STOP)


def ended(code: int, reason: str = "Error", message: str = "", at: str = "2026-01-01T00:00:10Z") -> Tree:
    """A container's state; by default it ended after its deletion was asked for, if that was."""
    return {"terminated": {"exitCode": code, "reason": reason, "message": message, "finishedAt": at}}


def waits(reason: str, message: str = "no such image") -> Tree:
    """A container that does not run yet."""
    return {"waiting": {"reason": reason, "message": message}}


def pod(phase: str = "Running", main: Tree | None = None, *, deleted: bool = False, init: Tree | None = None,
        side: Tree | None = None, container: str = "main", deadline: int | None = None,
        **status: object) -> Pod:  # fmt: skip
    """A pod as the API server shows it, with the states of its containers."""
    metadata: Tree = {"name": "p", "namespace": "air", "annotations": {"headrace.dev/task-container": container}}
    whole: Tree = {"phase": phase, "startTime": "2026-01-01T00:00:00Z", **status}
    whole["containerStatuses"] = [
        {"name": name, "state": state} for name, state in (("side", side), (container, main)) if state is not None
    ]
    whole["initContainerStatuses"] = [{"name": "prepare", "state": init}] if init is not None else []
    if deleted:
        metadata |= {"deletionTimestamp": STOP, "deletionGracePeriodSeconds": GRACE}
    return msgspec.convert({"metadata": metadata, "status": whole, "spec": {"activeDeadlineSeconds": deadline}}, Pod)


UNBEGUN: Tree = {"terminated": {"exitCode": 137, "reason": "ContainerStatusUnknown", "finishedAt": None,
                                "message": "The container could not be located"}}  # fmt: skip
RUNS: Tree = {"running": {"startedAt": STOP}}
UNSCHEDULABLE = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/1 nodes: full"}
GOOD = Succeeded(partitions=())
LOST = Broken("the pod was deleted while it ran", lost=True)

ENDS: list[tuple[str, Pod, Verdict, Verdict]] = [
    ("new", pod("Pending"), Alive(), LOST),
    ("unschedulable", pod("Pending", conditions=[UNSCHEDULABLE]), Alive("Unschedulable: 0/1 nodes: full"), LOST),
    ("scheduled", pod("Pending", conditions=[{**UNSCHEDULABLE, "status": "True"}]), Alive(), LOST),
    ("starts", pod("Pending", waits("ContainerCreating")), Alive(), LOST),
    ("first failure to pull", pod("Pending", waits("ErrImagePull")), Alive(), LOST),
    ("runs", pod("Running", RUNS), Alive(), LOST),
    ("runs while its sidecar has ended", pod("Running", RUNS, side=ended(1)), Alive(), LOST),
    ("runs while it is deleted", pod("Running", RUNS, deleted=True), Alive(), LOST),
    ("exit 0", pod("Succeeded", ended(0, "Completed")), GOOD, GOOD),
    ("exit 0, its sidecar runs on", pod("Running", ended(0, "Completed"), side=RUNS), GOOD, GOOD),
    ("exit 0, its sidecar failed", pod("Failed", ended(0, "Completed"), side=ended(1)), GOOD, GOOD),
    ("exit 0, then deleted", pod("Running", ended(0, at="2025-12-31T23:59:59Z"), deleted=True), GOOD, GOOD),
    ("exit 0 on being told to stop", pod("Running", ended(0, "Completed"), deleted=True), LOST, LOST),
    ("exit 0 of another name", pod("Succeeded", ended(0), container="load"), GOOD, GOOD),
    *((f"exit 0 on being told to stop: {reason}", pod("Failed", ended(0), reason=reason, message="m"),
       *2 * (Broken(f"{reason}: the pod was told to stop while it ran (m)", lost=True),))
      for reason in ("Evicted", "Terminated", "NodeShutdown", "Preempting")),
    ("exit 0 at its deadline",
     pod("Failed", ended(0, "Completed"), reason="DeadlineExceeded", deadline=10, message="m"),
     *2 * (Broken("timeout: it ran longer than timeoutSeconds, 10 s (m)", lost=False),)),
    ("exit 0, its sidecar ran into the deadline",
     pod("Failed", ended(0, "Completed"), reason="DeadlineExceeded", deadline=11, side=ended(137)), GOOD, GOOD),
    *((f"exit {code}", pod("Failed", ended(code)), *2 * (Broken(f"exit code {code}", lost=False),))
      for code in (1, 3, 255)),
    ("exit 1 with words", pod("Failed", ended(1, message=" boom\n")), *2 * (Broken("exit code 1: boom", lost=False),)),
    ("out of memory", pod("Failed", ended(137, "OOMKilled")), *2 * (Broken("OOMKilled, exit code 137", lost=False),)),
    ("cannot start", pod("Failed", ended(128, "StartError", "no such file")),
     *2 * (Broken("StartError, exit code 128: no such file", lost=False),)),
    ("killed by a deletion", pod("Running", ended(143), deleted=True), LOST, LOST),
    ("too slow", pod("Failed", ended(137), reason="DeadlineExceeded", message="too long"),
     *2 * (Broken("timeout: it ran longer than timeoutSeconds (too long)", lost=False),)),
    *((f"too slow to start, {name}", pod("Failed", state, reason="DeadlineExceeded", message="too long"),
       *2 * (Broken("it never started: in the timeoutSeconds after its node took it no container of it was begun; the"
                    " events of the pod say why, such as an image that takes long or a volume that is not there"
                    " (too long)", lost=True),))
      for name, state in (("no word", None), ("as a kubelet says it", UNBEGUN))),
    ("too slow, its init container ran",
     pod("Failed", UNBEGUN, init=ended(0), reason="DeadlineExceeded", message="too long"),
     *2 * (Broken("timeout: it ran longer than timeoutSeconds (too long)", lost=False),)),
    *((reason, pod("Failed", ended(137), reason=reason), *2 * (Broken("exit code 137", lost=True),))
      for reason in ("Evicted", "NodeLost", "NodeShutdown", "Terminated", "Preempting")),
    ("evicted before it started", pod("Failed", reason="Evicted", message="low on disk"),
     *2 * (Broken("Evicted: low on disk", lost=True),)),
    ("evicted and deleted", pod("Failed", ended(137), reason="Evicted", deleted=True),
     *2 * (Broken("exit code 137", lost=True),)),
    *((reason, pod("Failed", reason=reason, message="m"), *2 * (Broken(f"{reason}: m", lost=True),))
      for reason in ("UnexpectedAdmissionError", "OutOfcpu", "OutOfmemory", "OutOfpods", "NodeAffinity")),
    ("failed without a reason", pod("Failed", message="gone"), *2 * (Broken("the pod failed: gone", lost=True),)),
    ("its init container failed", pod("Failed", waits("PodInitializing"), init=ended(2, message="no data")),
     *2 * (Broken("init container prepare: exit code 2: no data", lost=False),)),
    ("evicted while its init container ran", pod("Failed", init=ended(137), reason="Evicted"),
     *2 * (Broken("init container prepare: exit code 137", lost=True),)),
    ("succeeded without its container", pod("Succeeded", side=ended(0)),
     *2 * (Broken("the pod succeeded without its task container having run", lost=True),)),
]  # fmt: skip


@pytest.mark.parametrize(("seen", "verdict", "gone"), [pytest.param(*case, id=name) for name, *case in ENDS])
def test_every_end_has_its_verdict(seen: Pod, verdict: Verdict, gone: Verdict) -> None:
    """While the pod is there, and when it has vanished: what ran is lost then, what had ended keeps its end."""
    assert judge(seen, NOW) == verdict
    assert vanished(seen, NOW) == gone


SCHEDULED = {"type": "PodScheduled", "status": "True"}
STARTED = {"startTime": "2026-01-01T00:00:00Z", "conditions": [SCHEDULED]}


@pytest.mark.parametrize(
    ("seen", "words"),
    [
        pytest.param(pod("Pending", startTime=None, conditions=[UNSCHEDULABLE]), "Unschedulable: 0/1 nodes: full",
                     id="no node takes it"),
        pytest.param(pod("Pending", startTime=None), "no node was chosen for it", id="nobody has looked"),
        pytest.param(pod("Pending", startTime=None, conditions=[SCHEDULED]),
                     "its node has not begun with it: the node may be lost", id="its node is silent"),
        pytest.param(pod("Pending", waits("ContainerCreating", ""), **STARTED), "container main: ContainerCreating",
                     id="its volumes are not there"),
        pytest.param(pod("Pending", waits("PodInitializing", ""), init=waits("ErrImagePull"), **STARTED),
                     "container prepare: ErrImagePull: no such image", id="its init container waits"),
        pytest.param(pod("Pending", **STARTED), "its node does not say why", id="nothing is said"),
    ],
)  # fmt: skip
def test_a_pod_that_never_started_is_lost_and_says_what_it_waits_for(seen: Pod, words: str) -> None:
    assert overdue(seen, NOW + timedelta(hours=9)) == Broken(f"it never started: {words}", lost=True)


@pytest.mark.parametrize(
    ("seen", "seconds", "over"),
    [
        pytest.param(pod("Running", RUNS, deadline=300), 359, False, id="it started late"),
        pytest.param(pod("Running", RUNS, deadline=300), 361, True, id="its time is up by its start, too"),
        pytest.param(pod("Pending", waits("PodInitializing"), init=RUNS, deadline=300), 361, True,
                     id="its init container runs"),
        pytest.param(pod("Pending", waits("PodInitializing"), init=ended(0), deadline=300), 361, True,
                     id="its init container ran"),
    ],
)  # fmt: skip
def test_a_pod_that_started_has_its_whole_time(seen: Pod, seconds: int, *, over: bool) -> None:
    start = datetime.fromisoformat("2026-01-01T00:00:00Z")
    late = Broken("timeout: it was not over a minute after its timeoutSeconds", lost=False)
    assert overdue(seen, start + timedelta(seconds=seconds)) == (late if over else None)


@pytest.mark.parametrize(("late", "lost"), [(29, False), (30, False), (31, True)])
def test_a_deleted_pod_whose_node_is_silent_is_lost(late: int, lost: bool) -> None:
    """Its kubelet tells its end within seconds of its time; without one it would hold its job for ever."""
    told = judge(pod("Running", RUNS, deleted=True), NOW + timedelta(seconds=late))
    assert told == (Broken("the pod was deleted and its node does not tell its end: the node may be lost", lost=True)
                    if lost else Alive())  # fmt: skip


@pytest.mark.parametrize("kind", ["main", "init", "side"])
@pytest.mark.parametrize(
    "reason",
    [
        "ErrImageNeverPull", "InvalidImageName", "ImagePullBackOff", "CreateContainerConfigError",
        "CreateContainerError", "RunContainerError",
    ],
)  # fmt: skip
def test_a_wait_that_never_ends_is_a_failed_attempt(reason: str, kind: str) -> None:
    """With its cause and a way out, whichever container waits; but not while the pod is being deleted."""
    states: Any = {kind: waits(reason)}
    told = judge(pod("Pending", **states), NOW)
    assert isinstance(told, Broken)
    assert not told.lost
    assert told.reason.startswith(f"{reason}: the ")
    assert told.reason.endswith(" (no such image)")
    assert judge(pod("Pending", deleted=True, **states), NOW) == Alive()


def test_the_end_of_a_long_message_is_kept() -> None:
    told = judge(pod("Failed", ended(1, message="x" * 4000 + "the cause")), NOW)
    assert isinstance(told, Broken)
    assert (len(told.reason), told.reason[-9:]) == (2000 + len("exit code 1: "), "the cause")


P = ReportedPartition


@pytest.mark.parametrize(
    ("message", "partitions"),
    [
        pytest.param('{"partitions": [{"key": "a", "rows": 1, "bytes": 2, "output": 3}]}', (P("a", 1, 2, 3),),
                     id="everything"),
        pytest.param('{"partitions": [{"key": "*"}], "lineage": []}', (P("*"),), id="the least, and more fields"),
        pytest.param('{"partitions": [{"key": "a", "rows": 1}, {"key": "a", "rows": 2}]}', (P("a", 2),), id="twice"),
        pytest.param('{"partitions": [{"key": "a"}, {"key": "a", "output": 1}]}', (P("a"), P("a", output=1)),
                     id="one key of two outputs"),
        *(
            pytest.param(text, (), id=name)
            for name, text in (
                ("nothing", ""), ("a log", "done\n"), ("a number", "1"), ("null", "null"), ("a list", "[]"),
                ("no partitions", "{}"), ("no key", '{"partitions": [{"rows": 1}]}'),
                ("key that is none", '{"partitions": [{"key": "a b"}]}'),
                ("key with a NUL", '{"partitions": [{"key": "a\\u0000"}]}'),
                ("key too long", '{"partitions": [{"key": "%s"}]}' % ("a" * 129)),
                ("fewer than none", '{"partitions": [{"key": "a", "rows": -1}]}'),
                ("more than can be kept", '{"partitions": [{"key": "a", "bytes": 9300000000000000000}]}'),
                ("more than can be counted", '{"partitions": [{"key": "a", "rows": 1e30}]}'),
                ("half a row", '{"partitions": [{"key": "a", "rows": 0.5}]}'),
                ("output that no job has", '{"partitions": [{"key": "a", "output": 9999999999}]}'),
                ("cut short", '{"partitions": [{"key": "a"'), ("deep", '{"x": ' + "[" * 4000),
            )
        ),
    ],
)  # fmt: skip
def test_a_report_is_what_it_says_or_none_at_all(message: str, partitions: tuple[ReportedPartition, ...]) -> None:
    """A task may write what it likes: what is no report changes nothing but the counts."""
    found = read_report(message)
    assert found.partitions == partitions
    assert bool(found.note) == (not partitions and message.startswith("{") and message != "{}")
    assert judge(pod("Succeeded", ended(0, "Completed", message)), NOW) == found


def test_columns_are_reported_and_what_has_no_use_yet_is_taken() -> None:
    said = {"partitions": [{"key": "a"}], "columns": [{"name": "n", "type": "bigint", "nullable": False}],
            "lineage": [{"column": "n", "from": []}]}  # fmt: skip
    found = read_report(json.dumps(said))
    assert found == Succeeded((P("a"),), columns=(ReportedColumn("n", "bigint", nullable=False),))


@pytest.mark.parametrize(("cursor", "ranges"), [
    ({"column": "n", "type": "bigint", "to": 5}, {0: Range("n", "bigint", None, "5")}),
    ({"column": "n", "type": "bigint", "from": 5, "to": "9"}, {0: Range("n", "bigint", "5", "9")}),
    ([{"column": "n", "type": "text", "to": "b", "output": 1}, {"column": "m", "type": "text", "from": "", "to": "b"}],
     {1: Range("n", "text", None, "b"), 0: Range("m", "text", "", "b")}),
    (None, {}), ([], {}),
])  # fmt: skip
def test_a_cursor_tells_which_rows_are_new(cursor: object, ranges: dict[int, Range]) -> None:
    assert read_report(json.dumps({"cursor": cursor})) == Succeeded((), cursors=ranges)


@pytest.mark.parametrize("cursor", [
    1, {}, {"column": "n", "to": 5}, {"column": "n", "type": "float", "to": 5}, {"column": "n", "type": "bigint"},
    {"column": "n", "type": "bigint", "from": 9, "to": 5}, {"column": "n", "type": "timestamp", "to": "soon"},
    {"column": "n", "type": "bigint", "to": 2**63}, {"column": "", "type": "bigint", "to": 5},
])  # fmt: skip
def test_a_cursor_that_is_none_counts_for_nothing_and_that_is_said(cursor: object) -> None:
    found = read_report(json.dumps({"partitions": [{"key": "a", "rows": 5}], "cursor": cursor}))
    assert (found.partitions, found.cursors) == ((P("a", 5),), {})
    assert found.note.startswith("its cursor was not understood and counts for nothing: ")


@pytest.mark.parametrize(
    ("report", "unknown"),
    [
        pytest.param({"row": 5}, "row", id="of the report"),
        pytest.param({"partitions": [{"key": "a", "row": 5}, {"key": "b", "row": 6, "byte": 7}]},
                     "partitions[].row, partitions[].byte", id="of partitions"),
        pytest.param({"columns": [{"name": "n", "type": "text", "nullabel": False}], "colums": []},
                     "colums, columns[].nullabel", id="of columns"),
        pytest.param({f"f{number}": 0 for number in range(11)}, "f0, f1, f2, f3, f4, f5, f6, f7 and 3 more", id="many"),
        pytest.param({"x\0\x1b[31m" + "y" * 5000: 0}, "x??[31m" + "y" * 57, id="what does not print"),
    ],
)  # fmt: skip
def test_what_a_report_has_that_is_not_known_is_named_and_the_rest_counts(report: Tree, unknown: str) -> None:
    found = read_report(json.dumps(report))
    assert found.note == f"its report has fields that are not known and count for nothing: {unknown}"
    assert [p.key for p in found.partitions] == [p["key"] for p in report.get("partitions", ())]
    assert [c.name for c in found.columns] == [c["name"] for c in report.get("columns", ())]


@pytest.mark.parametrize(("length", "taken"), [(65, True), (4096, True), (4097, False)])
def test_a_column_s_type_may_be_long(length: int, *, taken: bool) -> None:
    said = {"partitions": [{"key": "a"}], "columns": [{"name": "n", "type": "t" * length}]}
    found = read_report(json.dumps(said) + " " * 5000)
    assert (len(found.partitions), len(found.columns), bool(found.note)) == (taken, taken, not taken)


@pytest.mark.parametrize("text", ["x", "ü"])
def test_a_report_that_is_cut_off_is_told_of_with_the_way_out(text: str) -> None:
    """The kubelet passes on the last 4096 bytes."""
    whole = json.dumps({"partitions": [{"key": "a"}], "text": text * 5000}, ensure_ascii=False).encode()
    found = read_report(whole[-4096:].decode(errors="replace"))
    assert found.partitions == ()
    assert "more than the 4096 bytes" in found.note
    assert "`report: gateway`" in found.note
    assert read_report("log\n" * 2000) == GOOD
