"""The outbox of news in real Postgres: what is written, with what it tells of, and how it is taken and ended."""

from __future__ import annotations

import asyncio

import pytest

from headrace.errors import LostLeadership
from headrace.plan.rollout import Fail, SwitchOver
from headrace.run.attempts import failure
from headrace.run.verdict import Broken
from headrace.state import attempts, notices, orgs, queue
from headrace.state.attempts import RunningPod
from headrace.state.database import Database
from headrace.state.notices import Notice
from tests.state.faults import Killed, Killing, interleave
from tests.state.flights import flights, serve
from tests.state.world import World, month_source, step

WIDE = {"scaling": {"maxConcurrency": 9}}


@pytest.fixture
async def world(db: Database) -> World:
    """An org that wants to hear of it."""
    world = World(db)
    await wants(world)
    return world


async def wants(world: World, secret: str | None = "chat") -> None:
    """What the settings of the org say."""
    org = await world.org()
    async with world.db.transaction() as tx:
        settings: dict[str, object] = {} if secret is None else {"notify": {"secret_name": secret}}
        await orgs.set_settings(tx, 0, org, settings)


async def written(world: World, columns: str = "dag_name, job_name, kind, times") -> list[tuple[object, ...]]:
    """The rows there are, in the order of their keys; those of first versions are left out."""
    return await world.rows(f"SELECT {columns} FROM notices ORDER BY org_id, dag_name, job_name, kind")


async def forget(world: World) -> None:
    """As if all had been told."""
    await world.rows("DELETE FROM notices RETURNING 1")


async def due(world: World) -> None:
    """Their time has come."""
    await world.rows("UPDATE notices SET due_at = now() RETURNING 1")


async def take(world: World, epoch: int = 0) -> list[Notice]:
    async with world.db.transaction() as tx:
        return await notices.take(tx, epoch)


async def end(world: World, *ended: Notice) -> None:
    for notice in ended:
        async with world.db.transaction() as tx:
            await notices.end(tx, 0, notice)


async def failing(world: World, dag: str = "flights", *keys: str, attempts_: int = 1) -> list[RunningPod]:
    """Pods of a job that is to fail."""
    await world.apply(dag, month_source(*keys), step("clean", "month", maxAttempts=attempts_, **WIDE))
    await world.run(dag, "month", *keys)
    await forget(world)
    return await world.claim()


async def test_a_failure_for_good_is_news_and_one_that_is_tried_again_is_none(world: World) -> None:
    (pod,) = await failing(world, "flights", "a", attempts_=2)
    assert await world.fail(pod)
    assert await written(world) == []
    assert await world.fail((await world.claim())[0])
    version = (await world.rows("SELECT yaml_hash FROM dag_versions"))[0][0]
    assert await written(world, "dag_name, job_name, kind, times, yaml_hash, unit_key, error, rollout_id") == [
        ("flights", "clean", "TaskFailed", 1, version, "a", "it broke", None)
    ]


async def test_nothing_is_written_for_who_asks_for_none(world: World) -> None:
    await wants(world, None)
    (pod,) = await failing(world, "flights", "a")
    assert await world.fail(pod)
    assert await written(world) == []
    await world.apply("ships", *flights())
    await world.run("ships", "month", "a")
    await world.drain()
    await world.apply("ships", *flights(1))
    await world.drain()
    assert await world.advance("ships") == SwitchOver()
    assert await written(world) == []


async def test_many_failures_of_a_job_are_one_row(world: World) -> None:
    pods = await failing(world, "flights", "a", "b", "c")
    async with world.db.transaction() as tx:
        both = [failure(pod.as_attempt, Broken(f"no {pod.partitions}", lost=False)) for pod in pods[:2]]
        assert len(await attempts.fail(tx, 0, both, 0.0)) == 2
    first = await written(world, "times, message, created_at, due_at")
    assert await world.fail(pods[2])
    assert await written(world) == [("flights", "clean", "TaskFailed", 3)]
    assert await written(world, "unit_key, error") == [("c", "it broke")]
    # Due by the first of them; a message of its own, since it says more.
    (((_, message, _, due_at)),) = first
    after = await written(world, "message, due_at")
    assert after[0][1] == due_at
    assert after[0][0] != message


