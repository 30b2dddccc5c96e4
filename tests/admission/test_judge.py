"""What a verdict costs who waits for it: the time is kept whatever hangs, and however many ask at once."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator

import msgspec
import pytest
from kubernetes.aio.client import ApiClient, Configuration

from headrace.admission.judge import AT_ONCE, Judge
from headrace.admission.review import Request
from headrace.cluster.client import Client
from headrace.cluster.official import Official
from headrace.compiler import Compiler
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
