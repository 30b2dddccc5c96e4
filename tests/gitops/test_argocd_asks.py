"""Argo CD's actions, from the status that they are offered on to what the operator does, in real Postgres."""

from __future__ import annotations

from typing import Any

import pytest

from headrace.api.names import COMMAND_ANNOTATIONS
from headrace.plan.steps import Plan
from headrace.state.database import Database
from headrace.status.dag import Outcome, dag_status
from tests.gitops import argo
from tests.state.flights import current, flights, rollouts, serve
from tests.state.world import World
from tests.status.rows import NOW, body, written

ACTIONS = {path.stem: path.read_text() for path in (argo.ARGOCD / "actions").glob("*.lua")}
DISCOVERY = (argo.ARGOCD / "discovery.lua").read_text()
MANUAL: dict[str, object] = {"strategy": "Manual"}


@pytest.fixture
def world(db: Database) -> World:
    return World(db)


async def act(world: World, action: str, plan: Plan, number: int, **params: str) -> dict[str, str]:
    """Look at the DAG as Argo CD does, take an action that it offers, and let the operator act; what came of it."""
    report = await world.report("flights")
    outcome = Outcome(yaml_hash=plan.explanation.yaml_hash, registered=True)
    status = written(dag_status(body(), 1, outcome, report, None, NOW))
    obj: dict[str, Any] = {"metadata": {"name": "flights"}, "spec": {"jobs": list(flights())}, "status": status}
    assert not argo.run(DISCOVERY, obj)[action]["disabled"]
    made = argo.run(ACTIONS[action], obj, params or None)["metadata"]["annotations"]
    done = {}
    for command, annotation in COMMAND_ANNOTATIONS.items():
        if annotation in made:
            request, _, argument = made[annotation].partition(" ")
            done[command] = str(await world.command("flights", command, argument, f"{request}-{number}"))
    return done


async def test_a_rollout_is_approved_and_another_canceled(world: World) -> None:
    await serve(world)
    plan = await world.apply("flights", *flights(1), rollout=MANUAL)
    await world.drain()
    await world.advance("flights")
    assert await act(world, "approve", plan, 1) == {"approve": "approved"}
    await world.advance("flights")
    assert await rollouts(world) == [("Done", None)]
    plan = await world.apply("flights", *flights(2), rollout=MANUAL)
    assert await act(world, "cancel-rollout", plan, 2) == {"cancel": "gave up the rollout"}
    assert [state for state, _ in await rollouts(world)] == ["Done", "Canceled"]


async def test_a_source_is_run_what_failed_is_tried_again_and_all_is_canceled(world: World) -> None:
    plan = await world.apply("flights", *flights(maxAttempts=1))
    assert await act(world, "run", plan, 1) == {"run": "made 4 of 4 tasks"}
    await world.dispatch()
    while pods := await world.claim():
        for pod in pods:
            assert await (world.fail(pod) if pod.job == "join" else world.complete(pod))
    assert (await act(world, "retry", plan, 2))["retry"].startswith("queued ")
    assert await world.claim()
    assert (await act(world, "cancel", plan, 3))["cancel"].startswith("canceled ")
    assert await world.claim() == []


async def test_a_version_is_pinned_and_let_go(world: World) -> None:
    await serve(world)
    before = await current(world)
    plan = await world.apply("flights", *flights(1))
    assert await act(world, "pin", plan, 1) == {"pin": "pinned until unpin"}
    assert [state for state, _ in await rollouts(world)] == ["Canceled"]
    assert await current(world) == before
    assert await act(world, "unpin", plan, 2) == {"unpin": "unpinned"}
