"""Invalidations: what is made from a partition or rows is made again, nothing else where that is known; who is done."""

from __future__ import annotations

from itertools import pairwise
from typing import Any, cast

import pytest

from headrace.api.invalidations import Bound, Filter, Invalidated, Invalidation
from headrace.api.runs import NothingToDo, NotThere
from headrace.state import invalidations
from headrace.state.attempts import RunningPod
from headrace.state.database import Database
from tests.state.test_updates import blocks, done, events
from tests.state.world import World, step

KEYS = ("0", "1000", "2000")
ROWS: Filter = {"n": Bound(gte=995, lte=1005)}


@pytest.fixture
def world(db: Database) -> World:
    return World(db)


def source(**fields: object) -> dict[str, object]:
    """A source whose partitions have a thousand numbers each."""
    return {"name": "numbers", "image": "i", "source": {"kind": "manual", "partitions": {"values": list(KEYS)}},
            "partitionBy": {"column": "n", "every": 1000}, "scaling": {"maxConcurrency": 9}, **fields}  # fmt: skip


def wide(name: str, *inputs: str, **fields: object) -> dict[str, object]:
    return step(name, *inputs, scaling={"maxConcurrency": 9}, **fields)


async def invalidate(world: World, name: str, **given: object) -> Invalidated:
    org = await world.org()
    async with world.db.transaction() as tx:
        place = await invalidations.find(tx, org.id, name)
        return await invalidations.invalidate(tx, org.id, name, place, Invalidation(**given))  # type: ignore[arg-type]


async def begun(world: World, *jobs: dict[str, object]) -> None:
    """A DAG whose work is done."""
    await world.apply("d", *jobs)
    await world.run("d", "numbers", *KEYS)
    await world.drain()


async def again(world: World) -> list[tuple[str, str]]:
    """What is run after that, to the end: (job, key)."""
    return sorted(await world.drain())


def filters(pod: RunningPod, name: str = "numbers") -> object:
    return cast("dict[str, Any]", pod.inputs[name]).get("filters")


def replaces(pod: RunningPod) -> object:
    (partition,) = cast("list[dict[str, Any]]", pod.outputs[0]["partitions"])
    return partition.get("replaces")


async def open_ones(world: World) -> list[tuple[object, ...]]:
    """By dataset how many are done with each invalidation, and whether it is over."""
    return await world.rows(
        "SELECT d.producer_job_name, cardinality(i.processed_by), i.processed_at IS NOT NULL FROM data_invalidations i"
        " JOIN datasets d ON d.id = i.dataset_uuid ORDER BY 1, i.created_at"
    )


async def test_a_partition_is_made_again_at_every_level_and_nothing_else(world: World) -> None:
    levels = ["numbers", "a", "b", "c", "e"]
    await begun(world, source(), *(wide(name, above) for above, name in pairwise(levels)))
    told = await invalidate(world, "d.numbers.0", partition="1000")
    assert (told.partitions, told.of, told.widened) == (1, 3, "")
    assert [(c.job, c.units) for c in told.consumers] == [("a", 1)]
    assert await again(world) == [(name, "1000") for name in sorted(levels[1:])]
    assert await again(world) == []


async def test_what_nobody_reads_is_over_at_once(world: World) -> None:
    await begun(world, source(), wide("a", "numbers"))
    await invalidate(world, "d.a.0", partition="0")
    assert await open_ones(world) == [("a", 0, True)]
    assert await again(world) == []


async def test_rows_touch_the_partitions_that_may_have_them_at_every_level(world: World) -> None:
    levels = ["numbers", "a", "b", "c", "e"]
    await begun(world, source(), *(wide(name, above) for above, name in pairwise(levels)))
    told = await invalidate(world, "d.numbers.0", filter=ROWS)
    assert (told.partitions, told.of, told.widened) == (2, 3, "")
    assert await again(world) == sorted((name, key) for name in levels[1:] for key in ("0", "1000"))


