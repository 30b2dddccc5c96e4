"""Reports of pods of single tasks on a real cluster: by termination message, by the gateway, what is too large."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from typing import Any

import msgspec
import pytest

from headrace.run.render import render_pod
from tests.cluster.kube import Namespace, Object, dag, no_operator, sql, trigger, until
from tests.run.claimed import claimed

IMAGE = "docker.io/local/headrace:dev"
MADE = (
    "import json, os\n"
    "task = json.load(open(os.environ['HEADRACE_TASK_FILE']))\n"
    "report = {'partitions': [{'key': key, 'rows': 7, 'bytes': 70} for key in task['partitions']],\n"
    "          'columns': [{'name': 'n', 'type': 'bigint'}], 'lineage': [\n"
    "              {'column': 'n', 'from': [{'input': 'key', 'column': f'c{number}' + 'x' * 90}]}\n"
    "              for number in range(SIZE // 150 + 1)]}\n"
)
PROGRAM = MADE + (
    "import subprocess\n"
    "subprocess.run(['headrace-report'], input=json.dumps({'partitions': []}), text=True, check=True)\n"
    "json.dump(report, open('/tmp/report', 'w'))\n"
    "subprocess.run(['headrace-report', '/tmp/report'], check=True)\n"
)
# What any image can do: one HTTP call.
CALL = MADE + (
    "import time, urllib.error, urllib.request\n"
    "given = {'Authorization': 'Bearer ' + open(os.environ['HEADRACE_TOKEN_FILE']).read(),\n"
    "         'Content-Type': 'application/json'}\n"
    "url = os.environ['HEADRACE_URL'] + '/v1/worker/report'\n"
    "asked = urllib.request.Request(url, json.dumps(report).encode(), given)\n"
    "for wait in range(20):\n"
    "    try:\n"
    "        urllib.request.urlopen(asked, timeout=10)\n"
    "        break\n"
    "    except urllib.error.HTTPError as error:\n"
    "        if error.code != 403: raise\n"
    "        time.sleep(0.5)\n"
    "else:\n"
    "    raise SystemExit('nobody knows me')\n"
)
FILE = MADE + "json.dump(report, open(os.environ['HEADRACE_REPORT_FILE'], 'w'))\n"


def job(code: str, size: int, **fields: object) -> Object:
    """A job that makes a report of about this size."""
    volumes = [{"name": "tmp", "emptyDir": {}}]
    mounts = [{"name": "tmp", "mountPath": "/tmp"}]
    template = {"spec": {"volumes": volumes, "containers": [{"name": "main", "volumeMounts": mounts}]}}
    return {"name": "work", "image": IMAGE, "command": ["python", "-c", code.replace("SIZE", str(size))],
            "inputs": [{"from": {"job": "key"}}], "template": template, "maxAttempts": 1, **fields}  # fmt: skip


def work(ns: Namespace) -> list[tuple[Any, ...]]:
    """State, words, rows, bytes and whether there is a schema, of what `work` did."""
    return sql(
        "SELECT t.status, t.error_message, p.row_count, p.bytes, p.schema_hash IS NOT NULL FROM tasks t JOIN jobs j"
        " ON j.id = t.job_id LEFT JOIN partition_versions p ON p.task_id = t.id"
        " WHERE j.org_id = %s AND j.name = 'work'", ns.org()
    )  # fmt: skip


def ended(ns: Namespace, made: Object) -> tuple[Any, ...]:
    """Run it to its end."""
    ns.apply(dag("air", trigger("a"), made))
    ns.wait("air", "Serving")
    ns.run("air", "key")
    (found,) = until("it has ended", lambda: [one for one in work(ns) if one[0] in ("Completed", "Failed")], 60)
    return found  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    ("code", "size", "fields"),
    [
        pytest.param(FILE, 10, {}, id="the file"),
        pytest.param(PROGRAM, 10, {}, id="the program, by termination message"),
        pytest.param(PROGRAM, 100_000, {"report": "gateway"}, id="the program, by the gateway"),
        pytest.param(CALL, 100_000, {"report": "gateway"}, id="a call"),
    ],
)
def test_a_report_is_what_the_task_made(ns: Namespace, code: str, size: int, fields: dict[str, object]) -> None:
    assert ended(ns, job(code, size, **fields)) == ("Completed", None, 7, 70, True)


def test_a_report_that_a_termination_message_has_no_room_for_is_told_of(ns: Namespace) -> None:
    """By what the task wrote, the work is done and nothing is counted; the program refuses to write it."""
    status, words, rows, _, _ = ended(ns, job(FILE, 5000))
    assert (status, rows) == ("Completed", None)
    assert "more than the 4096 bytes of a termination message" in words
    assert "`report: gateway`" in words


def test_the_program_refuses_what_a_termination_message_has_no_room_for(ns: Namespace) -> None:
    call = "json.dump(report, open('/tmp/report', 'w'))\n"
    tells = MADE + call + "raise SystemExit(os.system('headrace-report /tmp/report') >> 8)"
    status, words, *_ = ended(ns, job(tells, 5000))
    assert status == "Failed"
    assert "give the job `report: gateway`" in words


def test_what_a_task_reports_and_then_fails_counts_for_nothing(ns: Namespace) -> None:
    status, _, rows, _, _ = ended(ns, job(PROGRAM + "raise SystemExit(1)", 10, report="gateway"))
    assert (status, rows) == ("Failed", None)


def test_a_pod_that_reports_to_the_gateway_has_its_own_token_and_nothing_else(ns: Namespace) -> None:
    ns.apply(dag("air", trigger("a"), {**job("import time; time.sleep(600)", 0), "report": "gateway"}))
    ns.wait("air", "Serving")
    ns.run("air", "key")
    (pod,) = until("it is there", lambda: ns.items("pod"))
    projected = [v["projected"]["sources"] for v in pod["spec"]["volumes"] if "projected" in v]
    assert [sorted(source) for source in projected[0]] == [["downwardAPI"], ["serviceAccountToken"]]
    assert projected[0][1]["serviceAccountToken"]["audience"] == "headrace.dev/worker"
    assert pod["spec"]["automountServiceAccountToken"] is False
    assert json.loads(pod["metadata"]["annotations"]["headrace.dev/task-document"])["partitions"] == ["a"]


@pytest.mark.alone
def test_a_pod_whose_operator_died_as_it_made_it_is_known_to_the_next(ns: Namespace) -> None:
    """The answer to its creation was lost with the operator; its report waits until another has seen it."""
    ns.apply(dag("air", trigger("a"), job(PROGRAM, 10, report="gateway")))
    ns.wait("air", "Serving")
    environment = os.environ | {"HEADRACE_IDENTITY": "lost-answers", "HEADRACE_HEALTH_PORT": "0",
                                "PYTHONPATH": os.pathsep.join(sys.path)}  # fmt: skip
    operator = [sys.executable, "-m", "tests.cluster.faulty"]
    with no_operator():
        ns.kubectl("annotate", "dag/air", "headrace.dev/run=1 key")
        killed = subprocess.run([*operator, "after", "POST", "/pods$"], env=environment, timeout=60, check=False)
        assert killed.returncode == -signal.SIGKILL
        (pod,) = ns.items("pod")
        assert sql("SELECT 1 FROM task_pods p JOIN tasks t ON t.id = p.task_id WHERE t.worker_id = %s",
                   pod["metadata"]["name"]) == []  # fmt: skip
        with subprocess.Popen(operator, env=environment) as following:
            try:
                until("it has ended", lambda: [one for one in work(ns) if one[0] in ("Completed", "Failed")], 60)
            finally:
                following.terminate()
    assert work(ns) == [("Completed", None, 7, 70, True)]
    assert sql("SELECT attempts FROM tasks WHERE worker_id = %s", pod["metadata"]["name"]) == [(1,)]


@pytest.mark.parametrize("location", ["file:///" + "x" * 900, "ü" * 450])
def test_a_pod_with_as_much_to_read_as_there_can_be_is_one_that_the_cluster_takes(ns: Namespace, location: str) -> None:
    partitions = [{"key": f"k{number}", "location": location} for number in range(1000)]
    inputs = {f"i{number}": {"dataset": "d", "version": "5f", "partitions": partitions} for number in range(16)}
    task = claimed(inputs=inputs, org=ns.name, config={"text": "z" * 60_000})
    made = msgspec.json.encode(render_pod(task, "http://gateway"))
    assert b'"serviceAccountToken"' in made
    ns.kubectl("create", "--dry-run=server", "-f", "-", stdin=made.decode())
