"""Purges: what nothing refers to is retired and listed, what anything refers to stays, and returning to it rebuilds."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from headrace.api.invalidations import Invalidation
from headrace.api.purge import Purged
from headrace.plan.rollout import SwitchOver
from headrace.run.tidy import Tidy
from headrace.state import invalidations, purge
from headrace.state.attempts import RunningPod
from headrace.state.database import Database
from headrace.state.datasets import Reader, resolve
from tests.state.kept import KEYS, NAMES, Kept, jobs
from tests.state.live import LIVE, REPLAY, Chain, upto
from tests.state.world import month_source, step


@pytest.fixture
def world(db: Database) -> Kept:
    return Kept(db)


async def begin(world: Kept, *, versions: int = 3, retained: int = 1) -> None:
    """So many versions have served, one after the other; of join, which is not published, all ten stay."""
    await world.apply("d", *jobs(0), publish=NAMES)
    await world.run("d", "month", *KEYS)
    await world.drain()
    for n in range(1, versions):
        await world.deploy(n)
    await world.retain(retained)


def datasets(told: Purged) -> list[str]:
    return [g.dataset for g in told.generations]


async def test_the_last_versions_stay_as_many_as_the_name_says(world: Kept) -> None:
    await begin(world, versions=4, retained=2)
    told = await world.would()
    assert datasets(told) == ["rows", "rows"]
    assert [(g.partitions, g.retired) for g in told.generations] == [(2, None)] * 2
    gone = await world.generations()
    assert [g.location for g in told.generations] == [location for location, _ in gone[:2]]
    assert told.kept == {"serves": 3, "recent": 4}
    await world.retain(4)
    assert datasets(await world.would()) == []


async def test_a_dry_run_writes_nothing(world: Kept) -> None:
    await begin(world)
    before = await world.snapshot()
    assert len((await world.would()).generations) == 2
    assert await world.snapshot() == before


async def test_without_a_name_ten_versions_stay(world: Kept) -> None:
    await world.apply("d", *jobs(0))
    for n in range(1, 12):
        await world.apply("d", *jobs(n))
        await world.finish()
    assert datasets(await world.would()) == ["d.clean.0", "d.clean.0", "d.join.0", "d.join.0"]


async def test_returning_to_what_was_retired_rebuilds_it_elsewhere(world: Kept) -> None:
    await begin(world)
    told = await world.purge()
    assert {g.dataset for g in told.generations} == {"rows"}
    assert [there for _, there in await world.generations()] == [False, False, True]
    plan = await world.apply("d", *jobs(0), publish=NAMES)
    assert (plan.explanation.swap, plan.explanation.restorable, plan.explanation.tasks) == ("build first", False, 4)
    await world.finish()
    made = await world.generations()
    assert [there for _, there in made] == [False, False, True, True]
    assert len({location for location, _ in made}) == 4
    serving = await world.serving()
    assert [(job, key, there) for job, key, _, there in serving] == [
        (job, key, True) for job in ("clean", "join") for key in KEYS
    ]
    assert all(str(location).startswith(str(made[-1][0])) for job, _, location, _ in serving if job == "clean")


async def test_a_rollback_to_what_was_retired_is_refused(world: Kept) -> None:
    await begin(world)
    old = str((await world.rows("SELECT yaml_hash FROM dag_versions ORDER BY created_at LIMIT 1"))[0][0])
    await world.purge()
    assert "has all of its data still" in str(await world.command("d", "pin", old))
    assert (await world.serving())[0][3]


async def test_what_a_rollout_builds_or_may_resume_stays(world: Kept) -> None:
    await begin(world, versions=2)
    await world.deploy(0)
    await world.apply("d", *jobs(7, maxAttempts=1), publish=NAMES)
    told = await world.would()
    assert (datasets(told), told.kept["rollout"]) == (["rows"], 2)
    for pod in await world.claim():
        await world.fail(pod)
    await world.advance("d")
    assert (await world.would()).kept["rollout"] == 2
    assert await world.rows("SELECT state FROM rollouts ORDER BY seq DESC LIMIT 1") == [("Failed",)]


async def test_builds_that_never_served_push_nothing_out(world: Kept) -> None:
    """A version that one can return to is one of the last that served, however many were given up since."""
    await begin(world, versions=2, retained=2)
    for n in range(10, 15):
        await world.apply("d", *jobs(n), publish=NAMES)
    await world.deploy(1)
    told = await world.would()
    assert told.kept["recent"] == 8  # clean: of what served before, and of the last build; join: ten versions of it
    assert [there for _, there in (await world.generations())[:2]] == [True, True]
    await world.purge()
    await world.deploy(0)
    assert await world.rows("SELECT 1 FROM rollouts WHERE state IN ('Building', 'Ready')") == []


async def test_a_pinned_version_stays(world: Kept) -> None:
    await begin(world, versions=3, retained=3)
    old = str((await world.rows("SELECT yaml_hash FROM dag_versions ORDER BY created_at LIMIT 1"))[0][0])
    assert await world.command("d", "pin", old) is not None
    await world.retain(1)
    told = await world.would()
    assert told.kept["serves"] == 3
    assert [g.versions[0] for g in told.generations] != [old.partition("-")[2][:10]]


async def test_what_served_not_long_ago_stays(world: Kept) -> None:
    """A reader may hold an answer with its locations."""
    await begin(world)
    assert (await world.would(older_than=timedelta(hours=1))).kept["served"] == 2
    await world.rows("UPDATE rollouts SET finished_at = finished_at - interval '2 hours' RETURNING 1")
    assert datasets(await world.would(older_than=timedelta(hours=1))) == ["rows", "rows"]


async def test_what_a_task_of_another_dag_reads_stays(world: Kept) -> None:
    await begin(world, versions=1)
    await world.apply("e", {"name": "sum", "image": "i", "inputs": [{"from": {"dataset": "rows"}}]})
    await world.look()
    (pod, *_) = [p for p in await world.claim() if p.dag == "e"]
    await _serve(world, 1, pod)
    told = await world.would()
    assert (datasets(told), told.kept["task"]) == ([], 1)
    assert await world.complete(pod)
    assert datasets(await world.would()) == ["rows"]


async def _serve(world: Kept, n: int, *held: RunningPod) -> None:
    """Another version serves, while these attempts go on."""
    await world.apply("d", *jobs(n), publish=NAMES)
    while pods := [p for p in await world.claim() if p.dag == "d" and p.id not in {h.id for h in held}]:
        for pod in pods:
            assert await world.complete(pod)
    assert await world.advance("d") == SwitchOver()


async def test_outputs_of_one_job_go_together(world: Kept) -> None:
    """Units are looked for by the first of them: of one that went alone nothing would be made again."""
    two = [month_source("a"), step("clean", "month", outputs=2, config={"n": 0})]
    names = [{"name": "rows", "from": {"job": "clean"}}, {"name": "bad", "from": {"job": "clean", "output": 1}}]
    await world.apply("d", *two, publish=names)
    await world.run("d", "month", "a")
    await world.drain()
    for n in (1, 2):
        two[1]["config"] = {"n": n}
        await world.apply("d", *two, publish=names)
        await world.finish()
    await world.retain(1, "bad")
    assert datasets(await world.would()) == []
    await world.retain(1, "rows")
    assert datasets(await world.purge()) == ["bad", "bad", "rows", "rows"]
    two[1]["config"] = {"n": 0}
    await world.apply("d", *two, publish=names)
    await world.finish()
    assert [there for *_, there in await world.serving()] == [True, True]
    assert len(await world.rows("SELECT 1 FROM partition_versions p JOIN dag_version_datasets v USING (dataset_version)"
                                " JOIN dag_current_versions c USING (dag_version_id)")) == 3  # fmt: skip


async def test_the_rows_of_what_was_retired_go_little_by_little(world: Kept) -> None:
    await begin(world)
    listed = await world.purge()
    count = "SELECT count(*) FROM partition_versions v JOIN dataset_versions g ON g.id = v.dataset_version"
    assert await world.rows(f"{count} WHERE g.retired_at IS NOT NULL") == [(4,)]
    tidy = Tidy(world.db)
    assert await tidy.run(0, looks=1) == 0
    assert await world.rows(f"{count} WHERE g.retired_at IS NOT NULL") == [(2,)]
    await tidy.run(0)
    assert await world.rows(f"{count} WHERE g.retired_at IS NOT NULL") == [(0,)]
    assert await world.rows("SELECT count(*) FROM retired_generations WHERE NOT emptied") == [(0,)]
    again = await world.purge()
    assert [g.location for g in again.generations] == [g.location for g in listed.generations]
    assert [g.partitions for g in again.generations] == [2, 2]
    before = await world.snapshot()
    assert await tidy.run(0) == 0
    assert await world.snapshot() == before


async def test_it_stays_listed_until_its_owner_says_that_it_is_deleted(world: Kept) -> None:
    await begin(world)
    first = await world.purge(most=1)
    assert (len(first.generations), first.more) == (1, True)
    assert (await world.forget(first)).forgotten == 1
    rest = await world.purge()
    assert len(rest.generations) == 1
    assert rest.generations[0].location != first.generations[0].location
    assert (await world.forget(first)).forgotten == 0  # it was listed later
    assert (await world.forget(rest)).forgotten == 1
    assert (await world.purge()).generations == ()
    await Tidy(world.db).run(0)
    assert await world.rows("SELECT count(*) FROM retired_generations") == [(0,)]
    assert [there for _, there in await world.generations()] == [False, False, True]
    await world.deploy(0)
    assert [there for _, there in await world.generations()] == [False, False, True, True]


async def test_what_reads_update_by_update_is_made_anew_from_the_beginning(world: Kept) -> None:
    """How far it had read is forgotten with what it had made."""

    def form(n: int) -> list[dict[str, object]]:
        reads = {"name": "clean", "image": "i", "inputs": [{"from": {"job": "log"}}], "executionStrategy": "PerUpdate"}
        parts = {"updateStrategy": "append", "uniqueKey": ["id"]}
        return [
            {"name": "log", "image": "i", "source": {"kind": "manual"}, **parts},
            {**reads, **parts, "config": {"n": n}},
        ]

    await world.apply("d", *form(0), publish=NAMES)
    for _ in range(2):
        assert await world.run("d", "log", "*")
        await world.drain()
    await world.apply("d", *form(1), publish=NAMES)
    await world.finish()
    await world.retain(1)
    assert datasets(await world.purge()) == ["rows"]
    await world.apply("d", *form(0), publish=NAMES)
    await world.finish()
    assert [(job, key) for job, key, _, _ in await world.serving()] == [("clean", "*"), ("log", "*")]
    assert len(await world.rows("SELECT 1 FROM dataset_cursors c JOIN jobs j ON j.id = c.job_id"
                                " JOIN dag_current_versions v USING (dag_version_id)")) == 1  # fmt: skip


@pytest.mark.parametrize("source", [REPLAY, LIVE], ids=["replay", "live"])
async def test_a_source_that_runs_on_and_on_tells_again_what_was_retired(db: Database, source: dict[str, Any]) -> None:
    """Its events were taken for known, and it was told to go on after them."""
    chain, world = Chain(db), Kept(db)
    first, second = source, {**source, "config": {"n": 1}}
    await chain.apply("d", first, publish=[{"name": "rows", "from": {"job": "blocks"}}])
    assert await chain.tell(await chain.source(), upto(1), upto(2, 1)) == 2
    await chain.apply("d", second, publish=[{"name": "rows", "from": {"job": "blocks"}}], rollout={"maxBuildTasks": 9})
    await _cut_over(chain, world)
    await world.retain(1)
    assert datasets(await world.purge()) == ["rows"]
    await chain.apply("d", first, publish=[{"name": "rows", "from": {"job": "blocks"}}])
    pod = [p for p in await chain.claim() if p.outputs[0]["version"] == await _newest(world)]
    assert pod[0].last is not None
    assert pod[0].last.event is None
    assert await chain.tell(pod[0], upto(1), upto(2, 1)) == 2


async def _newest(world: Kept) -> str:
    return str((await world.rows("SELECT id FROM dataset_versions ORDER BY created_at DESC LIMIT 1"))[0][0])


async def _cut_over(chain: Chain, world: Kept) -> None:
    for pod in await chain.claim():
        if pod.outputs[0]["version"] == await _newest(world):
            assert await chain.tell(pod, upto(1), upto(2, 1)) == 2
    if await world.rows("SELECT 1 FROM rollouts WHERE state = 'Building' AND build_approved_at IS NULL"):
        hash_ = str((await world.rows("SELECT yaml_hash FROM dag_versions ORDER BY created_at DESC LIMIT 1"))[0][0])
        await chain.command("d", "approve", hash_)
    await chain.advance("d")
    assert not await world.rows("SELECT 1 FROM rollouts WHERE state IN ('Building', 'Ready')")


async def test_what_somebody_reads_page_by_page_stays(world: Kept) -> None:
    await begin(world)
    old = datasets(await world.would())
    ((hash_,),) = await world.rows("SELECT yaml_hash FROM dag_versions ORDER BY created_at LIMIT 1")
    reader = Reader(org_id=(await world.org()).id, user="ann", roles=())
    async with world.db.transaction() as tx:
        (found,) = await resolve(tx, reader, ["rows"], str(hash_), 1)
    assert found.pages == 2
    told = await world.would()
    assert (len(told.generations), told.kept["read"]) == (len(old) - 1, 1)
    await world.rows("UPDATE read_pins SET created_at = now() - interval '2 hours' RETURNING 1")
    assert datasets(await world.would()) == old


async def test_a_source_that_comes_again_by_another_document_is_told_of_nothing(db: Database) -> None:
    """Its form of before is built anew: what it had told then is forgotten, or it would be lost."""
    world = Chain(db)

    def source(n: int) -> dict[str, object]:
        return {**REPLAY, "config": {"n": n}}

    async def serve(n: int, description: str = "") -> RunningPod:
        publish = [
            {"name": "chain", "from": {"job": "blocks"}, "retention": {"versions": 1}, "description": description}
        ]
        await world.apply("live", source(n), publish=publish)
        pod = await world.source()
        assert await world.tell(pod, upto(1), upto(2, 1)) == 2
        if await world.rows("SELECT 1 FROM rollouts WHERE state IN ('Building', 'Ready')"):
            assert await world.advance("live") == SwitchOver()
        return pod

    await serve(1)
    await serve(2)
    org = await world.org()
    async with db.transaction() as tx:
        told = await purge.purge(tx, org.id, "live", timedelta(0))
    assert [g.dataset for g in told.generations] == ["chain"]
    await serve(1, "the same, by another document")
    assert await world.keys() == ["*"]


DESCRIBED = (
    "data_invalidations", "dataset_cursors", "dataset_revisions", "dataset_updates", "partition_parts",
    "partition_versions",
)  # fmt: skip


async def test_all_rows_that_describe_what_is_retired_go(world: Kept) -> None:
    parts: dict[str, object] = {"updateStrategy": "append", "uniqueKey": ["id"]}

    def reads(name: str, of: str) -> dict[str, object]:
        return step(name, of, executionStrategy="PerUpdate", **parts)

    def form(n: int) -> list[dict[str, object]]:
        log = {"name": "log", "image": "i", "source": {"kind": "manual"}, "config": {"n": n}, **parts}
        return [log, reads("clean", "log"), reads("sum", "clean")]

    names = [{"name": name, "from": {"job": name}, "retention": {"versions": 1}} for name in ("log", "clean", "sum")]
    await world.apply("d", *form(0), publish=names)
    # One that stays has read what goes.
    reader = {**reads("last", "sum"), "inputs": [{"from": {"dataset": "sum"}}]}
    await world.apply("e", reader)
    org = await world.org()
    for _ in range(2):
        assert await world.run("d", "log", "*")
        await world.drain()
        await world.look()
        await world.drain()
    async with world.db.transaction() as tx:
        place = await invalidations.find(tx, org.id, "clean")
        await invalidations.invalidate(tx, org.id, "clean", place, Invalidation(partition="*"))
    await world.drain()
    await world.apply("d", *form(1), publish=names)
    await world.finish()
    assert len((await world.purge()).generations) == 3

    async def described() -> set[str]:
        retired = "SELECT id FROM dataset_versions WHERE retired_at IS NOT NULL"
        return {t for t in DESCRIBED if await world.rows(f"SELECT 1 FROM {t} WHERE dataset_version IN ({retired})")}

    assert await described() >= {
        "data_invalidations", "dataset_cursors", "dataset_updates", "partition_parts", "partition_versions",
    }  # fmt: skip
    await Tidy(world.db).run(0)
    assert await described() == set()
