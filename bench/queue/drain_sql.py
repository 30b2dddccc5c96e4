"""A worker process that claims and completes by the calls that the gateway makes, without HTTP between."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from bench.queue.ground import NAMESPACE
from bench.queue.load import Load, given, told
from headrace.state import attempts, workers
from headrace.state.attempts import Completion
from headrace.state.database import Database


async def turn(db: Database, most: int, pod: str, done: Sequence[Completion]) -> list[Completion]:
    """Complete, and claim others; as what is to be said of these when they are done."""
    async with db.transaction() as tx:
        worker = await workers.find(tx, NAMESPACE, f"uid-{pod}", pod)
        if done:
            accepted = await attempts.complete_of(tx, worker.org_id, worker.dag, done, [])
            assert len(accepted) == len(done)
        claimed = await workers.claim(tx, worker, most)
    return [Completion(id=t.id, attempt=t.attempt, token=t.token, namespace=NAMESPACE, pod=pod) for t in claimed.tasks]


async def main() -> None:
    """Until nothing waits."""
    load = given()

    async def turns() -> None:
        done = await turn(db, load.batch, "w", [])
        while done:
            done = await turn(db, load.batch, "w", done)

    async def drain(load: Load) -> None:
        await asyncio.gather(*(turns() for _ in range(load.connections)))

    async with Database(load.url, connections=load.connections) as db:
        await told(lambda: drain(load))


if __name__ == "__main__":
    asyncio.run(main())
