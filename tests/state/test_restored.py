"""Postgres restored from a backup while work went on: that is noticed, and what the lost time left counts no more."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from headrace.errors import LostLeadership, TemporaryError
from headrace.gateway.errors import RequestError
from headrace.gateway.identity import PodIdentity
from headrace.gateway.wake import Waker
from headrace.gateway.work import Work
from headrace.gateway.worker_routes import Completed, HeldAttempt
from headrace.plan.standing import Standing
from headrace.run.attempts import failure
from headrace.run.verdict import Broken
from headrace.state import attempts, leader, workers
from headrace.state.attempts import PodName, RunningPod
from headrace.state.database import Database
from tests.backups import Backups, backups
from tests.state.world import World, month_source, step

KEYS = ("a", "b", "c")


@pytest.fixture
def world(db: Database) -> World:
    return World(db)


@pytest.fixture
def copies(url: str) -> Iterator[Backups]:
    with backups(url) as made:
        yield made


async def reconnected(world: World) -> None:
    """Every connection of the pool that was cut is known to be: the next one is new."""
    for _ in range(16):
        try:
            await standing(world)
        except TemporaryError:
            continue


async def standing(world: World) -> Standing:
    async with world.db.transaction() as tx:
        return await leader.standing(tx)


async def mark(world: World, known: Standing) -> Standing:
    async with world.db.transaction() as tx:
        return await leader.raise_mark(tx, known)


async def lead_anew(world: World, lease: Standing) -> Standing:
    """Take over as the next operator does; the epoch is put back to what `World` writes by."""
    async with world.db.transaction() as tx:
        found, anew = await leader.take_over(tx, "next", lease)
    assert anew
    assert found.epoch > lease.epoch
    assert found.mark > lease.mark
    assert found.incarnation != lease.incarnation
    await world.rows("UPDATE operator_epoch SET epoch = 0 RETURNING 1")
    return found


def locations(pods: list[RunningPod]) -> set[object]:
    """Where these attempts write."""
    return {p["location"] for pod in pods for made in pod.outputs for p in made["partitions"]}  # type: ignore[attr-defined]


async def test_it_is_noticed_though_the_same_operator_has_led_all_the_time(world: World, copies: Backups) -> None:
    """No epoch was raised since the backup: the mark tells."""
    at_backup = await mark(world, await standing(world))
    backup = copies.take()
    await reconnected(world)
    known = await mark(world, at_backup)
    async with world.db.transaction() as tx:
        await leader.confirm(tx, known)
    copies.restore(backup)
    await reconnected(world)
    for look in (leader.confirm, leader.raise_mark):
        with pytest.raises(LostLeadership, match="restored"):
            async with world.db.transaction() as tx:
                await look(tx, known)
    assert await standing(world) == at_backup


async def test_a_takeover_of_a_postgres_that_was_not_restored_begins_nothing_anew(world: World) -> None:
    await world.apply("flights", month_source(*KEYS), step("clean", "month"))
    await world.run("flights", "month", *KEYS)
    assert await world.claim()
    known = await standing(world)
    async with world.db.transaction() as tx:
        found, anew = await leader.take_over(tx, "next", known)
    assert (found.incarnation, found.epoch, anew) == (known.incarnation, known.epoch + 1, False)
    with pytest.raises(LostLeadership, match="another operator"):
        await mark(world, known)
    assert len(await world.running()) == 1


async def test_what_ran_in_the_backup_is_void_and_is_run_again_elsewhere(world: World, copies: Backups) -> None:
    """The lost time completed one attempt, failed one, and began them and others again under the same numbers."""
    most = {"maxConcurrency": 3}
    await world.apply("flights", month_source(*KEYS), step("clean", "month", scaling=most), step("join", "clean"))
    await world.run("flights", "month", *KEYS[:2])
    before = await world.claim()
    known = await mark(world, await standing(world))
    backup = copies.take()
    await reconnected(world)

    await world.run("flights", "month", KEYS[2])
    await world.complete(before[0])
    await world.fail(before[1], lost=True)
    lost = [*before, *await world.claim()]
    assert len(lost) == 5  # a, b; then b again, c, and the join of a
    known = await mark(world, known)
    copies.restore(backup)
    await reconnected(world)

    found = await world.running()
    assert locations(found) == locations(before)
    await lead_anew(world, known)
    rows = (
        "SELECT status, attempts, forgiven, losses, next_retry_at <= now(), error_message FROM tasks WHERE attempts > 0"
    )
    voided = [row for row in await world.rows(rows) if row[0] == "Failed"]
    assert [row[:5] for row in voided] == [("Failed", 1, 1, 0, True)] * 2
    assert "restored from a backup" in str(voided[0][5])
    snapshot = await world.snapshot()
    for pod in lost:
        assert not await world.complete(pod), "a completion of the lost time counted"
        assert not await world.fail(pod)
        async with world.db.transaction() as tx:
            assert not await attempts.renew(tx, 0, [PodName(name=pod.pod_name, namespace=pod.org)])
    assert await world.snapshot() == snapshot

    again = await world.claim()
    assert {(pod.partitions[0], pod.attempt) for pod in again} == {("a", 2), ("b", 2)}
    assert ("b", 2) in {(pod.partitions[0], pod.attempt) for pod in lost}  # the lost time had begun that, too
    assert not locations(again) & locations(lost), "a location was given out twice"
    await world.run("flights", "month", KEYS[2])
    await world.drain()
    done = await world.rows(
        "SELECT j.name, t.unit_key, count(*) FROM tasks t JOIN jobs j ON j.id = t.job_id"
        " WHERE t.status = 'Completed' AND j.name <> 'month' GROUP BY 1, 2 ORDER BY 1, 2"
    )
    assert done == [(job, key, 1) for job in ("clean", "join") for key in KEYS]


async def test_what_was_applied_in_the_lost_time_is_another_generation_when_applied_again(
    world: World, copies: Backups
) -> None:
    await world.apply("flights", month_source(*KEYS), step("clean", "month"))
    known = await mark(world, await standing(world))
    backup = copies.take()
    await reconnected(world)
    changed = (month_source(*KEYS), step("clean", "month", config={"n": 1}))
    hashes, places = "SELECT yaml_hash FROM dag_versions", "SELECT storage_location FROM dataset_versions"
    kept = set(await world.rows(places))
    await world.apply("flights", *changed)
    lost, lost_places = set(await world.rows(hashes)), set(await world.rows(places)) - kept
    known = await mark(world, known)
    copies.restore(backup)
    await reconnected(world)
    await lead_anew(world, known)
    await world.apply("flights", *changed)
    assert set(await world.rows(hashes)) == lost
    made = set(await world.rows(places)) - kept
    assert len(made) == len(lost_places) == 1
    assert made != lost_places, "a generation of other contents has the location of a lost one"


async def test_a_gateway_serves_no_worker_until_an_operator_has_begun_anew(world: World, copies: Backups) -> None:
    await world.apply("flights", month_source(*KEYS), step("clean", "month", idleTimeout="5m"))
    await world.run("flights", "month", *KEYS)
    work = Work(world.db, Waker(world.db), 0.0).services
    ((job,),) = await world.rows("SELECT job_id FROM working_jobs WHERE name = 'clean'")
    pod, later = PodIdentity("air", "w-1", "uid-1"), PodIdentity("air", "w-2", "uid-2")
    async with world.db.transaction() as tx:
        await workers.record(tx, 0, job, pod.uid, pod.name)  # type: ignore[arg-type]
    ((task),) = (await work.claim(pod, 1, 0.0)).tasks
    known = await mark(world, await standing(world))
    backup = copies.take()
    await reconnected(world)
    known = await mark(world, known)
    async with world.db.transaction() as tx:
        await workers.record(tx, 0, job, later.uid, later.name)  # type: ignore[arg-type]
    assert (await work.renew(pod, [HeldAttempt(task.id, task.attempt, task.token)])).lost == []
    copies.restore(backup)
    await reconnected(world)

    before = await world.snapshot()
    for who in (pod, later):  # also one that the backup does not know
        for call in (
            work.claim(who, 1, 0.0),
            work.renew(who, [HeldAttempt(task.id, task.attempt, task.token)]),
            work.complete(who, [Completed(task.id, task.attempt, task.token)]),
            work.leave(who),
        ):
            with pytest.raises(TemporaryError, match="has yet to begin anew"):
                await call
    assert await world.snapshot() == before

    await lead_anew(world, known)
    # As World writes by epoch 0, which that gateway would rightly take for an older one.
    await world.rows("UPDATE operator_epoch SET epoch = %(epoch)s RETURNING 1", epoch=known.epoch + 100)
    assert (await work.complete(pod, [Completed(task.id, task.attempt, task.token)])).stale == [task.id]
    assert (await work.claim(pod, 1, 0.0)).retire
    with pytest.raises(RequestError, match="no worker that the operator made"):
        await work.claim(later, 1, 0.0)


async def test_a_pause_for_workers_that_never_came_up_is_not_for_those_of_the_backup(
    world: World, copies: Backups
) -> None:
    await world.apply("flights", month_source("a"), step("clean", "month", idleTimeout="5m"))
    await world.run("flights", "month", "a")
    ((job,),) = await world.rows("SELECT job_id FROM working_jobs WHERE name = 'clean'")
    async with world.db.transaction() as tx:
        await workers.record(tx, 0, job, "uid", "w-1")  # type: ignore[arg-type]
    known = await standing(world)
    await lead_anew(world, Standing(incarnation=known.incarnation, epoch=known.epoch, mark=known.mark + 1))
    async with world.db.transaction() as tx:
        assert await workers.here(tx) == []
        (told,) = await workers.jobs(tx, [(await world.org()).id])
    assert (told.workers, told.fruitless) == (0, 0)


async def test_an_attempt_of_the_backup_whose_unit_waits_joins_that(world: World) -> None:
    await world.apply("flights", {"name": "all", "source": {"kind": "manual"}, "image": "i"})
    await world.run("flights", "all", "*")
    (pod,) = await world.claim()
    await world.run("flights", "all", "*")
    known = await standing(world)
    await lead_anew(world, Standing(incarnation=known.incarnation, epoch=known.epoch, mark=known.mark + 1))
    rows = await world.rows("SELECT status, canceled_by FROM tasks ORDER BY seq")
    assert rows == [("Canceled", "join"), ("Queued", None)]
    async with world.db.transaction() as tx:
        assert not await attempts.fail(tx, 0, [failure(pod.as_attempt, Broken("no", lost=True))], 0)
