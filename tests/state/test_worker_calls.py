"""Workers' calls over real Postgres: what a pod may claim, how attempts end, what is fenced, what a death leaves."""

from __future__ import annotations

import asyncio
from uuid import uuid4

import msgspec
import pytest

from headrace.gateway.errors import RequestError
from headrace.gateway.identity import PodIdentity
from headrace.gateway.wake import Waker
from headrace.gateway.work import Work
from headrace.gateway.worker_routes import Broke, ClaimAnswer, ClaimedTask, Completed, HeldAttempt, Made, WorkerServices
from headrace.state import attempts, queue, workers
from headrace.state.database import Database
from tests.state.world import World, month_source, step

KEYS = ("a", "b", "c", "d")


class Workshop(World):
    """A world whose job `clean` has workers."""

    def __init__(self, db: Database) -> None:
        super().__init__(db)
        self.waker = Waker(db)

    @property
    def gateway(self) -> WorkerServices:
        """What the routes do."""
        return Work(self.db, self.waker).services

    async def begin(self, *keys: str, **fields: object) -> None:
        """The DAG serves, and these keys wait for `clean`."""
        await self.apply("flights", month_source(*KEYS), self.clean(**fields), step("rank", "clean"))
        if keys:
            await self.run("flights", "month", *keys)

    @staticmethod
    def clean(**fields: object) -> dict[str, object]:
        scaling = {"maxConcurrency": 4, "batch": 2}
        return step("clean", "month", **{"idleTimeout": "5m", "scaling": scaling, "maxAttempts": 2, **fields})

    async def worker(self, name: str = "w", job: str = "clean") -> PodIdentity:
        """A worker that the operator has recorded."""
        ((id_,),) = await self.rows("SELECT job_id FROM working_jobs WHERE name = %(job)s AND NOT building", job=job)
        uid = f"uid-{name}"
        async with self.db.transaction() as tx:
            await workers.record(tx, 0, id_, uid, name)  # type: ignore[arg-type]
        return PodIdentity("air", name, uid)

    async def take(self, pod: PodIdentity, most: int = 10) -> list[ClaimedTask]:
        """What the pod claims."""
        return (await self.gateway.claim(pod, most, 0.0)).tasks

    async def job(self) -> workers.WorkerJob:
        """How the job stands for scaling."""
        org = await self.org()
        async with self.db.transaction() as tx:
            (found,) = await workers.jobs(tx, [org.id])
        return found


@pytest.fixture
async def shop(db: Database) -> Workshop:
    return Workshop(db)


def held(task: ClaimedTask) -> HeldAttempt:
    return HeldAttempt(task.id, task.attempt, task.token)


def done(task: ClaimedTask, *made: Made) -> Completed:
    return Completed(task.id, task.attempt, task.token, list(made))


def broke(task: ClaimedTask, *, released: bool = False) -> Broke:
    return Broke(task.id, task.attempt, task.token, "ValueError: no", released)


def key(task: ClaimedTask) -> str:
    document = msgspec.json.decode(task.task)
    assert document["inputs"]["month"]["partitions"][0]["key"] == document["partitions"][0]
    return str(document["partitions"][0])


async def states(shop: Workshop) -> list[tuple[object, ...]]:
    """Key, state and attempts of every task of clean."""
    return await shop.rows(
        "SELECT unit_key, status, attempts FROM tasks t JOIN jobs j ON j.id = t.job_id WHERE j.name = 'clean'"
        " ORDER BY seq"
    )


async def test_a_worker_claims_as_many_as_it_holds_and_goes_on_as_they_end(shop: Workshop) -> None:
    await shop.begin("a", "b", "c")
    pod = await shop.worker()
    first = await shop.take(pod)
    assert [key(t) for t in first] == ["a", "b"]
    assert await shop.take(pod) == []
    answer = await shop.gateway.complete(pod, [done(first[0], Made("a", rows=7))])
    assert (answer.accepted, answer.stale) == ([first[0].id], [])
    assert [key(t) for t in await shop.take(pod)] == ["c"]
    assert await shop.rows(
        "SELECT partition_key, row_count FROM partition_versions p JOIN datasets d ON d.id = p.dataset_uuid"
        " WHERE d.producer_job_name = 'clean'") == [("a", 7)]  # fmt: skip
    # What follows from it is there, as pods of their own.
    assert [(p.job, p.partitions[0]) for p in await shop.claim()] == [("rank", "a")]


