"""What may come in a version's way after its plan was made, wherever it then comes to serve; and who must not mind."""

from __future__ import annotations

import asyncio

import pytest

from headrace.plan.rollout import Fail, Stay, SwitchOver, Wait
from headrace.run.rollouts import Rollouts
from headrace.state import attempts, names, units
from headrace.state.database import Database
from headrace.state.deletion import delete_dag
from headrace.state.names import TransferRefused
from tests.state.world import World, month_source, step

WAITS = "SELECT 1 FROM pg_locks WHERE NOT granted"
X, Y = [{"name": "x", "from": {"job": "clean"}}], [{"name": "y", "from": {"job": "clean"}}]


@pytest.fixture
def world(db: Database) -> World:
    return World(db)


def makes(*reads: str, n: int = 0) -> list[dict[str, object]]:
    """month -> clean, which also reads datasets of other DAGs."""
    more = [{"from": {"dataset": name}} for name in reads]
    return [
        month_source("a"),
        {**step("clean", "month", config={"n": n}), "inputs": [{"from": {"job": "month"}}, *more]},
    ]


async def settle(world: World) -> list[tuple[str, str]]:
    """Run everything, DAG after DAG, for a bounded number of rounds; what ran."""
    ran = []
    for _ in range(8):
        ran += await world.drain()
        await world.look()
    return ran


async def serve(world: World, dag: str, *reads: str, publish: object) -> None:
    """Applied, run, and cut over."""
    await world.apply(dag, *makes(*reads), publish=publish)
    await world.run(dag, "month", "a")
    await settle(world)
    await world.advance(dag)
    await settle(world)


async def hash_of(world: World, dag: str) -> object:
    """The document that serves."""
    ((found,),) = await world.rows("SELECT yaml_hash FROM dag_current_versions c JOIN dag_versions v ON v.id ="
                                   " c.dag_version_id WHERE c.dag_name = %(dag)s", dag=dag)  # fmt: skip
    return found


async def states(world: World, dag: str) -> list[object]:
    """The states of a DAG's rollouts, oldest first."""
    rows = await world.rows("SELECT state FROM rollouts WHERE dag_name = %(dag)s ORDER BY seq", dag=dag)
    return [state for (state,) in rows]


async def test_a_pin_that_would_close_a_circle_is_refused(world: World) -> None:
    await serve(world, "b", publish=X)
    await serve(world, "a", "x", publish=Y)
    reading = await hash_of(world, "a")
    await serve(world, "a", publish=Y)
    await serve(world, "b", "y", publish=X)
    plan = await world.apply("a", *makes(), publish=Y, annotations={"headrace.dev/pin": f"1 {reading}"})
    assert plan.steps == ()
    assert await hash_of(world, "a") != reading
    assert await settle(world) == []


async def test_a_dag_that_comes_back_into_a_circle_stays_stopped(world: World) -> None:
    await serve(world, "a", publish=Y)
    await serve(world, "b", "y", publish=X)
    await world.leave("b")
    blocked = (await world.apply("a", *makes("x"), publish=Y)).blocked
    assert blocked is not None
    assert blocked.reason == "CycleAcrossDAGs"
    assert await settle(world) == []


async def test_an_approval_does_not_let_a_circle_through(world: World) -> None:
    await serve(world, "a", publish=Y)
    await serve(world, "b", publish=X)
    waiting = {"maxBuildTasks": 0}
    plan = await world.apply("a", *makes("x"), publish=Y, rollout=waiting)
    blocked = (await world.apply("b", *makes("y"), publish=X)).blocked
    assert blocked is not None
    assert blocked.reason == "CycleAcrossDAGs"
    approve = {"headrace.dev/approve": f"1 {plan.explanation.yaml_hash}"}
    await world.apply("a", *makes("x"), publish=Y, rollout=waiting, annotations=approve)
    assert len(await settle(world)) <= 2
    assert await world.advance("a") == SwitchOver()


async def test_a_reader_that_waits_for_approval_is_a_reader(world: World) -> None:
    await serve(world, "flights", publish=X)
    await world.apply("report", month_source("a"))
    await world.apply("report", month_source("a"), *makes("x")[1:], rollout={"maxBuildTasks": 0})
    blocked = (await world.apply("flights", *makes())).blocked
    assert blocked is not None
    assert blocked.reason == "ConsumersExist"


