"""Documents that would take for ever, or go too deep, are refused; a process that dies is made anew."""

from __future__ import annotations

import asyncio
import json
import os
import select
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import cast

import pytest

from headrace import compiler
from headrace.compiler import Compiler, Rejected, compile_object
from headrace.errors import TemporaryError

Body = dict[str, object]


def body(**job: object) -> Body:
    """A DAG of one source and one job with these fields."""
    source = {"name": "day", "source": {"kind": "manual"}}
    work = {"name": "work", "image": "i", "inputs": [{"from": {"job": "day"}}], **job}
    return {
        "apiVersion": "headrace.dev/v1alpha1",
        "kind": "DAG",
        "metadata": {"name": "d", "namespace": "air", "uid": "u", "generation": 1},
        "spec": {"jobs": [source, work]},
    }


@pytest.fixture
async def process() -> AsyncIterator[Compiler]:
    made = Compiler()
    yield made
    made.close()


def refused(found: object) -> str:
    assert isinstance(found, Rejected)
    return found.message


def branching(levels: int) -> Body:
    """A schema whose references branch at each level: short to write, long to check."""
    defs = {f"l{n}": {"allOf": [{"$ref": f"#/$defs/l{n + 1}"}] * 2} for n in range(levels)}
    return {"$ref": "#/$defs/l0", "$defs": {**defs, f"l{levels}": {"type": "object"}}}


@pytest.mark.parametrize(
    ("config", "schema"),
    [
        pytest.param({"n": "a" * 40 + "!"}, {"properties": {"n": {"pattern": "^(a+)+$"}}}, id="pattern"),
        pytest.param({}, branching(40), id="references"),
    ],
)
def test_what_takes_too_long_is_refused_with_the_way_out(
    monkeypatch: pytest.MonkeyPatch, config: Body, schema: Body
) -> None:
    monkeypatch.setattr(compiler, "CPU_LIMIT", 0.3)
    message = refused(compile_object("d", body(config=config, configSchema=schema)))
    assert message.startswith("spec: compiling it took more than")
    assert "simplify the configSchemas" in message


def test_what_goes_too_deep_is_refused() -> None:
    deep: Body = {}
    for _ in range(5000):
        deep = {"a": deep}
    assert "too deep" in refused(compile_object("d", body(config=deep)))


async def test_what_goes_too_deep_to_be_handed_on_is_told_of_its_object(process: Compiler) -> None:
    deep: Body = {}
    for _ in range(5000):
        deep = {"a": deep}
    found = await process.compile("d", body(), {"c": job("c", image="i", source={"kind": "manual"}, config=deep)})
    assert "too deep" in refused(found)
    assert isinstance(found, Rejected)
    assert list(found.objects) == ["Job c"]


async def test_a_good_document_comes_back_whole_and_a_bad_one_with_its_problems(process: Compiler) -> None:
    found = await process.compile("d", body())
    assert not isinstance(found, Rejected)
    dag, compiled = found
    assert (dag.metadata.uid, compiled.document.dag, set(compiled.jobs)) == ("u", "d", {"day", "work"})
    wrong = await process.compile("d", body(inputs=[{"from": {"job": "dey"}}]))
    assert refused(wrong).startswith('spec.jobs[work].inputs[0].from.job "dey"')
    assert "unknown field" in refused(await process.compile("d", body(imagge="i")))


async def test_a_process_that_died_is_made_anew(process: Compiler) -> None:
    await process.compile("d", body())
    for child in process._pool._processes.values():
        child.kill()
        await asyncio.to_thread(child.join)
    with pytest.raises(TemporaryError, match="did not end well"):
        await process.compile("d", body())
    assert not isinstance(await process.compile("d", body()), Rejected)


async def test_a_process_that_hangs_is_made_anew_though_nobody_waited_for_its_end(
    process: Compiler, monkeypatch: pytest.MonkeyPatch
) -> None:
    await process.compile("d", body())
    (child,) = process._pool._processes.values()
    os.kill(child.pid, signal.SIGSTOP)
    monkeypatch.setattr(compiler, "_ABANDONED", 0.0)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.2):
            await process.compile("d", body())
    async with asyncio.timeout(20):
        assert not isinstance(await process.compile("d", body()), Rejected)
    assert not child.is_alive()


