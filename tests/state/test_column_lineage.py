"""What columns are made from: declared or reported, switched at the cutover and back, followed over DAGs."""

from __future__ import annotations

import json
from collections.abc import Sequence

import pytest

from headrace.run.attempts import completion, reported
from headrace.run.verdict import read_report
from headrace.state import attempts
from headrace.state.attempts import RunningPod
from headrace.state.database import Database
from headrace.state.deletion import delete_dag
from tests.state.world import World, month_source, step

Edge = tuple[str, str, str, str, bool]
"""Output and its column, input and its column, declared."""


def declares(column: str, *sources: tuple[str, str]) -> dict[str, object]:
    return {"column": column, "from": [{"input": name, "column": one} for name, one in sources]}


class Atlas(World):
    """A world that knows its columns."""

    async def serve(self, *lineage: dict[str, object], config: int = 0, dag: str = "flights") -> None:
        """The DAG serves, its job `clean` with this word on columns."""
        clean = step("clean", "month", config={"n": config}, scaling={"maxConcurrency": 9}, lineage=list(lineage))
        await self.apply(dag, month_source("a", "b"), clean, publish=[{"name": "cleaned", "from": {"job": "clean"}}])

    async def settle(self, *lineage: dict[str, object], dag: str = "flights") -> None:
        """Run everything to its end, each task with this report; and move the rollout as far as it goes."""
        while True:
            await self.dispatch()
            pods = await self.claim()
            for pod in pods:
                await self.ends(pod, lineage)
            if not pods and not await self.rows("SELECT 1 FROM rollouts WHERE state IN ('Building', 'Ready')"):
                return
            await self.advance(dag)

    async def ends(self, pod: RunningPod, lineage: Sequence[dict[str, object]]) -> None:
        said = read_report(json.dumps({"lineage": list(lineage)}))
        async with self.db.transaction() as tx:
            assert await attempts.complete(tx, 0, [completion(pod.as_attempt, said)], reported(pod.as_attempt, said))

    async def edges(self) -> list[Edge]:
        return [(str(o), str(oc), str(i), str(ic), bool(declared)) for o, oc, i, ic, declared in await self.rows(
            "SELECT o.name, l.output_column, i.name, l.input_column, l.declared FROM column_lineage l"
            " JOIN datasets o ON o.id = l.output_dataset_uuid JOIN datasets i ON i.id = l.input_dataset_uuid"
            " JOIN jobs j ON j.id = l.job_id JOIN dag_current_versions c ON c.dag_version_id = j.dag_version_id"
            " ORDER BY 1, 2, 3, 4")]  # fmt: skip

    async def count(self) -> int:
        """How many rows there are, whatever they are about."""
        ((count,),) = await self.rows("SELECT count(*)::int FROM column_lineage")
        return int(str(count))


@pytest.fixture
async def atlas(db: Database) -> Atlas:
    return Atlas(db)


DAY, LATE = declares("day", ("month", "date")), declares("late", ("month", "arr"), ("month", "dep"))
DAY_ROW: Edge = ("cleaned", "day", "flights.month.0", "date", True)
LATE_ROWS: list[Edge] = [
    ("cleaned", "late", "flights.month.0", "arr", True), ("cleaned", "late", "flights.month.0", "dep", True),
]  # fmt: skip


async def test_what_is_declared_holds_with_its_version(atlas: Atlas) -> None:
    await atlas.serve(DAY)
    assert await atlas.edges() == [DAY_ROW]
    await atlas.serve(LATE)
    await atlas.settle()
    assert await atlas.edges() == LATE_ROWS
    await atlas.serve(DAY)  # a revert
    assert (await atlas.edges(), await atlas.count()) == ([DAY_ROW], 1)


async def test_what_is_built_does_not_hold_yet(atlas: Atlas) -> None:
    await atlas.serve(DAY)
    await atlas.run("flights", "month", "a")
    await atlas.settle()
    await atlas.serve(LATE, config=1)
    assert await atlas.rows("SELECT 1 FROM rollouts WHERE state IN ('Building', 'Ready')")
    assert await atlas.edges() == [DAY_ROW]
    await atlas.settle()
    assert await atlas.edges() == LATE_ROWS