async def fail_in(killing: Killing, pod: RunningPod) -> None:
    """The process is killed before its COMMIT."""
    killing.at = 1
    async with killing, killing.transaction() as tx:
        assert await attempts.fail(tx, 0, [failure(pod.as_attempt, Broken("no", lost=False))], 0.0)


async def test_what_is_not_committed_is_no_news(world: World) -> None:
    (pod,) = await failing(world, "flights", "a")
    with pytest.raises(Killed):
        await fail_in(Killing(world.db.url, connections=1), pod)
    assert await written(world) == []


async def test_failures_of_the_same_jobs_at_once_are_all_counted(world: World) -> None:
    """Side by side, in whatever order: no deadlock, none lost."""
    pods = await failing(world, "flights", "a", "b") + await failing(world, "ships", "a", "b")
    pods = [pod for pod in await world.running() if pod.job == "clean"]
    assert len(pods) == 4
    by = {(pod.dag, pod.partitions[0]): failure(pod.as_attempt, Broken("no", lost=False)) for pod in pods}

    async def fail(*keys: tuple[str, str]) -> None:
        async with world.db.transaction() as tx:
            assert len(await attempts.fail(tx, 0, [by[key] for key in keys], 0.0)) == len(keys)

    await asyncio.gather(fail(("flights", "a"), ("ships", "a")), fail(("ships", "b"), ("flights", "b")))
    assert await written(world) == [("flights", "clean", "TaskFailed", 2), ("ships", "clean", "TaskFailed", 2)]


async def test_how_rollouts_end_is_news(world: World) -> None:
    await serve(world)
    assert await written(world) == [("flights", "", "RolloutDone", 1)]
    await forget(world)
    await world.apply("flights", *flights(1, maxAttempts=1))
    assert await written(world) == []
    (pod,) = await world.claim()
    assert await world.fail(pod)
    cause = "job join, partition a: it broke"
    assert await world.advance("flights") == Fail(cause=cause)
    assert await written(world, "job_name, kind, error") == [
        ("", "RolloutFailed", cause),
        ("join", "TaskFailed", "it broke"),
    ]
    rollout = (await world.rows("SELECT id FROM rollouts WHERE state = 'Failed'"))[0]
    assert (await written(world, "rollout_id"))[0] == rollout
    await forget(world)
    await world.apply("flights", *flights(1, maxAttempts=1), annotations={"headrace.dev/retry": "1"})
    await world.drain()
    assert await world.advance("flights") == SwitchOver()
    assert await written(world, "kind, error, rollout_id") == [("RolloutDone", None, *rollout)]


async def test_a_return_to_what_served_before_is_news_of_its_own(world: World) -> None:
    await serve(world)
    await world.apply("flights", *flights(timeoutSeconds=7))
    ((first,), _) = await world.rows("SELECT yaml_hash FROM dag_versions ORDER BY created_at")
    await forget(world)
    await world.apply("flights", *flights())
    assert await written(world, "kind, yaml_hash, times") == [("RolledBack", first, 1)]
    await world.apply("flights", *flights(timeoutSeconds=7))
    assert await world.command("flights", "pin", str(first)) is not None
    assert await written(world, "kind, yaml_hash, times") == [("RolledBack", first, 3)]


async def test_what_a_person_gives_up_is_none(world: World) -> None:
    await serve(world)
    await forget(world)
    await world.apply("flights", *flights(1))
    await world.command("flights", "cancel", "--rollout")
    assert ("Canceled",) in await world.rows("SELECT state FROM rollouts")
    await world.apply("flights", *flights(2))
    await world.apply("flights", *flights(3))
    assert ("Superseded",) in await world.rows("SELECT state FROM rollouts")
    assert await written(world) == []


async def test_it_is_due_some_seconds_after_the_first(world: World) -> None:
    (pod,) = await failing(world, "flights", "a")
    assert await world.fail(pod)
    assert await written(world, "due_at - created_at BETWEEN '9 s' AND '11 s'") == [(True,)]
    async with world.db.transaction() as tx:
        assert not (await queue.left(tx)).notices
    assert await take(world) == []
    await due(world)
    async with world.db.transaction() as tx:
        assert (await queue.left(tx)).notices


