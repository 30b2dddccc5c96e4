"""`PerUpdate`: whole datasets, and update by update with cursors: what tasks are given, and how far a job has read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import pytest

from headrace.plan.cursors import Range
from headrace.plan.rollout import SwitchOver
from headrace.state import attempts, units
from headrace.state.attempts import Completion, RunningPod
from headrace.state.database import Database
from tests.state.world import World, month_source, step


@pytest.fixture
def world(db: Database) -> World:
    return World(db)


def blocks(**fields: object) -> dict[str, object]:
    """A source whose tasks add blocks of rows."""
    return {"name": "blocks", "image": "i", "source": {"kind": "manual"}, "updateStrategy": "append",
            "uniqueKey": ["number"], "scaling": {"maxConcurrency": 9}, **fields}  # fmt: skip


def events(**fields: object) -> dict[str, object]:
    """Reads the blocks update by update."""
    return {"name": "events", "image": "i", "inputs": [{"from": {"job": "blocks"}}], "executionStrategy": "PerUpdate",
            "updateStrategy": "append", "uniqueKey": ["number", "log"], "scaling": {"maxConcurrency": 9},
            **fields}  # fmt: skip


async def done(world: World, *pods: RunningPod, ranges: Sequence[tuple[int | None, int] | None] = ()) -> None:
    """Complete attempts together; of each the range that it reports."""
    async with world.db.transaction() as tx:
        ended = [
            Completion(
                id=pod.id, attempt=pod.attempt, token=pod.token, namespace=pod.org, pod=pod.pod_name,
                cursors={} if told is None else
                        {0: Range("number", "bigint", None if told[0] is None else str(told[0]), str(told[1]))},
            )
            for pod, told in zip(pods, ranges or [None] * len(pods), strict=True)
        ]  # fmt: skip
        assert len(await attempts.complete(tx, 0, ended, [])) == len(pods)


async def of_job(world: World, job: str) -> list[RunningPod]:
    """What runs of a job after a claim, oldest first."""
    await world.claim()
    return [pod for pod in await world.running() if pod.job == job]


async def add(world: World, after: int | None, to: int) -> None:
    """The source adds the rows of a range."""
    ((count,),) = await world.rows("SELECT count(*) FROM tasks")
    assert await world.command("chain", "run", "blocks", str(count)) is not None
    (pod,) = await of_job(world, "blocks")
    await done(world, pod, ranges=[(after, to)])


def told(pod: RunningPod) -> tuple[object, object] | None:
    """The range that a task is given of the blocks."""
    range_ = cast("dict[str, Any] | None", pod.inputs["blocks"].get("range"))
    return None if range_ is None else (range_["from"], range_["to"])


def parts(pod: RunningPod, name: str = "blocks") -> int:
    """How many parts it is given of an input."""
    partitions = cast("list[dict[str, Any]]", pod.inputs[name]["partitions"])
    return sum(len(partition["parts"]) for partition in partitions)


def replaces(pod: RunningPod) -> object:
    (partition,) = cast("list[dict[str, Any]]", pod.outputs[0]["partitions"])
    return partition.get("replaces")


async def cursor(world: World) -> object:
    """How far `events` has read the generation that serves."""
    rows = await world.rows(
        "SELECT c.cursor_value FROM dataset_cursors c JOIN jobs j ON j.id = c.job_id JOIN dag_current_versions v"
        " ON v.dag_version_id = j.dag_version_id JOIN dag_version_datasets p ON p.dag_version_id = v.dag_version_id"
        " AND p.dataset_version = c.dataset_version WHERE j.name = 'events'"
    )
    return rows[0][0] if rows else None


async def begun(world: World, *more: dict[str, object], **fields: object) -> None:
    """The DAG with its first blocks read."""
    await world.apply("chain", blocks(), events(**fields), *more)
    await add(world, None, 10)
    (first,) = await of_job(world, "events")
    assert (told(first), parts(first), replaces(first)) == (None, 1, [{}])
    await done(world, first)


async def test_the_whole_comes_first_and_then_each_update_alone(world: World) -> None:
    await begun(world)
    assert await cursor(world) == "10"
    await add(world, 10, 20)
    (second,) = await of_job(world, "events")
    await add(world, 20, 30)
    _, third = await of_job(world, "events")
    assert [told(second), told(third)] == [(10, 20), (20, 30)]
    assert [parts(second), parts(third)] == [1, 1]
    assert replaces(second) is None
    await done(world, second, third)
    assert await cursor(world) == "30"
    assert await of_job(world, "events") == []
    assert (await world.rows(
        "SELECT p.place FROM partition_parts p JOIN datasets d ON d.id = p.dataset_uuid"
        " WHERE d.producer_job_name = 'events' ORDER BY 1")) == [(1,), (2,), (3,)]  # fmt: skip


async def test_the_cursor_moves_only_over_what_has_no_gap(world: World) -> None:
    await begun(world)
    await add(world, 10, 20)
    await add(world, 20, 30)
    await add(world, 30, 40)
    first, second, third = await of_job(world, "events")
    await done(world, third)
    assert await cursor(world) == "10"
    await done(world, first)
    assert await cursor(world) == "20"
    await world.fail(second)
    assert await cursor(world) == "20"
    (again,) = await of_job(world, "events")
    assert told(again) == (20, 30)
    await done(world, again)
    assert await cursor(world) == "40"


async def test_the_cursor_never_goes_back(world: World) -> None:
    await begun(world)
    await add(world, 10, 20)
    await done(world, *await of_job(world, "events"))
    await add(world, 5, 15)
    (again,) = await of_job(world, "events")
    assert (told(again), parts(again)) == ((5, 15), 3)
    await done(world, again)
    assert await cursor(world) == "20"


async def test_what_came_while_the_whole_was_read_is_read_after_it(world: World) -> None:
    await world.apply("chain", blocks(), events())
    await add(world, None, 10)
    (first,) = await of_job(world, "events")
    await add(world, 10, 20)
    assert await of_job(world, "events") == [first]
    await done(world, first)
    assert await cursor(world) == "10"
    (second,) = await of_job(world, "events")
    assert told(second) == (10, 20)


async def test_an_update_of_which_no_range_is_known_gives_the_whole(world: World) -> None:
    await begun(world)
    await world.run("chain", "blocks", "*")
    (pod,) = await of_job(world, "blocks")
    await done(world, pod)
    (second,) = await of_job(world, "events")
    assert (told(second), parts(second), replaces(second)) == (None, 2, [{}])
    await done(world, second)
    assert (await world.rows(
        "SELECT p.place FROM partition_parts p JOIN datasets d ON d.id = p.dataset_uuid"
        " WHERE d.producer_job_name = 'events'")) == [(2,)]  # fmt: skip


async def test_what_is_older_than_a_whole_comes_too_late(world: World) -> None:
    """Parts count in the order of the updates, not in that of the completions."""
    await begun(world)
    await add(world, 10, 20)
    (slow,) = await of_job(world, "events")
    await world.run("chain", "blocks", "*")
    (pod,) = await of_job(world, "blocks")
    await done(world, pod)
    (whole,) = [pod for pod in await of_job(world, "events") if pod.id != slow.id]
    await done(world, whole)
    await done(world, slow)
    assert (await world.rows(
        "SELECT p.task_id FROM partition_parts p JOIN datasets d ON d.id = p.dataset_uuid"
        " WHERE d.producer_job_name = 'events'")) == [(whole.id,)]  # fmt: skip
    assert await cursor(world) == "20"


async def test_an_update_that_a_whole_has_read_comes_too_late(world: World) -> None:
    await begun(world)
    await add(world, 10, 20)
    (slow,) = await of_job(world, "events")
    await world.command("chain", "run", "events -p *", "anew")
    (whole,) = [pod for pod in await of_job(world, "events") if pod.id != slow.id]
    await done(world, whole)
    await done(world, slow)
    assert (await world.rows(
        "SELECT p.place, p.task_id FROM partition_parts p JOIN datasets d ON d.id = p.dataset_uuid"
        " WHERE d.producer_job_name = 'events'")) == [(2, whole.id)]  # fmt: skip


async def test_nothing_is_taken_for_made_that_is_another_update(world: World) -> None:
    """Both were given the input as it is now, and each a range of its own."""
    await begun(world, scaling={"maxConcurrency": 1})
    await add(world, 10, 20)
    (first,) = await of_job(world, "events")
    await add(world, 20, 30)
    await world.fail(first)
    (again,) = await of_job(world, "events")
    await done(world, again)
    (second,) = await of_job(world, "events")
    assert [told(again), told(second)] == [(10, 20), (20, 30)]


async def test_waiting_updates_are_merged_where_that_is_wanted(world: World) -> None:
    await begun(world, coalesce=True, scaling={"maxConcurrency": 1})
    await add(world, 10, 20)
    (running,) = await of_job(world, "events")
    for after, to in ((20, 30), (30, 40), (50, 60)):
        await add(world, after, to)
    await done(world, running)
    (merged,) = await of_job(world, "events")
    assert (told(merged), parts(merged)) == ((20, 40), 2)
    await done(world, merged)
    assert await cursor(world) == "40"
    (last,) = await of_job(world, "events")
    assert told(last) == (50, 60)
    await done(world, last)
    await add(world, 40, 50)
    await done(world, *await of_job(world, "events"))
    assert await cursor(world) == "60"


async def test_a_pass_makes_what_a_lost_message_left_out(world: World) -> None:
    await begun(world)
    await add(world, 10, 20)
    await world.rows("DELETE FROM tasks t USING jobs j WHERE j.id = t.job_id AND j.name = 'events'"
                     " AND t.status = 'Queued' RETURNING 1")  # fmt: skip
    org = await world.org()
    async with world.db.transaction() as tx:
        assert await units.create_missing(tx, [(org.id, "chain")]) == 1
    async with world.db.transaction() as tx:
        assert await units.create_missing(tx, [(org.id, "chain")]) == 0
    (pod,) = await of_job(world, "events")
    assert told(pod) == (10, 20)


async def test_an_unchanged_job_keeps_its_cursor_and_a_rebuilt_one_starts_anew(world: World) -> None:
    await begun(world)
    await add(world, 10, 20)
    await done(world, *await of_job(world, "events"))
    await world.apply("chain", blocks(), events(), step("more", "events"))
    assert await world.drain() == [("more", "*")]
    await world.advance("chain")
    assert await cursor(world) == "20"
    assert await world.drain() == []
    await world.apply("chain", blocks(), events(config={"step": 2}))
    (built,) = await of_job(world, "events")
    assert (told(built), parts(built), replaces(built)) == (None, 2, [{}])
    await add(world, 20, 30)
    await done(world, built)
    former, late = sorted(await of_job(world, "events"), key=lambda pod: pod.config != {})
    assert (told(former), told(late)) == ((20, 30), (20, 30))
    await done(world, former, late)
    await world.advance("chain")
    assert await cursor(world) == "30"


async def test_a_rollback_catches_up_only_on_what_came_since(world: World) -> None:
    await begun(world)
    await world.apply("chain", blocks(), events(config={"step": 2}))
    await done(world, *await of_job(world, "events"))
    await world.advance("chain")
    await add(world, 10, 20)
    await done(world, *await of_job(world, "events"))
    assert await cursor(world) == "20"
    await world.apply("chain", blocks(), events())
    assert await cursor(world) == "10"
    (pod,) = await of_job(world, "events")
    assert (told(pod), pod.config) == ((10, 20), {})


async def test_what_acts_on_the_world_begins_with_what_comes(world: World) -> None:
    rates = {"name": "rates", "image": "i", "source": month_source("a")["source"]}
    await world.apply("chain", blocks(), rates)
    await add(world, None, 10)
    await world.run("chain", "rates", "a")
    await done(world, *await of_job(world, "rates"))
    acts = events(outputs=0, sideEffects=True, inputs=[
        {"from": {"job": "blocks"}}, {"from": {"job": "rates"}, "match": "latest", "onChange": "rerun"}])  # fmt: skip
    await world.apply("chain", blocks(), rates, acts)
    await world.advance("chain")
    assert await of_job(world, "events") == []
    await world.command("chain", "run", "rates -p a", "again")
    await done(world, *await of_job(world, "rates"))
    assert await of_job(world, "events") == []
    await add(world, 10, 20)
    (pod,) = await of_job(world, "events")
    assert (told(pod), pod.outputs) == ((10, 20), [])
    await done(world, pod)
    await world.apply("chain", blocks(), rates, acts, step("more", "blocks"))
    assert await of_job(world, "events") == []
    await add(world, 20, 30)
    (pod,) = await of_job(world, "events")
    assert told(pod) == (20, 30)


async def test_replace_reads_the_whole_once_however_often_it_changed(world: World) -> None:
    total = {"name": "total", "image": "i", "inputs": [{"from": {"job": "blocks"}}], "executionStrategy": "PerUpdate"}
    await world.apply("chain", blocks(), total)
    await add(world, None, 10)
    (first,) = await of_job(world, "total")
    for after, to in ((10, 20), (20, 30)):
        await add(world, after, to)
    await done(world, first)
    (second,) = await of_job(world, "total")
    assert (told(second), parts(second), replaces(second)) == (None, 3, None)
    await done(world, second)
    assert await of_job(world, "total") == []


async def test_another_input_can_set_the_whole_off_again(world: World) -> None:
    rates = {"name": "rates", "image": "i", "source": month_source("a")["source"]}
    await world.apply("chain", blocks(), rates, events(inputs=[
        {"from": {"job": "blocks"}}, {"from": {"job": "rates"}, "match": "latest", "onChange": "rerun"}]))  # fmt: skip
    await add(world, None, 10)
    assert await of_job(world, "events") == []
    await world.run("chain", "rates", "a")
    await done(world, *await of_job(world, "rates"))
    await done(world, *await of_job(world, "events"))
    await world.command("chain", "run", "rates -p a", "again")
    await done(world, *await of_job(world, "rates"))
    (pod,) = await of_job(world, "events")
    assert (told(pod), parts(pod), replaces(pod)) == (None, 1, [{}])
    await done(world, pod)
    assert await of_job(world, "events") == []
    assert await cursor(world) == "10"


RATES: dict[str, object] = {"name": "rates", "image": "i", "source": month_source("a")["source"]}
RERUN: list[dict[str, object]] = [
    {"from": {"job": "blocks"}}, {"from": {"job": "rates"}, "match": "latest", "onChange": "rerun"}
]  # fmt: skip


async def test_the_whole_is_read_again_for_another_input_though_an_update_was_read_with_it(world: World) -> None:
    """The parts that were there before are still of the other input as it was."""
    await world.apply("chain", blocks(), RATES, events(inputs=RERUN, scaling={"maxConcurrency": 1}))
    await world.run("chain", "rates", "a")
    await done(world, *await of_job(world, "rates"))
    await add(world, None, 10)
    await done(world, *await of_job(world, "events"))
    await add(world, 10, 20)
    (busy,) = await of_job(world, "events")
    await add(world, 20, 30)
    await world.command("chain", "run", "rates -p a", "again")
    await done(world, *await of_job(world, "rates"))
    await done(world, busy)
    seen = []
    while pods := await of_job(world, "events"):
        seen += [(told(pod), replaces(pod)) for pod in pods]
        await done(world, *pods)
    assert (None, [{}]) in seen


async def test_a_form_that_comes_back_in_another_version_goes_on_where_it_stopped(world: World) -> None:
    await begun(world)
    await world.apply("chain", blocks(), events(config={"step": 2}))
    await done(world, *await of_job(world, "events"))
    await world.advance("chain")
    await add(world, 10, 20)
    await done(world, *await of_job(world, "events"))
    await world.apply("chain", blocks(), events(), step("more", "blocks"))
    await world.advance("chain")
    pods = [pod for pod in await world.claim() if pod.job == "events"]
    assert [(told(pod), pod.config) for pod in pods] == [((10, 20), {})]
    await done(world, *pods)
    await world.drain()
    await world.advance("chain")
    assert await cursor(world) == "20"
    assert await of_job(world, "events") == []


async def test_what_acts_on_the_world_acts_on_what_waited_at_a_cutover(world: World) -> None:
    acts: dict[str, object] = {"outputs": 0, "sideEffects": True}
    await world.apply("chain", blocks(), events(**acts))
    await add(world, None, 10)
    (pod,) = await of_job(world, "events")
    await world.apply("chain", blocks(), events(config={"step": 2}, **acts))
    assert not (await world.rows("SELECT 1 FROM tasks WHERE id = %(id)s AND status = 'Running'", id=pod.id))
    (again,) = await of_job(world, "events")
    assert (told(again), again.config) == ((None, 10), {"step": 2})
    await done(world, again)
    assert await of_job(world, "events") == []


async def test_a_whole_that_failed_for_good_is_read_again_when_its_input_changes(world: World) -> None:
    await world.apply("chain", blocks(), events(maxAttempts=1))
    await add(world, None, 10)
    (first,) = await of_job(world, "events")
    await world.fail(first)
    assert await of_job(world, "events") == []
    await add(world, 10, 20)
    (again,) = await of_job(world, "events")
    assert (told(again), parts(again)) == (None, 2)


async def test_of_two_wholes_of_the_same_updates_the_one_that_read_later_counts(world: World) -> None:
    await begun(world)
    await world.run("chain", "blocks", "*")
    (pod,) = await of_job(world, "blocks")
    await done(world, pod)
    (early,) = await of_job(world, "events")
    await world.command("chain", "run", "events -p *", "anew")
    (late,) = [pod for pod in await of_job(world, "events") if pod.id != early.id]
    await done(world, late)
    await done(world, early)
    assert (await world.rows(
        "SELECT p.task_id FROM partition_parts p JOIN datasets d ON d.id = p.dataset_uuid"
        " WHERE d.producer_job_name = 'events'")) == [(late.id,)]  # fmt: skip


async def test_parts_that_were_made_of_a_whole_as_it_was_before_are_stale(world: World) -> None:
    rates = {"name": "rates", "image": "i", "source": {"kind": "manual"}}
    inputs = [{"from": {"job": "blocks"}}, {"from": {"job": "rates"}, "match": "latest"}]
    await world.apply("chain", blocks(), rates, events(inputs=inputs))
    for request, (after, to) in enumerate([(None, 10), (10, 20)]):
        await world.command("chain", "run", "rates", f"r{request}")
        (pod,) = await of_job(world, "rates")
        await done(world, pod)
        await add(world, after, to)
        (pod,) = await of_job(world, "events")
        await done(world, pod)
    (stale,) = [job.stale for job in (await world.report("chain")).jobs if job.name == "events"]
    assert stale == 1


async def test_after_a_rollback_an_unchanged_job_goes_on_where_it_is(world: World) -> None:
    """Not where it was when that version served last: what it has read since is read."""
    await world.apply("chain", blocks(), events())
    await add(world, None, 10)
    (pod,) = await of_job(world, "events")
    await done(world, pod)
    other = step("other", "blocks")
    await world.apply("chain", blocks(), events(), other)
    await world.drain()
    assert await world.advance("chain") == SwitchOver()
    await add(world, 10, 20)
    await world.drain()
    await world.apply("chain", blocks(), events())
    assert await of_job(world, "events") == []
