"""What the routes of people's work do: runs, cancellations and looks, each in one transaction. `serve` wires it."""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable
from typing import TypeVar
from uuid import UUID

import msgspec
from msgspec import Struct

from headrace.api.invalidations import Invalidated, Invalidation
from headrace.api.runs import (
    Cancel,
    Canceled,
    Followed,
    NotUnderstood,
    Ran,
    Run,
    TaskEntry,
    Tasks,
    Why,
    checked_run,
)
from headrace.cluster.client import Client
from headrace.cluster.namespaces import namespace_uid
from headrace.compiler import Compiler
from headrace.gateway.errors import RequestError, not_found
from headrace.gateway.run_routes import RunServices, TasksQuery
from headrace.run.requests import OtherRequest, Schema, cancel, missing, once, run_job, schema_of
from headrace.state import invalidations, locks, runs
from headrace.state.database import Database, Transaction
from headrace.state.orgs import Org, find_org
from headrace.state.queue import tell_touched
from headrace.state.report import read_report
from headrace.state.why import read_unit
from headrace.status.why import explain_why

T = TypeVar("T", bound=Struct)


class Runs:
    """People's work over Postgres."""

    def __init__(self, client: Client, db: Database, compiler: Compiler) -> None:
        self._client = client
        self._db = db
        self._compiler = compiler

    @property
    def services(self) -> RunServices:
        """What the routes do."""
        return RunServices(
            run=self._run, cancel=self._cancel, invalidate=self._invalidate, tasks=self._tasks, task=self._task,
            follow=self._follow, why=self._why,
        )  # fmt: skip

    async def _run(self, namespace: str, dag: str, job: str, run: Run, user: str, request: str | None) -> Ran:
        org = await self._org(namespace)
        schema = await self._checked(org, dag, job, run) if run.params else None

        async def act(tx: Transaction) -> Ran:
            await locks.lock_dag_shared_soon(tx, org.id, dag)
            return await run_job(tx, org.id, dag, job, run, user, schema)

        return await self._once(org, dag, request, ("run", user, _text(dag, job, run)), act, Ran)

    async def _checked(self, org: Org, dag: str, job: str, run: Run) -> Schema | None:
        """The schema by which the run's parameters are good; NotUnderstood when they are not."""
        run = checked_run(run)
        async with self._db.transaction() as tx:
            schema = await schema_of(tx, org.id, dag, job)
        problem = None if schema is None else await self._compiler.params_problem(run.params, schema)
        if problem is not None:
            raise NotUnderstood(problem)
        return schema

    async def _cancel(self, namespace: str, dag: str, wanted: Cancel, user: str, request: str | None) -> Canceled:
        org = await self._org(namespace)

        async def act(tx: Transaction) -> Canceled:
            if not (wanted.everything or wanted.rollout):
                await locks.lock_dag_shared_soon(tx, org.id, dag)
            else:
                await locks.lock_dag_soon(tx, org.id, dag)
            return await cancel(tx, org.id, dag, wanted, user)

        return await self._once(org, dag, request, ("cancel", user, _text(dag, wanted)), act, Canceled)

    async def _invalidate(
        self, namespace: str, dataset: str, wanted: Invalidation, user: str, request: str | None
    ) -> Invalidated:
        org = await self._org(namespace)
        async with self._db.transaction() as tx:
            place = await invalidations.find(tx, org.id, dataset)

        async def act(tx: Transaction) -> Invalidated:
            await locks.lock_dag_shared_soon(tx, org.id, place.dag)
            return await invalidations.invalidate(tx, org.id, dataset, place, wanted)

        return await self._once(
            org, place.dag, request, ("invalidate", user, _text(dataset, wanted)), act, Invalidated
        )  # fmt: skip

    async def _once(
        self,
        org: Org,
        dag: str,
        request: str | None,
        asked: tuple[str, str, str],
        act: Callable[[Transaction], Awaitable[T]],
        shape: type[T],
    ) -> T:
        """Carry a request out, once for its id, and tell the operator; RequestError 409 for another request's id."""
        async with self._db.transaction() as tx:
            try:
                answer = await (once(tx, org.id, request, asked, act, shape) if request else act(tx))
            except OtherRequest as error:
                raise RequestError(409, "Conflict", str(error)) from None
            await tell_touched(tx, [f"{org.slug}/{dag}"])
            return answer

    async def _tasks(self, namespace: str, dag: str, query: TasksQuery) -> Tasks:
        org = await self._org(namespace)
        async with self._db.transaction() as tx:
            if not await runs.is_known(tx, org.id, dag):
                raise await missing(tx, org.id, dag)
            if query.job and not await runs.is_known(tx, org.id, dag, query.job):
                raise not_found(f"no version of DAG {dag} has a job {query.job}")
            found = await runs.list_tasks(
                tx, org.id, dag, query.most + 1, job=query.job, key=query.partition,
                states=None if query.state is None else [query.state], before=query.before,
            )  # fmt: skip
        return Tasks(dag=dag, tasks=tuple(found[: query.most]), more=len(found) > query.most)

    async def _task(self, namespace: str, task: UUID) -> TaskEntry:
        org = await self._org(namespace)
        async with self._db.transaction() as tx:
            found = await runs.show_task(tx, org.id, task)
        if found is None:
            raise not_found(f"there is no task {task} in namespace {namespace}")
        return found

    async def _follow(self, namespace: str, tasks: tuple[UUID, ...]) -> Followed:
        org = await self._org(namespace)
        async with self._db.transaction() as tx:
            return await runs.follow(tx, org.id, tasks)

    async def _why(self, namespace: str, dag: str, job: str, partition: str | None) -> Why:
        org = await self._org(namespace)
        async with self._db.transaction() as tx:
            report = await read_report(tx, org.id, dag)
            unit = await read_unit(tx, org.id, dag, job, partition)
        if report.dag is None:
            raise not_found(f"no version of DAG {dag} serves in namespace {namespace}")
        told = explain_why(report, dag, job, partition, unit)
        if told is None:
            raise not_found(f"the version of DAG {dag} that serves has no job {job}")
        return told

    async def _org(self, namespace: str) -> Org:
        uid = await namespace_uid(self._client, namespace)
        async with self._db.transaction() as tx:
            org = None if uid is None else await find_org(tx, uid)
        if org is None:
            raise not_found(f"namespace {namespace} has no DAG")
        return org


def _text(*asked: object) -> str:
    """What a request asks for, as one text that is the same for the same; a hash, since parameters may be secrets."""
    return hashlib.sha256(msgspec.json.encode(asked, order="sorted")).hexdigest()