async def test_what_a_worker_holds_and_does_not_know_of_is_told_again(shop: Workshop) -> None:
    await shop.begin("a", "b", "c")
    pod, other = await shop.worker(), await shop.worker("other")
    one, two = await shop.take(pod)
    (third,) = await shop.take(other)
    again = await shop.gateway.recall(pod, [held(one)])
    assert (again.tasks, again.retire) == ([two], False)
    assert (await shop.gateway.recall(pod, [held(one), held(two)])).tasks == []
    assert (await shop.gateway.recall(other, [])).tasks == [third]
    assert (await shop.gateway.complete(pod, [done(two)], 0)).accepted == [two.id]
    assert (await shop.gateway.recall(pod, [])).tasks == [one]


async def test_others_come_with_the_answer_about_those_that_end(shop: Workshop) -> None:
    await shop.begin(*KEYS)
    pod = await shop.worker()
    one, two = await shop.take(pod)
    answer = await shop.gateway.complete(pod, [done(one)], 5)
    assert (answer.accepted, [key(t) for t in answer.tasks], answer.retire) == ([one.id], ["c"], False)
    # What counts for nothing brings nothing: nobody would hear of it.
    forged = ClaimedTask(two.id, two.attempt, uuid4(), 1, two.task)
    assert (await shop.gateway.complete(pod, [done(forged)], 5)).tasks == []
    await shop.rows("UPDATE workers SET retired_at = now() RETURNING 1")
    answer = await shop.gateway.complete(pod, [done(two)], 5)
    assert (answer.accepted, answer.tasks, answer.retire) == ([two.id], [], True)
    assert [state for _, state, _ in await states(shop)] == ["Completed", "Completed", "Running", "Queued"]


async def test_first_claims_of_a_worker_at_once_go_one_after_the_other(shop: Workshop) -> None:
    await shop.begin(*KEYS, scaling={"maxConcurrency": 4, "batch": 4})
    pod = await shop.worker()
    answers = await asyncio.gather(*(shop.gateway.claim(pod, 1, 0.0) for _ in range(6)))
    assert sorted(len(answer.tasks) for answer in answers) == [0, 0, 1, 1, 1, 1]


async def test_workers_share_the_room_of_their_job(shop: Workshop) -> None:
    await shop.begin(*KEYS, scaling={"maxConcurrency": 3, "batch": 2})
    one, two = await shop.worker("one"), await shop.worker("two")
    assert (len(await shop.take(one)), len(await shop.take(two))) == (2, 1)


async def test_a_pod_that_the_operator_did_not_make_is_nobody(shop: Workshop) -> None:
    await shop.begin("a")
    known = await shop.worker()
    for pod in (PodIdentity("air", "x", "y"), PodIdentity("air", "w", "another"), PodIdentity("sea", "w", known.uid)):
        with pytest.raises(RequestError) as refused:
            await shop.take(pod)
        assert refused.value.status == 403


async def test_a_worker_touches_no_attempt_but_its_own(shop: Workshop) -> None:
    await shop.begin("a", "b")
    one, two = await shop.worker("one"), await shop.worker("two")
    (task, _) = await shop.take(one)
    forged = ClaimedTask(task.id, task.attempt, uuid4(), 1, task.task)
    for pod, given in ((two, task), (one, forged)):
        assert (await shop.gateway.complete(pod, [done(given)])).stale == [task.id]
        assert (await shop.gateway.fail(pod, [broke(given)])).stale == [task.id]
        assert (await shop.gateway.fail(pod, [broke(given, released=True)])).stale == [task.id]
        assert (await shop.gateway.renew(pod, [held(given)])).lost == [task.id]
    assert (await states(shop))[0] == ("a", "Running", 1)


async def test_a_repeated_call_gets_its_first_answer_and_a_stale_one_changes_nothing(shop: Workshop) -> None:
    await shop.begin("a", "b")
    pod = await shop.worker()
    one, two = await shop.take(pod)
    for _ in range(2):
        assert (await shop.gateway.complete(pod, [done(one)])).accepted == [one.id]
        assert (await shop.gateway.fail(pod, [broke(two)])).accepted == [two.id]
    assert (await shop.gateway.fail(pod, [broke(one)])).stale == [one.id]
    assert (await shop.gateway.complete(pod, [done(two)])).stale == [two.id]
    assert (await shop.gateway.renew(pod, [held(one), held(two)])).lost == [one.id, two.id]
    assert await states(shop) == [("a", "Completed", 1), ("b", "Failed", 1)]
    assert await shop.rows("SELECT error_message FROM tasks WHERE status = 'Failed'") == [("ValueError: no",)]


