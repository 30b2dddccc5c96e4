"""What goes wrong and is made good: absence and return, failures, forged pods, full queues, lost races."""

from __future__ import annotations

import asyncio
import contextlib
from uuid import UUID

import msgspec
import psycopg
import pytest

from headrace.errors import LostLeadership, TemporaryError
from headrace.run.attempts import completion, failure
from headrace.run.sources import Cron
from headrace.run.verdict import Broken, Succeeded
from headrace.state import attempts, queue, runs, sources, units, versions
from headrace.state.database import Database
from tests.state.world import World, month_source, step

SAID_NOTHING = Succeeded(())


@pytest.fixture
def world(db: Database) -> World:
    return World(db)


async def states(world: World, job: str) -> list[tuple[object, ...]]:
    query = (
        "SELECT t.unit_key, t.status FROM tasks t JOIN jobs j ON j.id = t.job_id WHERE j.name = %(job)s ORDER BY t.seq"
    )
    return await world.rows(query, job=job)


async def test_what_absence_canceled_is_taken_up_when_the_object_returns(world: World) -> None:
    """Source tasks that wait, units that run, and a unit to be made again over an output that is there."""
    jobs = (month_source("a", "b"), step("work", "month"))
    await world.apply("flights", *jobs)
    await world.run("flights", "month", "a")
    await world.drain()
    await world.apply("flights", *jobs, suspend=True)
    ((source,),) = await world.rows("SELECT id FROM jobs WHERE name = 'month'")
    async with world.db.transaction() as tx:
        await units.create_source_tasks(tx, source, ["a", "b"], again=True)  # type: ignore[arg-type]
    assert await world.leave("flights")
    await world.apply("flights", *jobs)
    assert await world.dispatch()
    assert sorted(await world.drain()) == [("work", "a"), ("work", "b")]
    assert {status for _, status in await states(world, "month")} == {"Completed"}


async def test_an_object_made_anew_meanwhile_is_not_stopped_for_its_namesake(world: World) -> None:
    await world.apply("flights", month_source("a"))
    async with world.db.transaction() as tx:
        (gone,) = await versions.present_dags(tx)
    await world.rows("UPDATE dags SET object_uid = 'another' RETURNING 1")
    async with world.db.transaction() as tx:
        assert not await versions.stop(tx, 0, gone)


async def test_retry_takes_final_failures_up_with_new_budgets_and_is_handled_once(world: World) -> None:
    await world.apply("flights", month_source("a", "b"), step("work", "month", maxAttempts=1))
    await world.run("flights", "month", "a", "b")
    (pod,) = await world.claim()
    await world.fail(pod)
    (pod,) = await world.claim()
    await world.fail(pod, lost=True)
    await world.rows("UPDATE tasks SET losses = 9, attempts = 9, next_retry_at = now() WHERE losses = 1 RETURNING 1")
    (pod,) = await world.claim()
    await world.fail(pod, lost=True)
    assert await states(world, "work") == [("a", "Failed"), ("b", "Failed")]
    assert await world.command("flights", "retry", "other") == "refused: no version of DAG flights has a job other"
    assert await world.command("flights", "retry", "work", "2") == "queued 2 tasks again"
    assert await world.command("flights", "retry", "work", "2") is None
    assert sorted(await world.drain()) == [("work", "a"), ("work", "b")]


async def test_a_retried_unit_has_all_its_attempts_again(world: World) -> None:
    await world.apply("flights", month_source("a"), step("work", "month", maxAttempts=2))
    await world.run("flights", "month", "a")
    for request in ("1", "2"):
        for _ in range(2):
            (pod,) = await world.claim()
            await world.fail(pod)
            await world.rows("UPDATE tasks SET next_retry_at = now() WHERE next_retry_at IS NOT NULL RETURNING 1")
        assert await world.claim() == []
        assert await world.command("flights", "retry", "", request) == "queued 1 task again"
    assert await world.drain() == [("work", "a")]


