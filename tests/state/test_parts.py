"""`append`: partitions made of parts, as tasks add them, in one order; what a part replaces; what others are given."""

from __future__ import annotations

from typing import Any, cast

import pytest

from headrace.state.attempts import RunningPod
from headrace.state.database import Database
from tests.state.world import World, month_source, step


@pytest.fixture
def world(db: Database) -> World:
    return World(db)


def trades(*keys: str, **fields: object) -> dict[str, object]:
    """A source whose tasks add to its partitions."""
    return {"name": "trades", "image": "i", "source": month_source(*keys)["source"], "updateStrategy": "append",
            "uniqueKey": ["id", "day"], "scaling": {"maxConcurrency": 9}, **fields}  # fmt: skip


async def add(world: World, key: str, rows: int | None = None) -> str:
    """Another run of the source: the location of the part that it added."""
    (request,) = [str(count) for ((count,),) in [await world.rows("SELECT count(*) FROM tasks")]]
    assert await world.command("shop", "run", f"trades -p {key}", request) is not None
    (pod,) = [p for p in await world.claim() if p.job == "trades"]
    assert await world.complete(pod, rows)
    (place,) = cast("list[dict[str, Any]]", pod.outputs[0]["partitions"])
    assert "replaces" not in place
    return str(place["location"])


async def last(world: World, job: str) -> RunningPod:
    """Run everything to its end; the last task of a job."""
    found: list[RunningPod] = []
    while pods := await world.claim():
        found += [pod for pod in pods if pod.job == job]
        for pod in pods:
            assert await world.complete(pod)
    return found[-1]


def given(pod: Any, name: str) -> dict[str, Any]:
    """The only partition of an input, as a task has it."""
    (partition,) = pod.inputs[name]["partitions"]
    return cast("dict[str, Any]", partition)


async def test_tasks_of_a_source_add_parts_in_the_order_of_their_completion(world: World) -> None:
    await world.apply("shop", trades("a"), step("clean", "trades"))
    places = [await add(world, "a"), await add(world, "a"), await add(world, "a")]
    assert len(set(places)) == 3
    pod = await last(world, "clean")
    assert pod.inputs["trades"]["uniqueKey"] == ["day", "id"]
    assert given(pod, "trades")["location"] is None
    assert given(pod, "trades")["parts"] == [{"location": place} for place in places]


async def test_the_row_of_the_partition_sums_its_parts_up(world: World) -> None:
    await world.apply("shop", trades("a", "b"))
    await add(world, "a", 5)
    await add(world, "b", 100)
    await add(world, "a", 7)
    await add(world, "a", None)
    assert await world.rows("SELECT partition_key, location, row_count FROM partition_versions ORDER BY 1") == [
        ("a", None, 12), ("b", None, 100)]  # fmt: skip


async def test_a_reader_of_the_whole_is_given_the_parts_of_every_partition(world: World) -> None:
    whole = {"name": "total", "image": "i", "inputs": [{"from": {"job": "trades"}, "match": "latest"}]}
    await world.apply("shop", trades("a", "b"), whole)
    first, second, third = await add(world, "a"), await add(world, "b"), await add(world, "a")
    pod = await last(world, "total")
    told = cast("list[dict[str, Any]]", pod.inputs["trades"]["partitions"])
    assert [(p["key"], [part["location"] for part in p["parts"]]) for p in told] == [
        ("a", [first, third]), ("b", [second])]  # fmt: skip


async def test_an_attempt_that_is_over_adds_nothing(world: World) -> None:
    await world.apply("shop", trades("a"))
    await world.run("shop", "trades", "a")
    (first,) = await world.claim()
    await world.fail(first)
    (again,) = await world.claim()
    assert not await world.complete(first, 5)
    assert await world.complete(again, 7)
    assert not await world.complete(again, 7)
    ((location, rows),) = await world.rows("SELECT location, row_count FROM partition_parts")
    ((of_again,),) = await world.rows(
        "SELECT outputs #>> '{0,partitions,0,location}' FROM tasks WHERE id = %(id)s", id=again.id)  # fmt: skip
    assert (location, rows) == (of_again, 7)


async def test_what_is_made_from_a_whole_partition_replaces_all_that_was_there(world: World) -> None:
    """Rows that the partition does not have any more would stay, if the part was added."""
    clean = step("clean", "trades", updateStrategy="append", uniqueKey=["id"])
    await world.apply("shop", trades("a"), clean, step("report", "clean"))
    for rows in (5, 3):
        await add(world, "a")
        (pod,) = [p for p in await world.claim() if p.job == "clean"]
        ((place),) = cast("list[dict[str, Any]]", pod.outputs[0]["partitions"])
        assert place["replaces"] == [{}]
        assert await world.complete(pod, rows)
    ((location,),) = await world.rows(
        "SELECT p.location FROM partition_parts p JOIN datasets d ON d.id = p.dataset_uuid"
        " WHERE d.producer_job_name = 'clean'")  # fmt: skip
    assert location == place["location"]
    assert (await world.rows(
        "SELECT row_count FROM partition_versions v JOIN datasets d ON d.id = v.dataset_uuid"
        " WHERE d.producer_job_name = 'clean'")) == [(3,)]  # fmt: skip
    pod = await last(world, "report")
    assert given(pod, "clean")["parts"] == [{"location": location, "replaces": [{}]}]


async def test_parts_go_with_their_partition(world: World) -> None:
    await world.apply("shop", trades("a"))
    await add(world, "a")
    await world.rows("DELETE FROM partition_versions RETURNING 1")
    assert await world.rows("SELECT * FROM partition_parts") == []


async def test_a_version_that_is_built_has_parts_of_its_own(world: World) -> None:
    await world.apply("shop", trades("a"))
    await add(world, "a", 5)
    await world.apply("shop", trades("a", config={"step": 2}))
    (pod,) = await world.claim()
    assert await world.complete(pod, 7)
    await world.advance("shop")
    assert sorted(await world.rows(
        "SELECT p.row_count, p.dataset_version = v.dataset_version FROM partition_parts p, dag_version_datasets v,"
        " dag_current_versions c WHERE v.dag_version_id = c.dag_version_id")) == [(5, False), (7, True)]  # fmt: skip
