"""What a step reads grows with its own work, not with the tables, also before Postgres has analysed what came in."""

from __future__ import annotations

import psycopg
import pytest

from headrace.state import attempts, workers
from headrace.state.attempts import Completion
from headrace.state.database import Database, Transaction
from tests.state.test_worker_calls import Workshop
from tests.state.world import month_source

KEYS = [f"k{number:04}" for number in range(5000)]
FEW = 50
PER_TASK = 10
"""Rows that a step may read for each of its tasks; one that reads a whole table for each reads thousands."""
# Postgres counts by session, and what it has not told others yet: what was there before is taken off.
_READ = """
SELECT sum(coalesce(seq_tup_read, 0) + coalesce(idx_tup_fetch, 0))::int AS rows
FROM pg_stat_xact_user_tables WHERE relname IN ('tasks', 'task_inputs', 'partition_versions', 'unit_completions')
"""


@pytest.fixture
async def grown(db: Database, url: str) -> Workshop:
    """Thousands of partitions and of tasks that read one each, which Postgres believes to be none."""
    with psycopg.connect(url, autocommit=True) as connection:
        for table in ("tasks", "task_inputs", "partition_versions"):
            connection.execute(f"ALTER TABLE {table} SET (autovacuum_enabled = false)")
    shop = Workshop(db)
    await shop.begin(*KEYS, scaling={"maxConcurrency": 1000, "batch": 1000})
    return shop


async def test_a_claim_and_a_completion_read_what_is_theirs(grown: Workshop) -> None:
    pod = await grown.worker()
    async with grown.db.transaction() as tx:
        worker = await workers.find(tx, pod.namespace, pod.uid, pod.name)
        before = await read(tx)
        claimed = await workers.claim(tx, worker, FEW)
        claiming = await read(tx) - before
    assert len(claimed.tasks) == FEW
    done = [
        Completion(id=task.id, attempt=task.attempt, token=task.token, namespace=pod.namespace, pod=pod.name)
        for task in claimed.tasks
    ]
    async with grown.db.transaction() as tx:
        before = await read(tx)
        accepted = await attempts.complete_of(tx, worker.org_id, worker.dag, done, [])
        completing = await read(tx) - before
    assert len(accepted) == FEW
    assert claiming <= PER_TASK * FEW
    assert completing <= PER_TASK * FEW


async def test_what_was_planned_while_there_was_nothing_is_read_by_its_index_when_there_is_much(url: str) -> None:
    """One plan serves a connection for long: one that reads a small table whole would go on to when it is large."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("ALTER TABLE unit_completions SET (autovacuum_enabled = false)")
        connection.execute("VACUUM ANALYZE")
    async with Database(url, connections=1) as db:
        shop = Workshop(db)
        keys, scaling = KEYS[: FEW * 20], {"maxConcurrency": 1000, "batch": 1000}
        await shop.apply("flights", month_source(*keys), shop.clean(outputs=0, scaling=scaling))
        await shop.run("flights", "month", *keys)
        pod = await shop.worker()
        steps: list[int] = []
        for _ in range(20):
            async with db.transaction() as tx:
                worker = await workers.find(tx, pod.namespace, pod.uid, pod.name)
                before = await read(tx)
                claimed = await workers.claim(tx, worker, FEW)
                done = [
                    Completion(
                        id=task.id, attempt=task.attempt, token=task.token, namespace=pod.namespace, pod=pod.name
                    )
                    for task in claimed.tasks
                ]
                assert len(await attempts.complete_of(tx, worker.org_id, worker.dag, done, [])) == FEW
                steps.append(await read(tx) - before)
    assert max(steps) <= 2 * PER_TASK * FEW


async def read(tx: Transaction) -> int:
    """Rows read so far by this session."""
    cursor = await tx._connection.execute(_READ.encode())
    found = await cursor.fetchone()
    assert found is not None
    return int(str(found["rows"]))
