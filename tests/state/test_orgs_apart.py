"""Two orgs with the same names in one Postgres: what people and workers of one name of the other's is as if it was not.

Worse than on a cluster: workers of both have one name, and the ids and lease tokens of the other's attempts are known.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from uuid import UUID, uuid4

import pytest

from headrace.api.runs import Cancel, NothingToDo
from headrace.gateway.identity import PodIdentity
from headrace.gateway.worker_routes import Broke, ClaimedTask, Completed, HeldAttempt
from headrace.run.requests import cancel
from headrace.state import runs, task_pods, workers
from headrace.state.database import Database, Transaction
from headrace.state.orgs import Org
from headrace.state.task_pods import NoAttempt, SeenPod
from tests.state.test_worker_calls import Workshop, held
from tests.state.world import NAMESPACE_UID, month_source, step

AIR, SEA = ("air", NAMESPACE_UID), ("sea", NAMESPACE_UID.replace("6c1d", "7e2f"))


class Both(Workshop):
    """Two orgs; what is done is done in `place`."""

    place = AIR

    async def org(self, namespace: str = "", uid: str = "") -> Org:
        """The one that is at hand, whatever is asked for."""
        del namespace, uid
        return await super().org(*self.place)

    async def begin_both(self) -> None:
        """The same in both: a job with workers and one with pods of their own, and a task of each waits."""
        for self.place in (AIR, SEA):
            tells = step("cold", "month", report="gateway")
            await self.apply("flights", month_source("a"), self.clean(), tells)
            await self.run("flights", "month", "a")

    async def worker_of(self, place: tuple[str, str]) -> PodIdentity:
        """A worker of the name `w` in one of them."""
        self.place = place
        ((job,),) = await self.rows(
            "SELECT w.job_id FROM working_jobs w JOIN jobs j ON j.id = w.job_id"
            " WHERE w.name = 'clean' AND j.org_id = %(org)s",
            org=(await self.org()).id,
        )
        assert isinstance(job, UUID)
        async with self.db.transaction() as tx:
            await workers.record(tx, 0, job, f"uid-{place[0]}", "w")
        return PodIdentity(place[0], "w", f"uid-{place[0]}")


@pytest.fixture
async def both(db: Database) -> Both:
    found = Both(db)
    await found.begin_both()
    return found


async def state(both: Both, place: tuple[str, str]) -> list[tuple[object, ...]]:
    """The tasks of one of them, with their leases."""
    both.place = place
    return await both.rows(
        "SELECT t.id, t.status, t.attempts, t.lease_token, t.lease_expires_at, t.error_message FROM tasks t"
        " JOIN jobs j ON j.id = t.job_id WHERE j.org_id = %(org)s ORDER BY 1", org=(await both.org()).id
    )  # fmt: skip


async def test_a_worker_claims_nothing_of_another_org(both: Both) -> None:
    air, sea = await both.worker_of(AIR), await both.worker_of(SEA)
    (mine,) = await both.take(air)
    (theirs,) = await both.take(sea)
    assert mine.id != theirs.id
    assert (await both.take(air), await both.take(sea)) == ([], [])
    assert (await both.gateway.recall(sea, [])).tasks == [theirs]


async def test_a_worker_says_nothing_of_another_org_s_attempts(both: Both) -> None:
    """It has their ids, attempts and tokens, and the name of their worker."""
    air, sea = await both.worker_of(AIR), await both.worker_of(SEA)
    (task,) = await both.take(air)
    before = await state(both, AIR)
    guess = ClaimedTask(uuid4(), 1, uuid4(), 60, task.task)
    for one in (task, guess):
        assert (await both.gateway.renew(sea, [held(one)])).lost == [one.id]
        for released in (False, True):
            ended = await both.gateway.fail(sea, [Broke(one.id, one.attempt, one.token, "no", released)])
            assert (ended.accepted, ended.stale) == ([], [one.id])
        done = await both.gateway.complete(sea, [Completed(one.id, one.attempt, one.token)], 0)
        assert (done.accepted, done.stale, done.tasks) == ([], [one.id], [])
    assert await state(both, AIR) == before
    assert (await both.gateway.complete(air, [Completed(task.id, task.attempt, task.token)], 0)).accepted == [task.id]
    # Nor is it told how they ended.
    again = await both.gateway.complete(sea, [Completed(task.id, task.attempt, task.token)], 0)
    assert again.accepted == []
    assert HeldAttempt(task.id, task.attempt, task.token) == held(task)


async def test_a_pod_of_the_same_name_reports_nothing_of_another_org_s_attempt(both: Both) -> None:
    both.place = AIR
    (pod,) = [one for one in await both.claim() if one.job == "cold" and one.org == "air"]
    seen = SeenPod("air", pod.pod_name, "uid-cold")
    async with both.db.transaction() as tx:
        await task_pods.record(tx, 0, [seen])
    for other in (SeenPod("sea", pod.pod_name, "uid-other"), SeenPod("sea", pod.pod_name, "uid-cold")):
        async with both.db.transaction() as tx:
            with pytest.raises(NoAttempt):
                await task_pods.page(tx, other, pod.id, pod.attempt, "month", first=0, most=10)
    async with both.db.transaction() as tx:
        page = await task_pods.page(tx, seen, pod.id, pod.attempt, "month", first=0, most=10)
    assert page is not None


Ask = Callable[[Transaction, UUID, UUID], Awaitable[object]]


async def _canceled(tx: Transaction, org: UUID, task: UUID) -> object:
    try:
        return await cancel(tx, org, "flights", Cancel(task=task), "mallory")
    except NothingToDo as error:
        return str(error)


async def _listed(tx: Transaction, org: UUID, task: UUID) -> object:
    return [one.id for one in await runs.list_tasks(tx, org, "flights", 10, before=task)]


ASKED: dict[str, Ask] = {
    "one task": runs.show_task,
    "many tasks": lambda tx, org, task: runs.follow(tx, org, [task]),
    "older tasks": _listed,
    "cancel": _canceled,
}


@pytest.mark.parametrize("what", ASKED)
async def test_a_task_of_another_org_is_a_task_that_nobody_has(both: Both, what: str) -> None:
    before = await state(both, AIR)
    theirs = next(id_ for id_, status, *_ in before if status == "Queued")
    assert isinstance(theirs, UUID)
    both.place = AIR
    home = (await both.org()).id
    both.place = SEA
    org = (await both.org()).id
    async with both.db.transaction() as tx:
        assert await ASKED[what](tx, org, theirs) == await ASKED[what](tx, org, uuid4())
    assert await state(both, AIR) == before
    async with both.db.transaction() as tx:
        assert await ASKED[what](tx, home, theirs) != await ASKED[what](tx, home, uuid4()) or what == "older tasks"