async def test_a_name_that_a_failed_rollout_would_publish_again_is_not_transferred(world: World) -> None:
    """A retry would go on with it; and nobody else waits for a rollout that cannot cut over."""
    await serve(world, "flights", publish=[])
    await world.apply("flights", *makes(n=1), publish=X)
    for pod in await world.claim():
        for _ in range(3):
            await world.fail(pod)
            await world.rows("UPDATE tasks SET next_retry_at = now() WHERE next_retry_at IS NOT NULL RETURNING 1")
            pod = next(iter(await world.claim()), pod)  # noqa: PLW2901 - the next attempt
    assert isinstance(await world.advance("flights"), Fail)
    org = await world.org()
    with pytest.raises(TransferRefused, match="DAG flights publishes x"):
        async with world.db.transaction() as tx:
            await names.transfer(tx, org.id, "x", "trains")


async def test_a_rollout_that_cannot_move_holds_no_other_up(world: World) -> None:
    """Its name was taken from it in a way that nobody foresaw."""
    await serve(world, "flights", publish=[])
    await serve(world, "trains", publish=[])
    await world.apply("flights", *makes(n=1), publish=X)
    await world.apply("trains", *makes(n=1), publish=Y)
    await world.drain()
    await world.rows("UPDATE datasets SET name = 'x' WHERE producer_dag_name = 'trains' AND producer_job_name = 'clean'"
                     " RETURNING 1")  # fmt: skip
    moved = await Rollouts(world.db).look(0)
    assert [rollout.dag for rollout in moved] == ["trains"]
    assert await states(world, "trains") == ["Done", "Done"]


async def test_what_was_deleted_but_for_a_dataset_is_made_anew_whole(world: World) -> None:
    await serve(world, "flights", publish=X)
    await serve(world, "report", "x", publish=Y)
    org = await world.org()
    await world.leave("flights")
    async with world.db.transaction() as tx:
        await tx.execute("lock_dag", org_id=org.id, dag="flights")
        assert await delete_dag(tx, org.id, "flights") == ["x"]
    await world.apply("flights", *makes(), publish=X)
    await world.advance("flights")
    assert await world.rows("SELECT count(*) FROM dag_current_versions c JOIN jobs j USING (dag_version_id)"
                            " WHERE c.dag_name = 'flights'") == [(2,)]  # fmt: skip
    await world.run("flights", "month", "a")
    assert ("clean", "a") in await settle(world)


async def test_what_arrives_while_a_reader_looks_is_not_lost(world: World) -> None:
    """The outbox has a row already: the look that takes it either sees what arrives, or leaves one."""
    await serve(world, "flights", publish=X)
    await world.apply("report", {"name": "read", "image": "i", "inputs": [{"from": {"dataset": "x"}}]})
    await settle(world)
    ((source,),) = await world.rows("SELECT id FROM jobs WHERE dag_name = 'flights' AND name = 'month'")
    async with world.db.transaction() as tx:
        await units.create_source_tasks(tx, source, ["a"], again=True)  # type: ignore[arg-type]
    await world.dispatch()
    (pod,) = await world.claim()
    org = await world.org()
    await world.rows("INSERT INTO consumer_looks (org_id, dag_name) VALUES (%(org)s, 'report') RETURNING 1", org=org.id)
    async with world.db.transaction() as tx:
        await attempts.complete(tx, 0, [attempts.Completion(id=pod.id, attempt=pod.attempt, token=pod.token,
                                                      namespace=pod.org, pod=pod.pod_name)], [])  # fmt: skip
        looking = asyncio.create_task(world.look())
        while not (looking.done() or await world.rows(WAITS)):  # noqa: ASYNC110 - nothing tells it
            await asyncio.sleep(0.01)
    await looking
    assert await settle(world) == [("read", "a")]


async def test_a_resumed_rollout_has_its_time_anew(world: World) -> None:
    await serve(world, "flights", publish=X)
    bound = {"deadlineSeconds": 3600}
    await world.apply("flights", *makes(n=1), publish=X, rollout=bound)
    await world.rows("UPDATE rollouts SET deadline_at = now() - interval '1 s', deadline_from = now() - interval"
                     " '3601 s' WHERE state = 'Building' RETURNING 1")  # fmt: skip
    assert isinstance(await world.advance("flights"), Fail)
    await world.apply("flights", *makes(n=1), publish=X, rollout=bound, annotations={"headrace.dev/retry": "1"})
    await world.apply("flights", *makes(n=1), publish=X, rollout=bound)
    assert await states(world, "flights") == ["Done", "Building"]
    await world.drain()
    assert await world.advance("flights") == SwitchOver()