async def test_what_is_taken_is_due_again_until_it_is_ended(world: World) -> None:
    """Ever later, up to an hour: a crash in between sends it again, and nothing sends it every second."""
    (pod,) = await failing(world, "flights", "a")
    assert await world.fail(pod)
    seconds = []
    for tries in range(1, 14):
        await due(world)
        (notice,) = await take(world)
        assert (notice.tries, notice.secret, notice.old, notice.times) == (tries, "chat", False, 1)
        assert await take(world) == []
        seconds.append(float(str((await written(world, "extract(epoch FROM due_at - now())"))[0][0])))
    assert 11 <= seconds[0] <= 19
    assert all(3500 < pause < 3601 for pause in seconds[10:])
    assert all(after > before for before, after in zip(seconds[:8], seconds[2:8], strict=False))
    await end(world, notice)
    assert await written(world) == []


async def test_what_comes_to_it_while_it_is_sent_is_told_by_itself(world: World) -> None:
    pods = await failing(world, "flights", "a", "b", "c")
    assert await world.fail(pods[0])
    await due(world)
    (first,) = await take(world)
    assert await world.fail(pods[1])
    assert await world.fail(pods[2])
    await end(world, first)
    assert await written(world, "times, tries, due_at - now() > '8 s'") == [(2, 0, True)]
    await due(world)
    (second,) = await take(world)
    assert (second.times, second.partition, second.message != first.message) == (2, "c", True)
    await end(world, second)
    assert await written(world) == []


async def test_an_end_beside_a_failure_loses_none(world: World) -> None:
    """In every order of their statements."""
    for at in range(1, 9):
        pods = await failing(world, f"d{at}", "a", "b")
        pods = [pod for pod in pods if pod.dag == f"d{at}"]
        assert await world.fail(pods[0])
        await due(world)
        (notice,) = await take(world)

        async def ends(tx: object, notice: Notice = notice) -> None:
            await notices.end(tx, 0, notice)  # type: ignore[arg-type]

        async def fails(pod: RunningPod = pods[1]) -> None:
            assert await world.fail(pod)

        more = await interleave(world.db, ends, fails, at)
        ((times,),) = await written(world, "times")
        assert times == 1
        if not more:
            return
    raise AssertionError("it never ended")


async def test_an_operator_that_was_replaced_neither_takes_nor_ends(world: World) -> None:
    (pod,) = await failing(world, "flights", "a")
    assert await world.fail(pod)
    await due(world)
    with pytest.raises(LostLeadership):
        await take(world, epoch=7)
    (notice,) = await take(world)
    with pytest.raises(LostLeadership):
        async with world.db.transaction() as tx:
            await notices.end(tx, 7, notice)
    assert len(await written(world)) == 1


async def test_of_one_org_only_some_at_once(world: World) -> None:
    """Whoever has many, or a slow receiver, leaves the others their turn."""
    for n in range(4):
        await world.apply(f"d{n}", month_source("a"))
    other = await world.org("sea", "another-uid")
    async with world.db.transaction() as tx:
        await orgs.set_settings(tx, 0, other, {"notify": {"secret_name": "x"}})
    await world.rows("UPDATE notices SET due_at = now() - interval '1 hour' RETURNING 1")
    await world.rows(
        "INSERT INTO notices (org_id, dag_name, kind, yaml_hash, rollout_id, due_at)"
        " VALUES (%(org)s, 'd', 'RolloutDone', 'v', gen_random_uuid(), now()) RETURNING 1",
        org=other.id,
    )
    assert sorted(notice.namespace for notice in await take(world)) == ["air", "air", "sea"]
    assert [notice.namespace for notice in await take(world)] == ["air", "air"]


async def test_who_wants_to_hear_no_more_is_told_nothing_and_what_is_old_is_said_to_be(world: World) -> None:
    (pod,) = await failing(world, "flights", "a")
    assert await world.fail(pod)
    await world.rows("UPDATE notices SET created_at = now() - interval '25 hours' RETURNING 1")
    await wants(world, None)
    await due(world)
    (notice,) = await take(world)
    assert (notice.secret, notice.old) == (None, True)
