"""A small world for tests of state: a DAG applied, its tasks run by hand, as the operator would, in real Postgres."""

from __future__ import annotations

from dataclasses import dataclass, field

import msgspec
from psycopg.rows import dict_row, tuple_row

from headrace.api.dag import DagSpec
from headrace.api.names import COMMAND_ANNOTATIONS
from headrace.compile.dag import compile_dag
from headrace.compile.publishing import name_settings
from headrace.plan.decide import intent_of
from headrace.plan.rollout import Move
from headrace.plan.steps import Plan
from headrace.run.attempts import failure
from headrace.run.commands import handle_commands
from headrace.run.commit import commit
from headrace.run.rollouts import advance
from headrace.run.verdict import Broken
from headrace.state import attempts, orgs, queue, runs, units, versions
from headrace.state.attempts import Completion, Reported, RunningPod
from headrace.state.database import Database
from headrace.state.orgs import Org
from headrace.state.report import Report, read_report

NAMESPACE_UID = "6c1d5f0e-0000-4000-8000-000000000001"


def month_source(*keys: str) -> dict[str, object]:
    """A manual trigger over these keys."""
    return {"name": "month", "source": {"kind": "manual", "partitions": {"values": list(keys)}}}


def step(name: str, *inputs: str, **fields: object) -> dict[str, object]:
    """A reactive job that reads the first output of each of `inputs`."""
    return {"name": name, "image": "i", "inputs": [{"from": {"job": i}} for i in inputs], **fields}


