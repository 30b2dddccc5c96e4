"""What a step reads grows with its own work, not with the tables, also before Postgres has analysed what came in."""

from __future__ import annotations

import psycopg
import pytest

from headrace.state import attempts, workers
from headrace.state.attempts import Completion
from headrace.state.database import Database, Transaction
from tests.state.test_worker_calls import Workshop

KEYS = [f"k{number:04}" for number in range(5000)]
FEW = 50
PER_TASK = 10
"""Rows that a step may read for each of its tasks; one that reads a whole table for each reads thousands."""
# Postgres counts by session, and what it has not told others yet: what was there before is taken off.
_READ = """
SELECT sum(coalesce(seq_tup_read, 0) + coalesce(idx_tup_fetch, 0))::int AS rows
FROM pg_stat_xact_user_tables WHERE relname IN ('tasks', 'task_inputs', 'partition_versions')
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


async def read(tx: Transaction) -> int:
    """Rows read so far by this session."""
    cursor = await tx._connection.execute(_READ.encode())
    found = await cursor.fetchone()
    assert found is not None
    return int(str(found["rows"]))