async def test_without_a_mapping_rows_are_every_partition_and_that_is_said(world: World) -> None:
    await begun(world, source(partitionBy=None), wide("a", "numbers"))
    told = await invalidate(world, "d.numbers.0", filter=ROWS)
    assert (told.partitions, told.of) == (3, 3)
    assert told.widened == "partitionBy of the job that makes it does not say which partition has which rows"
    assert await again(world) == [("a", key) for key in KEYS]


async def test_a_task_is_told_the_rows(world: World) -> None:
    await begun(world, source(), wide("a", "numbers"))
    await invalidate(world, "d.numbers.0", filter=ROWS, reason="reorg")
    await invalidate(world, "d.numbers.0", filter={"n": Bound(eq=5)})
    first, second = sorted(await world.claim(), key=lambda pod: pod.partitions)
    assert filters(first) == [{"n": {"eq": 5}}, {"n": {"gte": 995, "lte": 1005}}]
    assert filters(second) == [{"n": {"gte": 995, "lte": 1005}}]


@pytest.mark.parametrize("how", ["written", "partition", "asked for", "another input"])
async def test_a_task_is_told_no_rows_where_more_has_changed(world: World, how: str) -> None:
    await begun(world, source(), source(name="more"), wide("a", "numbers", "more"))
    await world.run("d", "more", *KEYS)
    await world.drain()
    match how:
        case "written":
            await world.command("d", "run", "numbers -p 0")
        case "another input":
            await world.command("d", "run", "more -p 0")
        case "partition":
            await invalidate(world, "d.numbers.0", partition="0")
        case _:
            await world.command("d", "run", "a -p 0")
    for pod in await world.claim(1) if how in ("written", "another input") else ():
        assert await world.complete(pod)
    await invalidate(world, "d.numbers.0", filter=ROWS)
    (pod,) = [pod for pod in await world.claim() if pod.partitions == ["0"]]
    assert filters(pod) is None


@pytest.mark.parametrize(("key", "mapped"), [(["n", "k"], True), (["k"], False)])
async def test_a_part_for_the_rows_replaces_what_they_match_where_it_has_their_columns(
    world: World, key: list[str], mapped: bool
) -> None:
    await begun(world, source(), wide("a", "numbers", updateStrategy="append", uniqueKey=key), wide("b", "a"))
    told = await invalidate(world, "d.numbers.0", filter=ROWS, partition="0")
    assert bool(told.consumers[0].widened) is not mapped
    (pod,) = await world.claim()
    rows = [{"n": {"gte": 995, "lte": 1005}}]
    assert (filters(pod), replaces(pod)) == ((rows, rows) if mapped else (None, [{}]))
    assert await world.complete(pod)
    (below,) = await world.claim()
    assert (below.job, filters(below, "a")) == ("b", rows if mapped else None)
    parts = cast("list[dict[str, Any]]", below.inputs["a"]["partitions"])[0]["parts"]
    assert [part.get("replaces") for part in parts] == ([[{}], rows] if mapped else [[{}]])


async def test_who_is_done_is_known_and_when_all_are(world: World) -> None:
    await begun(world, source(), wide("a", "numbers"), wide("b", "numbers"))
    await invalidate(world, "d.numbers.0", filter=ROWS)
    assert await open_ones(world) == [("numbers", 0, False)]
    first, *rest = sorted(await world.claim(), key=lambda pod: (pod.job, pod.partitions))
    assert await world.complete(first)
    assert await open_ones(world) == [("numbers", 0, False)]
    for pod in rest:
        assert await world.complete(pod)
    assert await open_ones(world) == [("numbers", 2, True)]
    ids = await world.rows(
        "SELECT DISTINCT md5(j.identity || '/' || j.fingerprint)::uuid = ANY (i.processed_by) FROM jobs j,"
        " data_invalidations i WHERE j.name IN ('a', 'b')")  # fmt: skip
    assert ids == [(True,)]


async def test_what_runs_while_it_is_said_is_run_again(world: World) -> None:
    await world.apply("d", source(), wide("a", "numbers"))
    await world.run("d", "numbers", *KEYS)
    for pod in await world.claim():
        assert await world.complete(pod)
    pods = await world.claim()
    await invalidate(world, "d.numbers.0", partition="0")
    for pod in pods:
        assert await world.complete(pod)
    assert await again(world) == [("a", "0")]