@dataclass
class World:
    """One org and its database."""

    db: Database
    _orgs: dict[str, Org] = field(default_factory=dict)

    async def org(self, namespace: str = "air", uid: str = NAMESPACE_UID) -> Org:
        """The org of the namespace; remembered, as the operator does."""
        if uid not in self._orgs:
            async with self.db.transaction() as tx:
                self._orgs[uid] = await orgs.ensure_org(tx, namespace, uid)
        return self._orgs[uid]

    async def apply(
        self,
        dag: str,
        *jobs: dict[str, object],
        publish: object = (),
        suspend: bool = False,
        rollout: dict[str, object] | None = None,
        annotations: dict[str, str] | None = None,
    ) -> Plan:
        """Reconcile a DAG of these jobs; the plan that was carried out."""
        org = await self.org()
        spec: dict[str, object] = {"jobs": list(jobs), "publish": list(publish), "suspend": suspend}  # type: ignore[call-overload]
        if rollout:
            spec["rollout"] = rollout
        typed = msgspec.convert(spec, DagSpec)
        compiled = compile_dag(dag, typed)
        async with self.db.transaction() as tx:
            intent = intent_of(f"uid-{dag}", typed)
            said = name_settings({"spec": spec}, {})
            done = await commit(tx, 0, org, "file:///data", compiled, intent, annotations or {}, said)
        return done.plan

    async def advance(self, dag: str) -> Move:
        """Make the next move of the DAG's rollout."""
        org = await self.org()
        async with self.db.transaction() as tx:
            await versions.lock_dag(tx, org, dag)
            return await advance(tx, 0, org.id, dag)

    async def look(self) -> None:
        """Let every DAG look for work that was told to."""
        async with self.db.transaction() as tx:
            told = await units.consumers_told(tx)
        for org_id, dag in told:
            async with self.db.transaction() as tx:
                await units.look_for_work(tx, 0, org_id, dag)

    async def run(self, dag: str, job: str, *keys: str) -> int:
        """Run a source over these keys and whatever runs in the operator; the tasks made."""
        org = await self.org()
        async with self.db.transaction() as tx:
            source = await runs.runnable(tx, org.id, dag, job)
            assert source is not None
            made = await units.create_source_tasks(tx, source.job_id, keys)
        await self.dispatch()
        return made

    async def command(self, dag: str, command: str, argument: str, request: str = "1") -> str | None:
        """Give a command as an annotation; what came of it, None if the request was handled before."""
        org = await self.org()
        async with self.db.transaction() as tx:
            given = {COMMAND_ANNOTATIONS[command]: f"{request} {argument}"}
            return (await handle_commands(tx, 0, org.id, dag, given, [command])).get(command)

    async def leave(self, dag: str) -> bool:
        """The DAG's object is gone; whether that was news."""
        async with self.db.transaction() as tx:
            (gone,) = [d for d in await versions.present_dags(tx) if d.name == dag] or [None]
            return gone is not None and await versions.stop(tx, 0, gone)

    async def dispatch(self) -> int:
        """Run what runs in the operator."""
        async with self.db.transaction() as tx:
            return await queue.dispatch(tx, 0, 1000)

    async def claim(self, most: int = 100) -> list[RunningPod]:
        """Claim what can run; everything that runs now."""
        org = await self.org()
        async with self.db.transaction() as tx:
            if (await queue.left(tx)).due:
                await queue.requeue_due(tx, 0)
        async with self.db.transaction() as tx:
            await queue.claim(tx, 0, [org.id], most)
        return await self.running()

    async def running(self) -> list[RunningPod]:
        """Everything that runs now."""
        async with self.db.transaction() as tx:
            names = [n.name for n in await attempts.running_names(tx)]
            return await attempts.running_pods(tx, names)

    async def complete_all(self, pods: list[RunningPod]) -> int:
        """Complete attempts in one go, as a turn of the dispatcher does; how many were accepted."""
        done = [Completion(id=p.id, attempt=p.attempt, token=p.token, namespace=p.org, pod=p.pod_name) for p in pods]
        async with self.db.transaction() as tx:
            return len(await attempts.complete(tx, 0, done, []))

    async def complete(self, pod: RunningPod, rows: int | None = None) -> bool:
        """Complete an attempt; whether that was accepted."""
        reported = [
            Reported(task=pod.id, output=index, key=key, rows=rows)
            for index, _ in enumerate(pod.outputs)
            for key in pod.partitions
        ]
        async with self.db.transaction() as tx:
            done = Completion(id=pod.id, attempt=pod.attempt, token=pod.token, namespace=pod.org, pod=pod.pod_name)
            return bool(await attempts.complete(tx, 0, [done], reported))

    async def fail(self, pod: RunningPod, *, lost: bool = False, backoff: float = 0.0) -> bool:
        """Fail an attempt; whether it was still its to fail."""
        async with self.db.transaction() as tx:
            return bool(await attempts.fail(tx, 0, [failure(pod.as_attempt, Broken("it broke", lost))], backoff))

    async def drain(self) -> list[tuple[str, str]]:
        """Run everything to its end, oldest first; (job, key) in the order of completion."""
        done: list[tuple[str, str]] = []
        while True:
            pods = await self.claim()
            if not pods:
                return done
            for pod in pods:
                assert await self.complete(pod)
                done.append((pod.job, pod.partitions[0]))

    async def report(self, dag: str) -> Report:
        """What the status of the DAG is made from."""
        org = await self.org()
        async with self.db.transaction() as tx:
            return await read_report(tx, org.id, dag)

    async def rows(self, query: str, **parameters: object) -> list[tuple[object, ...]]:
        """Rows of a query of the test's own."""
        async with self.db._pool.connection() as connection, connection.cursor(row_factory=tuple_row) as cursor:
            await cursor.execute(query.encode(), parameters)
            return await cursor.fetchall()

    async def snapshot(self) -> dict[str, list[dict[str, object]]]:
        """Every row of every table, for comparison."""
        found: dict[str, list[dict[str, object]]] = {}
        async with self.db._pool.connection() as connection, connection.cursor(row_factory=dict_row) as cursor:
            await cursor.execute(
                "SELECT relname FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace"
            )
            for table in [row["relname"] for row in await cursor.fetchall()]:
                await cursor.execute(f"SELECT *, xmin::text AS xmin FROM {table} t ORDER BY t::text".encode())
                found[table] = await cursor.fetchall()
        return found
