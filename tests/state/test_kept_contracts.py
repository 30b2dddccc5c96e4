"""A completion that breaks its dataset's contract fails its attempt, before anything points to its output."""

from __future__ import annotations

import json
from typing import Any

import pytest

from headrace.gateway.attempt_routes import Attempts
from headrace.gateway.errors import RequestError
from headrace.gateway.event_routes import Events, SourceEvent
from headrace.gateway.identity import PodIdentity
from headrace.gateway.wake import Waker
from headrace.gateway.work import Work
from headrace.gateway.worker_routes import Completed
from headrace.run.attempts import completion, failure, reported
from headrace.run.reports import ReportedColumn, read
from headrace.run.verdict import Broken, read_report
from headrace.state import attempts, runs, task_pods, units, workers
from headrace.state.attempts import RunningPod
from headrace.state.contracts import ContractBroken
from headrace.state.database import Database
from headrace.state.task_pods import SeenPod
from tests.state.world import World, month_source, step

BIGINT = {"name": "id", "type": "bigint", "nullable": False}
GOOD: list[dict[str, Any]] = [BIGINT, {"name": "more", "type": "text"}]
BAD: list[dict[str, Any]] = [{"name": "id", "type": "text", "nullable": False}]
WORDS = "the contract of dataset cleaned is broken: id is text, not bigint"


class Mill(World):
    """A world whose dataset `cleaned` has a contract."""

    async def begin(
        self, *columns: dict[str, Any], keys: tuple[str, ...] = ("a",), **fields: object
    ) -> list[RunningPod]:
        """The DAG serves with this contract, and these keys run."""
        await self.serve(*columns, **fields)
        await self.run("flights", "month", *keys)
        return await self.claim()

    async def serve(self, *columns: dict[str, Any], **fields: object) -> None:
        publish: dict[str, object] = {"name": "cleaned", "from": {"job": "clean"}, "columns": list(columns)}
        clean = step("clean", "month", **{"scaling": {"maxConcurrency": 9}, **fields})
        await self.apply("flights", month_source("a", "b", "c"), clean, step("rank", "clean"), publish=[publish])
        while await self.rows("SELECT 1 FROM rollouts WHERE state IN ('Building', 'Ready')"):
            await self.advance("flights")

    async def ends(self, *pods: RunningPod, columns: list[dict[str, Any]]) -> None:
        """The pods end well and report these columns; as the dispatcher does, what is broken fails, the rest counts."""
        said = read_report(json.dumps({"columns": columns}))
        done = [(completion(pod.as_attempt, said), reported(pod.as_attempt, said)) for pod in pods]
        try:
            async with self.db.transaction() as tx:
                await attempts.complete(tx, 0, [d for d, _ in done], [r for _, told in done for r in told])
        except ContractBroken as error:
            failed = [
                failure(p.as_attempt, Broken(error.breaches[p.id], lost=False)) for p in pods if p.id in error.breaches
            ]
            async with self.db.transaction() as tx:
                await attempts.fail(tx, 0, failed, 0.0)

    async def there(self) -> list[object]:
        """The partitions of `clean` that anything points to."""
        return [key for (key,) in await self.rows(
            "SELECT partition_key FROM partition_versions p JOIN datasets d ON d.id = p.dataset_uuid"
            " WHERE d.producer_job_name = 'clean' ORDER BY 1")]  # fmt: skip

    async def tasks(self) -> list[tuple[object, ...]]:
        """Status and words of the tasks of `clean`."""
        return await self.rows(
            "SELECT t.status, t.error_message FROM tasks t JOIN jobs j ON j.id = t.job_id WHERE j.name = 'clean'"
            " ORDER BY t.seq"
        )


@pytest.fixture
async def mill(db: Database) -> Mill:
    return Mill(db)


async def test_what_keeps_the_contract_is_there(mill: Mill) -> None:
    (pod,) = await mill.begin(BIGINT)
    await mill.ends(pod, columns=GOOD)
    assert await mill.there() == ["a"]
    # What the hash stands for is known.
    (row,) = await mill.rows("SELECT s.columns FROM dataset_versions g JOIN schemas s ON s.hash = g.schema_hash")
    assert row == (GOOD,)


@pytest.mark.parametrize(
    ("columns", "words"), [(BAD, WORDS), ([], WORDS.rpartition(": ")[0] + ": the task reported no columns")]
)
async def test_what_breaks_it_fails_with_the_difference(mill: Mill, columns: list[dict[str, Any]], words: str) -> None:
    (pod,) = await mill.begin(BIGINT, maxAttempts=1)
    await mill.ends(pod, columns=columns)
    assert (await mill.there(), await mill.tasks()) == ([], [("Failed", words)])
    # Nor has anything followed from it.
    assert await mill.rows("SELECT 1 FROM tasks t JOIN jobs j ON j.id = t.job_id WHERE j.name = 'rank'") == []


