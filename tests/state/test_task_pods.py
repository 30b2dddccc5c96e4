"""Attempts' own pods at the gateway, over real Postgres: who may report, what counts of it and when, and manifests."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID, uuid4

import msgspec
import pytest

from headrace.compile.hashes import digest
from headrace.errors import LostLeadership
from headrace.gateway.attempt_routes import PAGE, Attempts, AttemptServices
from headrace.gateway.errors import RequestError
from headrace.gateway.identity import PodIdentity
from headrace.gateway.worker_routes import Completed, Made
from headrace.run.attempts import completion, reported
from headrace.run.reports import Reading, ReportedColumn, ReportedPartition, TaskReport
from headrace.run.verdict import read_report
from headrace.state import attempts, task_pods
from headrace.state.attempts import RunningPod
from headrace.state.database import Database
from headrace.state.task_pods import SeenPod
from tests.state.test_worker_calls import Workshop
from tests.state.world import World, month_source, step

COLUMNS = (ReportedColumn("n", "bigint", nullable=False), ReportedColumn("t", "text"))
HASH = digest("schema", [["n", "bigint", False], ["t", "text", True]])


class Office(World):
    """A world whose job `clean` reports to the gateway."""

    @property
    def gateway(self) -> AttemptServices:
        """What the routes do."""
        return Attempts(self.db).services

    async def begin(self, *keys: str, **fields: object) -> list[RunningPod]:
        """These keys run."""
        await self.apply("flights", month_source("a", "b"), step("clean", "month", report="gateway", **fields))
        await self.run("flights", "month", *keys)
        return await self.claim()

    async def known(self, pod: RunningPod, uid: str = "", epoch: int = 0) -> PodIdentity:
        """The pod of an attempt, once the operator has seen it."""
        seen = SeenPod(pod.org, pod.pod_name, uid or f"uid-{pod.pod_name}")
        async with self.db.transaction() as tx:
            await task_pods.record(tx, epoch, [seen])
        return PodIdentity(seen.namespace, seen.name, seen.uid)

    async def exits(self, pod: RunningPod, message: str = "") -> bool:
        """The operator sees the pod end with 0 and this termination message; whether that is accepted."""
        said = read_report(message)
        async with self.db.transaction() as tx:
            ended = [completion(pod.as_attempt, said)]
            return bool(await attempts.complete(tx, 0, ended, reported(pod.as_attempt, said)))

    async def made(self) -> list[tuple[object, ...]]:
        """Key, rows, bytes and schema of what there is of `clean`."""
        return await self.rows(
            "SELECT partition_key, row_count, bytes, p.schema_hash FROM partition_versions p"
            " JOIN datasets d ON d.id = p.dataset_uuid WHERE d.producer_job_name = 'clean' ORDER BY 1"
        )


@pytest.fixture
async def office(db: Database) -> Office:
    return Office(db)


def says(key: str = "a", rows: int | None = None, columns: Sequence[ReportedColumn] = ()) -> Reading:
    return Reading(TaskReport(partitions=(ReportedPartition(key, rows),), columns=tuple(columns)))


async def refused(office: Office, pod: PodIdentity, report: Reading | None = None) -> int:
    with pytest.raises(RequestError) as caught:
        await office.gateway.report(pod, report or says())
    return caught.value.status


async def test_a_report_counts_when_the_container_ends_well(office: Office) -> None:
    """In place of the termination message, and of what was said before; keys that are not the task's are left out."""
    (pod,) = await office.begin("a")
    identity = await office.known(pod)
    assert (await office.gateway.report(identity, says(rows=1))).accepted == pod.id
    more = ReportedPartition("a", 7, 70), ReportedPartition("b", 9)
    await office.gateway.report(identity, Reading(TaskReport(partitions=more, columns=COLUMNS)))
    assert await office.made() == []
    # What is kept has the size of the task, whatever is sent.
    assert await office.rows("SELECT jsonb_array_length(reported -> 'partitions') FROM task_pods") == [(1,)]
    assert await office.exits(pod, '{"partitions": [{"key": "a", "rows": 5}]}')
    assert await office.made() == [("a", 7, 70, HASH)]
    assert await office.rows("SELECT v.schema_hash FROM dataset_versions v JOIN datasets d ON d.id = v.dataset_uuid"
                             " WHERE d.producer_job_name = 'clean'") == [(HASH,)]  # fmt: skip


MISTAKEN = ReportedPartition("a", 7), ReportedPartition("zzz", 5), ReportedPartition("a", 9, output=7)
NOT_MADE = "its report names what the task does not make, which counts for nothing: zzz of output 0, a of output 7"


