"""Changed webhook sources are built over their stored events; none is lost in a cutover, a rollback, a rename."""

from __future__ import annotations

import pytest

from headrace.plan.rollout import Stay, SwitchOver
from headrace.state.database import Database
from tests.state.flights import keys, rollouts
from tests.state.hooks import DAY, accept, hook, hooked, told
from tests.state.world import World, step


@pytest.fixture
def world(db: Database) -> World:
    return World(db)


async def two_days(world: World) -> None:
    """A version that serves the first two days of March, with two events on the first."""
    await world.apply("flights", *hooked("%Y-%m-%d"))
    for n, day in ((1, 1), (2, 1), (3, 2)):
        await accept(world, f"msg_{n}", DAY.replace(day=day), {})
    await world.drain()


async def test_a_changed_source_is_built_over_its_events(world: World) -> None:
    await two_days(world)
    plan = await world.apply("flights", *hooked("%Y-%m-%d", 1))
    assert plan.explanation.tasks == 4
    assert told(await world.claim()) == {("load", "2026-03-01"): ["msg_1", "msg_2"]}
    await world.drain()
    await accept(world, "msg_4", DAY.replace(day=3), {})
    await world.drain()
    assert await world.advance("flights") == Stay()
    assert sorted(await world.drain()) == [("clean", "2026-03-03"), ("load", "2026-03-03")]
    assert await world.advance("flights") == SwitchOver()
    assert await keys(world, "clean") == "2026-03-012026-03-022026-03-03"


async def test_under_another_pattern_it_is_built_over_the_partitions_that_its_events_have_now(world: World) -> None:
    await two_days(world)
    await accept(world, "msg_4", DAY.replace(month=4), {})
    await world.drain()
    plan = await world.apply("flights", *hooked("%Y-%m"))
    assert (plan.explanation.tasks, plan.explanation.approval) == (4, "")
    (pod,) = await world.claim()
    assert told([pod]) == {("load", "2026-03"): ["msg_1", "msg_2", "msg_3"]}
    await world.drain()
    assert await world.advance("flights") == SwitchOver()
    assert await keys(world, "clean") == "2026-032026-04"
    await accept(world, "msg_5", DAY.replace(day=5), {})
    (pod,) = await world.claim()
    assert told([pod]) == {("load", "2026-03"): ["msg_1", "msg_2", "msg_3", "msg_5"]}


async def test_what_no_event_stands_for_is_said_to_be_lost(world: World) -> None:
    await two_days(world)
    await world.run("flights", "load", "by-hand")
    await world.drain()
    plan = await world.apply("flights", *hooked("%Y-%m"))
    assert "the history of load would not be made again in full" in plan.explanation.approval


async def test_an_event_that_a_build_did_not_see_is_built_however_late_that_build_is_done(world: World) -> None:
    """Contents that are newer, of fewer events: by their times alone nothing would be missing."""
    two = {"scaling": {"maxConcurrency": 2}}
    await world.apply("flights", hook("%Y-%m-%d", config={"n": 0}, **two), step("clean", "load"))
    await accept(world, "msg_1", DAY, {})
    await world.drain()
    await world.apply("flights", hook("%Y-%m-%d", config={"n": 1}, **two), step("clean", "load"))
    (build,) = await world.claim()
    await accept(world, "msg_2", DAY, {})
    (live,) = [pod for pod in await world.claim() if pod.id != build.id]
    assert told([build, live]) == {("load", "2026-03-01"): ["msg_1", "msg_2"]}
    assert await world.complete(live)
    assert await world.complete(build)
    await world.drain()
    assert await world.advance("flights") == Stay()
    (again,) = await world.claim()
    assert told([again]) == {("load", "2026-03-01"): ["msg_1", "msg_2"]}


async def test_events_that_the_serving_version_has_not_dealt_with_do_not_keep_a_build_open(world: World) -> None:
    """A stream that never pauses: at the cutover they are the new version's."""
    for pattern in ("%Y-%m-%d", "%Y-%m"):
        await two_days(world)
        await world.apply("flights", *hooked("%Y-%m-%d"))
        await world.drain()
        await world.apply("flights", *hooked(pattern, 1))
        await world.drain()
        await accept(world, f"late-{pattern[-1]}", DAY.replace(day=7), {})
        assert await world.advance("flights") == SwitchOver()
        (pod,) = await world.claim()
        (given,) = told([pod]).values()
        assert f"late-{pattern[-1]}" in given
        await world.drain()