async def test_what_was_not_begun_is_given_back_at_no_cost(shop: Workshop) -> None:
    await shop.begin("a")
    pod = await shop.worker()
    for _ in range(3):
        (task,) = await shop.take(pod)
        assert (await shop.gateway.fail(pod, [broke(task, released=True)])).accepted == [task.id]
    (task,) = await shop.take(pod)
    assert (await shop.gateway.fail(pod, [broke(task)])).accepted == [task.id]
    assert await states(shop) == [("a", "Failed", 4)]
    assert await shop.rows("SELECT next_retry_at IS NOT NULL FROM tasks WHERE status = 'Failed'") == [(True,)]


async def test_a_report_that_makes_no_sense_fails_its_task_alone(shop: Workshop) -> None:
    await shop.begin("a", "b")
    pod = await shop.worker()
    one, two = await shop.take(pod)
    answer = await shop.gateway.complete(
        pod, [done(one, Made("a", rows=10**15, bytes=2**63)), done(two, Made("b", rows=1))]
    )
    assert set(answer.accepted) == {one.id, two.id}
    assert await states(shop) == [("a", "Failed", 1), ("b", "Completed", 1)]


async def test_what_a_dead_worker_held_is_run_again(shop: Workshop) -> None:
    await shop.begin("a", "b")
    pod = await shop.worker()
    await shop.take(pod)
    async with shop.db.transaction() as tx:
        assert [w.pod_uid for w in await workers.here(tx)] == [pod.uid]
        found = await workers.bury(tx, 0, [pod.uid])
        assert {a.pod for _, a in found} == {"w"}
        assert await workers.bury(tx, 0, [pod.uid]) == []
        assert await workers.here(tx) == []
        lost = [attempts.Failure(**msgspec.structs.asdict(a), reason="gone", lost=True) for _, a in found]
        assert len(await attempts.fail(tx, 0, lost, 0.0)) == 2
    async with shop.db.transaction() as tx:
        await queue.requeue_due(tx, 0)
    assert await states(shop) == [("a", "Queued", 1), ("b", "Queued", 1)]
    assert (await shop.gateway.claim(pod, 1, 0.0)).retire
    assert len(await shop.take(await shop.worker("next"))) == 2


async def test_a_job_that_changes_between_workers_and_pods_keeps_what_runs(shop: Workshop) -> None:
    """Nothing of its data changes: what a worker holds stays the worker's, what a pod runs stays the pod's."""
    await shop.begin("a", "b")
    pod = await shop.worker()
    (task,) = await shop.take(pod, 1)
    await shop.begin(idleTimeout="0")
    assert [p.partitions for p in await shop.claim()] == [["b"]]
    assert (await shop.gateway.renew(pod, [held(task)])).lost == []
    await shop.begin()
    assert [p.partitions for p in await shop.running()] == [["b"]]
    assert (await shop.gateway.complete(pod, [done(task)])).accepted == [task.id]


async def test_a_pod_that_is_over_claims_nothing(shop: Workshop) -> None:
    await shop.begin("a")
    pod = await shop.worker()
    async with shop.db.transaction() as tx:
        worker = await workers.find(tx, pod.namespace, pod.uid, pod.name)
    async with shop.db.transaction() as tx:
        await workers.bury(tx, 0, [pod.uid])
    async with shop.db.transaction() as tx:
        assert (await workers.claim(tx, worker, 1)).retire
    assert await states(shop) == [("a", "Queued", 0)]


async def test_a_worker_that_does_not_renew_is_replaced(shop: Workshop) -> None:
    await shop.begin("a", "b")
    pod = await shop.worker()
    await shop.take(pod, 1)
    async with shop.db.transaction() as tx:
        assert await attempts.expired(tx, workers=True) == []
    await shop.rows(
        "UPDATE tasks SET lease_expires_at = now() - interval '1 second' WHERE status = 'Running' RETURNING 1"
    )
    async with shop.db.transaction() as tx:
        assert await attempts.expired(tx) == []
        expired = await attempts.expired(tx, workers=True)
        assert [(e.pod, e.late) for e in expired] == [("w", False)]
        assert await workers.retire(tx, 0, expired) == 1
        assert not (await workers.here(tx))[0].stuck
    assert (await shop.job()).workers == 0
    await shop.rows("UPDATE tasks SET status = 'Queued' WHERE status = 'Running' RETURNING 1")
    assert (await shop.gateway.claim(pod, 1, 0.0)).retire
    await shop.rows("UPDATE workers SET retired_at = now() - interval '61 seconds' RETURNING 1")
    async with shop.db.transaction() as tx:
        assert (await workers.here(tx))[0].stuck