async def test_objects_that_are_too_large_together_are_refused_with_the_way_out(process: Compiler) -> None:
    """Too large to be unpacked, or to be packed: neither is anything that goes by itself."""
    numbers: Body = {"all": list(range(10_000, 17_000))}
    for many, config in ((1_500, numbers), (1_100, {"text": "x" * (63 << 10)})):
        work = job("w", image="i", inputs=[{"from": {"job": "day"}}], config=config)
        found = await process.compile("d", body(), {f"w{n}": work for n in range(many)})
        assert "make several DAGs of it" in refused(found)
    assert not isinstance(await process.compile("d", body()), Rejected)


async def test_what_kubectl_keeps_beside_an_object_counts_for_nothing(
    process: Compiler, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compiler, "LARGEST", 20_000)
    given = body()
    kept = {"annotations": {"kubectl.kubernetes.io/last-applied-configuration": "x" * 30_000}}
    found = await process.compile("d", {**given, "metadata": {**cast("Body", given["metadata"]), **kept}})
    assert not isinstance(found, Rejected)


def wide(jobs: int, size: int) -> Body:
    """Jobs of little, each with so much of the DAG's defaults."""
    found = body()
    labels = {f"l{n}": "x" * 50 for n in range(size // 60)}
    source, *_ = cast("list[Body]", cast("Body", found["spec"])["jobs"])
    work = [{"name": f"w{n}", "image": "i", "inputs": [{"from": {"job": "day"}}]} for n in range(jobs)]
    return {**found, "spec": {"defaults": {"template": {"metadata": {"annotations": labels}}}, "jobs": [source, *work]}}


def test_jobs_that_are_too_much_with_their_defaults_are_refused_with_the_way_out() -> None:
    assert not isinstance(compile_object("d", wide(20, 300_000)), Rejected)
    assert "shorten defaults.template" in refused(compile_object("d", wide(400, 300_000)))


async def test_what_takes_too_much_memory_is_refused_and_takes_nothing_else_with_it() -> None:
    small = Compiler(memory=24 << 20)
    try:
        many = {f"w{n}": job(f"w{n}", image="i", inputs=[{"from": {"job": "day"}}]) for n in range(9000)}
        assert "takes too much memory: make several" in refused(await small.compile("d", body(), many))
        assert not isinstance(await small.compile("d", body()), Rejected)
    finally:
        small.close()


def member(kind: str, name: str, spec: Body) -> Body:
    """A Job or Dataset object, with what the API server keeps beside it."""
    metadata = {"name": name, "namespace": "air", "managedFields": [{"manager": "kubectl"}]}
    return {"apiVersion": "headrace.dev/v1alpha1", "kind": kind, "metadata": metadata, "spec": spec, "status": {}}


def job(name: str, **spec: object) -> Body:
    return member("Job", name, {"dag": "d", **spec})


async def test_members_are_compiled_with_their_dag(process: Compiler) -> None:
    more = job("more", image="i", inputs=[{"from": {"job": "work"}}])
    rows = member("Dataset", "more-rows", {"from": {"dag": "d", "job": "more"}})
    found = await process.compile("d", body(), {"more": more}, {"more-rows": rows})
    assert not isinstance(found, Rejected)
    assert set(found[1].jobs) == {"day", "work", "more"}
    assert [p.name for p in found[1].document.publish] == ["more_rows"]


def test_each_object_is_told_what_is_wrong_with_it_and_the_dag_everything() -> None:
    jobs = {"a": job("a", image="i", inputs=[{"from": {"job": "dey"}}]),
            "b": job("b", inputs=[{"from": {"job": "day"}}])}  # fmt: skip
    found = compile_object("d", body(inputs=[{"from": {"job": "x"}}]), jobs)
    assert isinstance(found, Rejected)
    lines = found.message.split("\n")
    assert [line[: len(begin)] for line, begin in zip(lines, (
        "Job b: spec.image: ", 'spec.jobs[work].inputs[0].from.job "x": ', 'Job a: spec.inputs[0].from.job "dey": ',
    ), strict=True)] == [
        "Job b: spec.image: ", 'spec.jobs[work].inputs[0].from.job "x": ', 'Job a: spec.inputs[0].from.job "dey": ',
    ]  # fmt: skip
    assert found.objects == {"Job a": lines[2].removeprefix("Job a: "), "Job b": lines[0].removeprefix("Job b: ")}


def test_objects_that_cannot_be_parsed_are_told_all_at_once() -> None:
    deep: Body = {}
    for _ in range(5000):
        deep = {"a": deep}
    jobs = {"a": job("a", imagge="i"), "b": job("b"), "c": job("c", image="i", source={"kind": "manual"}, config=deep)}
    datasets = {"x": member("Dataset", "x", {})}
    found = compile_object("d", body(colour="red"), jobs, datasets)
    assert isinstance(found, Rejected)
    assert set(found.objects) == {"Job a", "Job b", "Job c", "Dataset x"}
    assert "unknown field imagge" in found.objects["Job a"]
    assert "too deep" in found.objects["Job c"]
    assert all(part in found.message for part in ("unknown field colour", "Job a: spec: unknown field imagge"))
    assert found.message.endswith("and 2 more")


def test_a_larger_set_has_more_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """The limit is there against single patterns that take for ever: a good set of many objects never meets it."""
    monkeypatch.setattr(compiler, "CPU_LIMIT", 0.01)
    monkeypatch.setattr(compiler, "MEMBER_LIMIT", 0.002)
    jobs = {f"j{n}": job(f"j{n}", image="i", inputs=[{"from": {"job": "day"}}]) for n in range(1000)}
    assert not isinstance(compile_object("d", body(), jobs), Rejected)
    monkeypatch.setattr(compiler, "MEMBER_LIMIT", 0.0)
    assert "took more than" in refused(compile_object("d", body(), jobs))


_OPERATOR = """
import asyncio, json, multiprocessing, sys
from headrace.compiler import Compiler

async def main():
    compiler = Compiler()
    await compiler.compile("d", json.loads(sys.argv[1]))
    print(multiprocessing.active_children()[0].pid, flush=True)
    await asyncio.sleep(600)

if __name__ == "__main__":
    asyncio.run(main())
"""


def test_it_ends_with_an_operator_that_is_killed(tmp_path: Path) -> None:
    """SIGKILL leaves the operator no time to end it."""
    script = tmp_path / "compiling.py"
    script.write_text(_OPERATOR)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    argv = [sys.executable, str(script), json.dumps(body())]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True, env=environment) as operator:
        assert operator.stdout is not None
        # A handle of the process itself, since its number may be another's by then.
        child = os.pidfd_open(int(operator.stdout.readline()))
        operator.kill()
        operator.wait(10)
        ended, _, _ = select.select([child], [], [], 10)
        if not ended:
            signal.pidfd_send_signal(child, signal.SIGKILL)
        os.close(child)
    assert ended, "it goes on without its operator"


def test_what_another_object_may_mend_is_told_apart() -> None:
    """Admission refuses a member of a set only for what is wrong with it whatever the others are."""
    lost = job("lost", image="i", inputs=[{"from": {"job": "nobody"}}])
    bad = job("bad", source={"kind": "cron", "schedule": "99 * * * *"})
    found = compile_object("d", body(), {"lost": lost, "bad": bad})
    assert isinstance(found, Rejected)
    assert found.objects.keys() >= {"Job lost", "Job bad"}
    assert found.own.keys() == {"Job bad"}
    twice = compile_object("d", body(), {"work": job("work", image="i", inputs=[{"from": {"job": "day"}}])})
    assert isinstance(twice, Rejected)
    assert (twice.objects.keys(), twice.own) == ({"Job work"}, {})