async def test_what_tasks_report_holds_whenever_their_code_serves(atlas: Atlas) -> None:
    await atlas.serve()
    await atlas.run("flights", "month", "a")
    await atlas.settle(DAY)
    row: Edge = (*DAY_ROW[:4], False)
    assert await atlas.edges() == [row]
    # Other code says other things, while it is built: it holds from the cutover on.
    await atlas.serve(config=1)
    (building,) = await atlas.claim()
    await atlas.ends(building, [LATE])
    assert (await atlas.edges(), await atlas.count()) == ([row], 1)
    await atlas.settle(LATE)
    assert await atlas.edges() == [(*r[:4], False) for r in LATE_ROWS]
    # A rollback runs nothing, and restores what was said.
    async with atlas.db.transaction():
        assert "pinned" in str(await atlas.command("flights", "pin", await previous(atlas)))
    assert (await atlas.edges(), await atlas.count()) == ([row], 1)


async def previous(atlas: Atlas) -> str:
    ((found,),) = await atlas.rows(
        "SELECT v.yaml_hash FROM dag_versions v WHERE NOT EXISTS (SELECT 1 FROM dag_current_versions c"
        " WHERE c.dag_version_id = v.id)"
    )
    return str(found)


async def test_the_author_has_the_word(atlas: Atlas) -> None:
    """What is declared and reported is declared; inputs and outputs that there are not count for nothing."""
    await atlas.serve(DAY)
    await atlas.run("flights", "month", "a", "b")
    await atlas.settle(DAY, declares("x", ("nobody", "y")), {**declares("z", ("month", "y")), "output": 3})
    assert await atlas.edges() == [DAY_ROW]
    await atlas.serve(DAY, LATE)
    await atlas.settle()
    assert await atlas.edges() == [DAY_ROW, *LATE_ROWS]


async def test_the_same_report_again_writes_nothing(atlas: Atlas) -> None:
    await atlas.serve()
    await atlas.run("flights", "month", "a")
    await atlas.settle(DAY)
    before = await atlas.snapshot()
    await atlas.run("flights", "month", "b")
    await atlas.settle(DAY)
    after = await atlas.snapshot()
    assert (before["column_lineage"], before["reported_lineage"]) == (
        after["column_lineage"],
        after["reported_lineage"],
    )


async def test_a_reader_follows_a_name_that_moves(atlas: Atlas) -> None:
    """The dataset's name is another output's from the producer's cutover on; readers' lineage is of that one then."""
    await atlas.serve()
    reads = {"name": "sum", "image": "i", "inputs": [{"from": {"dataset": "cleaned"}}],
             "lineage": [declares("total", ("cleaned", "late"))]}  # fmt: skip
    await atlas.apply("sums", reads)
    assert await atlas.edges() == [("sums.sum.0", "total", "cleaned", "late", True)]
    clean, other = step("clean", "month", config={"n": 0}, scaling={"maxConcurrency": 9}), step("other", "month")
    await atlas.apply(
        "flights", month_source("a", "b"), clean, other, publish=[{"name": "cleaned", "from": {"job": "other"}}]
    )
    await atlas.settle()
    await atlas.look()
    assert await atlas.edges() == [("sums.sum.0", "total", "cleaned", "late", True)]
    assert await atlas.count() == 1
    ((job,),) = await atlas.rows(
        "SELECT d.producer_job_name FROM column_lineage l JOIN datasets d ON d.id = l.input_dataset_uuid"
    )
    assert job == "other"


async def test_it_goes_with_its_dag(atlas: Atlas) -> None:
    await atlas.serve()
    await atlas.run("flights", "month", "a")
    await atlas.settle(DAY)
    org = await atlas.org()
    await atlas.leave("flights")
    async with atlas.db.transaction() as tx:
        assert await delete_dag(tx, org.id, "flights") == []
    assert await atlas.rows("SELECT 1 FROM reported_lineage UNION ALL SELECT 1 FROM column_lineage") == []