async def test_a_rollout_that_waits_for_a_person_is_quiet(world: World) -> None:
    await serve(world, "flights", publish=X)
    await world.apply("flights", *makes(n=1), publish=X, rollout={"strategy": "Manual"})
    await world.drain()
    assert await world.advance("flights") == Wait()
    before = await world.snapshot()
    looks = Rollouts(world.db)
    for _ in range(3):
        looks.touch([((await world.org()).id, "flights")])
        assert await looks.look(0) == []
    assert await world.advance("flights") == Stay()
    assert await world.snapshot() == before


async def test_manual_while_it_is_built_waits_unless_a_person_has_approved(world: World) -> None:
    await serve(world, "flights", publish=X)
    manual = {"strategy": "Manual"}
    plan = await world.apply("flights", *makes(n=1), publish=X)
    await world.apply("flights", *makes(n=1), publish=X, rollout=manual)
    await world.drain()
    assert await world.advance("flights") == Wait()
    approve = {"headrace.dev/approve": f"1 {plan.explanation.yaml_hash}"}
    await world.apply("flights", *makes(n=1), publish=X, rollout=manual, annotations=approve)
    assert await states(world, "flights") == ["Done", "Done"]


async def test_other_outputs_cannot_be_reused(world: World) -> None:
    await serve(world, "flights", publish=X)
    two = {**makes(n=1)[1], "outputs": 2}
    plan = await world.apply("flights", month_source("a"), two, publish=X, rollout={"reuse": ["clean"]})
    assert any("rollout.reuse has no effect" in note for note in plan.explanation.notes)
    assert await world.drain() == [("clean", "a")]


async def test_a_new_document_tries_again_what_failed_in_the_last_ones_build(world: World) -> None:
    """More memory changes no data: the same units, and their failures do not count any more."""
    await serve(world, "flights", publish=X)
    failing = [{**job, "maxAttempts": 1} for job in makes(n=1)]
    await world.apply("flights", *failing[:1], failing[1], publish=X)
    for pod in await world.claim():
        await world.fail(pod)
    assert isinstance(await world.advance("flights"), Fail)
    mended = {**failing[1], "resources": {"limits": {"memory": "8Gi"}}}
    await world.apply("flights", failing[0], mended, publish=X)
    assert await world.drain() == [("clean", "a")]
    assert await world.advance("flights") == SwitchOver()


async def test_a_newer_document_that_cannot_serve_ends_the_build_of_the_older(world: World) -> None:
    await serve(world, "flights", publish=X)
    await serve(world, "report", "x", publish=Y)
    await world.apply("flights", *makes(n=1), publish=X)
    blocked = (await world.apply("flights", *makes(n=2))).blocked
    assert blocked is not None
    assert blocked.reason == "ConsumersExist"
    assert await states(world, "flights") == ["Done", "Superseded"]
    assert await settle(world) == []


async def test_a_build_that_waits_for_failed_work_outside_of_it_says_so(world: World) -> None:
    """clean is unchanged and failed for good when its data came again; join's build waits for it."""
    jobs = [month_source("a"), step("clean", "month", maxAttempts=1)]
    await world.apply("flights", *jobs, step("join", "clean"))
    await world.run("flights", "month", "a")
    await world.drain()
    ((source,),) = await world.rows("SELECT id FROM jobs WHERE name = 'month'")
    async with world.db.transaction() as tx:
        await units.create_source_tasks(tx, source, ["a"], again=True)  # type: ignore[arg-type]
    await world.dispatch()
    for pod in await world.claim():
        await world.fail(pod)
    await world.apply("flights", *jobs, step("join", "clean", config={"n": 1}))
    assert await world.claim() == []
    ((state, cause),) = await world.rows("SELECT state, cause FROM rollouts ORDER BY seq DESC LIMIT 1")
    assert (state, "it waits for job clean, which failed for good there" in str(cause)) == ("Failed", True)


