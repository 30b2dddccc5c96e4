"""A source that runs on and on, by the library and by `headrace-report --event`, at a gateway that listens."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
from pathlib import Path

import pytest

from headrace.run.payload import payload
from headrace.state import task_pods
from headrace.state.attempts import RunningPod
from headrace.state.task_pods import SeenPod
from headrace.worker import Lost, Source
from headrace.worker.gateway import Gateway, Refused
from tests.worker import test_loop
from tests.worker.test_told_reports import LIBRARY, SEND

Bench = test_loop.Bench
bench = test_loop.bench

LIVE = {"name": "blocks", "image": "i", "source": {"kind": "always_on"}, "config": {"step": 5}}
ROWS = """
SELECT partition_key, reverse(split_part(reverse(location), '/', 1)), row_count, bytes, schema_hash IS NULL
FROM partition_versions ORDER BY 1
"""


async def begin(bench: Bench) -> RunningPod:
    """The source runs, and the gateway knows its pod."""
    await bench.apply("chain", LIVE)
    return await known(bench)


async def known(bench: Bench) -> RunningPod:
    (pod,) = await bench.claim()
    async with bench.db.transaction() as tx:
        await task_pods.record(tx, 0, [SeenPod(pod.org, pod.pod_name, f"uid-{pod.pod_name}")])
    (bench.place / pod.pod_name).write_text(pod.pod_name)
    return pod


def source(bench: Bench, pod: RunningPod) -> Source:
    """As the code in the pod has it."""
    return Source(json.loads(payload(pod).text), Gateway(bench.url, bench.place / pod.pod_name))


def cursor(first: int | None, last: int) -> dict[str, object]:
    return {"column": "block", "type": "bigint", "from": first, "to": last}


async def test_it_tells_what_it_made_and_goes_on_where_it_stopped(bench: Bench) -> None:
    pod = await begin(bench)
    first = source(bench, pod)
    assert (first.config["step"], first.last, first.cursor()) == (5, None, None)
    assert first.location("b5").endswith(f"{pod.id}-1-{str(pod.token)[-12:]}/b5")

    def work() -> list[bool]:
        return [
            first.event("b5", rows=5, bytes=50, columns={"n": "bigint"}, cursor=cursor(None, 5)),
            first.event("b5", rows=5, cursor=cursor(None, 5)),
            first.event("b10", partition="late", rows=0, cursor={"column": "block", "type": "bigint", "to": 10}),
            first.event("b5", rows=5, cursor=cursor(None, 5)),
        ]

    assert await asyncio.to_thread(work) == [True, False, True, False]
    assert first.last == "b10"
    ranges = "SELECT from_value, to_value FROM dataset_updates ORDER BY number"
    assert await bench.rows(ranges) == [(None, "5"), ("5", "10")]
    assert await bench.rows(ROWS) == [("*", "b5", 5, 50, False), ("late", "b10", 0, None, True)]
    await bench.fail(pod)
    await bench.rows("UPDATE tasks SET next_retry_at = now() WHERE next_retry_at IS NOT NULL RETURNING 1")
    second = source(bench, await known(bench))
    assert (second.last, second.cursor()) == ("b10", 10)
    with first, second:
        with pytest.raises(Lost):
            await asyncio.to_thread(first.event, "b15")
        assert await asyncio.to_thread(second.event, "b15")


async def test_what_makes_no_sense_is_refused_at_once(bench: Bench) -> None:
    with source(bench, await begin(bench)) as made:
        with pytest.raises(Refused, match="append"):
            await asyncio.to_thread(made.event, "b5", replaces=[{"block": {"gte": 1}}])
        with pytest.raises(Refused, match="events"):
            await asyncio.to_thread(made.event, "a/b")
        assert made.last is None


@pytest.mark.parametrize("outside", [{}, {"inputs": {}, "outputs": [], "config": {}}])
def test_outside_of_such_a_pod_it_says_so(outside: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="source"):
        Source(outside or None)


async def test_a_shell_tells_events_with_the_program_of_reports(bench: Bench, tmp_path: Path) -> None:
    pod = await begin(bench)
    given = {
        "PATH": os.environ["PATH"], "PYTHONPATH": LIBRARY, "HEADRACE_URL": bench.url,
        "HEADRACE_TOKEN_FILE": str(bench.place / pod.pod_name),
    }  # fmt: skip

    async def send(event: str, text: str, environment: dict[str, str]) -> tuple[int, str]:
        done = await asyncio.to_thread(
            subprocess.run, [*SEND, "--event", event], input=text, text=True, capture_output=True, env=environment,
            check=False,
        )  # fmt: skip
        return done.returncode, done.stderr

    assert await send("e1", '{"outputs": [{"rows": 3}]}', given) == (0, "")
    assert await bench.rows("SELECT partition_key, row_count FROM partition_versions") == [("*", 3)]
    assert (await send("e2", '{"rows": 3}', given))[0] == 65
    assert (await send("--x", "{}", given))[0] == 64
    code, words = await send("e3", "{}", {"PATH": given["PATH"], "PYTHONPATH": LIBRARY})
    assert (code, "always_on" in words) == (64, True)
    await bench.fail(pod)
    assert (await send("e4", "{}", given))[0] == 1
