"""What tasks say they made, by every way there is: functions, commands, `headrace-report` in any pod; and manifests."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest

from headrace.compile.hashes import digest
from headrace.gateway.attempt_routes import PAGE
from headrace.run.reports import ReportedColumn, ReportedPartition, TaskReport
from headrace.state import task_pods
from headrace.state.attempts import RunningPod
from headrace.state.database import Database
from headrace.state.task_pods import SeenPod
from headrace.worker import Task
from headrace.worker.command import run
from headrace.worker.task import _COLUMN, _PARTITION, _REPORT
from tests.state.test_task_pods import widen
from tests.state.world import month_source, step
from tests.worker import test_loop

Bench = test_loop.Bench
bench = test_loop.bench

LINEAGE = [{"column": f"c{n}", "from": [{"input": "month", "column": "x" * 100}]} for n in range(10_000)]
REPORT = {"partitions": [{"key": "a", "rows": 9}], "columns": [{"name": "n", "type": "bigint"}],
          "cursor": {"column": "n", "type": "bigint", "from": 0, "to": 9}, "lineage": []}  # fmt: skip
HASH = digest("schema", [["n", "bigint", True]])
LIBRARY = str(Path(__file__).parents[2] / "operator")
SEND = [sys.executable, "-m", "headrace.worker.report"]


async def made(bench: Bench) -> list[tuple[object, ...]]:
    """Key, rows and schema of what `clean` made."""
    return await bench.rows(
        "SELECT partition_key, row_count, p.schema_hash FROM partition_versions p"
        " JOIN datasets d ON d.id = p.dataset_uuid WHERE d.producer_job_name = 'clean' ORDER BY 1"
    )


async def test_a_function_says_rows_bytes_columns_and_cursor(bench: Bench) -> None:
    await bench.begin("a", "b")

    def function(task: Task) -> None:
        cursor = {"column": "n", "type": "bigint", "from": 0, "to": 9}
        columns = {"n": "bigint"} if task.key == "a" else [{"name": "n", "type": "bigint", "nullable": True}]
        task.made(rows=9, bytes=90, columns=columns, cursor=cursor)

    await asyncio.to_thread((await bench.loop(function)).run)
    assert await made(bench) == [("a", 9, HASH), ("b", 9, HASH)]
    told = "SELECT partition_key, cursor_column, cursor_type, from_value, to_value FROM dataset_updates ORDER BY 1"
    assert await bench.rows(told) == [(key, "n", "bigint", "0", "9") for key in "ab"]


async def test_a_command_reports_with_the_same_program_as_a_pod_of_its_own(bench: Bench) -> None:
    await bench.begin("a")
    script = (
        "import os, subprocess\n"
        f"env = os.environ | {{'PYTHONPATH': {LIBRARY!r}}}\n"
        f"subprocess.run({SEND!r}, input={json.dumps(REPORT)!r}, text=True, check=True, env=env)"
    )
    await asyncio.to_thread((await bench.loop(lambda task: run(task, [sys.executable, "-c", script]))).run)
    assert await made(bench) == [("a", 9, HASH)]


async def noted(bench: Bench, text: str) -> object:
    """The last message of a task whose command reports this."""
    await bench.begin("a")
    script = f"import os\nopen(os.environ['HEADRACE_REPORT_FILE'], 'w').write({text!r})"
    await asyncio.to_thread((await bench.loop(lambda task: run(task, [sys.executable, "-c", script]))).run)
    ((status, note),) = await bench.rows(
        "SELECT status, error_message FROM tasks t JOIN jobs j ON j.id = t.job_id WHERE j.name = 'clean'"
    )
    assert status == "Completed"
    return note


@pytest.mark.parametrize(
    "text",
    ["[]", "done", "{", '{"partitions": 1}', '{"partitions": [{"rows": 1}]}', '{"columns": [1]}',
     '{"partitions": [{"key": "a", "rows": 5}, {"key": []}]}'],
)  # fmt: skip
async def test_what_is_no_report_costs_a_command_nothing(bench: Bench, text: str) -> None:
    """What is meant to be one and is not understood is told of."""
    note = await noted(bench, text)
    assert await made(bench) == [("a", None, None)]
    if text.startswith("{"):
        assert str(note).startswith("its report was not understood and counts for nothing: ")
    else:
        assert note is None


async def test_what_a_command_s_report_has_that_is_not_known_is_told_of(bench: Bench) -> None:
    report = {"partitions": [{"key": "a", "rows": 9, "row": 5}], "row": 5,
              "columns": [{"name": "n", "type": "bigint", "comment": "x"}]}  # fmt: skip
    note = await noted(bench, json.dumps(report))
    unknown = "row, partitions[].row, columns[].comment"
    assert note == f"its report has fields that are not known and count for nothing: {unknown}"
    assert await made(bench) == [("a", 9, HASH)]


def test_the_library_knows_the_fields_that_the_gateway_knows() -> None:
    for known, shape in ((_REPORT, TaskReport), (_PARTITION, ReportedPartition), (_COLUMN, ReportedColumn)):
        assert set(known) == set(shape.__struct_fields__)


async def test_an_input_at_the_gateway_is_read_like_any_other(bench: Bench) -> None:
    await bench.begin("a")
    loop = await bench.loop(lambda _: None)
    claim, found = loop._gateway.claim, []

    async def wide(id_: str) -> None:
        await widen(bench, id_, PAGE + 1)  # type: ignore[arg-type]

    running = asyncio.get_running_loop()

    def claimed(most: int, wait: float) -> object:
        answer = claim(most, wait)
        for task in answer["tasks"]:
            asyncio.run_coroutine_threadsafe(wide(task["id"]), running).result(10)
            path = f"/v1/worker/tasks/{task['id']}/{task['attempt']}/inputs/month/0"
            given = task["task"]["inputs"]["month"]
            del given["partitions"]
            given |= {"count": PAGE + 1, "manifest": path}
        return answer

    def function(task: Task) -> None:
        month = task.inputs["month"]
        found.extend([len(month), len(list(month)), len(month.partitions), month.partitions[PAGE].key])
        found.append(len(task.whole["inputs"]["month"]["partitions"]))
        found.append("manifest" in task.whole["inputs"]["month"])

    loop._gateway.claim = claimed  # type: ignore[method-assign, assignment]
    loop._function = function
    await asyncio.to_thread(loop.run)
    assert found == [PAGE + 1, PAGE + 1, PAGE + 1, f"k{PAGE}", PAGE + 1, False]


class Pod:
    """A pod of one attempt, as its processes see it."""

    def __init__(self, bench: Bench, name: str) -> None:
        token = bench.place / name
        token.write_text(name)
        self.environment = {"HEADRACE_URL": bench.url, "HEADRACE_TOKEN_FILE": str(token)}

    async def report(self, text: str, *arguments: str, **more: str) -> tuple[int, str]:
        """Run `headrace-report`; its exit code and what it says."""
        env = {"PATH": os.environ["PATH"], "PYTHONPATH": LIBRARY, **self.environment}

        def call() -> subprocess.CompletedProcess[str]:
            argv = [*SEND, *arguments]
            return subprocess.run(argv, input=text, capture_output=True, text=True, check=False, env=env | more,
                                  timeout=60)  # fmt: skip

        done = await asyncio.to_thread(call)
        return done.returncode, done.stderr


@pytest.fixture
async def attempt(bench: Bench, db: Database) -> tuple[Pod, RunningPod]:
    """A running attempt of a job with `report: gateway`, whose pod is known."""
    await bench.apply("flights", month_source("a"), step("clean", "month", report="gateway"))
    await bench.run("flights", "month", "a")
    (running,) = await bench.claim()
    async with db.transaction() as tx:
        await task_pods.record(tx, 0, [SeenPod("air", running.pod_name, f"uid-{running.pod_name}")])
    return Pod(bench, running.pod_name), running


async def test_a_report_by_the_program_counts_as_the_last_word(
    bench: Bench, attempt: tuple[Pod, RunningPod], tmp_path: Path
) -> None:
    pod, running = attempt
    assert await pod.report('{"partitions": [{"key": "a", "rows": 1}]}') == (0, "")
    file = tmp_path / "report.json"
    # Far more than a termination message has room for.
    file.write_text(json.dumps({**REPORT, "lineage": LINEAGE}))
    assert await pod.report("", str(file)) == (0, "")
    assert await bench.complete_all([running]) == 1
    assert await made(bench) == [("a", 9, HASH)]
    code, words = await pod.report(json.dumps(REPORT))
    assert (code, words) == (1, "headrace-report: this attempt is over, and its report counts for nothing\n")


async def test_the_program_says_what_of_a_report_counts_for_nothing(
    bench: Bench, attempt: tuple[Pod, RunningPod]
) -> None:
    pod, running = attempt
    code, words = await pod.report('{"partitions": [{"key": "a", "rows": 9}, {"key": "b"}], "row": 5}')
    note = (
        "its report has fields that are not known and count for nothing: row; its report names what the task does not"
        " make, which counts for nothing: b of output 0"
    )
    assert (code, words) == (0, f"headrace-report: {note}\n")
    assert await bench.complete_all([running]) == 1
    assert await made(bench) == [("a", 9, None)]
    assert await bench.rows("SELECT error_message FROM tasks WHERE id = %(id)s", id=running.id) == [(note,)]


@pytest.mark.parametrize(
    ("text", "arguments", "more", "code", "words"),
    [
        pytest.param("{", (), {}, 65, "the report is no JSON: ", id="no JSON"),
        pytest.param("[]", (), {}, 65, "no JSON object, such as", id="no object"),
        pytest.param("", ("/nowhere",), {}, 65, "cannot be read: [Errno 2]", id="no file"),
        pytest.param('{"partitions": [{"key": "a b"}]}', (), {}, 65, "refuses the report: report: 400", id="refused"),
        pytest.param('{"x": "%s"}' % ("x" * 2**22), (), {}, 65, "the body may have 4194304 bytes", id="too large"),
        pytest.param("{}", ("--help",), {}, 64, "usage: headrace-report [--event ID] [FILE|-]", id="usage"),
        pytest.param("{}", (), {"HEADRACE_TOKEN_FILE": "/nowhere"}, 75, "cannot be told: ", id="no token"),
    ],
)
async def test_what_is_wrong_with_a_report_is_told_at_once(
    attempt: tuple[Pod, RunningPod], text: str, arguments: tuple[str, ...], more: dict[str, str], code: int,
    words: str
) -> None:  # fmt: skip
    found = await attempt[0].report(text, *arguments, **more)
    assert found[0] == code
    assert words in found[1]


async def test_a_report_by_termination_message_has_its_room_and_no_more(bench: Bench, tmp_path: Path) -> None:
    pod, file = Pod(bench, "nobody"), tmp_path / "termination-log"
    given = {"HEADRACE_REPORT_FILE": str(file), "HEADRACE_REPORT_LIMIT": "4096"}
    assert await pod.report(' {"partitions" : [ ] } ', **given) == (0, "")
    assert file.read_text() == '{"partitions":[]}'
    code, words = await pod.report(json.dumps({"x": "x" * 5000}), **given)
    assert code == 65
    assert "has 5008 bytes, and a termination message 4096 at most: give the job `report: gateway`" in words
    assert file.read_text() == '{"partitions":[]}'


async def test_a_report_waits_for_a_gateway_that_does_not_know_its_pod_yet(
    bench: Bench, db: Database, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    await bench.apply("flights", month_source("a"), step("clean", "month", report="gateway"))
    await bench.run("flights", "month", "a")
    (running,) = await bench.claim()
    telling = asyncio.create_task(Pod(bench, running.pod_name).report(json.dumps(REPORT)))
    async with asyncio.timeout(20):
        while not [r for r in caplog.records if " 403 " in r.getMessage()]:  # noqa: ASYNC110
            await asyncio.sleep(0.02)
    async with db.transaction() as tx:
        await task_pods.record(tx, 0, [SeenPod("air", running.pod_name, f"uid-{running.pod_name}")])
    assert await telling == (0, "")