async def notes(office: World) -> list[tuple[object, ...]]:
    return await office.rows(
        "SELECT status, error_message FROM tasks t JOIN jobs j ON j.id = t.job_id WHERE j.name = 'clean' ORDER BY seq"
    )


async def test_what_a_report_at_the_gateway_names_that_is_not_the_task_s_is_told_of(office: Office) -> None:
    """To the pod at once, and as the last message of the task."""
    (pod,) = await office.begin("a")
    columns = ReportedColumn("n", "bigint"), ReportedColumn("n", "bigint", output=1)
    mistaken = Reading(TaskReport(partitions=MISTAKEN, columns=columns), "beside it")
    answer = await office.gateway.report(await office.known(pod), mistaken)
    assert answer.note == f"beside it; {NOT_MADE}, columns of output 1"
    assert await office.exits(pod)
    assert await notes(office) == [("Completed", answer.note)]
    assert await office.made() == [("a", 7, None, digest("schema", [["n", "bigint", True]]))]


async def test_what_a_termination_message_names_that_is_not_the_task_s_is_told_of(office: Office) -> None:
    one, two = await office.begin("a", "b", scaling={"maxConcurrency": 2})
    said = {"partitions": MISTAKEN, "columns": [{"name": "n", "type": "bigint", "output": 1}], "row": 5}
    assert await office.exits(one, msgspec.json.encode(said).decode())
    assert await office.exits(two, '{"partitions": [{"key": "b", "rows": 1}]}')
    unknown = "its report has fields that are not known and count for nothing: row"
    assert await notes(office) == [("Completed", f"{unknown}; {NOT_MADE}, columns of output 1"), ("Completed", None)]
    assert [row[:2] for row in await office.made()] == [("a", 7), ("b", 1)]


async def test_what_a_worker_names_that_is_not_the_task_s_is_told_of(db: Database) -> None:
    shop = Workshop(db)
    await shop.begin("a")
    worker = await shop.worker()
    (task,) = await shop.take(worker)
    made = [Made(p.key, p.output, p.rows) for p in MISTAKEN]
    done = Completed(task.id, task.attempt, task.token, made, note="something\0 else")
    assert (await shop.gateway.complete(worker, [done])).accepted == [task.id]
    assert await notes(shop) == [("Completed", f"something else; {NOT_MADE}")]


async def test_a_message_that_is_not_understood_is_no_matter_beside_a_report(office: Office) -> None:
    (pod,) = await office.begin("a")
    await office.gateway.report(await office.known(pod), says(rows=3))
    assert await office.exits(pod, '{"partitions": 1}')
    assert await office.made() == [("a", 3, None, None)]
    assert await office.rows("SELECT error_message FROM tasks WHERE id = %(id)s", id=pod.id) == [(None,)]


async def test_without_a_report_an_end_is_as_good_and_the_message_counts(office: Office) -> None:
    one, two = await office.begin("a", "b", scaling={"maxConcurrency": 2})
    await office.known(one)
    assert await office.exits(one, '{"partitions": [{"key": "a", "rows": 5}], "columns": [{"name": "x", "type": "y"}]}')
    assert await office.exits(two)
    schema = digest("schema", [["x", "y", True]])
    assert await office.made() == [("a", 5, None, schema), ("b", None, None, None)]


async def test_what_a_failed_attempt_reported_counts_for_nothing(office: Office) -> None:
    (pod,) = await office.begin("a")
    identity = await office.known(pod)
    await office.gateway.report(identity, says(rows=1))
    assert await office.fail(pod)
    assert await refused(office, identity) == 409
    (again,) = await office.claim()
    assert again.attempt == 2
    assert await refused(office, identity) == 409
    assert await office.exits(again)
    assert await office.made() == [("a", None, None, None)]


async def test_a_report_after_the_end_changes_nothing(office: Office) -> None:
    (pod,) = await office.begin("a")
    identity = await office.known(pod)
    assert await office.exits(pod)
    before = await office.snapshot()
    assert await refused(office, identity) == 409
    assert await office.snapshot() == before


async def test_only_the_first_pod_of_an_attempt_s_name_reports(office: Office) -> None:
    """The pod was deleted, and somebody made another of its name: that is nobody, also once the operator sees it."""
    one, two = await office.begin("a", "b", scaling={"maxConcurrency": 2})
    identity = await office.known(one, "uid-1")
    impostor = await office.known(one, "uid-2")
    strangers = [impostor, PodIdentity("sea", identity.name, identity.uid), PodIdentity("air", two.pod_name, "uid-3"),
                 PodIdentity("air", "x", "y")]  # fmt: skip
    assert [await refused(office, pod) for pod in strangers] == [403] * 4
    assert await refused(office, PodIdentity("air", two.pod_name, identity.uid)) == 409
    await office.gateway.report(identity, says(rows=2))


