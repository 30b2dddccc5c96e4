"""What a tenant's pod says can never stop the dispatch of the others: Postgres takes it, or it is no report."""

from __future__ import annotations

from uuid import uuid4

import msgspec

from headrace.cluster.pods import Pod
from headrace.run.attempts import attempt_of, completion, failure, reported
from headrace.run.verdict import Broken, read_report
from headrace.state import attempts
from headrace.state.database import Database
from tests.state.world import World, month_source, step

EPOCH = 0

REPORTS = [
    '{"partitions": [{"key": "k%d", "rows": 5}]}',
    '{"partitions": [{"key": "k%d", "rows": 1}, {"key": "k%d", "rows": 5}]}',
    '{"partitions": [{"key": "k%d", "rows": -1}]}',
    '{"partitions": [{"key": "k%d", "rows": 99999999999999999999}]}',
    '{"partitions": [{"key": "k%d", "output": 99999999999}]}',
    '{"partitions": [{"key": "k%d\\u0000"}]}',
    '{"partitions": [{"key": "of nobody"}]}',
    '{"partitions": ' + "[" * 4000,
]


async def test_every_report_completes_its_task(db: Database) -> None:
    world = World(db)
    keys = [f"k{n}" for n in range(len(REPORTS))]
    await world.apply("flights", month_source(*keys), step("clean", "month", scaling={"maxConcurrency": 100}))
    await world.run("flights", "month", *keys)
    for pod in await world.claim():
        number = keys.index(pod.partitions[0])
        said = read_report(REPORTS[number].replace("%d", str(number)))
        async with db.transaction() as tx:
            ended = completion(pod.as_attempt, said)
            done = await attempts.complete(tx, EPOCH, [ended], reported(ended, said))
        assert done == {pod.id}
    rows = "SELECT partition_key, row_count FROM partition_versions WHERE location IS NOT NULL ORDER BY 1"
    assert await world.rows(rows) == [(key, 5 if key in ("k0", "k1") else None) for key in keys]
    told = "SELECT unit_key FROM tasks WHERE error_message LIKE 'its report was not understood%%' ORDER BY 1"
    assert {"k2", "k3", "k4"} <= {key for (key,) in await world.rows(told)}
    assert ("k0",) not in await world.rows(told)


async def test_a_reason_of_any_bytes_ends_its_attempt(db: Database) -> None:
    """The tail of a log may hold what Postgres does not keep; the rest of it is told."""
    world = World(db)
    await world.apply("flights", month_source("k"), step("clean", "month", maxAttempts=1))
    await world.run("flights", "month", "k")
    (pod,) = await world.claim()
    reason = "exit code 1: a\0b\x01\ufffe\U0001f600" + "x" * 9000
    async with db.transaction() as tx:
        assert await attempts.fail(tx, EPOCH, [failure(pod.as_attempt, Broken(reason, lost=False))], 1.0) == {pod.id}
    kept = await world.rows("SELECT error_message FROM tasks WHERE status = 'Failed'")
    assert kept == [(reason.replace("\0", "")[:4096],)]


async def test_forged_labels_end_nothing(db: Database) -> None:
    """A pod that a tenant labels as an attempt is none, or a stale one."""
    world = World(db)
    await world.apply("flights", month_source("k"), step("clean", "month"))
    await world.run("flights", "month", "k")
    (running,) = await world.claim()
    before = await world.snapshot()
    own, mine = running.pod_name, f"mine-{running.token.hex}"
    forged = [("99999999999", own, "air"), ("2147483647", own, "air"), ("1", f"mine-{uuid4().hex}", "air"),
              ("1", mine, "air"), ("1", own, "trains")]  # fmt: skip
    for number, name, namespace in forged:
        labels = {"headrace.dev/task": str(running.id), "headrace.dev/attempt": number}
        metadata = {"name": name, "namespace": namespace, "labels": labels}
        found = attempt_of(msgspec.convert({"metadata": metadata}, Pod))
        if found is not None:
            async with db.transaction() as tx:
                assert await attempts.complete(tx, EPOCH, [completion(found, read_report(""))], []) == set()
    assert await world.snapshot() == before
