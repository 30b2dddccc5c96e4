"""A name that is read update by update, and is another dataset's by now."""

from __future__ import annotations

import pytest

from headrace.state.database import Database
from tests.state.test_updates import blocks, done, events, of_job, replaces, told
from tests.state.world import World


@pytest.fixture
def world(db: Database) -> World:
    return World(db)


async def update(world: World, after: int | None, to: int) -> None:
    """The dataset `blocks` of the DAG p gets these rows, and the DAG chain looks for what to do of them."""
    await world.command("p", "run", "blocks", str(to))
    await arrived(world, "blocks", after, to)
    await world.look()


async def arrived(world: World, job: str, after: int | None, to: int) -> None:
    """The task of a job of p that was just asked for is done."""
    (pod,) = [pod for pod in await world.claim() if pod.job == job]
    await done(world, pod, ranges=[(after, to)])


async def rebind(world: World) -> None:
    """The name is given to what another job of p makes: one update."""
    await world.apply("p", {**blocks(), "name": "load"}, publish=[{"name": "blocks", "from": {"job": "load"}}])
    await world.command("p", "run", "load", "new")
    await arrived(world, "load", None, 5)
    await world.advance("p")


async def begin(world: World) -> None:
    """A DAG publishes a dataset of one update, which another has read."""
    await world.apply("p", blocks(), publish=[{"name": "blocks", "from": {"job": "blocks"}}])
    await world.apply("chain", events(inputs=[{"name": "blocks", "from": {"dataset": "blocks"}}]))
    await update(world, None, 10)
    await done(world, *await of_job(world, "events"))


async def test_a_name_that_is_another_dataset_s_by_now_is_read_anew_on_top_of_the_former(world: World) -> None:
    await begin(world)
    for after, to in ((10, 20), (20, 30)):
        await update(world, after, to)
        await done(world, *await of_job(world, "events"))
    await rebind(world)
    await world.look()
    (whole,) = await of_job(world, "events")
    assert (told(whole), replaces(whole)) == (None, [{}])
    await done(world, whole)
    assert (await world.rows(
        "SELECT p.task_id FROM partition_parts p JOIN datasets d ON d.id = p.dataset_uuid"
        " WHERE d.producer_job_name = 'events'")) == [(whole.id,)]  # fmt: skip


@pytest.mark.parametrize("running", [False, True])
async def test_updates_of_what_the_name_was_before_end(world: World, *, running: bool) -> None:
    await begin(world)
    await update(world, 10, 20)
    if running:
        assert len(await of_job(world, "events")) == 1
    await rebind(world)
    assert await of_job(world, "events") == []
    await world.look()
    (whole,) = await of_job(world, "events")
    assert (told(whole), replaces(whole)) == (None, [{}])
