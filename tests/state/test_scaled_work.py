"""How many workers a job needs, and which are over, as Postgres knows it: what is held needs none."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import cast

import msgspec
import pytest

from headrace.cluster.client import Client
from headrace.cluster.pods import Pod, Pods
from headrace.gateway.identity import PodIdentity
from headrace.run import workers as scaling
from headrace.run.render import render_worker
from headrace.run.workers import Workers
from headrace.state import workers
from headrace.state.database import Database
from tests.state.test_worker_calls import Workshop, broke, done
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


@pytest.mark.parametrize(
    ("idle", "told"), [("5m", {"HEADRACE_IDLE_SECONDS": "300"}), ("never", {"HEADRACE_SPARE_SECONDS": "60"})]
)
async def test_a_worker_is_told_when_to_ask_for_its_end(shop: Workshop, idle: str, told: dict[str, str]) -> None:
    await shop.begin("a", idleTimeout=idle)
    made = msgspec.to_builtins(render_worker(await shop.job(), "w", "http://gateway"))
    variables = {one["name"]: one["value"] for one in made["spec"]["containers"][0]["env"]}
    assert {name: text for name, text in variables.items() if name.endswith(("IDLE_SECONDS", "SPARE_SECONDS"))} == told


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


async def test_work_that_workers_leave_lying_for_long_gets_another_in_the_place_of_one(
    shop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    await shop.begin("a", "b", scaling={"maxConcurrency": 4, "batch": 1})
    busy, idle, full = await shop.worker("busy"), await shop.worker("idle"), await shop.worker("full")
    (task,) = await shop.take(busy, 1)
    await shop.take(full, 1)
    assert await shop.take(idle) == []
    await shop.gateway.fail(busy, [broke(task, released=True)])
    part, job = operator(shop), await shop.job()
    found = await part._begins([job])
    assert await part._instead(job, found) == 0
    monkeypatch.setattr(scaling, "_STALLED", 0.0)
    assert [await part._instead(job, found) for _ in range(3)] == [1, 1, 0]
    # The one that has no room has left nothing lying.
    assert [(await shop.gateway.claim(pod, 1, 0.0)).retire for pod in (busy, idle, full)] == [True, True, False]
    # It was taken: nothing is left lying.
    assert await part._instead(job, {}) == 0
    monkeypatch.setattr(scaling, "_STALLED", 60.0)
    assert await part._instead(job, found) == 0


async def test_workers_that_never_claim_are_there_and_get_no_company(
    shop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    await shop.begin("a", scaling={"maxConcurrency": 1})
    await shop.worker()
    monkeypatch.setattr(scaling, "_STALLED", 0.0)
    part, job = operator(shop), await shop.job()
    found = await part._begins([job])
    assert (job.workers, await part._instead(job, found), await part._instead(job, found)) == (1, 0, 0)


def runs(pod: PodIdentity, seconds: float | None) -> Pod:
    """The pod of a worker whose container has run for so long; None: it waits for its image."""
    began = datetime.now(UTC) - timedelta(seconds=seconds or 0)
    state = {"waiting": {"reason": "ContainerCreating"}} if seconds is None else {"running": {"startedAt": began}}
    labels = {"headrace.dev/dag": "flights", "headrace.dev/job": "clean"}
    metadata = {"name": pod.name, "namespace": pod.namespace, "uid": pod.uid, "labels": labels}
    status = {"containerStatuses": [{"name": "main", "state": state}]}
    return msgspec.convert({"metadata": metadata, "status": status}, Pod)


def watching(shop: Workshop, *pods: Pod) -> Workers:
    """The operator's part, which sees these pods."""
    seen = Pods(cast("Client", None), lambda: None, lambda _: None)
    seen.workers = {(pod.metadata.namespace, pod.metadata.name): pod for pod in pods}
    return Workers(shop.db, seen, 0, 0.0, "http://gateway")


async def here(shop: Workshop) -> list[workers.WorkerPod]:
    async with shop.db.transaction() as tx:
        return await workers.here(tx)


async def dismiss(shop: Workshop, part: Workers) -> list[tuple[str, bool]]:
    """Which workers are there then, and whether they are to be deleted."""
    await part._dismiss(await here(shop), datetime.now(UTC))
    return sorted((worker.name, worker.stuck) for worker in await here(shop))


@pytest.mark.parametrize(
    ("seconds", "lease", "ends"), [(None, 60, False), (59, 60, False), (61, 60, True), (61, 90, False), (91, 90, True)]
)
async def test_a_worker_that_runs_for_long_and_never_claims_is_ended(
    shop: Workshop, seconds: float | None, lease: int, *, ends: bool
) -> None:
    await shop.begin("a", "b", heartbeatTimeoutSeconds=lease)
    pod = await shop.worker()
    part = watching(shop, runs(pod, seconds))
    assert await dismiss(shop, part) == [("w", ends)]
    told = "90 s" if lease == 90 else "a minute"
    words = list(part._ended.values())
    assert all(one.startswith(f"its worker has run for {told} and claimed nothing: is its command") for one in words)
    assert len(words) == ends
    # As long as its pod is there, it is there; then it was of no use.
    assert (await shop.job()).workers == 1
    answer = await shop.gateway.claim(pod, 1, 0.0)
    assert (answer.retire, len(answer.tasks)) == (ends, not ends)
    async with shop.db.transaction() as tx:
        await workers.bury(tx, 0, [pod.uid])
    assert (await shop.job()).fruitless == ends


