"""A worker process of procrastinate, in an environment of its own: it fills its queue, then drains it.

procrastinate fetches and finishes tasks one by one, `at_once` of them side by side.
"""

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
    procrastinate = importlib.import_module("procrastinate")
    psycopg = importlib.import_module("psycopg")
    load = given()
    connector = procrastinate.PsycopgConnector(conninfo=load.url, min_size=load.connections, max_size=load.connections)
    app = procrastinate.App(connector=connector)

    @app.task(name="noop")  # type: ignore[untyped-decorator]
    async def noop() -> None:
        pass

    async with app.open_async():
        await app.schema_manager.apply_schema_async()
        for first in range(0, load.tasks, _CHUNK):
            await noop.configure().batch_defer_async(*({} for _ in range(min(_CHUNK, load.tasks - first))))
        async with await psycopg.AsyncConnection.connect(load.url, autocommit=True) as connection:
            await connection.execute("VACUUM ANALYZE")
        await told(
            lambda: app.run_worker_async(
                concurrency=load.at_once, wait=False, listen_notify=False, install_signal_handlers=False
            )
        )
        left = await connector.execute_query_one_async(
            "SELECT count(*) AS left FROM procrastinate_jobs WHERE status <> 'succeeded'"
        )
        if left["left"]:
            sys.exit(f"{left['left']} tasks are left")


if __name__ == "__main__":
    asyncio.run(main())
