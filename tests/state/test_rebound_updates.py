"""A name that is read update by update, and is another dataset's by now."""

from __future__ import annotations

import pytest

from headrace.state.database import Database
from tests.state.test_updates import blocks, done, events, of_job, replaces, told
from tests.state.world import World


@pytest.fixture
def world(db: Database) -> World:
    return World(db)


async def test_a_name_that_is_another_dataset_s_by_now_is_read_anew_on_top_of_the_former(world: World) -> None:
    publish = lambda job: [{"name": "blocks", "from": {"job": job}}]  # noqa: E731
    await world.apply("p", blocks(), publish=publish("blocks"))
    await world.apply("chain", events(inputs=[{"name": "blocks", "from": {"dataset": "blocks"}}]))
    for after, to in ((None, 10), (10, 20), (20, 30)):
        assert await world.command("p", "run", "blocks", str(to)) is not None
        (pod,) = [pod for pod in await world.claim() if pod.job == "blocks"]
        await done(world, pod, ranges=[(after, to)])
        await world.look()
        await done(world, *await of_job(world, "events"))
    await world.apply("p", {**blocks(), "name": "load"}, publish=publish("load"))
    assert await world.command("p", "run", "load", "new") is not None
    (pod,) = [pod for pod in await world.claim() if pod.job == "load"]
    await done(world, pod, ranges=[(None, 5)])
    await world.advance("p")
    await world.look()
    (whole,) = await of_job(world, "events")
    assert (told(whole), replaces(whole)) == (None, [{}])
    await done(world, whole)
    assert (await world.rows(
        "SELECT p.task_id FROM partition_parts p JOIN datasets d ON d.id = p.dataset_uuid"
        " WHERE d.producer_job_name = 'events'")) == [(whole.id,)]  # fmt: skip


@pytest.mark.parametrize("begun", [False, True])
async def test_updates_of_what_the_name_was_before_end(world: World, *, begun: bool) -> None:
    publish = lambda job: [{"name": "blocks", "from": {"job": job}}]  # noqa: E731
    await world.apply("p", blocks(), publish=publish("blocks"))
    await world.apply("chain", events(inputs=[{"name": "blocks", "from": {"dataset": "blocks"}}]))
    for after, to in ((None, 10), (10, 20)):
        assert await world.command("p", "run", "blocks", str(to)) is not None
        (pod,) = [pod for pod in await world.claim() if pod.job == "blocks"]
        await done(world, pod, ranges=[(after, to)])
        await world.look()
        if to == 10 or begun:
            running = await of_job(world, "events")
        if to == 10:
            await done(world, *running)
    await world.apply("p", {**blocks(), "name": "load"}, publish=publish("load"))
    assert await world.command("p", "run", "load", "new") is not None
    (pod,) = [pod for pod in await world.claim() if pod.job == "load"]
    await done(world, pod, ranges=[(None, 5)])
    await world.advance("p")
    assert await of_job(world, "events") == []
    await world.look()
    (whole,) = await of_job(world, "events")
    assert (told(whole), replaces(whole)) == (None, [{}])
