"""A DAG that is as it is to be is left alone, and only such a one: carrying its plan out would write nothing."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from headrace.api.dag import DagSpec
from headrace.api.names import COMMAND_ANNOTATIONS
from headrace.compile.dag import compile_dag
from headrace.plan.decide import decide, intent_of
from headrace.plan.rollout import Stay
from headrace.run.commit import commit, is_settled
from headrace.state.database import Database
from headrace.state.observe import observe
from tests.state.world import World, month_source, step

JOBS: Any = [month_source("a", "b"), step("clean", "month")]


@pytest.fixture
def world(db: Database) -> World:
    return World(db)


async def settled(
    world: World, annotations: dict[str, str] | None = None, uid: str = "uid-flights", **spec: Any
) -> bool:
    """Whether a DAG of these fields is left alone; where it is, `commit` does nothing either."""
    org, typed = await world.org(), msgspec.convert({"jobs": JOBS, **spec}, DagSpec)
    compiled, intent = compile_dag("flights", typed), intent_of(uid, typed)
    async with world.db.transaction() as tx:
        observed = await observe(tx, org, compiled, intent.reuse)
        plan = decide(intent, observed)
    found = is_settled(observed, plan, annotations or {})
    if found:
        async with world.db.transaction() as tx:
            done = await commit(tx, 0, org, "file:///data", compiled, intent, annotations or {})
            assert (done.plan.steps, done.commands, done.move) == ((), {}, Stay())
    return found


async def test_what_serves_and_asks_for_nothing_is_left_alone(world: World) -> None:
    assert not await settled(world), "there is no version yet"
    await world.apply("flights", *JOBS)
    assert await settled(world)
    assert await settled(world, {"headrace.dev/revision": "1", "example.org/run": "1"})


@pytest.mark.parametrize("annotation", COMMAND_ANNOTATIONS.values())
async def test_a_command_is_not_passed_over(world: World, annotation: str) -> None:
    await world.apply("flights", *JOBS)
    assert not await settled(world, {annotation: "1 month"})


async def test_whatever_is_new_is_not_passed_over(world: World) -> None:
    await world.apply("flights", *JOBS)
    assert not await settled(world, suspend=True)
    assert not await settled(world, uid="made anew")
    assert not await settled(world, jobs=[*JOBS, step("rank", "clean")])
    await world.apply("flights", *JOBS, step("rank", "clean"))
    assert not await settled(world), "another document serves"


async def test_a_version_that_waits_for_a_person_is_looked_at(world: World) -> None:
    await world.apply("flights", *JOBS)
    more: Any = {"jobs": [*JOBS, step("rank", "clean")], "rollout": {"strategy": "Manual"}}
    await world.apply("flights", *more["jobs"], rollout=more["rollout"])
    assert not await settled(world, **more)