async def test_pods_of_attempts_that_run_are_recorded_and_by_the_operator_that_leads(office: Office) -> None:
    (pod,) = await office.begin("a")
    await office.org("sea", "uid-of-sea")
    for strange in (SeenPod("sea", pod.pod_name, "u"), SeenPod("air", f"x-{pod.token.hex}", "u")):
        async with office.db.transaction() as tx:
            assert await task_pods.record(tx, 0, [strange]) == 0
    await office.rows("UPDATE operator_epoch SET epoch = 7 RETURNING 1")
    with pytest.raises(LostLeadership):
        await office.known(pod)


async def test_a_worker_has_no_attempt_of_its_own(db: Database) -> None:
    shop = Workshop(db)
    await shop.begin("a")
    worker = await shop.worker()
    await shop.take(worker)
    with pytest.raises(RequestError) as caught:
        await Attempts(db).services.report(worker, says())
    assert caught.value.status == 403


async def widen(world: World, task: UUID, count: int) -> None:
    """Have a running task read so many partitions: as whole datasets will be read."""
    await world.rows(
        "UPDATE tasks SET input_versions = jsonb_set(input_versions, '{month,partitions}', ("
        " SELECT jsonb_agg(jsonb_build_object('key', 'k' || n, 'location', 'file:///' || n, 'materialized_at', now()))"
        " FROM generate_series(0, %(count)s - 1) AS n)) WHERE id = %(task)s RETURNING 1",
        count=count, task=task,
    )  # fmt: skip


async def all_pages(office: Office, pod: PodIdentity, task: RunningPod) -> list[dict[str, str]]:
    """Every partition, by the paths that the pages give."""
    found: list[dict[str, str]] = []
    page: int | None = 0
    while page is not None:
        answer = await office.gateway.manifest(pod, task.id, task.attempt, "month", page)
        listed = msgspec.json.decode(answer.partitions)
        assert len(listed) <= PAGE
        found += listed
        page = int(answer.next.rpartition("/")[2]) if answer.next else None
    assert answer.count == len(found)
    return found


@pytest.mark.parametrize("count", [1, PAGE, PAGE + 1, 3 * PAGE - 1])
async def test_a_manifest_has_every_partition_once(office: Office, count: int) -> None:
    (pod,) = await office.begin("a")
    identity = await office.known(pod)
    await widen(office, pod.id, count)
    expected = [{"key": f"k{n}", "location": f"file:///{n}"} for n in range(count)]
    assert await all_pages(office, identity, pod) == expected


async def test_a_manifest_is_the_attempt_s_own(office: Office) -> None:
    one, two = await office.begin("a", "b", scaling={"maxConcurrency": 2})
    own, other = await office.known(one), await office.known(two)
    asked: list[tuple[PodIdentity, UUID, int, str, int]] = [
        (PodIdentity("air", "x", "y"), one.id, 1, "month", 403),
        (PodIdentity("sea", own.name, own.uid), one.id, 1, "month", 403),
        (other, one.id, 1, "month", 409),
        (own, one.id, 2, "month", 409),
        (own, uuid4(), 1, "month", 409),
        (own, one.id, 1, "year", 404),
    ]
    for pod, task, attempt, name, status in asked:
        with pytest.raises(RequestError) as caught:
            await office.gateway.manifest(pod, task, attempt, name, 0)
        assert caught.value.status == status
    assert len(await all_pages(office, own, one)) == 1
    assert await office.exits(one)
    with pytest.raises(RequestError) as caught:
        await office.gateway.manifest(own, one.id, 1, "month", 0)
    assert caught.value.status == 409


async def test_a_worker_reads_the_manifests_of_what_it_holds(db: Database) -> None:
    shop, gateway = Workshop(db), Attempts(db).services
    await shop.begin("a")
    worker, other = await shop.worker("one"), await shop.worker("two")
    (task,) = await shop.take(worker)
    assert msgspec.json.decode((await gateway.manifest(worker, task.id, 1, "month", 0)).partitions)[0]["key"] == "a"
    for pod, status in ((other, 409), (PodIdentity("air", "one", "uid-x"), 403)):
        with pytest.raises(RequestError) as caught:
            await gateway.manifest(pod, task.id, 1, "month", 0)
        assert caught.value.status == status