async def test_a_version_that_is_built_and_one_that_serves_again_catch_up(world: World) -> None:
    await begun(world, source(), wide("a", "numbers"))
    await world.apply("d", source(), wide("a", "numbers", config={"step": 2}))
    await invalidate(world, "d.numbers.0", partition="0")
    assert len(await again(world)) == 4
    await world.advance("d")
    await invalidate(world, "d.numbers.0", partition="1000")
    assert await again(world) == [("a", "1000")]
    await world.apply("d", source(), wide("a", "numbers"))
    assert await again(world) == [("a", "1000")]
    assert [row[2] for row in await open_ones(world)] == [True, True]


async def test_a_reader_of_the_whole_is_run_again_or_stale(world: World) -> None:
    whole: dict[str, object] = {"from": {"job": "numbers"}, "match": "latest"}
    once = {"name": "once", "image": "i", "inputs": [whole]}
    await begun(world, source(), once)
    assert await again(world) == []
    told = await invalidate(world, "d.numbers.0", filter=ROWS)
    assert [(c.job, c.units) for c in told.consumers] == [("once", 1)]
    assert await again(world) == [("once", "*")]
    assert await open_ones(world) == [("numbers", 1, True)]


async def test_a_reader_of_updates_is_given_the_rows(world: World) -> None:
    await world.apply("chain", blocks(), events())
    await world.run("chain", "blocks", "*")
    (pod,) = [pod for pod in await world.claim() if pod.job == "blocks"]
    await done(world, pod, ranges=[(None, 10)])
    await done(world, *await world.claim())
    rows: Filter = {"number": Bound(gte=5)}
    await invalidate(world, "chain.blocks.0", filter=rows)
    (pod,) = await world.claim()
    assert (filters(pod, "blocks"), replaces(pod)) == ([{"number": {"gte": 5}}],) * 2
    await done(world, pod)
    assert await world.rows("SELECT p.place, p.replaces FROM partition_parts p JOIN datasets d ON d.id = p.dataset_uuid"
                            " WHERE d.producer_job_name = 'events' ORDER BY 1") == [
        (1, [{}]), (2, [{"number": {"gte": 5}}])]  # fmt: skip
    assert (await open_ones(world))[0] == ("blocks", 1, True)
    await invalidate(world, "chain.blocks.0", partition="*")
    (pod,) = await world.claim()
    assert (filters(pod, "blocks"), replaces(pod)) == (None, [{}])


async def test_another_dag_is_told(world: World) -> None:
    await world.apply("d", source(), publish=[{"name": "numbers", "from": {"job": "numbers"}}])
    await world.apply("e", {**wide("a"), "inputs": [{"from": {"dataset": "numbers"}}]})
    await world.run("d", "numbers", *KEYS)
    await world.drain()
    await world.look()
    assert await again(world) == [("a", key) for key in KEYS]
    told = await invalidate(world, "numbers", filter=ROWS)
    assert [(c.dag, c.job, c.units) for c in told.consumers] == [("e", "a", 2)]
    await world.look()
    assert await again(world) == [("a", "0"), ("a", "1000")]


async def test_what_is_not_there_is_told(world: World) -> None:
    await begun(world, source())
    with pytest.raises(NotThere):
        await invalidate(world, "nothing", partition="0")
    with pytest.raises(NothingToDo, match="no partition 7"):
        await invalidate(world, "d.numbers.0", partition="7")
    with pytest.raises(NothingToDo, match="may have such rows"):
        await invalidate(world, "d.numbers.0", filter={"n": Bound(gte=10_000)})


async def test_what_a_source_made_again_during_a_build_is_built_though_it_was_invalidated_since(world: World) -> None:
    await begun(world, source())
    await world.apply("d", source(config={"step": 2}))
    for pod in await world.claim():
        assert await world.complete(pod)
    await world.command("d", "run", "numbers -p 0")
    (live,) = await world.claim()
    assert (live.config, await world.complete(live)) == ({}, True)
    await invalidate(world, "d.numbers.0", partition="0")
    await world.advance("d")
    assert [(pod.partitions, pod.config) for pod in await world.claim()] == [(["0"], {"step": 2})]