async def test_an_event_that_waits_at_a_cutover_is_seen_though_the_build_that_ends_there_did_not(world: World) -> None:
    """The month is being built again, slowly, when its version is asked back at once."""
    await two_days(world)
    await world.apply("flights", *hooked("%Y-%m"))
    await world.drain()
    await world.advance("flights")
    await world.apply("flights", *hooked("%Y-%m-%d"))
    await accept(world, "msg_4", DAY, {})
    await world.drain()
    await world.apply("flights", *hooked("%Y-%m"), rollout={"strategy": "Manual"})
    await world.advance("flights")
    (build,) = await world.claim()
    assert told([build]) == {("load", "2026-03"): ["msg_1", "msg_2", "msg_3", "msg_4"]}
    await accept(world, "msg_5", DAY.replace(day=9), {})
    await world.apply("flights", *hooked("%Y-%m"))
    assert await world.complete(build) is False
    (after,) = [pod for pod in await world.claim() if pod.job == "load"]
    assert told([after]) == {("load", "2026-03"): ["msg_1", "msg_2", "msg_3", "msg_4", "msg_5"]}


async def test_what_ran_for_the_version_that_is_left_is_the_others_work(world: World) -> None:
    await two_days(world)
    await world.apply("flights", *hooked("%Y-%m"))
    await world.drain()
    await world.advance("flights")
    await accept(world, "msg_4", DAY, {})
    (pod,) = await world.claim()
    await accept(world, "msg_5", DAY.replace(day=9), {})
    await world.apply("flights", *hooked("%Y-%m-%d"))
    assert await world.complete(pod) is False
    assert sorted(await world.drain()) == [
        ("clean", "2026-03-01"), ("clean", "2026-03-09"), ("load", "2026-03-01"), ("load", "2026-03-09"),
    ]  # fmt: skip


async def test_a_rollback_works_on_what_arrived_since_and_on_nothing_else(world: World) -> None:
    await two_days(world)
    await world.apply("flights", *hooked("%Y-%m"))
    await world.drain()
    await world.advance("flights")
    await world.apply("flights", *hooked("%Y-%m-%d"))
    assert await world.drain() == []
    await world.apply("flights", *hooked("%Y-%m"))
    assert await world.drain() == []
    await accept(world, "msg_4", DAY.replace(day=2), {})
    await world.drain()
    await world.apply("flights", *hooked("%Y-%m-%d"))
    (pod,) = await world.claim()
    assert told([pod]) == {("load", "2026-03-02"): ["msg_3", "msg_4"]}
    await world.drain()
    assert await keys(world, "clean") == "2026-03-012026-03-02"


async def test_events_whose_task_failed_for_good_are_tried_by_the_changed_source(world: World) -> None:
    await world.apply("flights", *(failing := [hook("%Y-%m-%d", maxAttempts=1), step("clean", "load")]))
    await accept(world, "msg_1", DAY, {})
    (pod,) = await world.claim()
    assert await world.fail(pod)
    await world.apply("flights", {**failing[0], "config": {"n": 1}}, failing[1])
    (pod,) = await world.claim()
    assert told([pod]) == {("load", "2026-03-01"): ["msg_1"]}
    assert await world.fail(pod)
    # As before: it is decided, and is not kept from serving.
    assert await rollouts(world) == [("Done", None)]
    await world.apply("flights", *failing)
    await world.apply("flights", {**failing[0], "config": {"n": 1}}, failing[1])
    assert await world.claim() == []


async def test_a_webhook_that_comes_back_has_its_events(world: World) -> None:
    await two_days(world)
    month = {"name": "month", "source": {"kind": "manual"}}
    await world.apply("flights", month, step("clean", "month"))
    await world.apply("flights", *hooked("%Y", 5))
    assert await rollouts(world) == [("Done", None), ("Done", None)]
    assert told([p for p in await world.claim() if p.job == "load"]) == {("load", "2026"): ["msg_1", "msg_2", "msg_3"]}
    await world.drain()
    assert await keys(world, "clean") == "2026"


async def test_another_secret_swaps_at_once_and_runs_nothing(world: World) -> None:
    await two_days(world)
    source, clean = hooked("%Y-%m-%d")
    plan = await world.apply("flights", {**source, "source": {**source["source"], "secretName": "new"}}, clean)  # type: ignore[dict-item]
    assert plan.explanation.tasks == 0
    await world.advance("flights")
    assert await world.drain() == []
    assert await accept(world, "msg_9", DAY, {}) is None
