"""What people ask for, in real Postgres: runs of partitions, with parameters and downstream; cancel, and retry."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest

from headrace.api.runs import Cancel, Canceled, NotUnderstood, Ran, Run
from headrace.run import commands
from headrace.run.requests import OtherRequest, cancel, once, run_job, schema_of
from headrace.state import runs
from headrace.state.database import Database, Transaction
from tests.state.world import World, month_source, step

PARAMS = {"type": "object", "properties": {"n": {"type": "integer"}}}


def load(*keys: str, **fields: object) -> dict[str, object]:
    """A source with a pod for each of these partitions, and parameters."""
    source = month_source(*keys)["source"] if keys else {"kind": "manual"}
    return {"name": "load", "image": "i", "source": source, "paramsSchema": PARAMS, **fields}


@pytest.fixture
def world(db: Database) -> World:
    return World(db)


async def run(world: World, job: str, dag: str = "flights", **fields: object) -> Ran:
    """Run a job, as the gateway does."""
    org = await world.org()
    async with world.db.transaction() as tx:
        schema = await schema_of(tx, org.id, dag, job)
        return await run_job(tx, org.id, dag, job, Run(**fields), "alice", schema)  # type: ignore[arg-type]


async def give_up(world: World, dag: str = "flights", **fields: object) -> Canceled:
    """Cancel, as the gateway does."""
    org = await world.org()
    async with world.db.transaction() as tx:
        return await cancel(tx, org.id, dag, Cancel(**fields), "alice")  # type: ignore[arg-type]


async def states(world: World) -> Counter[tuple[object, ...]]:
    """How many tasks there are of each job, key and status."""
    found = await world.rows("SELECT j.name, t.unit_key, t.status FROM tasks t JOIN jobs j ON j.id = t.job_id")
    return Counter(found)


async def test_a_run_makes_what_is_listed_and_not_there(world: World) -> None:
    await world.apply("flights", load("a", "b", "c"), step("clean", "load"))
    first = await run(world, "load")
    assert ([t.partition for t in first.tasks], first.there) == (["a", "b", "c"], 0)
    assert (await run(world, "load")).there == 3
    await world.drain()
    again = await run(world, "load")
    assert (again.tasks, again.there) == ((), 3)


async def test_a_named_partition_is_made_again_and_what_waits_is_joined(world: World) -> None:
    await world.apply("flights", load("a", "b"), step("clean", "load"))
    await run(world, "load")
    await world.drain()
    first = await run(world, "load", partitions=("a",))
    second = await run(world, "load", partitions=("a", "b"))
    assert [(t.partition, t.joined) for t in second.tasks] == [("a", True), ("b", False)]
    assert second.tasks[0].id == first.tasks[0].id
    assert (await run(world, "load", partitions=("a", "b"), missing=True)).tasks == ()
    assert sorted(await world.drain()) == [("clean", "a"), ("clean", "b"), ("load", "a"), ("load", "b")]


async def test_a_run_tries_again_at_once_what_waits_to_be(world: World) -> None:
    await world.apply("flights", load("a"))
    await run(world, "load")
    (pod,) = await world.claim()
    assert await world.fail(pod, backoff=10_000.0)
    assert await world.claim() == []
    joined = await run(world, "load", partitions=("a",))
    assert [(t.id, t.joined) for t in joined.tasks] == [(pod.id, True)]
    (again,) = await world.claim()
    assert (again.id, again.attempt) == (pod.id, 2)


async def test_a_reactive_job_runs_on_partitions_that_its_inputs_have(world: World) -> None:
    await world.apply("flights", load("a", "b"), step("clean", "load"), step("join", "load", "clean"))
    with pytest.raises(NotUnderstood, match="its inputs have nothing yet"):
        await run(world, "clean")
    await run(world, "load")
    await world.drain()
    assert [t.partition for t in (await run(world, "join", partitions=("b",))).tasks] == ["b"]
    with pytest.raises(NotUnderstood, match="its inputs do not have c"):
        await run(world, "join", partitions=("b", "c"))
    with pytest.raises(NotUnderstood, match="many partitions: name some"):
        await run(world, "join")
    assert (await run(world, "clean", missing=True)).tasks == ()
    await world.rows("DELETE FROM partition_versions p USING datasets d WHERE p.partition_key = 'a'"
                     " AND p.dataset_uuid = d.id AND d.producer_job_name = 'clean' RETURNING 1")  # fmt: skip
    lacked = await run(world, "clean", missing=True)
    assert ([t.partition for t in lacked.tasks], lacked.there) == (["a"], 1)
    await world.drain()
    ranged = await run(world, "clean", first="a", last="b")
    assert [t.partition for t in ranged.tasks] == ["a", "b"]
    assert await world.rows("SELECT DISTINCT low FROM tasks WHERE status = 'Queued' AND requested_by = 'alice'"
                            " AND id = ANY (%(ids)s)", ids=[t.id for t in ranged.tasks]) == [(True,)]  # fmt: skip
    with pytest.raises(NotUnderstood, match="no partition in this range"):
        await run(world, "clean", first="x", last="z")
    with pytest.raises(NotUnderstood, match="'other' is no job of the version of DAG flights that serves"):
        await run(world, "other")


async def test_parameters_are_another_unit_that_keeps_its_turn(world: World) -> None:
    await world.apply("flights", load("a", scaling={"maxConcurrency": 4}))
    plain = await run(world, "load", partitions=("a",))
    one = await run(world, "load", partitions=("a",), params={"n": 1})
    two = await run(world, "load", partitions=("a",), params={"n": 2})
    same = await run(world, "load", partitions=("a",), params={"n": 1})
    assert same.tasks[0].id == one.tasks[0].id
    assert len({plain.tasks[0].id, one.tasks[0].id, two.tasks[0].id}) == 3
    # All of them write partition a: one after the other, in the order in which they were asked for.
    order = []
    while pods := await world.claim():
        assert await world.claim() == pods
        assert len(pods) == 1
        order.append(pods[0].params)
        if pods[0].params == {"n": 1} and pods[0].attempt == 1:
            assert await world.fail(pods[0])
        else:
            assert await world.complete(pods[0])
    assert order == [{}, {"n": 1}, {"n": 1}, {"n": 2}]


async def test_an_older_run_that_waits_to_be_tried_again_keeps_its_turn(world: World) -> None:
    await world.apply("flights", load("a", scaling={"maxConcurrency": 4}))
    await run(world, "load", partitions=("a",), params={"n": 1})
    (pod,) = await world.claim()
    await run(world, "load", partitions=("a",), params={"n": 2})
    assert await world.fail(pod, backoff=10_000.0)
    assert await world.claim() == []


async def test_parameters_stay_over_a_cutover(world: World) -> None:
    await world.apply("flights", load("a"))
    await run(world, "load", params={"n": 1})
    await world.apply("flights", load("a", config={"changed": True}))
    (pod,) = await world.claim()
    assert pod.params == {"n": 1}


async def test_downstream_runs_in_order_and_once(world: World) -> None:
    await world.apply(
        "flights", load("a", "b"), step("left", "load"), step("right", "load"), step("join", "left", "right"),
        {"name": "other", "source": {"kind": "manual"}}, step("apart", "other"), step("both", "join", "apart"),
    )  # fmt: skip
    await run(world, "load")
    await world.drain()
    ran = await run(world, "left", partitions=("a",), downstream=True)
    # `both` waits for a partition that `apart` does not have.
    assert [(t.job, t.partition) for t in ran.tasks] == [("left", "a"), ("join", "a")]
    assert await world.drain() == [("left", "a"), ("join", "a")]
    ran = await run(world, "load", partitions=("a", "b"), downstream=True)
    assert len(ran.tasks) == 8
    assert len(await world.drain()) == 8


async def test_downstream_reaches_what_was_never_made(world: World) -> None:
    await world.apply("flights", load("a"), step("clean", "load"), step("rank", "clean"))
    ran = await run(world, "load", downstream=True)
    assert [t.job for t in ran.tasks] == ["load", "clean", "rank"]
    assert await world.drain() == [("load", "a"), ("clean", "a"), ("rank", "a")]


async def test_a_failed_task_upstream_keeps_what_waits_for_it_until_it_is_canceled(world: World) -> None:
    await world.apply("flights", load("a", maxAttempts=1), step("clean", "load"))
    await run(world, "load")
    await world.drain()
    await run(world, "load", partitions=("a",), downstream=True)
    (pod,) = await world.claim()
    assert await world.fail(pod)
    assert await world.claim() == []
    done = await give_up(world, job="load")
    assert (done.waiting, done.running, done.failed) == (0, 0, 1)
    assert await world.drain() == [("clean", "a")]


async def test_cancel_gives_up_what_waits_and_runs_and_a_late_word_changes_nothing(world: World) -> None:
    await world.apply("flights", load("a", "b", "c"), step("clean", "load"))
    await run(world, "load")
    (pod,) = await world.claim()
    done = await give_up(world, job="load", partitions=("a", "b"))
    assert (done.waiting, done.running) == (1, 1)
    assert not await world.complete(pod)
    assert not await world.fail(pod)
    assert await world.rows("SELECT DISTINCT canceled_by, error_message FROM tasks WHERE status = 'Canceled'") == [
        ("user", "canceled by alice")
    ]
    assert await world.drain() == [("load", "c"), ("clean", "c")]
    with pytest.raises(NotUnderstood, match="nothing of it waits"):
        await give_up(world, job="load")
    # It counts as decided: the periodic pass leaves it, a run by its list makes it, as does retry of the job.
    assert await world.command("flights", "retry", "", "2") == "nothing has failed for good"
    assert await world.command("flights", "retry", "load", "3") == "queued 2 tasks again"
    assert sorted(await world.drain()) == [("clean", "a"), ("clean", "b"), ("load", "a"), ("load", "b")]


async def test_a_canceled_unit_is_made_again_when_its_inputs_change(world: World) -> None:
    await world.apply("flights", load("a"), step("clean", "load"))
    await run(world, "load")
    (pod,) = await world.claim()
    assert await world.complete(pod)
    await give_up(world, job="clean")
    await world.look()
    assert await world.drain() == []
    await run(world, "load", partitions=("a",))
    assert await world.drain() == [("load", "a"), ("clean", "a")]


async def test_one_task_is_canceled_and_tried_again_by_its_id(world: World) -> None:
    await world.apply("flights", load("a", "b"))
    ran = await run(world, "load")
    assert (await give_up(world, task=ran.tasks[1].id)).waiting == 1
    assert (await states(world))["load", "b", "Canceled"] == 1
    assert await world.command("flights", "retry", str(ran.tasks[1].id)) == "queued 1 task again"
    assert await world.drain() == [("load", "a"), ("load", "b")]


async def test_a_rollout_that_was_given_up_stays_so_until_retry(world: World) -> None:
    await world.apply("flights", load("a", "b"), step("clean", "load"))
    await run(world, "load")
    await world.drain()
    changed = [load("a", "b"), step("clean", "load", config={"v": 2})]
    await world.apply("flights", *changed)
    with pytest.raises(NotUnderstood, match="nothing of it waits"):
        await give_up(world, job="clean")  # what of the build waits is the rollout's
    done = await give_up(world, rollout=True)
    assert done.rollout is not None
    plan = await world.apply("flights", *changed)
    assert plan.steps == ()
    assert plan.blocked is not None
    assert (plan.blocked.reason, "was canceled by alice" in plan.blocked.message) == ("RolloutCanceled", True)
    assert await world.drain() == []
    with pytest.raises(NotUnderstood, match="no rollout of DAG flights is under way"):
        await give_up(world, rollout=True)
    assert await world.command("flights", "retry", "", "2") == "queued 0 tasks again; the rollout goes on"
    await world.advance("flights")
    assert await world.drain() == [("clean", "a"), ("clean", "b")]
    await world.advance("flights")
    assert (await world.report("flights")).rollout.state == "Done"  # type: ignore[union-attr]


async def test_all_of_a_dag_is_given_up_with_its_rollout(world: World) -> None:
    await world.apply("flights", load("a", "b"), step("clean", "load"))
    await run(world, "load", partitions=("a",))
    await world.drain()
    await world.apply("flights", load("a", "b"), step("clean", "load", config={"v": 2}))
    await run(world, "load", partitions=("b",))
    done = await give_up(world, everything=True)
    assert (done.waiting, done.rollout is not None) == (1, True)
    assert await world.drain() == []


async def test_a_request_is_carried_out_once_whoever_repeats_it(world: World) -> None:
    await world.apply("flights", load("a"))
    org = await world.org()

    async def act(tx: Transaction) -> Ran:
        return await run_job(tx, org.id, "flights", "load", Run(partitions=("a",), params={"n": 1}), "alice", PARAMS)

    async def ask(request: str = "1", user: str = "alice") -> Ran:
        async with world.db.transaction() as tx:
            return await once(tx, org.id, request, ("run", user, "flights/load"), act, Ran)

    first, second = await asyncio.gather(ask(), ask())
    assert first == second
    assert len(first.tasks) == 1
    assert await world.drain() == [("load", "a")]
    assert await ask() == first
    assert await world.drain() == []
    with pytest.raises(OtherRequest, match="take a new one"):
        await ask(user="bob")
    assert (await ask("2")).tasks[0].id != first.tasks[0].id


async def test_requests_are_forgotten_after_a_week_and_no_sooner(world: World) -> None:
    await world.apply("flights", load("a"))
    org = await world.org()
    async with world.db.transaction() as tx:
        assert await runs.begin_request(tx, org.id, "1", "run", "alice", "x")
    for days, left in ((6, 1), (2, 0)):
        await world.rows(f"UPDATE requests SET created_at = created_at - interval '{days} days' RETURNING 1")
        async with world.db.transaction() as tx:
            await runs.forget_requests(tx, 0)
        assert await world.rows("SELECT count(*) FROM requests") == [(left,)]


async def test_the_annotations_say_the_same(world: World) -> None:
    await world.apply("flights", load("a", "b"), step("clean", "load"))
    assert await world.command("flights", "run", "load -p a") == "made 1 of 1 task"
    assert await world.command("flights", "run", "load", "2") == (
        "made 1 of 2 tasks; the others are there or on their way"
    )
    assert await world.command("flights", "cancel", "load -p b", "3") == "canceled 1 waiting task"
    # Whoever checks parameters may take for ever: that is not done where all DAGs are.
    for number, (argument, why) in enumerate(
        (
            ("load --param n=1", "parameters are given with `headrace run`"),
            ("load --param n=" + "[" * 5000, "parameters are given with"),
            ("load --from a", "give both --from and --to"),
        )
    ):
        refused = await world.command("flights", "run", argument, f"r{number}")
        assert refused is not None
        assert refused.startswith("refused: ")
        assert why in refused
    for number, (argument, why) in enumerate(
        (("", "say what to cancel"), ("--frob", "unrecognized"), ("--all load", "give it alone"))
    ):
        refused = await world.command("flights", "cancel", argument, f"c{number}")
        assert refused is not None
        assert why in refused


async def test_tasks_are_listed_newest_first_in_pages(world: World) -> None:
    await world.apply("flights", load("a", "b", "c"), step("clean", "load"))
    await run(world, "load")
    await world.drain()
    org = await world.org()
    async with world.db.transaction() as tx:
        everything = await runs.list_tasks(tx, org.id, "flights", 100)
        page = await runs.list_tasks(tx, org.id, "flights", 2)
        rest = await runs.list_tasks(tx, org.id, "flights", 100, before=page[-1].id)
        of_a = await runs.list_tasks(tx, org.id, "flights", 100, job="clean", key="a", states=["Completed"])
        one = await runs.show_task(tx, org.id, page[0].id)
        followed = await runs.follow(tx, org.id, [task.id for task in everything])
    assert everything == page + rest
    assert [(t.job, t.partition, t.state, t.requested_by) for t in of_a] == [("clean", "a", "Completed", None)]
    assert one == page[0]
    assert followed.states == {"Completed": 6}


async def test_a_suspended_dag_keeps_a_run_waiting_and_a_gone_one_refuses_it(world: World) -> None:
    await world.apply("flights", load("a"), suspend=True)
    assert len((await run(world, "load")).tasks) == 1
    assert await world.drain() == []
    await world.leave("flights")
    with pytest.raises(NotUnderstood, match="is no job of the version"):
        await run(world, "load")


async def test_a_command_that_breaks_is_refused_and_its_dag_goes_on(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(*_: object) -> str:
        raise ZeroDivisionError

    await world.apply("flights", load("a"))
    monkeypatch.setitem(commands._ACTS, "run", broken)
    refused = await world.command("flights", "run", "load")
    assert refused == "refused: it cannot be carried out (ZeroDivisionError)"
    monkeypatch.undo()
    assert await world.command("flights", "run", "load", "2") == "made 1 of 1 task"


async def test_what_reads_another_dag_is_made_again_after_a_cancel_when_that_changes(world: World) -> None:
    await world.apply("flights", load("x"), publish=[{"name": "loaded", "from": {"job": "load"}}])
    await world.apply("use", {"name": "use", "image": "i", "inputs": [{"from": {"dataset": "loaded"}}]})
    await run(world, "load")
    await world.drain()
    await world.look()
    await give_up(world, dag="use", job="use")
    await world.look()
    assert await world.drain() == []
    await run(world, "load", partitions=("x",))
    assert await world.drain() == [("load", "x")]
    await world.look()
    assert await world.drain() == [("use", "x")]


async def test_runs_of_a_job_that_becomes_a_trigger_keep_no_other_dag_from_its_work(world: World) -> None:
    await world.apply("flights", load("a"), suspend=True)
    await run(world, "load", partitions=("a",), params={"n": 1})
    await run(world, "load", partitions=("a",), params={"n": 2})
    await world.apply("other", month_source("z"))
    await world.apply("flights", month_source("a") | {"name": "load"})
    await world.advance("flights")
    while await world.dispatch():
        pass
    assert await world.run("other", "month", "z") == 1
    found = await states(world)
    assert (found["month", "z", "Completed"], found["load", "a", "Completed"]) == (1, 1)


async def test_two_waiting_triggers_of_a_key_run_one_after_the_other(world: World) -> None:
    await world.apply("flights", month_source("a"), suspend=True)
    await world.rows(
        "INSERT INTO tasks (job_id, partitions, job_identity, fingerprint, unit_key, params, params_digest)"
        " SELECT id, '{a}', identity, fingerprint, 'a', '{\"n\": 1}', 'd' FROM jobs RETURNING 1"
    )
    await run(world, "month", partitions=("a",))
    await world.apply("flights", month_source("a"))
    assert [len(await world.dispatch()), len(await world.dispatch()), len(await world.dispatch())] == [1, 1, 0]  # type: ignore[arg-type]


async def test_parameters_of_a_job_that_reads_stay_over_a_cutover_and_come_back_with_the_dag(world: World) -> None:
    use = {"paramsSchema": PARAMS, "scaling": {"maxConcurrency": 4}}
    await world.apply("flights", load("a"), step("use", "load", **use))
    await run(world, "load")
    await world.drain()
    await run(world, "use", partitions=("a",), params={"n": 1})
    await world.apply("flights", load("a"), step("use", "load", config={"v": 2}, **use))
    for pod in await world.claim():
        if not pod.params:
            assert await world.complete(pod)
    await world.advance("flights")
    await run(world, "use", partitions=("a",), params={"n": 2})
    await world.leave("flights")
    await world.apply("flights", load("a"), step("use", "load", config={"v": 2}, **use))
    given = []
    while pods := await world.claim():
        given.append(pods[0].params)
        assert await world.complete(pods[0])
    assert given == [{"n": 1}, {"n": 2}]


async def test_retry_of_a_task_whose_twin_waits_leaves_it(world: World) -> None:
    await world.apply("flights", load("a"))
    await run(world, "load")
    (pod,) = await world.claim()
    twin = await run(world, "load", partitions=("a",))
    await give_up(world, task=twin.tasks[0].id)
    assert await world.fail(pod, backoff=10_000.0)
    refused = await world.command("flights", "retry", str(twin.tasks[0].id))
    assert refused is not None
    assert refused.startswith("nothing has failed for good as task")


async def test_a_failure_is_told_and_tried_again_though_a_newer_run_was_canceled(world: World) -> None:
    await world.apply("flights", load("a", maxAttempts=1))
    first = await run(world, "load")
    (pod,) = await world.claim()
    assert await world.fail(pod)
    newer = await run(world, "load", partitions=("a",), params={"n": 1})
    await give_up(world, task=newer.tasks[0].id)
    assert [job.failed for job in (await world.report("flights")).jobs] == [1]
    assert await world.command("flights", "retry", "") == "queued 1 task again"
    (pod,) = await world.claim()
    assert pod.id == first.tasks[0].id
    assert await world.fail(pod)
    await run(world, "load", partitions=("a",), params={"n": 2})
    await world.drain()
    assert await world.command("flights", "retry", str(first.tasks[0].id), "2") == "queued 1 task again"


async def test_a_partition_named_twice_is_one(world: World) -> None:
    await world.apply("flights", load("a"))
    assert len((await run(world, "load", partitions=("a", "a"))).tasks) == 1