async def test_a_worker_that_has_claimed_is_never_ended_for_its_silence(shop: Workshop) -> None:
    await shop.begin("a")
    pod, idle = await shop.worker(), await shop.worker("idle")
    assert len(await shop.take(pod)) == 1
    assert await shop.take(idle) == []
    assert await dismiss(shop, watching(shop, runs(pod, 1e6), runs(idle, 1e6))) == [("idle", False), ("w", False)]


async def test_after_trouble_with_postgres_workers_have_time_to_claim(shop: Workshop) -> None:
    await shop.begin("a")
    part = watching(shop, runs(await shop.worker(), 100))
    part.trouble()
    assert await dismiss(shop, part) == [("w", False)]


async def test_a_first_claim_and_the_end_of_its_worker_come_one_after_the_other(shop: Workshop) -> None:
    """It was found silent, and claims: either it has claimed and stays, or it gets nothing."""
    await shop.begin("a", "b")
    one, two = await shop.worker("one"), await shop.worker("two")
    known = await here(shop)
    async with shop.db.transaction() as tx:
        found = await workers.find(tx, two.namespace, two.uid, two.name)
    assert len(await shop.take(one, 1)) == 1
    await watching(shop, runs(one, 100), runs(two, 100))._dismiss(known, datetime.now(UTC))
    async with shop.db.transaction() as tx:
        assert (await workers.claim(tx, found, 1)) == workers.Claimed(retire=True)
    assert sorted((worker.name, worker.retired) for worker in await here(shop)) == [("one", False), ("two", True)]


@pytest.mark.parametrize(
    ("idle", "minutes", "canceled", "ends"),
    [
        pytest.param("5m", 2, True, True, id="its task was canceled"),
        pytest.param("5m", 2, False, False, id="its task waits"),
        pytest.param("5m", 0, True, False, id="it is as new as its image may be"),
        pytest.param("never", 2, True, False, id="one is kept"),
    ],
)
async def test_a_worker_that_does_not_run_and_need_not_ends(
    shop: Workshop, idle: str, minutes: int, *, canceled: bool, ends: bool
) -> None:
    await shop.begin("a", idleTimeout=idle)
    pod = await shop.worker()
    await shop.rows(
        "UPDATE workers SET created_at = created_at - make_interval(mins => %(minutes)s) RETURNING 1", minutes=minutes
    )
    if canceled:
        assert await shop.command("flights", "cancel", "clean") is not None
    assert await dismiss(shop, watching(shop, runs(pod, None))) == ([] if ends else [("w", False)])
    await shop.begin("b", idleTimeout=idle)
    # That it never ran says nothing about its image.
    assert (await shop.job()).fruitless == 0


async def test_a_worker_that_does_not_run_of_a_form_that_nobody_wants_ends(shop: Workshop) -> None:
    await shop.begin("a")
    pod = await shop.worker()
    await shop.rows("UPDATE workers SET created_at = created_at - interval '2 minutes' RETURNING 1")
    await shop.begin(resources={"requests": {"cpu": "1"}})
    assert await dismiss(shop, watching(shop, runs(pod, None))) == []


async def test_what_cannot_begin_is_not_asked_for_all_the_time(shop: Workshop) -> None:
    await shop.begin("a")
    part, job = operator(shop), await shop.job()
    await shop.rows("UPDATE orgs SET settings = '{\"max_running_tasks\": 0}' RETURNING 1")
    assert await part._begins([job]) == {}
    await shop.rows("UPDATE orgs SET settings = '{}' RETURNING 1")
    assert await part._begins([job]) == {}
    part._futile.clear()
    assert await part._begins([job]) == {job.job_id: 1}


async def counted(shop: Workshop) -> dict[str, int]:
    """How many workers each job has, as its status is made from."""
    report = await shop.report("flights")
    return {row.name: row.workers for row in (*report.builds, *report.jobs)}


async def test_the_workers_of_a_job_are_counted_over_all_its_versions_until_they_are_over(shop: Workshop) -> None:
    await shop.begin("a")
    assert await counted(shop) == {"month": 0, "clean": 0, "rank": 0}
    old = await shop.worker("old")
    assert (await counted(shop))["clean"] == 1
    await shop.begin(idleTimeout="never")
    await shop.worker("new")
    assert await counted(shop) == {"month": 0, "clean": 2, "rank": 0}
    assert (await shop.gateway.claim(old, 1, 0.0)).retire
    # It gets nothing more, and its pod is there.
    assert (await counted(shop))["clean"] == 2
    async with shop.db.transaction() as tx:
        await workers.bury(tx, 0, [old.uid])
    assert (await counted(shop))["clean"] == 1


async def test_workers_that_build_a_job_which_does_not_serve_are_counted(shop: Workshop) -> None:
    await shop.begin("a", "b")
    await shop.drain()
    jobs = (month_source("a", "b"), Workshop.clean(), step("rank", "clean"))
    await shop.apply("flights", *jobs, {**Workshop.clean(), "name": "extra"})
    ((job,),) = await shop.rows("SELECT job_id FROM working_jobs WHERE name = 'extra' AND building")
    async with shop.db.transaction() as tx:
        await workers.record(tx, 0, job, "uid-x", "x")  # type: ignore[arg-type]
    (built,) = (await shop.report("flights")).builds
    assert (built.name, built.runtime, built.workers) == ("extra", "worker", 1)


async def test_the_end_of_a_worker_is_told_of_its_dag_and_once(shop: Workshop) -> None:
    """Of one that held nothing: nothing else of the DAG changes with it."""
    await shop.begin("a", "b")
    pod = await shop.worker()
    part, told = watching(shop), []
    part._pods.listed.add("air")
    await part.look({}, lambda *dag: told.append(dag))
    await part.look({}, lambda *dag: told.append(dag))
    assert told == [(pod.namespace, "flights")]
