"""Jobs that act on the world: only for what serves, from the cutover on, without history."""

from __future__ import annotations

import pytest

from headrace.state.database import Database
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