async def test_only_its_own_pod_ends_or_keeps_a_task(world: World) -> None:
    """Labels and a name's end can be copied into another namespace: the fence knows pod and namespace."""
    await world.apply("flights", month_source("a"), step("work", "month"))
    await world.run("flights", "month", "a")
    (pod,) = await world.claim()
    before = await world.snapshot()
    for forged in (
        msgspec.structs.replace(pod.as_attempt, namespace="elsewhere"),
        msgspec.structs.replace(pod.as_attempt, pod=f"x-{pod.token.hex}"),
    ):
        async with world.db.transaction() as tx:
            assert not await attempts.complete(tx, 0, [completion(forged, SAID_NOTHING)], [])
            assert not await attempts.fail(tx, 0, [failure(forged, Broken("no", lost=False))], 0)
            assert not await attempts.renew(tx, 0, [attempts.PodName(name=forged.pod, namespace="elsewhere")])
    assert [r["status"] for r in (await world.snapshot())["tasks"]] == [r["status"] for r in before["tasks"]]
    assert await world.complete(pod)


async def test_a_suspended_dag_does_not_hold_up_the_triggers_of_others(world: World) -> None:
    keys = [f"k{number:03}" for number in range(250)]
    await world.apply("held", month_source(*keys), suspend=True)
    await world.run("held", "month", *keys)
    await world.apply("free", month_source("a"))
    org = await world.org()
    async with world.db.transaction() as tx:
        source = await runs.runnable(tx, org.id, "free", "month")
        assert source is not None
        await units.create_source_tasks(tx, source.job_id, ["a"])
    async with world.db.transaction() as tx:
        assert await queue.dispatch(tx, 0, 200) == [(org.id, "free")]


async def test_every_write_of_a_leader_that_was_replaced_is_refused(world: World) -> None:
    await world.apply("flights", month_source("a"), step("work", "month"))
    await world.run("flights", "month", "a")
    (pod,) = await world.claim()
    await world.rows("UPDATE operator_epoch SET epoch = 7 RETURNING 1")
    before = await world.snapshot()
    org = await world.org()
    alive = [attempts.PodName(name=pod.pod_name, namespace=pod.org)]
    async with world.db.transaction() as tx:
        (gone,) = await versions.present_dags(tx)
    for write in (
        lambda tx: attempts.complete(tx, 0, [completion(pod.as_attempt, SAID_NOTHING)], []),
        lambda tx: attempts.fail(tx, 0, [failure(pod.as_attempt, Broken("no", lost=False))], 0),
        lambda tx: attempts.renew(tx, 0, alive),
        lambda tx: versions.stop(tx, 0, gone),
    ):
        with pytest.raises(LostLeadership):
            async with world.db.transaction() as tx:
                await write(tx)
    with pytest.raises(LostLeadership):
        await world.command("flights", "run", "month")
    assert await world.snapshot() == before
    assert org.slug == "air"


async def test_a_race_that_the_schema_decides_is_decided_again(world: World) -> None:
    """A twin of a unit is made in the moment in which the unit fails: the second look joins them."""
    await world.apply("flights", {"name": "all", "source": {"kind": "manual"}, "image": "i"})
    await world.run("flights", "all", "*")
    (pod,) = await world.claim()
    ((job,),) = await world.rows("SELECT id FROM jobs")
    async with world.db.transaction() as tx:
        await units.create_source_tasks(tx, job, ["*"])  # type: ignore[arg-type]
        failing = asyncio.create_task(world.fail(pod))
        while not await world.rows("SELECT 1 FROM pg_locks WHERE NOT granted"):  # noqa: ASYNC110 - nothing tells it
            await asyncio.sleep(0)
    with pytest.raises(TemporaryError):
        await failing
    assert await world.fail(pod)
    assert await states(world, "all") == [("*", "Canceled"), ("*", "Queued")]


async def test_a_longer_list_of_a_cron_source_makes_the_new_keys_only(world: World) -> None:
    def clock(*keys: str) -> dict[str, object]:
        return {
            "name": "clock",
            "source": {"kind": "cron", "schedule": "0 0 1 1 *", "partitions": {"values": list(keys)}},
        }

    await world.apply("flights", clock("a"))
    await Cron(world.db).look(0)
    await world.dispatch()
    await world.apply("flights", clock("a", "b"))
    assert await states(world, "clock") == [("a", "Completed"), ("b", "Queued")]


