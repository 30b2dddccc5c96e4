"""What a verdict costs who waits for it, whatever hangs and however many ask; and whose pods it asks about."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator

import msgspec
import pytest
from kubernetes.aio.client import ApiClient, Configuration

from headrace.admission.judge import AT_ONCE, Judge, concerned
from headrace.admission.live import LiveSet
from headrace.admission.review import Request
from headrace.cluster.client import Client
from headrace.cluster.official import Official
from headrace.compile.members import Body, Members
from headrace.compiler import Compiler, compile_object
from headrace.state.database import Database

SECONDS = 0.5


@pytest.fixture
async def silent() -> AsyncIterator[Client]:
    """A client of an API server that takes connections and says nothing."""
    ends = asyncio.Event()

    async def wait(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await ends.wait()
        writer.close()

    server = await asyncio.start_server(wait, "127.0.0.1", 0)
    client = Client(Official(ApiClient(Configuration(host=f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"))))
    async with server:
        yield client
        ends.set()
        await client.close()


async def test_an_answer_comes_in_time_however_many_ask_at_once(silent: Client) -> None:
    job = {"metadata": {"name": "a"}, "spec": {"dag": "d"}}
    asked = msgspec.convert({"uid": "u", "kind": {"kind": "Job"}, "namespace": "air", "object": job}, Request)
    compiler = Compiler()
    try:
        async with Database("postgresql://127.0.0.1:1/none", connections=1) as away:
            judge = Judge(silent, away, compiler, SECONDS)
            began = time.monotonic()
            found = await asyncio.gather(*(judge.judge(asked) for _ in range(3 * AT_ONCE)))
            took = time.monotonic() - began
    finally:
        compiler.close()
    assert took < 2 * SECONDS
    assert all(one.refused == "" and "not looked at whole within" in one.warnings[0] for one in found)


def body(kind: str, name: str, **spec: object) -> dict[str, object]:
    return {"apiVersion": "headrace.dev/v1alpha1", "kind": kind, "metadata": {"name": name}, "spec": spec}


def asked_about(
    kind: str, dag: Body, jobs: dict[str, Body], old: Body | None = None, *, there: bool = True
) -> list[str]:
    """The jobs whose pods are tried, of a DAG `d` that is written, or else of its Job `b`."""
    found = compile_object("d", dag, jobs)
    assert isinstance(found, tuple)
    alone = Members(jobs)
    live = LiveSet(dag="d", body=dag, alone=alone, found=alone, there=there)
    return [job.name for job in concerned(live, kind, dag if kind == "DAG" else jobs["b"], old, found[1])]


def test_pods_are_tried_of_what_is_written_where_its_defaults_are_known() -> None:
    a, image = {"name": "a", "source": {"kind": "manual"}, "image": "i"}, "x@sha256:" + "0" * 64
    b = {"b": body("Job", "b", dag="d", source={"kind": "manual"}, image=image)}
    dag, bare = body("DAG", "d", jobs=[a]), body("DAG", "d")
    assert asked_about("DAG", dag, b) == ["a", "b"]
    assert asked_about("Job", dag, b) == ["b"]
    assert asked_about("Dataset", dag, b) == []
    # Its DAG may bring what the cluster asks of pods, such as limits.
    assert asked_about("Job", bare, b, there=False) == []
    # A cluster that would not take them any more must not keep anybody from suspending what runs.
    assert asked_about("DAG", body("DAG", "d", jobs=[a], suspend=True), b, old=dag) == []
    assert asked_about("DAG", body("DAG", "d", jobs=[{**a, "args": ["x"]}], suspend=True), b, old=dag) == ["a", "b"]
    limits = {"template": {"spec": {"priorityClassName": "low"}}}
    assert asked_about("DAG", body("DAG", "d", jobs=[a], defaults=limits), b, old=dag) == ["a", "b"]
