"""Sources over versions: what a changed one is built over, and what of the former one is the new one's work."""

from __future__ import annotations

import pytest

from headrace.plan.rollout import Stay, SwitchOver
from headrace.state import units
from headrace.state.database import Database
from tests.state.flights import KEYS, keys, rollouts
from tests.state.world import World, month_source, step


@pytest.fixture
def world(db: Database) -> World:
    return World(db)


async def test_a_changed_source_is_built_over_the_partitions_that_it_had(world: World) -> None:
    await world.apply("flights", *loading(0))
    await world.run("flights", "load", "a", "b")
    await world.drain()
    plan = await world.apply("flights", *loading(1))
    assert plan.explanation.tasks == 4
    assert sorted(await world.drain()) == [("clean", "a"), ("clean", "b"), ("load", "a"), ("load", "b")]
    # A run of the serving version, meanwhile, is caught up with.
    await world.run("flights", "load", "c")
    await world.drain()
    assert await world.advance("flights") == Stay()
    assert sorted(await world.drain()) == [("clean", "c"), ("load", "c")]
    assert await world.advance("flights") == SwitchOver()
    assert await keys(world, "clean") == "abc"
    await world.apply("flights", *loading(0))
    assert await world.drain() == []


def loading(n: int) -> list[dict[str, object]]:
    """load -> clean; load is a source in pods, and what changes."""
    source = {"name": "load", "image": "i", "source": month_source(*KEYS)["source"], "config": {"n": n}}
    return [source, step("clean", "load")]


async def test_what_a_replaced_source_has_done_or_still_has_to_do_is_the_new_ones_work(world: World) -> None:
    """At a swap: key b arrived since and is done, key c is queued; the version that returns has neither."""
    await world.apply("flights", *loading(0))
    await world.run("flights", "load", "a")
    await world.drain()
    await world.apply("flights", *loading(1))
    await world.drain()
    await world.advance("flights")
    await world.run("flights", "load", "b")
    await world.drain()
    await world.run("flights", "load", "c")
    await world.apply("flights", *loading(0))
    assert sorted(await world.drain()) == [(job, key) for job in ("clean", "load") for key in ("b", "c")]
    assert await keys(world, "clean") == "abc"
    await world.apply("flights", *loading(1))
    assert sorted(await world.drain()) == [("clean", "c"), ("load", "c")]


async def test_what_failed_for_good_in_a_changed_source_is_tried_by_the_new_one(world: World) -> None:
    """A source is changed since it fails: nothing else would make that partition again."""
    await world.apply("flights", {**loading(0)[0], "maxAttempts": 1}, loading(0)[1])
    await world.run("flights", "load", "a", "b")
    while pods := await world.claim():
        for pod in pods:
            assert await (world.fail(pod) if (pod.job, pod.partitions) == ("load", ["b"]) else world.complete(pod))
    plan = await world.apply("flights", *loading(1))
    assert plan.explanation.tasks == 4
    assert sorted(await world.drain()) == [("clean", "a"), ("clean", "b"), ("load", "a"), ("load", "b")]
    assert await world.advance("flights") == SwitchOver()
    assert await keys(world, "clean") == "ab"


async def test_what_fails_in_the_changed_source_as_before_does_not_stop_it(world: World) -> None:
    await world.apply("flights", {**loading(0)[0], "maxAttempts": 1}, loading(0)[1])
    await world.run("flights", "load", "a", "b")
    for n in (0, 1):
        await world.apply("flights", {**loading(n)[0], "maxAttempts": 1}, loading(n)[1])
        while pods := await world.claim():
            for pod in pods:
                assert await (world.fail(pod) if (pod.job, pod.partitions) == ("load", ["b"]) else world.complete(pod))
    assert await world.advance("flights") == SwitchOver()
    assert await world.claim() == []


async def test_an_instant_that_waits_at_a_cutover_is_made_under_its_new_name(world: World) -> None:
    def load(pattern: str) -> list[dict[str, object]]:
        partition = {"format": pattern, "offset": -1}
        return [
            {"name": "load", "image": "i", "source": {"kind": "cron", "schedule": "0 0 * * *", "partition": partition}}
        ]

    await world.apply("flights", *load("%Y-%m-%d"))
    ((job,),) = await world.rows("SELECT id FROM jobs")
    ((old, new),) = await world.rows(
        "INSERT INTO cron_ticks (job_identity, last_tick) SELECT identity, date_trunc('day', now()) FROM jobs"
        " RETURNING to_char(last_tick - interval '1 day', 'YYYY-MM-DD'),"
        " to_char(last_tick - interval '1 day', 'YYYYMMDD')"
    )
    async with world.db.transaction() as tx:
        await units.create_source_tasks(tx, job, [str(old)], again=True)  # type: ignore[arg-type]
    await world.apply("flights", *load("%Y%m%d"))
    assert await rollouts(world) == [("Done", None)]
    assert await world.drain() == [("load", new)]
