"""A worker process of pgqueuer, in an environment of its own: it fills its queue, then drains it."""

from __future__ import annotations

import asyncio
import importlib
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from bench.queue.load import given, told

_CHUNK = 10_000


async def main() -> None:
    """Fill, drain, count."""
    # By name: the checks of types run where it is not installed.
    asyncpg = importlib.import_module("asyncpg")
    drivers = importlib.import_module("pgqueuer.adapters.drivers.asyncpg")
    manager = importlib.import_module("pgqueuer.core.qm")
    queries = importlib.import_module("pgqueuer.adapters.persistence.queries")
    types = importlib.import_module("pgqueuer.domain.types")
    load = given()
    async with asyncpg.create_pool(load.url, min_size=load.connections, max_size=load.connections) as pool:
        driver = drivers.AsyncpgPoolDriver(pool)
        asked = queries.Queries(driver)
        await asked.install()
        for first in range(0, load.tasks, _CHUNK):
            count = min(_CHUNK, load.tasks - first)
            await asked.enqueue(["noop"] * count, [None] * count, [0] * count)
        await pool.execute("VACUUM ANALYZE")
        worker = manager.QueueManager(asked)

        @worker.entrypoint("noop")  # type: ignore[untyped-decorator]
        async def noop(_: object) -> None:
            pass

        await told(
            lambda: worker.run(
                batch_size=load.batch, max_concurrent_tasks=load.at_once, mode=types.QueueExecutionMode.drain
            )
        )
    connection = await asyncpg.connect(load.url)
    left = await connection.fetchval("SELECT count(*) FROM pgqueuer")
    if left:
        sys.exit(f"{left} tasks are left")


if __name__ == "__main__":
    asyncio.run(main())
