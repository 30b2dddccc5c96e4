"""A process that keeps Postgres busy: so many tasks a second are enqueued, claimed and completed until it is killed."""

from __future__ import annotations

import asyncio
import sys
import time
from uuid import UUID

from bench.queue.drain_sql import turn
from bench.queue.ground import there
from bench.queue.load import given
from headrace.state import units
from headrace.state.database import Database

_BATCH = 50


async def main() -> None:
    """For ever, or until it is killed."""
    load, job, rate = given(), UUID(sys.argv[2]), float(sys.argv[3])
    number, due = 0, time.monotonic()
    async with Database(load.url, connections=1) as db:
        while True:
            keys = [f"b{n:09d}" for n in range(number, number + _BATCH)]
            async with db.transaction() as tx:
                await there(tx, job, keys)
                await units.create_source_tasks(tx, job, keys)
            done = await turn(db, _BATCH, "w", [])
            await turn(db, _BATCH, "w", done)
            number += _BATCH
            due = max(due + _BATCH / rate, time.monotonic() - 1.0)
            await asyncio.sleep(max(0.0, due - time.monotonic()))


if __name__ == "__main__":
    asyncio.run(main())
