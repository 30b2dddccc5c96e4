"""Sources that run on and on, over real Postgres: one holder, and what it reports while it runs."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import msgspec
import pytest

from headrace.errors import TemporaryError
from headrace.gateway.errors import RequestError
from headrace.gateway.event_routes import Events, SourceEvent
from headrace.gateway.restores import Restores
from headrace.gateway.wake import Waker
from headrace.state import attempts, events, units
from headrace.state.database import Database
from headrace.state.leader import standing
from tests.state.live import LIVE, PARTS, REPLAY, Chain, document, finish, refused, upto
from tests.state.world import step


@pytest.fixture
def chain(db: Database) -> Chain:
    return Chain(db)


async def test_it_runs_from_the_first_version_on_and_is_told_where_to_write(chain: Chain) -> None:
    await chain.apply("chain", LIVE)
    pod = await chain.source()
    assert pod.runs_on
    given = document(pod)
    (output,) = msgspec.convert(given["outputs"], list[dict[str, object]])
    assert (given["partitions"], given["last"]) == ([], None)
    assert str(output["location"]).endswith(f"/_/{pod.id}-1-{str(pod.token)[-12:]}")
    assert "partitions" not in output
    assert await chain.claim() == [pod]


async def test_what_it_reports_is_there_at_once_and_is_worked_on(chain: Chain) -> None:
    """Though it never ends: what reads its partitions, and what reads it as a whole, does not wait for that."""
    whole = {"name": "total", "image": "i", "inputs": [{"from": {"job": "blocks"}, "match": "latest"}]}
    await chain.apply("chain", LIVE, step("clean", "blocks"), whole)
    pod = await chain.source()
    assert (
        await chain.tell(pod, {"id": "e1", "outputs": [{"rows": 5, "bytes": 9}]}, {"id": "e2", "partition": "a"}) == 2
    )
    rows = "SELECT partition_key, right(location, 3), row_count, bytes FROM partition_versions ORDER BY 1"
    assert await chain.rows(rows) == [("*", "/e1", 5, 9), ("a", "/e2", None, None)]
    done = await asyncio.wait_for(finish(chain, "clean", "total"), 30)
    assert sorted(done) == [("clean", "*"), ("clean", "a"), ("total", "*")]
    assert (await chain.source()).id == pod.id


async def test_a_partition_has_the_rows_of_all_that_was_added(chain: Chain) -> None:
    await chain.apply("chain", {**LIVE, **PARTS})
    pod = await chain.source()
    for number, rows in enumerate([[{"rows": 5, "bytes": 50}], [{}], [{"rows": 3}], [{"bytes": 7}]]):
        await chain.tell(pod, {"id": f"e{number}", "outputs": rows}, {"id": f"f{number}", "outputs": rows})
    assert await chain.rows("SELECT row_count, bytes FROM partition_versions") == [(16, 114)]
    assert await chain.rows("SELECT count(*) FROM partition_parts") == [(8,)]


async def test_an_event_counts_once_however_often_it_is_told(chain: Chain) -> None:
    await chain.apply("chain", LIVE)
    pod = await chain.source()
    assert await chain.tell(pod, upto(1), upto(1)) == 1
    before = await chain.snapshot()
    assert await chain.tell(pod, upto(1)) == 0
    after = await chain.snapshot()
    assert [table for table in before if before[table] != after[table]] in ([], ["tasks"])  # the lock of its row
    assert await chain.tell(pod, upto(1), upto(2, 1)) == 1


async def test_two_that_tell_the_same_event_at_once_tell_it_once(chain: Chain) -> None:
    await chain.apply("chain", LIVE)
    pod = await chain.source()
    await chain.known(pod)
    told = await asyncio.gather(*(chain.tell(pod, upto(block)) for block in (1, 2) * 4))
    assert sum(told) == 2
    assert await chain.rows("SELECT count(*) FROM tasks WHERE event IS NOT NULL") == [(2,)]


async def test_a_source_that_has_told_what_is_not_known_any_more_begins_anew(chain: Chain) -> None:
    """Postgres was restored: 2 was told, and is not there. What is only told again goes on."""
    await chain.apply("chain", LIVE)
    pod = await chain.source()
    await chain.tell(pod, upto(1))
    assert await refused(chain, pod, upto(3, 2), after="b2") == 409
    assert await chain.tell(pod, upto(2, 1), after="b1") == 1
    assert await chain.tell(pod, upto(2, 1), after="b1") == 0
    assert await chain.tell(pod, upto(3, 2), after="b2") == 1


async def test_a_gateway_that_has_seen_a_later_postgres_takes_no_events(chain: Chain) -> None:
    await chain.apply("chain", LIVE)
    pod = await chain.source()
    async with chain.db.transaction() as tx:
        now = await standing(tx)
    restores = Restores()
    restores.check(msgspec.structs.replace(now, mark=now.mark + 1), None)
    told = (SourceEvent(id="b1"),)
    with pytest.raises(TemporaryError, match="restored"):
        await Events(chain.db, Waker(chain.db), restores).accept(await chain.known(pod), told)
    assert await chain.keys() == []


async def test_it_takes_no_place_of_those_that_a_namespace_has(chain: Chain) -> None:
    await chain.apply("chain", REPLAY, step("clean", "blocks"))
    await chain.rows("UPDATE orgs SET settings = '{\"max_running_tasks\": 1}' RETURNING 1")
    await chain.tell(await chain.source(), upto(1))
    await chain.apply("chain", {**REPLAY, "image": "j"}, step("clean", "blocks"))
    assert sorted(pod.job for pod in await chain.claim()) == ["blocks", "blocks", "clean"]


async def test_it_is_started_again_whenever_it_ends_and_goes_on_where_it_was(chain: Chain) -> None:
    await chain.apply("chain", LIVE)
    for number in range(1, 7):
        pod = await chain.source()
        assert pod.attempt == number
        await chain.tell(pod, upto(number, number - 1 or None))
        assert await chain.fail(pod, lost=number == 2)
        await chain.waits()
    assert document(await chain.source())["last"] == {
        "event": "b6", "partition": "*", "cursor": [{"output": 0, "column": "block", "type": "bigint", "to": 6}],
    }  # fmt: skip


async def test_an_attempt_that_is_over_reports_nothing_any_more(chain: Chain) -> None:
    await chain.apply("chain", LIVE)
    former = await chain.source()
    await chain.known(former)
    await chain.fail(former, lost=True)
    await chain.waits()
    pod = await chain.source()
    assert await refused(chain, former, upto(1)) == 409
    assert await chain.tell(pod, upto(1)) == 1


async def test_a_long_run_is_forgiven_what_was_before(chain: Chain) -> None:
    await chain.apply("chain", LIVE)
    waits = []
    for number in range(1, 9):
        pod = await chain.source()
        if number == 8:
            await chain.rows(
                "UPDATE tasks SET started_at = now() - interval '1 hour' WHERE status = 'Running' RETURNING 1"
            )
        assert await chain.fail(pod, backoff=10.0)
        ((seconds,),) = await chain.rows(
            "SELECT extract(epoch FROM next_retry_at - clock_timestamp())::float8 FROM tasks WHERE unit_key = '@'"
        )
        waits.append(seconds)
        await chain.waits()
    assert waits[6] > 140  # 300 s at most, and half of that by chance
    assert waits[7] < 16


@pytest.mark.parametrize(
    ("told", "why"),
    [
        ({"id": "x", "outputs": [{"output": 1}]}, "1 outputs"),
        ({"id": "x", "replaces": [{"block": {"gte": 1}}]}, "append"),
        ({"id": "x", "cursor": {"column": "block", "type": "bigint", "to": 1, "from": 5}}, "before its beginning"),
        ({"id": "x", "cursor": {"column": "block", "type": "bigint", "to": 1, "output": 3}}, "output 3"),
    ],
)
async def test_what_its_job_has_not_is_refused(chain: Chain, told: dict[str, object], why: str) -> None:
    await chain.apply("chain", LIVE)
    pod = await chain.source()
    with pytest.raises(RequestError, match=why) as caught:
        await chain.tell(pod, upto(1), told)
    assert caught.value.status == 422
    assert await chain.keys() == []


async def test_no_other_pod_reports(chain: Chain) -> None:
    await chain.apply("chain", LIVE, step("clean", "blocks", report="gateway"))
    await chain.tell(await chain.source(), upto(1))
    (other,) = [pod for pod in await chain.claim() if pod.job == "clean"]
    assert await refused(chain, other, upto(2)) == 403


async def test_a_correction_replaces_rows_and_is_passed_on(chain: Chain) -> None:
    read = {
        "name": "clean",
        "image": "i",
        "inputs": [{"from": {"job": "blocks"}}],
        "executionStrategy": "PerUpdate",
        **PARTS,
    }
    await chain.apply("chain", {**LIVE, **PARTS}, read)
    pod = await chain.source()
    await chain.tell(pod, upto(10))
    await finish(chain, "clean")
    await chain.tell(pod, upto(20, 10), {"id": "fix", "replaces": [{"block": {"gte": 8}}]})
    tasks = [task for task in await chain.claim() if task.job == "clean"]
    assert [task.inputs["blocks"].get("range") for task in tasks] == [
        {"column": "block", "type": "bigint", "from": 10, "to": 20}
    ]
    await finish(chain, "clean")
    invalidated = (
        "SELECT d.producer_job_name, reason, row_filter FROM data_invalidations JOIN datasets d ON d.id = dataset_uuid"
    )
    assert sorted(await chain.rows(invalidated)) == [
        (job, "correction", {"block": {"gte": 8}}) for job in ("blocks", "clean")
    ]
    parts = (
        "SELECT replaces FROM partition_parts p JOIN datasets d ON d.id = dataset_uuid WHERE producer_job_name = %(j)s"
    )
    for job, replaced in (("blocks", [[{"block": {"gte": 8}}]]), ("clean", [[{}], [{"block": {"gte": 8}}]])):
        assert [row for (row,) in await chain.rows(parts, j=job) if row] == replaced


async def test_it_has_no_timeout(chain: Chain) -> None:
    await chain.apply("chain", LIVE)
    await chain.source()
    await chain.rows("UPDATE tasks SET started_at = now() - interval '9 days' WHERE status = 'Running' RETURNING 1")
    async with chain.db.transaction() as tx:
        assert await attempts.expired(tx) == []


async def test_what_a_person_gave_up_starts_when_it_is_asked_for_again(chain: Chain) -> None:
    await chain.apply("chain", LIVE)
    pod = await chain.source()
    await chain.command("chain", "cancel", "blocks")
    assert await chain.claim() == []
    assert await look(chain) == 0
    await chain.command("chain", "retry", "blocks")
    assert (await chain.source()).id == pod.id


async def look(chain: Chain) -> int:
    org = await chain.org()
    async with chain.db.transaction() as tx:
        return await units.create_missing(tx, [(org.id, "chain")])


async def test_one_that_is_lost_is_made_by_a_look(chain: Chain) -> None:
    await chain.apply("chain", LIVE)
    await chain.rows("DELETE FROM tasks RETURNING 1")
    assert await look(chain) == 1
    assert await look(chain) == 0


async def test_nobody_runs_it_by_hand(chain: Chain) -> None:
    await chain.apply("chain", LIVE)
    assert "runs by itself" in (await chain.command("chain", "run", "blocks") or "")


async def test_a_suspended_one_ends_and_comes_back(chain: Chain) -> None:
    await chain.apply("chain", LIVE)
    pod = await chain.source()
    assert await _paused(chain) == []
    await chain.apply("chain", LIVE, suspend=True)
    assert [attempt.pod for attempt in await _paused(chain)] == [pod.pod_name]


async def _paused(chain: Chain) -> Sequence[events.Attempt]:
    async with chain.db.transaction() as tx:
        return await events.paused(tx)
