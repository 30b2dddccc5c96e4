"""Asks the API server whether it would take the pods of jobs, without making any. reconcile and admission call it.

Each distinct pod is asked about once; what a full quota refuses is taken later, and counts as taken.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Final
from uuid import UUID, uuid4

import msgspec

from headrace.cluster.client import Client, Refused, is_quota
from headrace.cluster.pods import try_out
from headrace.compile.document import Compiled, JobDocument
from headrace.run.render import render_pod
from headrace.state.attempts import RunningPod

_AT_ONCE: Final = 8


def distinct(compiled: Compiled, jobs: Iterable[JobDocument]) -> dict[str, JobDocument]:
    """Of these jobs of the document one for each distinct pod, by its digest; jobs without pods have none."""
    return {compiled.jobs[job.name].pod: job for job in jobs if job.pod is not None}


async def refusals(
    client: Client, namespace: str, dag: str, dag_uid: str, jobs: Iterable[JobDocument]
) -> list[tuple[str, Refused]]:
    """(job, refusal) of each whose pod the cluster would not take."""
    gate = asyncio.Semaphore(_AT_ONCE)

    async def one(job: JobDocument) -> tuple[str, Refused] | None:
        async with gate:
            try:
                await try_out(client, namespace, render_pod(_example(namespace, dag, dag_uid, job), "http://gateway"))
            except Refused as error:
                return None if is_quota(error) else (job.name, error)
        return None

    return [found for found in await asyncio.gather(*map(one, jobs)) if found]


def told(found: Iterable[tuple[str, Refused]]) -> str:
    """The refusals in the words of a condition."""
    return "; ".join(
        f"spec.jobs[{name}]: the cluster refuses its pod: {error}" for name, error in sorted(found, key=str)
    )


def not_a_tenant(namespace: str) -> str:
    """The cause and the way out where the operator may not make pods."""
    return (
        f"the operator may not make pods in namespace {namespace}: bind it there with kubectl create rolebinding "
        f"headrace-tenant -n {namespace} --clusterrole=headrace-tenant "
        "--serviceaccount=headrace-system:headrace-operator"
    )


def _example(namespace: str, dag: str, dag_uid: str, job: JobDocument) -> RunningPod:
    """A task of the job as it might be, for trying its pod out."""
    token = uuid4()
    return RunningPod(
        id=UUID(int=0),
        attempt=1,
        token=token,
        pod_name=f"{dag}-{job.name}".replace("_", "-")[:30].rstrip("-") + f"-{token.hex}",
        epoch=0,
        partitions=["*"],
        inputs={},
        outputs=[],
        org_id=UUID(int=0),
        org=namespace,
        dag=dag,
        job=job.name,
        operator=job.operator,
        config=job.config,
        pod=msgspec.to_builtins(job.made_from() or {}),
        timeout_seconds=job.timeout_seconds,
        dag_uid=dag_uid,
    )
