"""A build that is to reuse data after all has read for others: how far it had come is nobody's, and skips no update."""

from __future__ import annotations

import pytest

from headrace.state.database import Database
from tests.state.test_updates import add, begun, blocks, done, events, of_job, told
from tests.state.world import World, step


@pytest.fixture
def world(db: Database) -> World:
    return World(db)


async def test_no_later_form_takes_over_what_a_build_had_read_before_it_was_to_reuse(world: World) -> None:
    await begun(world)
    await add(world, 10, 20)
    changed = (blocks(), events(config={"step": 2}), step("slow", "blocks"))
    await world.apply("chain", *changed)
    (built,) = [pod for pod in await of_job(world, "events") if pod.config]
    await done(world, built)  # has read up to 20; the form that serves is still to read from 10 on
    await world.apply("chain", *changed, rollout={"reuse": ["events"]})
    await world.apply("chain", blocks())
    await world.apply("chain", blocks(), events(timeoutSeconds=9))
    (pod,) = await of_job(world, "events")
    assert told(pod) == (10, 20)
