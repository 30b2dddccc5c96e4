"""Finished tasks of long ago leave the table, and nothing is done again, or otherwise, for that."""

from __future__ import annotations

from typing import Any

import pytest

from headrace.run.looks import missing_work
from headrace.run.tidy import Tidy
from headrace.state import runs, units
from headrace.state.database import Database
from headrace.state.history import read_history
from headrace.state.why import read_unit
from tests.state.kept import KEYS, NAMES, Kept, jobs
from tests.state.live import LIVE, Chain, upto
from tests.state.test_updates import add, blocks, done, events, of_job
from tests.state.world import month_source, step


class Old(Kept):
    """A world in which everything that has ended did so long ago."""

    async def age(self) -> None:
        """Whatever has ended did so long ago, as its org sees it."""
        await self.rows("""UPDATE orgs SET settings = '{"task_retention_days": 0}' RETURNING 1""")

    async def later(self, days: int) -> None:
        """So many days later."""
        await self.rows(
            "UPDATE tasks SET completed_at = completed_at - make_interval(days => %(d)s)"
            " WHERE completed_at IS NOT NULL RETURNING 1", d=days,
        )  # fmt: skip

    async def tidy(self) -> int:
        """Let the operator's passes tidy until nothing more goes; how many tasks went. A last one writes nothing."""
        gone = 0
        while more := await Tidy(self.db).run(0):
            gone += more
        before = await self.snapshot()
        await Tidy(self.db).run(0)
        assert await self.snapshot() == before
        return gone

    async def count(self, more: str = "true") -> int:
        """How many tasks there are."""
        return int(str((await self.rows(f"SELECT count(*) FROM tasks WHERE {more}"))[0][0]))

    async def nothing_to_do(self) -> None:
        """Every look for missing work finds none."""
        there = await self.count()
        assert await missing_work(self.db, 0) == 0
        for dag in ("d", "e"):
            async with self.db.transaction() as tx:
                org = await self.org()
                assert await units.look_for_work(tx, 0, org.id, dag) == 0
        assert await self.count() == there


@pytest.fixture
def world(db: Database) -> Old:
    return Old(db)


async def begin(world: Old, *, times: int = 3) -> None:
    """month -> clean -> join and send, of two keys; each was run so many times."""
    form = [*jobs(0), step("send", "join", outputs=0)]
    await world.apply("d", *form, publish=NAMES)
    await world.run("d", "month", *KEYS)
    await world.drain()
    for n in range(1, times):
        await world.command("d", "run", "clean -p a -p b --downstream", str(n))
        await world.drain()


async def test_what_nothing_refers_to_goes_and_nothing_is_made_again(world: Old) -> None:
    await begin(world)
    assert await world.count() == 2 + 3 * 6
    assert await world.tidy() == 0
    await world.age()
    assert await world.tidy() == 12
    assert await world.count() == 8
    await world.nothing_to_do()
    assert (
        await world.rows("SELECT 1 FROM task_inputs i LEFT JOIN tasks t ON t.id = i.task_id WHERE t.id IS NULL") == []
    )


async def test_an_org_says_how_long_they_stay(world: Old) -> None:
    await begin(world)
    await world.later(29)
    assert await world.tidy() == 0
    await world.rows("""UPDATE orgs SET settings = '{"task_retention_days": 7}' RETURNING 1""")
    assert await world.tidy() == 12


@pytest.mark.parametrize("said", ['"soon"', "null", "{}"])
async def test_what_is_no_number_of_days_is_as_if_it_was_not_said(world: Old, said: str) -> None:
    await begin(world, times=2)
    await world.rows(f"""UPDATE orgs SET settings = '{{"task_retention_days": {said}}}' RETURNING 1""")
    await world.later(29)
    assert await world.tidy() == 0
    await world.later(2)
    assert await world.tidy() == 6


async def test_without_a_word_they_stay_for_thirty_days(world: Old) -> None:
    await begin(world)
    await world.later(31)
    assert await world.tidy() == 12


async def test_a_pass_goes_on_where_the_last_one_stopped(world: Old) -> None:
    await begin(world)
    await world.age()
    hours = 0.0
    tidy = Tidy(world.db, lambda: hours * 3600)
    assert await tidy.run(0, looks=1) == 12
    await world.command("d", "run", "clean -p a --downstream", "again")
    await world.drain()
    await world.age()
    # What was pointed to at the last look, and is not now, is found by the round of another day.
    assert await tidy.run(0) == 0
    hours = 25
    assert await tidy.run(0) == 3


