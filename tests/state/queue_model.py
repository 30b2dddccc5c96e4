"""A model of the queue against real Postgres: histories of runs, claims, ends, deaths, pauses and takeovers.

`test_queue_model` runs some of them; `python -m tests.state.queue_guards` takes guards away and shows that they are
missed. Each history has an org of its own, so that none disturbs another.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Coroutine
from typing import Any, TypeVar
from uuid import UUID, uuid4

import hypothesis.strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, rule

from headrace.errors import LostLeadership
from headrace.gateway.identity import PodIdentity
from headrace.gateway.wake import Waker
from headrace.gateway.work import Work
from headrace.gateway.worker_routes import Broke, Completed, HeldAttempt
from headrace.state import attempts, leader, orgs, queue, units, workers
from headrace.state.attempts import Attempt, Completion, Failure
from headrace.state.database import Database
from headrace.state.orgs import Org
from headrace.state.runs import runnable
from tests.state.world import World, month_source, step

T = TypeVar("T")
KEYS = ("a", "b", "c")
MOST = 2
_RACE = 3


class Place(World):
    """An org of its own; `clean` has workers, `join` runs in pods; both two at a time."""

    def __init__(self, db: Database) -> None:
        super().__init__(db)
        self.slug = f"n-{uuid4().hex[:16]}"
        self.epoch = 0
        self.work = Work(db, Waker(db), 0.0).services
        self.found: Org | None = None

    async def org(self, namespace: str = "", uid: str = "") -> Org:
        if self.found is None:
            async with self.db.transaction() as tx:
                self.found = await orgs.ensure_org(tx, self.slug, self.slug)
        return self.found

    async def begin(self) -> None:
        scaling = {"maxConcurrency": MOST, "batch": 2}
        await self.rows("UPDATE operator_epoch SET epoch = 0 RETURNING 1")
        await self.apply(
            "flights",
            month_source(*KEYS),
            step("clean", "month", idleTimeout="5m", scaling=scaling, maxAttempts=100),
            step("join", "clean", scaling=scaling, maxAttempts=100),
        )
        async with self.db.transaction() as tx:
            self.epoch = (await leader.take_over(tx, self.slug, None))[0].epoch

    async def trigger(self, key: str) -> None:
        """The source runs for a key, again if it has."""
        org = await self.org()
        async with self.db.transaction() as tx:
            source = await runnable(tx, org.id, "flights", "month")
            assert source is not None
            await units.create_source_tasks(tx, source.job_id, [key], again=True)
        async with self.db.transaction() as tx:
            await queue.dispatch(tx, self.epoch, 100)

    async def worker(self, name: str) -> PodIdentity:
        ((job,),) = await self.rows(
            "SELECT job_id FROM working_jobs WHERE name = 'clean' AND org_id = %(org)s", org=(await self.org()).id
        )
        pod = PodIdentity(self.slug, name, f"{self.slug}-{name}")
        async with self.db.transaction() as tx:
            await workers.record(tx, self.epoch, job, pod.uid, pod.name)  # type: ignore[arg-type]
        return pod

    async def claim_pods(self, epoch: int) -> None:
        org = await self.org()
        async with self.db.transaction() as tx:
            await queue.claim(tx, epoch, [org.id], 10)

    async def pause(self) -> None:
        """Everybody sleeps past the lease."""
        await self.rows(
            "UPDATE tasks SET lease_expires_at = now() - interval '1 second' WHERE status = 'Running' AND job_id IN"
            " (SELECT id FROM jobs WHERE org_id = %(org)s) RETURNING 1", org=(await self.org()).id
        )  # fmt: skip

    async def reap(self) -> None:
        """What has expired is tried again."""
        async with self.db.transaction() as tx:
            expired = [*await attempts.expired(tx), *await attempts.expired(tx, workers=True)]
            found = [e for e in expired if e.namespace == self.slug]
        await self.lose([Attempt(id=e.id, attempt=e.attempt, token=e.token, namespace=e.namespace, pod=e.pod)
                         for e in found])  # fmt: skip

    async def lose(self, found: list[Attempt]) -> None:
        failed = [Failure(id=a.id, attempt=a.attempt, token=a.token, namespace=a.namespace, pod=a.pod, reason="lost",
                          lost=False) for a in found]  # fmt: skip
        async with self.db.transaction() as tx:
            await attempts.fail(tx, self.epoch, failed, 0.0)
        await self.requeue()

    async def requeue(self) -> None:
        async with self.db.transaction() as tx:
            await queue.requeue_due(tx, self.epoch)

    async def look(self) -> None:
        """The periodic pass."""
        org = await self.org()
        async with self.db.transaction() as tx:
            await units.create_missing(tx, [(org.id, "flights")])

    async def tasks(self) -> list[dict[str, Any]]:
        """Every task of clean and join."""
        rows = await self.rows(
            "SELECT t.id, j.name, t.unit_key, t.status, t.attempts, t.lease_token, t.worker_id, t.seq, t.outputs"
            " FROM tasks t JOIN jobs j ON j.id = t.job_id WHERE j.org_id = %(org)s AND j.name <> 'month' ORDER BY seq",
            org=(await self.org()).id,
        )
        names = ("id", "job", "key", "status", "attempt", "token", "pod", "seq", "outputs")
        return [dict(zip(names, row, strict=True)) for row in rows]


class Queue(RuleBasedStateMachine):
    """Every step may be the worst one. What is checked is what Postgres says, after each and at rest."""

    db: Database
    loop: asyncio.AbstractEventLoop
    handed = Bundle("handed")

    def __init__(self) -> None:
        super().__init__()
        self.place = Place(self.db)
        self.accepted: Counter[UUID] = Counter()
        self.locations: dict[UUID, str] = {}
        self.run(self.place.begin())
        self.pods = [self.run(self.place.worker(f"w-{number}")) for number in range(2)]
        self.born = len(self.pods)

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        return self.loop.run_until_complete(coroutine)

    @rule(key=st.sampled_from(KEYS))
    def trigger(self, key: str) -> None:
        self.run(self.place.trigger(key))

    @rule(which=st.integers(0, 1), most=st.integers(1, 3))
    def claims(self, which: int, most: int) -> None:
        """Whether the answer arrives makes no difference here: what is claimed is found in the rows."""
        self.run(self.place.work.claim(self.pods[which], most, 0.0))

    @rule()
    def claims_at_once(self) -> None:
        async def all_() -> None:
            await asyncio.gather(*(self.place.work.claim(pod, 2, 0.0) for pod in self.pods for _ in range(_RACE)))

        self.run(all_())

    @rule(which=st.integers(0, 1), how=st.sampled_from(["completes", "fails", "gives back", "renews"]))
    def wakes_up_late(self, which: int, how: str) -> None:
        """A worker sleeps past its lease, claims again, and then speaks of what it held before."""
        pod = self.pods[which]
        held = [
            Attempt(id=t["id"], attempt=t["attempt"], token=t["token"], namespace=self.place.slug, pod=t["pod"])
            for t in self.run(self.place.tasks())
            if t["status"] == "Running" and t["pod"] == pod.name
        ]
        self.everybody_pauses_past_the_lease()
        self.run(self.place.work.claim(pod, 2, 0.0))
        for attempt in held:
            if how == "completes":
                self.completes(attempt, twice=False)
            elif how == "renews":
                self.renews(attempt)
            else:
                self.fails(attempt, released=how == "gives back")

    @rule()
    def pods_are_made(self) -> None:
        self.run(self.place.claim_pods(self.place.epoch))

    @rule(target=handed, pick=st.integers(0, 20))
    def seen_running(self, pick: int) -> Attempt | None:
        """An attempt as whoever runs it knows it, now and ever after."""
        running = [t for t in self.run(self.place.tasks()) if t["status"] == "Running"]
        if not running:
            return None
        task = running[pick % len(running)]
        return Attempt(id=task["id"], attempt=task["attempt"], token=task["token"], namespace=self.place.slug,
                       pod=task["pod"])  # fmt: skip

    @rule(attempt=handed, twice=st.booleans())
    def completes(self, attempt: Attempt | None, twice: bool) -> None:
        if attempt is None:
            return
        for _ in range(1 + twice):
            before = {t["id"]: t for t in self.run(self.place.tasks())}[attempt.id]
            self.run(self._complete(attempt))
            after = {t["id"]: t for t in self.run(self.place.tasks())}[attempt.id]
            if before["status"] != "Completed" and after["status"] == "Completed":
                assert before["status"] == "Running"
                assert (before["attempt"], before["token"]) == (attempt.attempt, attempt.token), "a stale end counted"
                self.accepted[attempt.id] += 1

    async def _complete(self, attempt: Attempt) -> None:
        if attempt.pod.startswith("w-"):
            pod = PodIdentity(self.place.slug, attempt.pod, f"{self.place.slug}-{attempt.pod}")
            await self.place.work.complete(pod, [Completed(attempt.id, attempt.attempt, attempt.token)])
            return
        done = Completion(id=attempt.id, attempt=attempt.attempt, token=attempt.token, namespace=attempt.namespace,
                          pod=attempt.pod)  # fmt: skip
        async with self.place.db.transaction() as tx:
            await attempts.complete(tx, self.place.epoch, [done], [])

    @rule(attempt=handed, released=st.booleans())
    def fails(self, attempt: Attempt | None, released: bool) -> None:
        if attempt is None or not attempt.pod.startswith("w-"):
            return
        before = {t["id"]: t for t in self.run(self.place.tasks())}[attempt.id]
        pod = PodIdentity(self.place.slug, attempt.pod, f"{self.place.slug}-{attempt.pod}")
        self.run(self.place.work.fail(pod, [Broke(attempt.id, attempt.attempt, attempt.token, "no", released)]))
        after = {t["id"]: t for t in self.run(self.place.tasks())}[attempt.id]
        if before["status"] == "Running" != after["status"]:
            assert (before["attempt"], before["token"]) == (attempt.attempt, attempt.token), "a stale failure counted"
        self.run(self.place.requeue())

    @rule(attempt=handed)
    def renews(self, attempt: Attempt | None) -> None:
        if attempt is None or not attempt.pod.startswith("w-"):
            return
        pod = PodIdentity(self.place.slug, attempt.pod, f"{self.place.slug}-{attempt.pod}")
        held = HeldAttempt(attempt.id, attempt.attempt, attempt.token)
        lost = self.run(self.place.work.renew(pod, [held])).lost
        row = {t["id"]: t for t in self.run(self.place.tasks())}[attempt.id]
        own = (row["status"], row["attempt"], row["token"]) == ("Running", attempt.attempt, attempt.token)
        assert (lost == []) == own

    @rule()
    def everybody_pauses_past_the_lease(self) -> None:
        """Workers' clocks do not matter: who slept finds its attempts taken away."""
        self.run(self.place.pause())
        self.run(self.place.reap())

    @rule(which=st.integers(0, 1))
    def worker_dies(self, which: int) -> None:
        """Another one comes in its place."""

        async def bury() -> list[Attempt]:
            async with self.place.db.transaction() as tx:
                return [a for _, a in await workers.bury(tx, self.place.epoch, [self.pods[which].uid])]

        self.run(self.place.lose(self.run(bury())))
        self.pods[which] = self.run(self.place.worker(f"w-{self.born}"))
        self.born += 1

    @rule()
    def another_operator_leads(self) -> None:
        """The former one does not know it yet, and changes nothing."""
        old = self.place.epoch

        async def take_over() -> None:
            async with self.place.db.transaction() as tx:
                self.place.epoch = (await leader.take_over(tx, "another", None))[0].epoch

        self.run(take_over())
        waiting = any(t["status"] == "Queued" and t["job"] == "join" for t in self.run(self.place.tasks()))
        before = self.run(self.place.tasks())
        try:
            self.run(self.place.claim_pods(old))
        except LostLeadership:
            assert waiting
        assert self.run(self.place.tasks()) == before, "an operator that leads no more has started work"

    @rule(key=st.sampled_from(KEYS), again=st.booleans(), taken_over=st.booleans())
    def work_comes_to_wait_downstream(self, key: str, again: bool, taken_over: bool) -> None:
        """`again`: while a newer run of the key waits upstream; `taken_over`: another leads before it is begun."""
        self.trigger(key)
        self.run(self.place.work.claim(self.pods[0], 3, 0.0))
        if again:
            self.trigger(key)
        for task in self.run(self.place.tasks()):
            if (task["job"], task["key"], task["status"]) == ("clean", key, "Running"):
                self.completes(Attempt(id=task["id"], attempt=task["attempt"], token=task["token"],
                                       namespace=self.place.slug, pod=task["pod"]), twice=False)  # fmt: skip
        if taken_over:
            self.another_operator_leads()
        self.run(self.place.claim_pods(self.place.epoch))

    @rule()
    def periodic_pass(self) -> None:
        self.run(self.place.look())

    @invariant()
    def what_runs_may_run(self) -> None:
        tasks = self.run(self.place.tasks())
        for job in ("clean", "join"):
            running = [t["key"] for t in tasks if t["job"] == job and t["status"] == "Running"]
            assert len(running) <= MOST, f"{job} runs {len(running)} at once"
            assert len(running) == len(set(running)), f"a unit of {job} runs twice"
            waiting = [t["key"] for t in tasks if t["job"] == job and t["status"] == "Queued"]
            assert len(waiting) == len(set(waiting)), f"a unit of {job} waits twice"
        for join in (t for t in tasks if t["job"] == "join" and t["status"] == "Running"):
            for clean in (t for t in tasks if t["job"] == "clean" and t["key"] == join["key"]):
                older = clean["seq"] < join["seq"] and clean["status"] in ("Queued", "Running")
                assert not older, f"join {join['key']} runs before older work upstream"

    @invariant()
    def no_completion_counts_twice(self) -> None:
        assert all(count == 1 for count in self.accepted.values()), "a task was completed twice"

    def teardown(self) -> None:
        self.run(self._rest())

    async def _rest(self) -> None:
        """Everything that is to be done is done, and what there is was made from what there is."""
        place = self.place
        pod = await place.worker("w-last")
        for _ in range(100):
            await place.pause()
            await place.reap()
            claimed = (await place.work.claim(pod, 10, 0.0)).tasks
            if claimed:
                await place.work.complete(pod, [Completed(t.id, t.attempt, t.token) for t in claimed])
            await place.claim_pods(place.epoch)
            mine = [t for t in await place.tasks() if t["status"] == "Running"]
            for task in mine:
                await self._complete(Attempt(id=task["id"], attempt=task["attempt"], token=task["token"],
                                             namespace=place.slug, pod=task["pod"]))  # fmt: skip
            await place.look()
            left = [t for t in await place.tasks() if t["status"] in ("Queued", "Running", "Failed")]
            if not left:
                break
        assert not left, f"left at rest: {left}"
        stale = await place.rows(
            "SELECT count(*) FROM missing_units WHERE org_id = %(org)s", org=(await place.org()).id
        )
        assert stale == [(0,)]
        lost = await place.rows(
            "SELECT d.producer_job_name, i.partition_key FROM datasets d JOIN partition_versions i ON true"
            " JOIN datasets m ON m.id = i.dataset_uuid AND m.producer_job_name = 'month' AND m.org_id = d.org_id"
            " WHERE d.org_id = %(org)s AND d.producer_job_name <> 'month' AND NOT EXISTS (SELECT 1 FROM"
            " partition_versions o JOIN tasks t ON t.id = o.task_id AND t.status = 'Completed' WHERE o.dataset_uuid ="
            " d.id AND o.partition_key = i.partition_key"
            " AND o.location LIKE '%%/' || t.id || '-' || t.attempts || '-%%')",
            org=(await place.org()).id,
        )
        assert lost == [], f"no contents, or those of another attempt: {lost}"
