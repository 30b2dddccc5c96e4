"""Jobs that act on the world: only for what serves, from the cutover on, without history."""

from __future__ import annotations

import pytest

from headrace.state.database import Database
from headrace.state.units import create_missing
from tests.state.hooks import DAY, accept, hook, told
from tests.state.world import World, month_source, step


def act(**fields: object) -> dict[str, object]:
    """A job that sends what `clean` made."""
    return step("send", "clean", outputs=0, sideEffects=True, **fields)


@pytest.fixture
def world(db: Database) -> World:
    return World(db)


async def again(world: World, key: str) -> None:
    """The source makes a partition anew."""
    assert await world.command("flights", "run", f"month -p {key}", key + str(id(object()))) is not None
    await world.dispatch()


def sent(done: list[tuple[str, str]]) -> list[str]:
    return [key for job, key in done if job == "send"]


async def test_it_acts_on_what_comes(world: World) -> None:
    await world.apply("flights", month_source("1", "2"), step("clean", "month"), act())
    await world.run("flights", "month", "1", "2")
    assert sent(await world.drain()) == ["1", "2"]


async def test_one_that_is_added_passes_by_what_was_there(world: World) -> None:
    await world.apply("flights", month_source("1", "2"), step("clean", "month"))
    await world.run("flights", "month", "1")
    await world.drain()
    plan = await world.apply("flights", month_source("1", "2"), step("clean", "month"), act())
    assert plan.explanation.tasks == 0
    assert any("send has side effects" in note for note in plan.explanation.notes)
    await world.advance("flights")
    assert sent(await world.drain()) == []
    await world.run("flights", "month", "2")
    assert sent(await world.drain()) == ["2"]
    await again(world, "1")
    assert sent(await world.drain()) == ["1"]


async def test_its_history_asks_for_no_approval(world: World) -> None:
    await world.apply("flights", month_source("1", "2"), step("clean", "month"), act())
    await world.run("flights", "month", "1", "2")
    await world.drain()
    plan = await world.apply("flights", month_source("1", "2"), step("clean", "month"), act(config={"to": "b"}),
                             rollout={"maxBuildTasks": 0})  # fmt: skip
    assert (plan.explanation.tasks, plan.explanation.approval) == (0, "")


async def test_what_it_passed_by_twice_is_passed_by_as_it_was_then(world: World) -> None:
    await world.apply("flights", month_source("1"), step("clean", "month"))
    await world.run("flights", "month", "1")
    await world.drain()
    forms = ([month_source("1"), step("clean", "month"), act(config={"to": to})] for to in ("a", "b", "a"))
    await world.apply("flights", *next(forms))
    await world.advance("flights")
    await world.apply("flights", *next(forms))
    await world.advance("flights")
    await again(world, "1")
    assert sent(await world.drain()) == ["1"]
    await world.apply("flights", *next(forms))
    await world.advance("flights")
    assert sent(await world.drain()) == []


async def test_a_change_upstream_builds_what_it_reads_and_sends_nothing(world: World) -> None:
    await world.apply("flights", month_source("1"), step("clean", "month"), act())
    await world.run("flights", "month", "1")
    assert sent(await world.drain()) == ["1"]
    await world.apply("flights", month_source("1"), step("clean", "month", config={"v": 2}), act())
    assert await world.drain() == [("clean", "1")]
    await world.advance("flights")
    assert (await world.report("flights")).rollout.state == "Done"  # type: ignore[union-attr]
    assert await world.drain() == []
    await again(world, "1")
    assert sent(await world.drain()) == ["1"]


async def test_a_live_unit_at_the_cutover_is_sent_once_by_the_new_form(world: World) -> None:
    await world.apply("flights", month_source("1", "2"), step("clean", "month"), act())
    await world.run("flights", "month", "1", "2")
    pods = await world.claim()
    while not any(pod.job == "send" for pod in pods):
        for pod in pods:
            assert await world.complete(pod)
        pods = await world.claim()
    await world.apply("flights", month_source("1", "2"), step("clean", "month"), act(config={"to": "b"}))
    await world.advance("flights")
    late = [pod for pod in pods if pod.job == "send"]
    assert not await world.complete(late[0])
    assert sorted(sent(await world.drain())) == ["1", "2"]


async def test_a_return_to_an_older_form_begins_anew(world: World) -> None:
    old = [month_source("1", "2"), step("clean", "month"), act()]
    await world.apply("flights", *old)
    await world.run("flights", "month", "1")
    await world.drain()
    await world.apply("flights", month_source("1", "2"), step("clean", "month"), act(config={"to": "b"}))
    await world.advance("flights")
    await world.run("flights", "month", "2")
    assert sent(await world.drain()) == ["2"]
    await world.apply("flights", *old)
    await world.advance("flights")
    assert sent(await world.drain()) == []


