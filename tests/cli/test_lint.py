"""`headrace lint`: every mistake of every object with its line, whole sets of files, and no cluster."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from headrace.cli.lint import lint, show_lint
from headrace.cli.output import machine_text
from tests.api import cases
from tests.cli.test_main import ROOT, headrace

TWO = """\
# a comment first
apiVersion: headrace.dev/v1alpha1
kind: DAG
metadata:
  name: one
spec:
  jobs:
  - name: month
    source: {kind: manual}
  - name: clean
    imagge: x
    inputs: [{from: {job: month}}]
  - name: both
    image: x
    source: {kind: manual}
    inputs:
    - from: {job: month}
---
apiVersion: headrace.dev/v1alpha1
kind: DAG
metadata: {name: two}
spec:
  jobs:
  - name: a
    image: x@sha256:1
    template:
      spec:
        nodeSelector:
          kubernetes.io/os: linux
    inputs:
    - from:
        job: nothing
  publish:
  - name: out
    from:
      job: a
      output: 4
"""
PINNED = "x@sha256:" + "ab" * 32


def member(kind: str, name: str, spec: dict[str, Any], **metadata: Any) -> dict[str, Any]:
    meta = {"name": name, **metadata}
    return {"apiVersion": "headrace.dev/v1alpha1", "kind": kind, "metadata": meta, "spec": spec}


def job(name: str, dag: str = "d", **spec: Any) -> dict[str, Any]:
    given = {"image": PINNED, "inputs": [{"from": {"job": "day"}}], **spec}
    return member("Job", name, {"dag": dag, **given})


DAY = {"name": "day", "source": {"kind": "manual"}}


def found(*files: object) -> list[tuple[str, int, str, str, str]]:
    """File, line, severity, object and path of what is found; each file holds objects or is text."""
    texts = [one if isinstance(one, str) else yaml.safe_dump_all(one, sort_keys=False) for one in files]
    told = lint((f"{number}.yaml", text) for number, text in enumerate(texts)).findings
    return [(f.file, f.line, f.severity, f.object, f.path) for f in told]


def test_all_mistakes_of_all_objects_have_their_lines() -> None:
    assert found(TWO) == [
        ("0.yaml", 11, "error", "DAG one", "spec.jobs[1].imagge"),
        ("0.yaml", 16, "error", "DAG one", "spec.jobs[2].inputs"),
        ("0.yaml", 32, "error", "DAG two", "spec.jobs[a].inputs[0].from.job"),
        ("0.yaml", 37, "error", "DAG two", "spec.publish[out].from.output"),
    ]


@pytest.mark.parametrize(("path", "message", "obj"), cases.REFUSED)
def test_what_the_api_server_refuses_is_an_error_at_its_field(path: str, message: str, obj: cases.Object) -> None:
    told = lint([("a.yaml", yaml.safe_dump(obj))])
    assert any(f.severity == "error" and f.path == path and message in f.message for f in told.findings)


@pytest.mark.parametrize("obj", cases.ACCEPTED.values(), ids=cases.ACCEPTED)
def test_what_the_api_server_accepts_is_no_error_of_the_schema(obj: cases.Object) -> None:
    told = lint([("a.yaml", yaml.safe_dump(obj))]).findings
    assert not [f for f in told if f.severity == "error" and "unknown field" in f.message]


def test_a_set_is_compiled_over_all_files() -> None:
    dag = member("DAG", "d", {"jobs": [DAY]})
    good = job("a")
    bad = job("b", inputs=[{"from": {"job": "dey"}}])
    shown = member("Dataset", "rows", {"from": {"dag": "d", "job": "a", "output": 7}})
    assert found([dag], [good]) == []
    assert found([bad], [shown, dag], [good]) == [
        ("0.yaml", 10, "error", "Job b", "spec.inputs[0].from.job"),
        ("1.yaml", 9, "error", "Dataset rows", "spec.from.output"),
    ]


def test_members_that_are_missing_not_listed_or_without_their_dag() -> None:
    dag = member("DAG", "d", {"jobs": [DAY], "jobRefs": ["a", "gone"]})
    assert found([dag, job("a", colour=1)]) == [
        ("0.yaml", 10, "error", "DAG d", "spec.jobRefs"),
        ("0.yaml", 24, "error", "Job a", "spec.colour"),
    ]
    only = member("DAG", "d", {"jobs": [DAY], "jobRefs": ["a"]})
    assert found([only], [job("a")], [job("b", colour=1)]) == [
        ("2.yaml", 4, "warning", "Job b", "metadata.name"),
        ("2.yaml", 11, "error", "Job b", "spec.colour"),
    ]
    assert found([job("a", "absent", colour=1)]) == [
        ("0.yaml", 6, "warning", "Job a", "spec.dag"),
        ("0.yaml", 11, "error", "Job a", "spec.colour"),
    ]


def test_a_job_without_its_dag_is_compiled_as_admission_would() -> None:
    cron = {"kind": "cron", "schedule": "99 * * * *"}
    schema = {"properties": {"limit": {"type": "integer"}}}
    wrong = member("Job", "a", {"dag": "absent", "source": cron})
    config = job("b", "absent", config={"limit": "x"}, configSchema=schema)
    # An image may come with the DAG's defaults, and what is read with other files.
    bare = member("Job", "c", {"dag": "absent", "inputs": [{"from": {"job": "day"}}], "command": ["x"]})
    assert [one[3:] for one in found([wrong], [config], [bare]) if one[2] == "error"] == [
        ("Job a", "spec.source.schedule"),
        ("Job b", "spec.config.limit"),
    ]


def test_what_the_api_server_asks_of_every_object_is_asked() -> None:
    good = {"app.kubernetes.io/name": "x", "a": "", "b.c/D_e.f": "G-h_1"}
    meta: dict[str, Any] = {"labels": good, "annotations": {"a/b": "any text: at all"}, "finalizers": ["a/b"]}
    assert found([member("DAG", "d", {"jobs": [DAY]}, **meta)]) == []
    assert found([{**member("DAG", "d", {"jobs": [DAY]}), "sepc": {}, "status": {}}]) == [
        ("0.yaml", 10, "error", "DAG d", "sepc")
    ]
    bad = {
        "labels": {"a": "not ok!", "b": "x" * 64, "A/b": "x"},
        "annotations": {"bad key": "x", "A/b": "x"},
        "label": {},
    }
    assert [one[4] for one in found([member("DAG", "d", {"jobs": [DAY]}, **bad)])] == [
        "metadata.labels.a",
        "metadata.labels.b",
        "metadata.labels.A/b",
        "metadata.annotations.bad key",
        "metadata.label",
    ]


def test_names_twice_and_names_of_two_dags() -> None:
    publish = [{"name": "rows", "from": {"job": "day"}}]
    one, two = (member("DAG", name, {"jobs": [DAY], "publish": publish}) for name in ("one", "two"))
    assert found([one], [two]) == [("1.yaml", 11, "error", "DAG two", "spec.publish[rows].name")]
    assert found([one], [one]) == [("1.yaml", 4, "error", "DAG one", "metadata.name")]
    other = member("DAG", "one", {"jobs": [DAY], "publish": publish}, namespace="other")
    assert found([one], [other]) == []


def test_warnings_fail_nothing() -> None:
    jobs = [DAY, {"name": "a", "image": "x:1", "inputs": [{"from": {"job": "day"}}]}]
    big = [{"name": f"j{n}", "image": PINNED, "args": ["x" * 20_000], "inputs": [{"from": {"job": "day"}}]}
           for n in range(11)]  # fmt: skip
    dag = member("DAG", "d", {"jobs": jobs + big})
    told = lint([("a.yaml", yaml.safe_dump(dag, sort_keys=False))])
    assert (told.errors, told.warnings) == (0, 2)
    assert [(f.line, f.path, f.value) for f in told.findings] == [(5, "spec", ""), (11, "spec.jobs[a].image", "x:1")]


def test_lists_other_groups_and_what_is_no_object() -> None:
    many = {"apiVersion": "v1", "kind": "List", "items": [member("DAG", "d", {"jobs": [DAY], "colour": 1})]}
    assert found([many]) == [("0.yaml", 13, "error", "DAG d", "spec.colour")]
    assert found([{"apiVersion": "v1", "kind": "Secret"}, {"apiVersion": "headrace.dev/v1", "kind": "DAG"},
                  {"apiVersion": "headrace.dev/v1alpha1", "kind": "Dag"}, {"a": 1}, [1]]) == [
        ("0.yaml", 5, "error", "DAG ?", "kind"), ("0.yaml", 8, "error", "Dag ?", "kind"),
        ("0.yaml", 10, "error", "", ""), ("0.yaml", 12, "error", "", ""),
    ]  # fmt: skip
    told = lint([("a.yaml", f"{TWO}---\na: {{\n")]).findings
    assert any(f.line > 38 and "not YAML" in f.message for f in told)
    assert {f.object for f in told} >= {"DAG one", "DAG two"}
    twice = lint([("a.yaml", "apiVersion: v1\nkind: A\nkind: B\n")]).findings
    assert [(f.line, "is there twice" in f.message) for f in twice] == [(3, True)]
    # A template that is not filled in, and bytes that are no text.
    mixed = lint([("a.yaml", "kind: A\nname: {{ .Values.name }}\n"), ("b.yaml", "\udcff"), ("c.yaml", TWO)])
    assert [(f.file, f.line, "not YAML" in f.message) for f in mixed.findings[:2]] == [
        ("a.yaml", 2, True),
        ("b.yaml", 1, True),
    ]
    assert (mixed.objects, mixed.errors) == (2, 6)


def test_what_is_shown_and_what_programs_get() -> None:
    told = lint([("a.yaml", TWO)])
    lines = show_lint(told).splitlines()
    assert lines[1].startswith("a.yaml:16: error: DAG one: spec.jobs[2].inputs: a job has either a source or inputs")
    assert lines[2].startswith('a.yaml:32: error: DAG two: spec.jobs[a].inputs[0].from.job: "nothing": no job of')
    assert lines[-1] == "2 objects: 4 errors, 0 warnings"
    assert json.loads(machine_text(told, "json")) == yaml.safe_load(machine_text(told, "yaml"))


def test_it_is_a_program_that_needs_no_cluster(tmp_path: Path) -> None:
    bad = tmp_path / "bad.yaml"
    bad.write_text(TWO)
    done = headrace("lint", str(bad), KUBECONFIG="/absent")
    assert (done.returncode, done.stderr) == (1, "")
    assert f"{bad}:11: error:" in done.stdout
    done = headrace("lint", "-R", str(ROOT / "examples"), "-o", "json", KUBECONFIG="/absent")
    assert (done.returncode, json.loads(done.stdout)["errors"]) == (0, 0)
    done = headrace("lint", str(tmp_path / "absent"))
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    argv = [sys.executable, "-m", "headrace", "lint", "-"]
    for code in ("strict", "surrogateescape"):
        env = {**os.environ, "PYTHONPATH": str(ROOT / "operator"), "PYTHONIOENCODING": f"utf-8:{code}"}
        no_text = subprocess.run(argv, input=b"\xff\xfe", capture_output=True, check=False, env=env, timeout=60)
        assert (no_text.returncode, b"Traceback" in no_text.stderr) == (1, False)
    (tmp_path / "none.yaml").write_text("apiVersion: v1\nkind: Secret\n")
    done = headrace("lint", str(tmp_path / "none.yaml"))
    assert (done.returncode, "no object of headrace.dev" in done.stderr) == (1, True)