async def test_people_find_what_they_look_for(world: Old) -> None:
    """Tasks, reasons, the history, the status; and a rollback needs none of what has gone."""
    await begin(world)
    first = str((await world.rows("SELECT yaml_hash FROM dag_versions"))[0][0])
    await world.deploy(1)
    await world.command("d", "run", "clean -p a", "more")
    await world.drain()
    before = await world.serving()
    report = await world.report("d")
    await world.age()
    assert await world.tidy() > 0
    org = await world.org()
    async with world.db.transaction() as tx:
        assert {t.job for t in await runs.list_tasks(tx, org.id, "d", 100)} == {"month", "clean", "join", "send"}
        history = await read_history(tx, org, "d")
        unit = await read_unit(tx, org.id, "d", "clean", "a")
    assert history is not None
    assert history.previous == first
    assert unit is not None
    after = await world.report("d")
    assert [(j.name, j.last_id, j.done) for j in after.jobs] == [(j.name, j.last_id, j.done) for j in report.jobs]
    assert await world.serving() == before
    there = await world.count()
    await world.command("d", "pin", first, "back")
    await world.drain()
    assert await world.count() == there
    await world.nothing_to_do()


async def fail_for_good(world: Old, job: str, key: str) -> None:
    for pod in await world.claim():
        assert await (world.fail(pod) if (pod.job, pod.partitions) == (job, [key]) else world.complete(pod))


async def test_a_failure_stands_as_long_as_nothing_newer_has_ended(world: Old) -> None:
    """And holds what is downstream of it; also where its unit was tried again, and that was given up by the system."""
    form = [month_source("a"), step("clean", "month", maxAttempts=1), step("join", "clean", "month")]
    await world.apply("d", *form)
    await world.run("d", "month", "a")
    await fail_for_good(world, "clean", "a")
    await world.age()
    assert await world.tidy() == 0
    await world.nothing_to_do()
    assert (await world.report("d")).jobs[0].failed == 1
    await world.rows("INSERT INTO tasks (job_id, partitions, job_identity, fingerprint, unit_key, status, completed_at,"
                     " canceled_by) SELECT job_id, partitions, job_identity, fingerprint, unit_key, 'Canceled', now(),"
                     " 'cutover' FROM tasks WHERE status = 'Failed' RETURNING 1")  # fmt: skip
    await world.age()
    assert await world.tidy() == 0


async def test_a_failure_goes_before_what_came_after_it(world: Old) -> None:
    """Alone it would stand for the unit again, and hold what is downstream for ever."""
    form = [month_source("a"), step("clean", "month", maxAttempts=1), step("join", "clean")]
    await world.apply("d", *form)
    await world.run("d", "month", "a")
    await fail_for_good(world, "clean", "a")
    for n in range(3):
        await world.command("d", "run", "clean -p a", str(n))
        await world.drain()
    await world.age()
    # The one that failed ended last of all: it was tried once more, in its old place.
    await world.rows("UPDATE tasks SET completed_at = 'tomorrow' WHERE status = 'Failed' RETURNING 1")
    clean = "job_identity = (SELECT identity FROM jobs WHERE name = 'clean')"
    assert await world.count(clean) == 4
    await world.tidy()
    assert await world.count(clean) == 4
    await world.rows("UPDATE tasks SET completed_at = now() WHERE status = 'Failed' RETURNING 1")
    await world.tidy()
    assert await world.count(clean) == 1
    await world.nothing_to_do()


async def test_what_a_person_gave_up_stays_given_up(world: Old) -> None:
    await world.apply("d", *jobs(0))
    await world.run("d", "month", "a")
    await world.command("d", "cancel", "clean")
    await world.age()
    await world.tidy()
    await world.nothing_to_do()
    assert await world.command("d", "retry", "clean") is not None
    assert await world.count("status = 'Queued'") == 1


async def test_what_absence_ended_is_taken_up_again(world: Old) -> None:
    await world.apply("d", month_source("a"), {"name": "load", "image": "i", "source": {"kind": "manual"}})
    await world.run("d", "load", "*")
    await world.leave("d")
    await world.age()
    assert await world.tidy() == 0
    await world.apply("d", month_source("a"), {"name": "load", "image": "i", "source": {"kind": "manual"}})
    assert await world.count("status = 'Queued'") == 1


async def test_what_reads_update_by_update_is_not_begun_anew(world: Old) -> None:
    """Its first task, that read the whole, says from what."""
    parts = {"updateStrategy": "append", "uniqueKey": ["id"]}
    log = {"name": "log", "image": "i", "source": {"kind": "manual"}}
    each = {"name": "each", "image": "i", "inputs": [{"from": {"job": "log"}}], "executionStrategy": "PerUpdate",
            **parts}  # fmt: skip
    await world.apply("d", {**log, **parts}, each)
    for _ in range(4):
        await world.run("d", "log", "*")
        await world.drain()
    assert await world.count() == 8
    await world.age()
    await world.tidy()
    await world.nothing_to_do()
    start = await world.rows("SELECT 1 FROM dataset_cursors c JOIN tasks t ON t.id = c.start_task")
    assert start == [(1,)]


