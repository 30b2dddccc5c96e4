"""The rows of the queue, on a durable Postgres of their own. `bench/run queue` calls it; needs no cluster."""

from __future__ import annotations

import argparse

from bench.queue import drain, enqueue, killed, start
from bench.table import Row
from harness.node.postgres import temporary

_SAMPLES = 200


async def queue(chosen: argparse.Namespace) -> list[Row]:
    """Draining, enqueuing, starting, dying."""
    with temporary(fsync=True) as server:
        drained = await drain.rows(server.url, chosen.tasks, others=chosen.peer)
        rows = [*drained.rows, await enqueue.row(server.url, chosen.tasks)]
        rows += await start.rows(server.url, min(_SAMPLES, chosen.tasks // 10), drained.rate)
        return [*rows, await killed.row(server.url)]