async def test_a_pin_ends_what_a_failed_build_left(world: World) -> None:
    """Its queued units would wait for ever for a version that is gone, and keep a newer build of the same waiting."""
    await serve(world, "flights", publish=X)
    first = await hash_of(world, "flights")
    jobs = [month_source("a", "b"), step("clean", "month", config={"n": 1}, maxAttempts=1)]
    await world.run("flights", "month", "a")
    await world.apply("flights", month_source("a", "b"), makes()[1], publish=X)
    await world.run("flights", "month", "b")
    await settle(world)
    await world.apply("flights", *jobs, publish=X)
    for pod in await world.claim():
        await world.fail(pod)
    assert isinstance(await world.advance("flights"), Fail)
    assert await world.command("flights", "pin", str(first)) == "pinned until unpin"
    assert await world.rows("SELECT 1 FROM tasks WHERE status = 'Queued'") == []
    await world.command("flights", "unpin", "")
    await world.apply("flights", jobs[0], {**jobs[1], "timeoutSeconds": 9}, publish=X)
    assert sorted(await world.drain()) == [("clean", "a"), ("clean", "b")]
    assert await world.advance("flights") == SwitchOver()


@pytest.mark.parametrize("changes_hands", [True, False], ids=["its name", "what it read"])
async def test_a_dag_that_comes_back_with_a_document_that_is_right_goes_on(world: World, changes_hands: bool) -> None:
    """What served would lack something now, and what is wanted does not."""
    await serve(world, "flights", publish=X)
    await serve(world, "report", "x", publish=Y)
    await world.leave("report")
    if changes_hands:
        org = await world.org()
        async with world.db.transaction() as tx:
            await names.transfer(tx, org.id, "y", "trains")
        mended = makes("x")
    else:
        await world.apply("flights", *makes())
        mended = makes()
    plan = await world.apply("report", *mended, publish=[] if changes_hands else Y)
    assert plan.blocked is None
    await settle(world)
    await world.advance("report")
    assert await hash_of(world, "report") == plan.explanation.yaml_hash


async def test_a_dag_that_was_given_a_name_goes_on_before_it_publishes_it(world: World) -> None:
    """Who reads by that name still reads the former owner's: nothing is taken from them."""
    await serve(world, "flights", publish=X)
    await serve(world, "report", "x", publish=[])
    await serve(world, "trains", publish=[])
    await world.apply("trains", *makes(n=1))
    await world.leave("flights")
    org = await world.org()
    async with world.db.transaction() as tx:
        await names.transfer(tx, org.id, "x", "trains")
    await world.drain()
    assert await world.advance("trains") == SwitchOver()
    assert (await world.apply("trains", *makes(n=2))).blocked is None
    await world.drain()
    assert await world.advance("trains") == SwitchOver()
    assert (await world.apply("trains", *makes(n=2), publish=X)).blocked is None
    blocked = (await world.apply("trains", *makes(n=2))).blocked
    assert blocked is not None
    assert blocked.reason == "ConsumersExist"


async def test_a_dag_that_is_busy_holds_no_other_up(world: World) -> None:
    """A long commit has its lock: the others' rollouts move on, and their readers find their work."""
    for dag in ("flights", "trains"):
        await serve(world, dag, publish=[])
        await world.apply(dag, *makes(n=1))
    await serve(world, "ships", publish=X)
    await world.apply("report", *makes("x"))
    await world.apply("busy", *makes("x"))
    await world.drain()
    org, looks = await world.org(), Rollouts(world.db)
    await world.rows("INSERT INTO consumer_looks SELECT %(org)s, d FROM unnest(ARRAY['busy', 'report']) AS d"
                     " ON CONFLICT DO NOTHING RETURNING 1", org=org.id)  # fmt: skip
    async with world.db.transaction() as tx:
        for dag in ("flights", "busy"):
            await tx.execute("lock_dag", org_id=org.id, dag=dag)
        moved = await asyncio.wait_for(looks.look(0), 5)
        assert [rollout.dag for rollout in moved] == ["trains"]
        await asyncio.wait_for(world.look(), 5)
        assert await world.rows("SELECT dag_name FROM consumer_looks") == [("busy",)]
    assert [rollout.dag for rollout in await looks.look(0)] == ["flights"]
    await world.look()
    assert await world.rows("SELECT dag_name FROM consumer_looks") == []