async def test_the_last_event_of_a_source_stays(db: Database) -> None:
    """It is told where it stopped; what it told long before that is not known any more."""
    chain, world = Chain(db), Old(db)
    await chain.apply("d", LIVE)
    pod = await chain.source()
    assert await chain.tell(pod, *(upto(n, n - 1) for n in range(1, 6))) == 5
    await world.age()
    await world.tidy()
    assert await world.rows("SELECT event FROM tasks WHERE event IS NOT NULL") == [("b5",)]
    await chain.fail(pod)
    await chain.waits()
    again = await chain.source()
    assert again.last is not None
    assert again.last.event == "b5"
    assert await chain.tell(again, upto(5, 4), upto(6, 5), after="b5") == 1


async def test_what_is_read_as_a_whole_is_up_to_date_as_before(world: Old) -> None:
    """What was made from a whole is marked stale by the inputs that its task has recorded."""
    whole: dict[str, Any] = {"name": "sum", "image": "i", "inputs": [{"from": {"job": "clean"}, "match": "latest"}]}
    beside: dict[str, Any] = {"name": "rank", "image": "i", "inputs": [
        {"from": {"job": "month"}}, {"from": {"job": "clean"}, "match": "latest"}]}  # fmt: skip
    await world.apply("d", month_source(*KEYS), step("clean", "month"), whole, beside)
    await world.run("d", "month", *KEYS)
    await world.drain()
    await world.command("d", "run", "clean -p a")
    await world.drain()
    stale = [(j.name, j.stale) for j in (await world.report("d")).jobs]
    await world.age()
    assert await world.tidy() > 0
    assert [(j.name, j.stale) for j in (await world.report("d")).jobs] == stale
    await world.nothing_to_do()


async def test_what_parts_were_made_from_is_known(world: Old) -> None:
    """Each part has its task: of one that went, nobody could say whether it is of the whole as it is now."""
    rates = {"from": {"job": "rates"}, "match": "latest"}
    read = events(inputs=[{"from": {"job": "blocks"}}, rates])
    await world.apply("chain", blocks(), {"name": "rates", "image": "i", "source": {"kind": "manual"}}, read)
    await world.run("chain", "rates", "*")
    await world.drain()
    for block in (10, 20, 30):
        await add(world, None if block == 10 else block - 10, block)
        await done(world, *await of_job(world, "events"))
    parts = (
        "SELECT 1 FROM partition_parts p JOIN datasets d ON d.id = p.dataset_uuid WHERE producer_job_name = 'events'"
    )
    assert len(await world.rows(parts)) == 3
    await world.age()
    await world.tidy()
    assert {j.name: j.stale for j in (await world.report("chain")).jobs} == {"blocks": 0, "events": 0, "rates": 0}
    assert await missing_work(world.db, 0) == 0


async def test_what_was_retired_takes_its_tasks_with_it(world: Old) -> None:
    await begin(world, times=1)
    await world.deploy(1)
    await world.retain(1)
    assert len((await world.purge()).generations) == 1
    await Tidy(world.db).run(0)
    clean = "job_identity = (SELECT identity FROM jobs WHERE name = 'clean' LIMIT 1)"
    assert await world.count(clean) == 4
    await world.age()
    await world.tidy()
    assert await world.count(clean) == 3  # those of what serves, and the last one of each form


async def test_another_leader_deletes_nothing(world: Old) -> None:
    await begin(world)
    await world.age()
    with pytest.raises(Exception, match="another operator leads"):
        await Tidy(world.db).run(7)
    assert await world.count() == 20


async def test_a_task_of_every_age_in_bounded_looks(world: Old, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ends of one moment are told apart by the order of creation, so that none is passed over."""
    await begin(world, times=1)
    await world.rows(
        "INSERT INTO tasks (job_id, partitions, job_identity, fingerprint, unit_key, status, completed_at, canceled_by)"
        " SELECT job_id, partitions, job_identity, fingerprint, unit_key, 'Canceled', now(),"
        " 'cutover' FROM tasks CROSS JOIN generate_series(1, 300) WHERE unit_key = 'a' RETURNING 1"
    )  # fmt: skip
    await world.age()
    monkeypatch.setattr("headrace.run.tidy.AT_ONCE", 100)
    monkeypatch.setattr("headrace.state.old_tasks.look.__defaults__", (100,))
    assert await Tidy(world.db).run(0) == 1196  # all but the last of each of four jobs
    assert await world.tidy() == 0
