"""Who looks again when a DAG changes or goes: those that something of it kept from serving."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from headrace.cluster.objects import Key, Objects
from headrace.reconcile import Reconciler, _Known
from headrace.state.database import Database
from headrace.state.report import read_report
from tests.state.world import World, month_source, step

READER, WAITS, ELSEWHERE = Key("air", "report"), Key("air", "flights"), Key("sea", "ships")


@pytest.fixture
def woken() -> list[Key]:
    return []


@pytest.fixture
def reconciler(db: Database, woken: list[Key]) -> Reconciler:
    nothing: Any = SimpleNamespace(follow=lambda *_: None, wake=lambda: None)
    found = Reconciler(
        client=nothing, db=db, objects=Objects(), pods=nothing, dispatcher=nothing, compiler=nothing, tenants=nothing,
        storage_base="",
        epoch=0, wake=woken.append, written=lambda *_: None, news_trouble=lambda _: None,
    )  # fmt: skip
    found._awaiting = {WAITS, ELSEWHERE}
    return found


async def test_a_reader_that_is_deleted_wakes_who_waits_for_it(reconciler: Reconciler, woken: list[Key]) -> None:
    await reconciler.reconcile(READER)
    assert woken == [WAITS]


async def test_a_reader_that_gives_its_build_up_wakes_who_waits_for_it(
    db: Database, reconciler: Reconciler, woken: list[Key]
) -> None:
    world = World(db)
    org = await world.org()
    known = _Known(uid="u", org=org)
    for n in (0, 1, 0):
        jobs = [month_source("a"), step("read", "month", config={"n": n})]
        await world.apply("report", *jobs, rollout={"maxBuildTasks": 0})
        await world.run("report", "month", "a")
        await world.drain()
        for _ in range(2):
            async with db.transaction() as tx:
                reconciler._wake_waiting(READER, known, await read_report(tx, org.id, "report"))
    assert woken == [WAITS] * 3
