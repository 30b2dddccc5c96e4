"""The one reconcile: observe, compile, plan, commit, run, status; for create, update, resume and the periodic pass.

It is called with the key of a DAG and decides from what is there now, never from what the event said. Reconciling twice
in a row does nothing the second time.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import cast
from uuid import UUID, uuid4

import msgspec

from headrace.api import names
from headrace.api.parse import DagObject, InvalidObject, parse_dag
from headrace.cluster.client import Client, Refused
from headrace.cluster.namespaces import namespace_uid
from headrace.cluster.objects import Body, Key, Objects
from headrace.cluster.pods import Pods
from headrace.cluster.writes import project, write_status
from headrace.compile.dag import compile_dag
from headrace.compile.document import Compiled, JobDocument
from headrace.compile.hashes import canonical_json
from headrace.compile.problems import CompileError
from headrace.plan.decide import decide
from headrace.plan.steps import AddVersion
from headrace.run.dispatch import Dispatcher
from headrace.run.render import render_pod
from headrace.run.sources import handle_run
from headrace.state import orgs, tasks, versions
from headrace.state.database import Database
from headrace.state.orgs import Org
from headrace.state.report import Report, read_report
from headrace.state.tasks import RunningPod
from headrace.status.dag import Outcome, dag_status
from headrace.status.parts import dataset_status, job_status

logger = logging.getLogger(__name__)

_TRY_OUTS = 8


@dataclass
class Reconciler:
    """What a reconcile needs."""

    client: Client
    db: Database
    objects: Objects
    pods: Pods
    dispatcher: Dispatcher
    storage_base: str
    epoch: int
    _orgs: dict[str, Org] = field(default_factory=dict)
    _outcomes: dict[tuple[str, int], tuple[DagObject | None, Compiled | None, Outcome]] = field(default_factory=dict)
    _tried: set[str] = field(default_factory=set)

    async def reconcile(self, key: Key) -> None:
        """Bring the DAG `key` to what its object says. TemporaryError: try again later."""
        body = self.objects.get(names.DAG, key.namespace, key.name)
        metadata = cast("Mapping[str, object]", body["metadata"]) if body else {}
        if body is None or metadata.get("deletionTimestamp") is not None:
            await self._stop(key)
            return
        org = await self._org(key, str(metadata["uid"]))
        if org is None:
            return
        dag, compiled, outcome = self._compiled(key, body)
        self.dispatcher.follow(org.id, key.namespace)
        if dag is not None and compiled is not None:
            outcome = await self._commit(org, dag, compiled)
            self.dispatcher.cron.changed()
            self.dispatcher.wake()
        await self._tell(key, org, body, outcome)

    async def _org(self, key: Key, dag_uid: str) -> Org | None:
        """The org of the DAG's namespace; None when the namespace is gone by now."""
        if dag_uid not in self._orgs:
            uid = await namespace_uid(self.client, key.namespace)
            if uid is None:
                return None
            async with self.db.transaction() as tx:
                self._orgs[dag_uid] = await orgs.ensure_org(tx, key.namespace, uid)
        return self._orgs[dag_uid]

    def _compiled(self, key: Key, body: Body) -> tuple[DagObject | None, Compiled | None, Outcome]:
        """The object and its document, compiled once for each generation; or an outcome that says what is wrong."""
        metadata = cast("Mapping[str, object]", body["metadata"])
        at = (str(metadata["uid"]), cast("int", metadata["generation"]))
        known = self._outcomes.get(at)
        if known is not None and known[0] is None:
            return known
        found: tuple[DagObject | None, Compiled | None, Outcome]
        try:
            dag = parse_dag(body)
            compiled = known[1] if known else None
            compiled = compiled or compile_dag(key.name, dag.spec)
            found = (dag, compiled, Outcome(yaml_hash=compiled.yaml_hash, warnings=compiled.warnings))
        except InvalidObject as error:
            problems = "\n".join(f"{path}: {message}" for path, message in error.problems)
            found = (None, None, Outcome(reason="InvalidSpec", message=problems))
        except CompileError as error:
            told = "\n".join(str(p).removeprefix(f"{p.object}: ") for p in error.problems)
            found = (None, None, Outcome(reason="InvalidSpec", message=told))
        self._outcomes = {a: o for a, o in self._outcomes.items() if a[0] != at[0]} | {at: found}
        return found

    async def _commit(self, org: Org, dag: DagObject, compiled: Compiled) -> Outcome:
        """Plan under the DAG's lock and carry it out in the same transaction; try pods out before a new version."""
        name, good = dag.metadata.name, Outcome(yaml_hash=compiled.yaml_hash, warnings=compiled.warnings)
        uid, suspended = dag.metadata.uid, bool(dag.spec.suspend)
        if compiled.yaml_hash not in self._tried:
            async with self.db.transaction() as tx:
                plan = decide(compiled, uid, suspended, await versions.observe(tx, org, compiled))
            if any(isinstance(step, AddVersion) for step in plan.steps):
                refused = await self._try_out(org, dag, compiled)
                if refused is not None:
                    return refused
            self._tried.add(compiled.yaml_hash)
        async with self.db.transaction() as tx:
            await versions.lock_dag(tx, org, name)
            plan = decide(compiled, uid, suspended, await versions.observe(tx, org, compiled))
            if plan.steps:
                await tasks.fence(tx, self.epoch)
                await versions.apply(tx, org, name, self.storage_base, plan.steps)
            request = dag.metadata.annotations.get(names.ANNOTATION_RUN)
            if request is not None and plan.blocked is None:
                outcome = await handle_run(tx, org.id, name, request)
                if outcome is not None:
                    logger.info("DAG %s/%s: run %s: %s", org.slug, name, request, outcome)
        if plan.blocked is not None:
            return Outcome(yaml_hash=None, reason=plan.blocked.reason, message=plan.blocked.message)
        for step in plan.steps:
            logger.info("DAG %s/%s: %s", org.slug, name, type(step).__name__)
        return good

    async def _try_out(self, org: Org, dag: DagObject, compiled: Compiled) -> Outcome | None:
        """Ask the API server whether it would take the jobs' pods, once for each distinct template."""
        distinct = {canonical_json([j.pod, j.timeout_seconds]): j for j in compiled.document.jobs if j.pod is not None}
        gate = asyncio.Semaphore(_TRY_OUTS)

        async def one(job: JobDocument) -> tuple[str, Refused] | None:
            async with gate:
                try:
                    await self.pods.try_out(org.slug, render_pod(_example(org, dag, job)))
                except Refused as error:
                    return job.name, error
            return None

        found = [f for f in await asyncio.gather(*(one(j) for j in distinct.values())) if f is not None]
        if not found:
            return None
        if any(error.status == 403 and "cannot create resource" in str(error) for _, error in found):
            return Outcome(reason="NotATenant", message=not_a_tenant(org.slug))
        told = "\n".join(
            f"spec.jobs[{name}]: the cluster refuses its pod: {error}" for name, error in sorted(found, key=str)
        )
        return Outcome(reason="PodRefused", message=told)

    async def _stop(self, key: Key) -> None:
        """The object is gone: stop its work, in the org that its namespace had."""
        async with self.db.transaction() as tx:
            gone = [d for d in await versions.present_dags(tx) if (d.namespace, d.name) == (key.namespace, key.name)]
        for dag in gone:
            async with self.db.transaction() as tx:
                if await versions.stop(tx, dag.org_id, dag.name):
                    logger.info("DAG %s/%s is gone: its work stops, its rows stay", key.namespace, key.name)
            self.dispatcher.follow(dag.org_id, key.namespace)
        self.dispatcher.wake()

    async def _tell(self, key: Key, org: Org, body: Body, outcome: Outcome) -> None:
        """Show the parts of what serves as objects, and write every status that differs."""
        async with self.db.transaction() as tx:
            report = await read_report(tx, org.id, key.name)
        generation = cast("int", cast("Mapping[str, object]", body["metadata"])["generation"])
        refused = not_a_tenant(key.namespace) if key.namespace in self.pods.refused else None
        now = report.dag.now if report.dag else datetime.now(UTC)
        status = dag_status(body, generation, outcome, report, refused, now)
        await write_status(self.client, self.objects, names.DAG, body, status)
        await self._tell_parts(key, org, body, report)

    async def _tell_parts(self, key: Key, org: Org, body: Body, report: Report) -> None:
        if report.dag is None:
            return
        jobs = {names.project_name(key.name, row.name): row for row in report.jobs}
        published = [row for row in report.datasets if "." not in row.name]
        datasets = {names.project_name(key.name, row.name): row for row in published}
        wanted_jobs: dict[str, Body] = {
            n: {"dag": key.name, "jobName": row.name, "projected": True} for n, row in jobs.items()
        }
        wanted_datasets: dict[str, Body] = {
            n: {"from": {"dag": key.name, "job": row.job, "output": row.output}, "projected": True}
            for n, row in datasets.items()
        }
        await project(self.client, self.objects, names.JOB, body, wanted_jobs)
        await project(self.client, self.objects, names.DATASET, body, wanted_datasets)
        waiting = self.dispatcher.why_waiting(key.namespace)
        for name, job in jobs.items():
            there = self.objects.get(names.JOB, key.namespace, name)
            if there is not None:
                status = job_status(there, _generation(there), key.name, report.dag, job, waiting)
                await write_status(self.client, self.objects, names.JOB, there, status)
        for name, dataset in datasets.items():
            there = self.objects.get(names.DATASET, key.namespace, name)
            if there is not None:
                told = dataset_status(there, _generation(there), key.name, report.dag, dataset)
                await write_status(self.client, self.objects, names.DATASET, there, told)


def not_a_tenant(namespace: str) -> str:
    """The cause and the way out where the operator may not make pods."""
    return (
        f"the operator may not make pods in namespace {namespace}: bind it there with kubectl create rolebinding "
        f"headrace-tenant -n {namespace} --clusterrole=headrace-tenant "
        "--serviceaccount=headrace-system:headrace-operator"
    )


def _generation(body: Body) -> int:
    return cast("int", cast("Mapping[str, object]", body["metadata"])["generation"])


def _example(org: Org, dag: DagObject, job: JobDocument) -> RunningPod:
    """A task of the job as it might be, for trying its pod out."""
    token = uuid4()
    return RunningPod(
        id=UUID(int=0),
        attempt=1,
        token=token,
        pod_name=f"{dag.metadata.name}-{job.name}".replace("_", "-")[:30].rstrip("-") + f"-{token.hex}",
        partitions=["*"],
        inputs={},
        outputs=[],
        org_id=org.id,
        org=org.slug,
        dag=dag.metadata.name,
        job=job.name,
        operator=job.operator,
        config=job.config,
        pod=msgspec.to_builtins({"template": job.pod, "container": job.container}),
        timeout_seconds=job.timeout_seconds,
        dag_uid=dag.metadata.uid,
    )