async def test_a_worker_of_another_form_is_retired_and_finishes(shop: Workshop) -> None:
    """Its template has changed, though not its data: what runs is finished, what waits is another worker's."""
    await shop.begin("a", "b")
    pod = await shop.worker()
    task, _ = await shop.take(pod)
    await shop.run("flights", "month", "c")
    await shop.begin(resources={"requests": {"cpu": "1"}})
    answer = await shop.gateway.claim(pod, 1, 0.0)
    assert (answer.tasks, answer.retire) == ([], True)
    assert (await shop.job()).workers == 0
    assert (await shop.gateway.renew(pod, [held(task)])).lost == []
    assert (await shop.gateway.complete(pod, [done(task)])).accepted == [task.id]


async def test_a_worker_leaves_only_when_there_is_nothing_to_do(shop: Workshop) -> None:
    await shop.begin("a")
    pod = await shop.worker()
    assert not (await shop.gateway.leave(pod)).leave
    (task,) = await shop.take(pod)
    await shop.gateway.complete(pod, [done(task)])
    assert (await shop.gateway.leave(pod)).leave
    await shop.run("flights", "month", "b")
    assert await shop.gateway.claim(pod, 1, 0.0) == ClaimAnswer([], retire=True)


async def test_of_a_job_that_keeps_a_worker_one_stays(shop: Workshop) -> None:
    """Though all of them ask at once; one that has not claimed yet is not relied on."""
    await shop.begin(idleTimeout="never")
    pods = [await shop.worker(f"w{number}") for number in range(4)]
    for pod in pods[:3]:
        assert await shop.take(pod) == []
    answers = await asyncio.gather(*(shop.gateway.leave(pod) for pod in pods[:3]))
    assert sorted(answer.leave for answer in answers) == [False, True, True]
    (stays,) = [pod for pod, answer in zip(pods, answers, strict=False) if not answer.leave]
    before = await shop.snapshot()
    assert not (await shop.gateway.leave(stays)).leave
    assert await shop.snapshot() == before
    assert (await shop.job()).workers == 2
    # Once there is another that claims, it may go; also when the job has another form.
    await shop.take(pods[3])
    assert (await shop.gateway.leave(stays)).leave
    await shop.begin(idleTimeout="never", resources={"requests": {"cpu": "1"}})
    assert (await shop.gateway.leave(pods[3])).leave


async def test_a_kept_worker_stays_while_its_dag_is_suspended(shop: Workshop) -> None:
    await shop.begin(idleTimeout="never")
    pod = await shop.worker()
    jobs = month_source(*KEYS), shop.clean(idleTimeout="never"), step("rank", "clean")
    await shop.apply("flights", *jobs, suspend=True)
    assert not (await shop.gateway.leave(pod)).leave


async def test_a_suspended_dag_gives_nothing(shop: Workshop) -> None:
    await shop.begin("a")
    pod = await shop.worker()
    await shop.apply("flights", month_source(*KEYS), shop.clean(), step("rank", "clean"), suspend=True)
    assert await shop.gateway.claim(pod, 1, 0.0) == ClaimAnswer([])
    assert (await shop.job()).suspended


async def test_a_claim_that_waits_is_woken_by_the_first_task(shop: Workshop) -> None:
    await shop.begin()
    pod = await shop.worker()
    wakes = asyncio.create_task(shop.waker.run())
    waiting = asyncio.create_task(shop.gateway.claim(pod, 1, 20.0))
    try:
        done_, _ = await asyncio.wait({waiting}, timeout=0.3)
        assert not done_
        await shop.run("flights", "month", "a")
        answer = await asyncio.wait_for(waiting, 2.0)
        assert [key(t) for t in answer.tasks] == ["a"]
    finally:
        wakes.cancel()


async def test_how_a_job_stands_for_scaling(shop: Workshop) -> None:
    await shop.begin("a", "b", "c")
    job = await shop.job()
    assert (job.waiting, job.running, job.workers, job.most, job.batch) == (3, 0, 0, 4, 2)
    pod = await shop.worker()
    await shop.take(pod)
    job = await shop.job()
    assert (job.waiting, job.running, job.workers) == (1, 2, 1)


async def test_workers_that_end_before_they_claim_are_counted(shop: Workshop) -> None:
    await shop.begin("a")
    for number in range(2):
        pod = await shop.worker(f"bad-{number}")
        async with shop.db.transaction() as tx:
            await workers.bury(tx, 0, [pod.uid])
    assert (await shop.job()).fruitless == 2
    good = await shop.worker("good")
    await shop.take(good)
    await shop.rows("UPDATE tasks SET status = 'Queued' WHERE status = 'Running' RETURNING 1")
    assert (await shop.job()).fruitless == 0