async def test_the_former_content_stays(mill: Mill) -> None:
    (pod,) = await mill.begin(BIGINT)
    await mill.ends(pod, columns=GOOD)
    before = await mill.rows("SELECT location, materialized_at FROM partition_versions ORDER BY 1")
    org = await mill.org()
    async with mill.db.transaction() as tx:
        source = await runs.runnable(tx, org.id, "flights", "month")
        assert source is not None
        await units.create_source_tasks(tx, source.job_id, ["a"], again=True)
    await mill.dispatch()
    (again,) = [p for p in await mill.claim() if p.job == "clean"]
    await mill.ends(again, columns=BAD)
    after = await mill.rows("SELECT location, materialized_at FROM partition_versions ORDER BY 1")
    assert [row for row in after if "cleaned" in str(row[0])] == [row for row in before if "cleaned" in str(row[0])]


async def test_it_holds_as_soon_as_the_version_serves(mill: Mill) -> None:
    """Also for what began before: an attempt goes on under the new version."""
    (pod,) = await mill.begin()
    await mill.serve(BIGINT)
    await mill.ends(pod, columns=BAD)
    assert (await mill.there(), [status for status, _ in await mill.tasks()]) == ([], ["Failed"])


async def test_and_no_longer(mill: Mill) -> None:
    (pod,) = await mill.begin(BIGINT)
    await mill.serve()
    await mill.ends(pod, columns=BAD)
    assert await mill.there() == ["a"]


async def test_a_report_at_the_gateway_is_held_to_it(mill: Mill) -> None:
    (pod,) = await mill.begin(BIGINT, report="gateway")
    seen = SeenPod(pod.org, pod.pod_name, "uid")
    async with mill.db.transaction() as tx:
        await task_pods.record(tx, 0, [seen])
    told = read(json.dumps({"columns": BAD}))
    await Attempts(mill.db).services.report(PodIdentity(seen.namespace, seen.name, seen.uid), told)
    await mill.ends(pod, columns=GOOD)
    assert (await mill.there(), await mill.tasks()) == ([], [("Failed", WORDS)])


async def test_of_what_a_worker_tells_at_once_the_rest_counts(mill: Mill) -> None:
    await mill.begin(BIGINT, keys=("a", "b", "c"), idleTimeout="5m", scaling={"maxConcurrency": 4, "batch": 4})
    ((id_,),) = await mill.rows("SELECT job_id FROM working_jobs WHERE name = 'clean'")
    async with mill.db.transaction() as tx:
        await workers.record(tx, 0, id_, "uid-w", "w")  # type: ignore[arg-type]
    pod, gateway = PodIdentity("air", "w", "uid-w"), Work(mill.db, Waker(mill.db)).services
    claimed = (await gateway.claim(pod, 10, 0.0)).tasks
    good, bad = (
        tuple(ReportedColumn(c["name"], c["type"], c.get("nullable", True)) for c in listed) for listed in (GOOD, BAD)
    )
    done = [
        Completed(one.id, one.attempt, one.token, columns=list(bad if number == 1 else good))
        for number, one in enumerate(claimed)
    ]
    answer = await gateway.complete(pod, done)
    assert sorted(answer.accepted) == sorted(one.id for one in claimed)
    assert await mill.there() == ["a", "c"]
    assert (await mill.tasks())[1] == ("Failed", WORDS)


async def test_an_event_is_refused_with_the_difference(mill: Mill) -> None:
    live = {"name": "blocks", "image": "i", "source": {"kind": "always_on"}}
    publish = {"name": "chain", "from": {"job": "blocks"}, "columns": [BIGINT]}
    await mill.apply("live", live, publish=[publish])
    (pod,) = await mill.claim()
    async with mill.db.transaction() as tx:
        await task_pods.record(tx, 0, [SeenPod(pod.org, pod.pod_name, "uid")])
    who, events = PodIdentity(pod.org, pod.pod_name, "uid"), Events(mill.db, Waker(mill.db))
    good = SourceEvent(id="e1", columns=(ReportedColumn("id", "bigint", False),))
    with pytest.raises(
        Exception, match="event e2: the contract of dataset chain is broken: id is text, not bigint"
    ) as told:
        await events.accept(who, [good, SourceEvent(id="e2", columns=(ReportedColumn("id", "text", False),))])
    assert not isinstance(told.value, RequestError)
    assert await mill.rows("SELECT 1 FROM partition_versions") == []
    assert (await events.accept(who, [good])).accepted == 1
