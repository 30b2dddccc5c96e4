"""A durable Postgres with a DAG whose job has workers and does nothing: what our own measurements stand on."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import cast
from uuid import UUID

import msgspec

from headrace.api.dag import DagSpec
from headrace.compile.dag import compile_dag
from headrace.gateway.identity import PodIdentity
from headrace.plan.decide import intent_of
from headrace.run.commit import commit
from headrace.state import orgs, units, workers
from headrace.state.database import Database, Transaction
from headrace.state.migrate import migrate

NAMESPACE = "bench"
DAG = "bench"
SOURCE = "ready"
JOB = "noop"
CHUNK = 10_000
_MOST = 1000
_JOB_ID = "SELECT job_id FROM working_jobs WHERE dag_name = %(dag)s AND name = %(job)s"
_READY = """
INSERT INTO partition_versions (dataset_uuid, dataset_version, partition_key, materialized_at, config_hash, task_id)
SELECT v.dataset_uuid, v.dataset_version, k.key, now(), '', gen_random_uuid()
FROM input_versions v CROSS JOIN unnest(%(keys)s::text[]) AS k (key) WHERE v.job_id = %(job)s
ON CONFLICT DO NOTHING
"""
_COUNT = "SELECT count(*) FROM tasks WHERE status = %(status)s AND job_id = %(job)s"


@dataclass(frozen=True)
class Ground:
    """The database, and the rows of the job that has workers and of the source that it reads."""

    db: Database
    source: UUID
    job: UUID

    async def enqueue(self, tasks: int, first: int = 0) -> None:
        """So many tasks for workers, which read a partition each."""
        for keys in _chunks(tasks, first):
            async with self.db.transaction() as tx:
                await there(tx, self.job, keys)
                await units.create_source_tasks(tx, self.job, keys)

    async def ready(self, *keys: str) -> None:
        """The job's tasks of these keys may begin, once they are enqueued."""
        async with self.db.transaction() as tx:
            await there(tx, self.job, keys)

    async def settle(self) -> None:
        """As autovacuum does within a minute."""
        await self.rows("VACUUM ANALYZE")

    async def worker(self, name: str) -> PodIdentity:
        """A pod that the operator has recorded as a worker."""
        async with self.db.transaction() as tx:
            await workers.record(tx, 0, self.job, f"uid-{name}", name)
        return PodIdentity(NAMESPACE, name, f"uid-{name}")

    async def count(self, status: str) -> int:
        """How many tasks of the job are in this state."""
        ((count,),) = await self.rows(_COUNT, status=status, job=self.job)
        return int(str(count))

    async def rows(self, statement: str, **parameters: object) -> list[tuple[object, ...]]:
        """A statement of the measurement's own."""
        async with self.db._pool.connection() as connection:
            cursor = await connection.execute(statement.encode(), parameters)
            return [tuple(row.values()) for row in await cursor.fetchall()] if cursor.description else []


async def there(tx: Transaction, job: UUID, keys: Sequence[str]) -> None:
    """What the job reads has these partitions."""
    await tx._connection.execute(_READY.encode(), {"job": job, "keys": list(keys)})


@asynccontextmanager
async def ground(
    server: str, name: str, *, outputs: int = 0, lease: int = 60, batch: int = _MOST
) -> AsyncIterator[Ground]:
    """A new database `name` on a server with the DAG committed; the job's tasks have so many outputs."""
    url = await fresh(server, name)
    await migrate(url)
    source = {"name": SOURCE, "source": {"kind": "manual", "partitions": {"values": ["k"]}}}
    job = {
        "name": JOB, "image": "noop", "inputs": [{"from": {"job": SOURCE}}], "outputs": outputs, "idleTimeout": "5m",
        "heartbeatTimeoutSeconds": lease, "scaling": {"maxConcurrency": _MOST, "batch": batch},
    }  # fmt: skip
    spec = msgspec.convert({"jobs": [source, job]}, DagSpec)
    async with Database(url) as db:
        async with db.transaction() as tx:
            org = await orgs.ensure_org(tx, NAMESPACE, NAMESPACE)
        async with db.transaction() as tx:
            await commit(tx, 0, org, "file:///data", compile_dag(DAG, spec), intent_of("uid", spec), {})
        made = Ground(db, org.id, org.id)
        found = [cast("UUID", (await made.rows(_JOB_ID, dag=DAG, job=one))[0][0]) for one in (SOURCE, JOB)]
        yield replace(made, source=found[0], job=found[1])


async def fresh(server: str, name: str) -> str:
    """An empty database on a server; its address."""
    async with Database(server, connections=1) as db, db._pool.connection() as connection:
        await connection.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)".encode())
        await connection.execute(f"CREATE DATABASE {name}".encode())
    return re.sub(r"/[^/]*$", f"/{name}", server)


def _chunks(tasks: int, first: int) -> list[list[str]]:
    """Keys, at most 10,000 at a time."""
    keys = [f"k{number:07d}" for number in range(first, first + tasks)]
    return [keys[start : start + CHUNK] for start in range(0, tasks, CHUNK)]