async def test_a_tick_of_a_source_with_a_list_and_no_pattern_makes_what_is_not_there(world: World) -> None:
    source = {"kind": "cron", "schedule": "* * * * *", "partitions": {"values": ["a"]}}
    await world.apply("flights", {"name": "clock", "source": source})
    cron = Cron(world.db)
    await cron.look(0)
    await world.rows("UPDATE cron_ticks SET last_tick = now() - interval '3 minutes' RETURNING 1")
    cron.changed()
    await cron.look(0)
    assert await states(world, "clock") == [("a", "Queued")]


async def test_a_changed_schedule_holds_from_now_on(world: World) -> None:
    def clock(schedule: str) -> dict[str, object]:
        source = {"kind": "cron", "schedule": schedule, "catchUp": "all", "partition": {"format": "%Y-%m-%dT%H-%M"}}
        return {"name": "clock", "source": source}

    await world.apply("flights", clock("0 0 1 1 *"))
    cron = Cron(world.db)
    await cron.look(0)
    await world.rows("UPDATE cron_ticks SET last_tick = now() - interval '5 days' RETURNING 1")
    await world.apply("flights", clock("* * * * *"))
    cron.changed()
    await cron.look(0)
    assert len(await states(world, "clock")) <= 1  # a minute may have begun meanwhile


@pytest.mark.parametrize("registered", [True, False])
async def test_an_instant_is_not_lost_to_a_cutover_in_the_same_moment(world: World, registered: bool) -> None:
    """The source is read again under the lock: what was read before may be a job of the version before."""

    def clock(**fields: object) -> dict[str, object]:
        source = {"kind": "cron", "schedule": "* * * * *", "catchUp": "all", "partitions": {"values": ["listed"]},
                  "partition": {"format": "%Y-%m-%dT%H-%M"}}  # fmt: skip
        return {"name": "clock", "source": source, **fields}

    await world.apply("flights", clock())
    cron = Cron(world.db)
    if registered:
        await cron.look(0)
        await world.rows("UPDATE cron_ticks SET last_tick = now() - interval '2 minutes' RETURNING 1")
    async with world.db.transaction() as tx:
        (seen,) = await sources.cron_sources(tx)
    await world.apply("flights", clock(timeoutSeconds=5))
    assert await cron._one(seen, 0)
    made = len(await states(world, "clock"))
    assert made in ((3, 4) if registered else (1,)), "the list, and each instant due"


async def test_a_dag_that_is_being_cut_over_holds_no_other_up(world: World) -> None:
    source = {"kind": "cron", "schedule": "* * * * *", "partitions": {"values": ["a"]}}
    await world.apply("busy", {"name": "busy", "source": source})
    await world.apply("free", {"name": "free", "source": source})
    org, cron = await world.org(), Cron(world.db)
    async with world.db.transaction() as tx:
        await versions.lock_dag(tx, org, "busy")
        assert await asyncio.wait_for(cron.look(0), 5) == {(org.id, "free")}
    assert await cron.look(0) == {(org.id, "busy")}


@pytest.mark.parametrize("lost", [True, False])
async def test_what_a_quota_postpones_costs_no_attempt_and_no_loss(world: World, lost: bool) -> None:
    await world.apply("flights", month_source("a"), step("work", "month", maxAttempts=1))
    await world.run("flights", "month", "a")
    for _ in range(12):
        (pod,) = await world.claim()
        async with world.db.transaction() as tx:
            await attempts.fail(tx, 0, [failure(pod.as_attempt, Broken("full", lost=lost), postponed=True)], 0)
        await world.rows("UPDATE tasks SET next_retry_at = now() WHERE next_retry_at IS NOT NULL RETURNING 1")
    query = "SELECT attempts, forgiven, losses FROM tasks WHERE status <> 'Completed'"
    assert await world.rows(query) == [(12, 12, 0)]
    assert await world.drain() == [("work", "a")]


async def test_a_look_that_postgres_cut_short_is_made_again(world: World, url: str) -> None:
    await world.apply("flights", {"name": "clock", "source": {"kind": "cron", "schedule": "0 0 1 1 *"}})
    cron = Cron(world.db)
    with psycopg.connect(url, autocommit=True) as other:
        other.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
    with pytest.raises(TemporaryError):
        await cron.look(0)
    found: set[tuple[UUID, str]] | None = None
    async with asyncio.timeout(30):
        while found is None:  # once for each dead connection of the pool
            with contextlib.suppress(TemporaryError):
                found = await cron.look(0)
    assert found == {((await world.org()).id, "flights")}
