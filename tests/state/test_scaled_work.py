"""How many workers a job needs, and which are over, as Postgres knows it: what is held needs none."""

from __future__ import annotations

from typing import cast

import pytest

from headrace.cluster.pods import Pods
from headrace.run import workers as scaling
from headrace.run.workers import Workers
from headrace.state import workers
from headrace.state.database import Database
from tests.state.test_worker_calls import Workshop, done
from tests.state.world import month_source, step


@pytest.fixture
async def shop(db: Database) -> Workshop:
    return Workshop(db)


async def begins(shop: Workshop) -> int:
    """How many tasks of the job a worker could begin now."""
    job = await shop.job()
    async with shop.db.transaction() as tx:
        return (await workers.claimable(tx, [job.job_id])).get(job.job_id, 0)


def operator(shop: Workshop) -> Workers:
    """The operator's part, of which these tests ask nothing that has to do with pods."""
    return Workers(shop.db, cast("Pods", None), 0, 0.0, "http://gateway")


async def test_what_waits_for_older_work_upstream_needs_no_worker(shop: Workshop) -> None:
    await shop.apply("flights", {**month_source("a", "b"), "image": "i", "maxAttempts": 1}, Workshop.clean())
    await shop.run("flights", "month", "a", "b")
    await shop.drain()  # of month; clean has workers
    assert await begins(shop) == 2
    assert await shop.command("flights", "run", "month -p a") is not None
    (pod,) = await shop.claim()
    assert await shop.fail(pod)
    # `clean` of a waits already, and is older: it may begin. A newer one of b may not.
    assert await shop.command("flights", "cancel", "clean", "2") is not None
    assert await shop.command("flights", "run", "clean -p a -p b", "3") is not None
    assert await begins(shop) == 1
    assert await shop.command("flights", "cancel", "month", "4") is not None
    assert await begins(shop) == 2


async def test_a_suspended_dag_and_a_full_namespace_need_no_worker(shop: Workshop) -> None:
    await shop.begin("a", "b", "c")
    assert await begins(shop) == 3
    await shop.rows("UPDATE orgs SET settings = '{\"max_running_tasks\": 2}' RETURNING 1")
    pod = await shop.worker()
    assert len(await shop.take(pod)) == 2
    assert await begins(shop) == 0
    await shop.rows("UPDATE orgs SET settings = '{}' RETURNING 1")
    assert await begins(shop) == 1
    await shop.apply("flights", month_source("a", "b", "c", "d"), Workshop.clean(), step("rank", "clean"), suspend=True)
    assert await begins(shop) == 0


async def test_another_idle_timeout_is_another_worker_s(shop: Workshop) -> None:
    await shop.begin("a", idleTimeout="never")
    pod = await shop.worker()
    assert (await shop.job()).workers == 1
    await shop.begin(idleTimeout="5m")
    assert (await shop.job()).workers == 0
    assert (await shop.gateway.claim(pod, 1, 0.0)).retire


async def test_workers_of_a_dag_that_is_long_gone_are_over_and_old_ones_forgotten(shop: Workshop) -> None:
    await shop.begin("a")
    await shop.worker()

    async def forget() -> list[tuple[object, ...]]:
        async with shop.db.transaction() as tx:
            await workers.forget(tx, 0)
        return await shop.rows("SELECT gone_at IS NOT NULL FROM workers")

    await shop.leave("flights")
    before = await shop.snapshot()
    assert await forget() == [(False,)]
    assert await shop.snapshot() == before
    await shop.rows("UPDATE dags SET absent_since = absent_since - interval '11 minutes' RETURNING 1")
    assert await forget() == [(True,)]
    await shop.rows("UPDATE workers SET gone_at = gone_at - interval '25 hours' RETURNING 1")
    assert await forget() == []


async def test_after_trouble_with_postgres_workers_have_time_to_renew(shop: Workshop) -> None:
    await shop.begin("a")
    pod = await shop.worker()
    (task,) = await shop.take(pod)
    await shop.rows(
        "UPDATE tasks SET lease_expires_at = now() - interval '1 second' WHERE status = 'Running' RETURNING 1"
    )
    part = operator(shop)
    part.trouble()
    assert not await part._reap()
    assert (await shop.gateway.complete(pod, [done(task)])).accepted == [task.id]


async def test_work_that_workers_leave_lying_for_long_gets_another(
    shop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    await shop.begin("a")
    await shop.worker()
    part, job = operator(shop), await shop.job()
    found = await part._begins([job])
    assert part._instead(job, found) == 0
    monkeypatch.setattr(scaling, "_STALLED", 0.0)
    assert part._instead(job, found) == 1
    # It was taken: nothing is left lying.
    assert part._instead(job, {}) == 0
    monkeypatch.setattr(scaling, "_STALLED", 60.0)
    assert part._instead(job, found) == 0


async def test_what_cannot_begin_is_not_asked_for_all_the_time(shop: Workshop) -> None:
    await shop.begin("a")
    part, job = operator(shop), await shop.job()
    await shop.rows("UPDATE orgs SET settings = '{\"max_running_tasks\": 0}' RETURNING 1")
    assert await part._begins([job]) == {}
    await shop.rows("UPDATE orgs SET settings = '{}' RETURNING 1")
    assert await part._begins([job]) == {}
    part._futile.clear()
    assert await part._begins([job]) == {job.job_id: 1}
