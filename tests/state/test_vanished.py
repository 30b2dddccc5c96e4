"""A partition that a DAG does not have any more is gone from what other DAGs have made of it, at every level."""

from __future__ import annotations

import pytest

from headrace.state.database import Database
from tests.state.world import World, month_source, step

PUBLISH = [{"name": "rows", "from": {"job": "clean"}}]


@pytest.fixture
def world(db: Database) -> World:
    return World(db)


def maker(*inputs: str) -> tuple[dict[str, object], ...]:
    """The DAG whose `clean` other DAGs read."""
    extra = {"name": "extra", "source": month_source("a", "b")["source"]}
    return month_source("a", "b"), extra, step("clean", *inputs)


async def begun(world: World) -> None:
    """It has a and b, of which another DAG has made what it makes."""
    whole = {"name": "total", "image": "i", "inputs": [{"from": {"job": "next"}, "match": "latest"}]}
    use = {"name": "use", "image": "i", "inputs": [{"from": {"dataset": "rows"}}], "scaling": {"maxConcurrency": 2}}
    await world.apply("p", *maker("month"), publish=PUBLISH)
    await world.apply("c", use, step("next", "use"), whole)
    await world.run("p", "month", "a", "b")
    await world.run("p", "extra", "a")
    await world.drain()
    await world.look()
    await world.drain()
    assert await made(world) == {"use": ["a", "b"], "next": ["a", "b"], "total": ["*"]}


async def made(world: World) -> dict[str, list[str]]:
    """What the reading DAG has, by job."""
    rows = await world.rows(
        "SELECT d.producer_job_name, array_agg(pv.partition_key ORDER BY 1) FROM partition_versions pv"
        " JOIN datasets d ON d.id = pv.dataset_uuid WHERE d.producer_dag_name = 'c' GROUP BY 1"
    )
    return {str(job): sorted(keys) for job, keys in rows}  # type: ignore[call-overload]


async def lose(world: World) -> None:
    """The DAG is changed, and has only a from now on."""
    await world.apply("p", *maker("month", "extra"), publish=PUBLISH)
    while pods := [pod for pod in await world.claim(1) if pod.dag == "p"]:
        for pod in pods:
            assert await world.complete(pod)
    await world.advance("p")
    await world.look()


async def test_it_is_gone_at_every_level_and_the_whole_is_made_again(world: World) -> None:
    await begun(world)
    await lose(world)
    assert await made(world) == {"use": ["a"], "next": ["a"], "total": ["*"]}
    assert set(await world.drain()) == {("next", "a"), ("total", "*"), ("use", "a")}
    await world.look()
    assert await world.drain() == []


async def test_when_it_comes_back_it_is_made_again(world: World) -> None:
    await begun(world)
    await lose(world)
    await world.drain()
    await world.run("p", "extra", "b")
    await world.drain()
    await world.look()
    await world.drain()
    assert await made(world) == {"use": ["a", "b"], "next": ["a", "b"], "total": ["*"]}


@pytest.mark.parametrize("runs", [True, False])
async def test_what_was_to_make_it_ends(world: World, runs: bool) -> None:
    await begun(world)
    if not runs:
        await world.rows("UPDATE dags SET suspended = true WHERE name = 'c' RETURNING 1")
    await world.command("c", "run", "use -p b")
    pods = await world.claim()
    assert len(pods) == runs
    await lose(world)
    for pod in pods:
        assert not await world.complete(pod)
    await world.drain()
    assert await made(world) == {"use": ["a"], "next": ["a"], "total": ["*"]}
    assert await world.rows("SELECT status, error_message FROM tasks WHERE unit_key = 'b' AND status = 'Canceled'") == [
        ("Canceled", "what it is made from has no such partition any more")]  # fmt: skip


async def test_what_fails_or_is_late_elsewhere_takes_nothing_away(world: World) -> None:
    """The producer's DAG is gone for a while: what was made of it stays."""
    await begun(world)
    await world.leave("p")
    await world.look()
    assert (await made(world))["use"] == ["a", "b"]


async def test_a_version_that_is_built_loses_it_too(world: World) -> None:
    await begun(world)
    use = {"name": "use", "image": "i", "inputs": [{"from": {"dataset": "rows"}}], "config": {"step": 2},
           "scaling": {"maxConcurrency": 2}}  # fmt: skip
    await world.apply("c", use)
    await world.drain()
    await lose(world)
    await world.drain()
    await world.advance("c")
    assert (await made(world))["use"] == ["a", "a"]


async def test_a_version_that_serves_again_has_lost_it_at_every_level(world: World) -> None:
    """Also what only that version has, of a level that went on working meanwhile."""
    await begun(world)
    use = {"name": "use", "image": "i", "inputs": [{"from": {"dataset": "rows"}}], "scaling": {"maxConcurrency": 2}}
    whole = {"name": "total", "image": "i", "inputs": [{"from": {"job": "next"}, "match": "latest"}]}
    await world.apply("c", use, step("next", "use", config={"step": 2}), whole)
    await world.drain()
    await world.advance("c")
    await lose(world)
    await world.drain()
    await world.apply("c", use, step("next", "use"), whole)
    serves = (
        "SELECT pv.partition_key FROM dag_current_versions c JOIN dag_version_datasets v USING (dag_version_id)"
        " JOIN partition_versions pv ON pv.dataset_uuid = v.dataset_uuid AND pv.dataset_version = v.dataset_version"
        " JOIN datasets d ON d.id = v.dataset_uuid WHERE d.producer_job_name = 'next' AND c.dag_name = 'c'"
    )
    assert await world.rows(serves) == [("a",)]
    assert set(await world.drain()) >= {("total", "*")}
