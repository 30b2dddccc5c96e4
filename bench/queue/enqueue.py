"""The row of enqueuing: 10,000 tasks in one transaction beside COPY of the same rows into the same table."""

from __future__ import annotations

import statistics
import time

import psycopg

from bench.queue.ground import CHUNK, Ground, ground
from bench.table import Row, compared
from headrace.state import units

_ROUNDS = 5
_SHAPE = "SELECT identity, fingerprint FROM jobs WHERE id = %(job)s"
_COPY = b"COPY tasks (job_id, partitions, job_identity, fingerprint, unit_key, backfill, low) FROM STDIN"
GOAL = 0.7


async def row(server: str, tasks: int) -> Row:
    """Both in turn, with new keys each time."""
    count = min(tasks, CHUNK)
    async with ground(server, "ours_enqueue") as there:
        ours: list[float] = []
        copied: list[float] = []
        connection = await psycopg.AsyncConnection.connect(there.db.url)
        async with connection:
            for number in range(_ROUNDS):
                keys = [[f"{kind}{number}-{n:05d}" for n in range(count)] for kind in "ec"]
                ours.append(await _enqueued(there, keys[0]))
                copied.append(await _copied(connection, there, keys[1]))
    speed = statistics.median(copied) / statistics.median(ours)
    note = f"{speed:.0%} of COPY's speed; goal {GOAL:.0%}: {'met' if speed >= GOAL else 'missed'}"
    return compared(f"enqueue of {count:,} in one transaction beside COPY", ours, copied, note)


async def _enqueued(there: Ground, keys: list[str]) -> float:
    began = time.perf_counter()
    async with there.db.transaction() as tx:
        await units.create_source_tasks(tx, there.job, keys)
    return time.perf_counter() - began


async def _copied(connection: psycopg.AsyncConnection, there: Ground, keys: list[str]) -> float:
    ((identity, fingerprint),) = await there.rows(_SHAPE, job=there.job)
    lines = "".join(f"{there.job}\t{{{key}}}\t{identity}\t{fingerprint}\t{key}\tf\tf\n" for key in keys)
    began = time.perf_counter()
    async with connection.cursor() as cursor, cursor.copy(_COPY) as copy:
        await copy.write(lines)
    await connection.commit()
    return time.perf_counter() - began
