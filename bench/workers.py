"""Task pods by the hundred, and workers: beside pods and batch/v1 Jobs that nobody's operator made.

A worker's task tells at which instant it ran by the rows that it reports, in tenths of a millisecond since 1970; its
pod, by the termination message, at which instant its process ended.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import time
from collections.abc import Mapping
from typing import Any, Final

import psycopg

from bench.place import COMMAND, IMAGE, Place
from bench.table import Row
from harness.console import HarnessError, Progress
from headrace.api import names
from headrace.cluster.client import path_of

_WORKER: Final = "docker.io/local/headrace:dev"
_IDLE: Final = 3.0
_CODE: Final = """
import time
from headrace.worker import run, task
@task
def work(task):
    task.made(rows=int(time.time() * 10000))
run()
"""
_SAY: Final = 'printf \'{"at": %s}\' "$(date +%s.%N)" > /dev/termination-log'
_TOLD: Final = """
SELECT v.row_count FROM partition_versions v JOIN datasets d ON d.id = v.dataset_uuid JOIN orgs o ON o.id = d.org_id
WHERE o.slug = %s AND d.producer_dag_name = %s AND d.producer_job_name = 'work' ORDER BY 1
"""


async def pods(there: Place, chosen: argparse.Namespace) -> list[Row]:
    """So many task pods, some at once: beside a creator that does nothing else, and beside one batch/v1 Job."""
    count, slots = chosen.pods, chosen.slots
    bare: list[float] = []
    jobs: list[float] = []
    ours: list[float] = []
    with Progress(f"{count} pods, {slots} at once", lambda: f"{len(ours)} of {chosen.repeat}"):
        for repeat in range(chosen.repeat):
            bare.append(await _bare(there, f"slots-{repeat}", count, slots))
            jobs.append(await _batch_job(there, f"batch-{repeat}", count, slots))
            ours.append(await _task_pods(there, f"pods-{repeat}", count, slots))
    what = f"{count} task pods, {slots} at once"
    note = f"from the request until the last has run, {count / statistics.median(ours):.1f} a second"
    return [
        _faster(what, ours, bare, f"{note}; beside bare pods by a creator with as many slots; goal 0.95"),
        _faster(what, ours, jobs, f"{note}; beside one batch/v1 Job; goal 1.3"),
    ]


async def warm(there: Place, chosen: argparse.Namespace) -> list[Row]:
    """Workers: the first task from zero, how late an idle one ends, and many tasks beside a pod for each."""
    first: list[float] = []
    floors: list[float] = []
    late: list[float] = []
    await there.create(_dag("zero", _worker(1, 1)))
    await there.settled("zero", "Ready")
    with Progress("first task on a worker from zero", lambda: f"{len(first)} of {chosen.rounds}"):
        for number in range(chosen.rounds):
            floors.append(await _one_bare(there, f"zero-{number}"))
            known, began = set(there.ran), time.time()
            await there.ask("zero", f"key -p k{number:04}")
            await there.settled("zero")
            ran = await _told(there, "zero", number + 1)
            first.append(ran[-1] - began)
            (ended,) = await there.run(1, known)
            late.append(ended - ran[-1] - _IDLE)
            await there.delete_pods()
    one = statistics.median(first) - statistics.median(floors)
    rows = [
        Row("first task on a worker from zero, over a bare pod, p50", f"{one * 1000:.0f} ms", "goal: 50 ms", None,
            "a pod of the same image and interpreter that does nothing"),
        Row("idle worker ends, late by at most", f"{max(late):.2f} s", "goal: 1 s", None,
            f"after its idleTimeout of {_IDLE:g} s, {len(late)} workers"),
    ]  # fmt: skip
    return [*rows, await _many(there, chosen)]


async def _many(there: Place, chosen: argparse.Namespace) -> Row:
    """So many tasks on four workers that are up, beside task pods, as many at once as a node takes in slots."""
    tasks, few = chosen.warm_tasks, chosen.pods
    await there.create(_dag("many", _worker(4 * 16, 16)))
    await there.settled("many", "Ready")
    await there.ask("many", "key " + " ".join(f"-p w{number:03}" for number in range(64)))
    await there.settled("many")
    began = time.time()
    await there.ask("many", "key " + " ".join(f"-p k{number:05}" for number in range(tasks)))
    ran = await _told(there, "many", 64 + tasks)
    ours = tasks / (ran[-1] - began)
    peer = few / await _task_pods(there, "each", few, chosen.slots)
    note = f"{tasks} tasks from the request until the last has run; beside a pod for each, {chosen.slots} at once"
    return Row("tasks a second on 4 warm workers", f"{ours:.0f}/s", f"{peer:.1f}/s", ours / peer, note)


def _faster(what: str, ours: list[float], peers: list[float], note: str) -> Row:
    """A row of speeds: how many times as fast ours is."""
    one, other = statistics.median(ours), statistics.median(peers)
    return Row(what, f"{one:.2f} s", f"{other:.2f} s", other / one, note)


async def _bare(there: Place, label: str, count: int, slots: int) -> float:
    """Seconds from the first creation until the last of the pods has run, a new one as each ends."""
    gate, known, began = asyncio.Semaphore(slots), set(there.ran), time.time()

    async def one(name: str) -> None:
        async with gate:
            await there.bare_pod(name)
            await there.has_run(name)

    await asyncio.gather(*(one(f"{label}-{number}") for number in range(count)))
    took = (await there.run(count, known))[-1] - began
    await there.delete_pods()
    return took


async def _batch_job(there: Place, name: str, count: int, slots: int) -> float:
    container = {"name": "main", "image": IMAGE, "command": COMMAND,
                 "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}}  # fmt: skip
    pod = {"restartPolicy": "Never", "automountServiceAccountToken": False, "enableServiceLinks": False,
           "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
           "containers": [container]}  # fmt: skip
    manifest = {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": name, "namespace": there.namespace},
                "spec": {"completions": count, "parallelism": slots, "template": {"spec": pod}}}  # fmt: skip
    known, began = set(there.ran), time.time()
    await there.client.create(path_of("batch/v1", there.namespace, "jobs"), manifest, dict[str, object])
    took = (await there.run(count, known))[-1] - began
    await there.client.delete(path_of("batch/v1", there.namespace, "jobs", name), {"propagationPolicy": "Background"})
    await there.delete_pods()
    return took


async def _task_pods(there: Place, dag: str, count: int, slots: int) -> float:
    keys = [f"k{number:04d}" for number in range(count)]
    await there.apply(dag, {"kind": "manual", "partitions": {"values": keys}}, slots)
    await there.settled(dag, "Ready")
    known, began = set(there.ran), time.time()
    await there.ask(dag)
    took = (await there.run(count, known))[-1] - began
    await there.settled(dag)
    await there.empty()
    return took


def _worker(most: int, batch: int) -> dict[str, Any]:
    """A job whose workers say when each task ran, and at their end that they end."""
    return {"name": "work", "image": _WORKER, "command": ["sh", "-c", f'python -c "$0"; {_SAY}', _CODE],
            "inputs": [{"from": {"job": "key"}}], "idleTimeout": f"{_IDLE:g}s",
            "scaling": {"maxConcurrency": most, "batch": batch}}  # fmt: skip


def _dag(name: str, job: Mapping[str, Any]) -> dict[str, Any]:
    source = {"name": "key", "source": {"kind": "manual"}}
    return {"apiVersion": names.API_VERSION, "kind": names.DAG, "metadata": {"name": name},
            "spec": {"jobs": [source, dict(job)]}}  # fmt: skip


async def _one_bare(there: Place, name: str) -> float:
    """Seconds until a pod of the workers' image has started its interpreter."""
    known, began = set(there.ran), time.time()
    await there.bare_pod(name, image=_WORKER, command=["sh", "-c", f"python -c pass; {_SAY}"])
    (ran,) = await there.run(1, known)
    await there.delete_pods()
    return ran - began


async def _told(there: Place, dag: str, count: int) -> list[float]:
    """The instants at which the tasks of a DAG's workers ran, once so many have."""
    deadline = time.monotonic() + 300.0
    url = there.env["HEADRACE_DATABASE_URL"]
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
        while True:
            cursor = await connection.execute(_TOLD.encode(), (there.namespace, dag))
            found = [row[0] / 10_000 for row in await cursor.fetchall()]
            if len(found) >= count:
                return found
            if time.monotonic() > deadline:
                raise HarnessError(f"{len(found)} of {count} tasks of DAG {dag} have run")
            await asyncio.sleep(0.05)