async def test_a_first_version_passes_by_what_other_dags_have(world: World) -> None:
    await world.apply("flights", month_source("1", "2"), step("clean", "month"),
                      publish=[{"name": "cleaned", "from": {"job": "clean"}}])  # fmt: skip
    await world.run("flights", "month", "1")
    await world.drain()
    sender = {"name": "send", "image": "i", "inputs": [{"from": {"dataset": "cleaned"}}], "outputs": 0,
              "sideEffects": True}  # fmt: skip
    await world.apply("mail", sender)
    assert await world.drain() == []
    await world.run("flights", "month", "2")
    await world.drain()
    await world.look()
    assert sent(await world.drain()) == ["2"]


async def test_a_changed_source_does_not_do_again_what_it_did(world: World) -> None:
    def source(**fields: object) -> dict[str, object]:
        return {**month_source("1", "2"), "name": "ping", "image": "i", "outputs": 0, "sideEffects": True, **fields}

    await world.apply("flights", source())
    await world.run("flights", "ping", "1")
    assert await world.drain() == [("ping", "1")]
    await world.apply("flights", source(config={"v": 2}))
    await world.advance("flights")
    assert await world.drain() == []
    assert await world.run("flights", "ping", "1", "2") == 1
    assert await world.drain() == [("ping", "2")]


async def test_live_work_upstream_at_the_cutover_is_sent(world: World) -> None:
    """The new form of what is upstream is done with a key while its old form still works on it."""
    room = {"maxConcurrency": 4}
    jobs = [[month_source("1", "5"), step("clean", "month", scaling=room, config={"v": v}), act()] for v in (1, 2)]
    await world.apply("flights", *jobs[0])
    await world.run("flights", "month", "1")
    await world.drain()
    await world.apply("flights", *jobs[1])
    await world.run("flights", "month", "5")
    slow = None
    while (await world.report("flights")).rollout.state == "Building":  # type: ignore[union-attr]
        for pod in await world.claim():
            ((building,),) = await world.rows(
                "SELECT building FROM tasks t JOIN working_jobs w USING (job_id) WHERE t.id = %(id)s", id=pod.id
            )
            if pod.partitions == ["5"] and not building:
                slow = pod
            else:
                assert await world.complete(pod)
        await world.advance("flights")
    assert slow is not None
    assert not await world.complete(slow)
    assert sent(await world.drain()) == ["5"]


async def test_a_rollback_sends_nothing_again(world: World) -> None:
    old = [month_source("1", "6"), step("clean", "month"), act()]
    await world.apply("flights", *old)
    await world.run("flights", "month", "1")
    assert sent(await world.drain()) == ["1"]
    await world.apply("flights", month_source("1", "6"), step("clean", "month", config={"v": 2}), act())
    await world.drain()
    await world.advance("flights")
    await world.run("flights", "month", "6")
    assert sent(await world.drain()) == ["6"]
    await world.apply("flights", *old)
    done = await world.drain()
    assert ("clean", "6") in done
    assert sent(done) == []
    async with world.db.transaction() as tx:
        assert await create_missing(tx, [((await world.org()).id, "flights")]) == 0
    await again(world, "6")
    assert sent(await world.drain()) == ["6"]


async def test_open_work_of_a_source_stays_under_another_pattern(world: World) -> None:
    def ticks(pattern: str) -> dict[str, object]:
        source = {"kind": "cron", "schedule": "0 0 * * *", "partition": {"format": pattern}}
        return {"name": "ping", "image": "i", "outputs": 0, "sideEffects": True, "source": source}

    await world.apply("flights", ticks("%Y-%m-%d"))
    assert await world.command("flights", "run", "ping -p 2026-03-01") is not None
    await world.apply("flights", ticks("%Y%m%d"))
    await world.advance("flights")
    assert await world.drain() == [("ping", "2026-03-01")]


async def test_open_events_of_a_webhook_stay_under_another_pattern(world: World) -> None:
    await world.apply("flights", hook("%Y-%m", outputs=0, sideEffects=True))
    await accept(world, "msg_1", DAY, {})
    await world.apply("flights", hook("%Y-%m-%d", outputs=0, sideEffects=True))
    await world.advance("flights")
    pods = await world.claim()
    assert list(told(pods).values()) == [["msg_1"]]


async def test_one_that_reads_a_whole_passes_by_it_and_acts_on_its_next_change(world: World) -> None:
    jobs = [month_source("1", "2"), step("clean", "month")]
    await world.apply("flights", *jobs)
    await world.run("flights", "month", "1", "2")
    await world.drain()
    whole = {"from": {"job": "clean"}, "match": "latest"}
    await world.apply("flights", *jobs, {**act(), "inputs": [whole]})
    await world.advance("flights")
    assert sent(await world.drain()) == []
    org = await world.org()
    async with world.db.transaction() as tx:
        assert await create_missing(tx, [(org.id, "flights")]) == 0
    await again(world, "1")
    assert sent(await world.drain()) == ["*"]
