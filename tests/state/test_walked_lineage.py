"""Lineage both ways over DAGs, from the rows: each edge once, of one column or of all, and never beyond the org."""

from __future__ import annotations

import pytest

from headrace.api.datasets import ColumnEdge, ColumnLineage
from headrace.state import lineage
from headrace.state.database import Database
from tests.state.test_column_lineage import declares
from tests.state.world import World, month_source, step


class Chart(World):
    """Two DAGs: raw, clean, sum and twice of one; report of the other."""

    async def begin(self) -> None:
        clean = step(
            "clean", "raw", lineage=[declares("late", ("raw", "arr"), ("raw", "dep")), declares("day", ("raw", "date"))]
        )
        total = step("sum", "clean", lineage=[declares("total", ("clean", "late")), declares("day", ("clean", "day"))])
        twice = step("twice", "clean", "sum", lineage=[declares("more", ("clean", "late"), ("sum", "total"))])
        raw = {**month_source("a"), "name": "raw"}
        await self.apply("flights", raw, clean, total, twice, publish=[{"name": "totals", "from": {"job": "sum"}}])
        report = {"name": "report", "image": "i", "inputs": [{"from": {"dataset": "totals"}}],
                  "lineage": [declares("shown", ("totals", "total"))]}  # fmt: skip
        await self.apply("reports", report)

    async def walk(self, dataset: str, column: str | None = None) -> ColumnLineage | None:
        org = await self.org()
        async with self.db.transaction() as tx:
            return await lineage.read_lineage(tx, org.id, dataset, column)


@pytest.fixture
async def chart(db: Database) -> Chart:
    found = Chart(db)
    await found.begin()
    return found


def arrows(edges: tuple[ColumnEdge, ...]) -> set[str]:
    return {f"{e.from_dataset}.{e.from_column}>{e.dataset}.{e.column} {e.dag}/{e.job}" for e in edges}


UP = {
    "flights.raw.0.arr>flights.clean.0.late flights/clean", "flights.raw.0.dep>flights.clean.0.late flights/clean",
    "flights.clean.0.late>totals.total flights/sum",
}  # fmt: skip


async def test_both_ways_from_a_column(chart: Chart) -> None:
    found = await chart.walk("totals", "total")
    assert found is not None
    assert arrows(found.upstream) == UP
    assert arrows(found.downstream) == {
        "totals.total>reports.report.0.shown reports/report", "totals.total>flights.twice.0.more flights/twice",
    }  # fmt: skip


async def test_all_the_way_through_another_dag(chart: Chart) -> None:
    found = await chart.walk("reports.report.0", "shown")
    assert found is not None
    assert arrows(found.upstream) == UP | {"totals.total>reports.report.0.shown reports/report"}
    assert found.downstream == ()
    found = await chart.walk("flights.raw.0", "arr")
    assert found is not None
    assert len(found.downstream) == 5  # a diamond's edges once each


async def test_every_column_of_a_dataset(chart: Chart) -> None:
    found = await chart.walk("totals")
    assert found is not None
    assert arrows(found.upstream) >= {"flights.clean.0.day>totals.day flights/sum", *UP}


async def test_none_and_nothing(chart: Chart) -> None:
    assert await chart.walk("nothing") is None
    found = await chart.walk("totals", "nothing")
    assert found is not None
    assert (found.upstream, found.downstream) == ((), ())


async def test_what_is_too_much_is_cut(chart: Chart, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lineage, "MOST_EDGES", 2)
    found = await chart.walk("flights.raw.0", "arr")
    assert found is not None
    assert (len(found.downstream), found.cut) == (2, True)
