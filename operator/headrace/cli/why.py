"""`headrace why DAG/JOB`: why a job does not run, or one partition of it, with what it waits for."""

from __future__ import annotations

import asyncio
import sys
from argparse import Namespace
from urllib.parse import urlencode

from msgspec import Struct, field
from msgspec.structs import replace

from headrace.api.names import JOB
from headrace.api.runs import Why
from headrace.cli.connection import connected
from headrace.cli.gateway import reached
from headrace.cli.output import machine_text
from headrace.cli.style import WIDTH, clean, shorten, table, wrapped
from headrace.cluster.client import Client, Refused
from headrace.cluster.objects import object_path


class _Meta(Struct):
    name: str


class _Spec(Struct, rename="camel"):
    dag: str
    job_name: str | None = None


class _Status(Struct, rename="camel"):
    waiting_for: str | None = None


class _Job(Struct):
    metadata: _Meta
    spec: _Spec
    status: _Status = field(default_factory=_Status)


class _Jobs(Struct):
    items: list[_Job]


def run(arguments: Namespace) -> int:
    """Print why."""
    found = asyncio.run(_ask(arguments))
    sys.stdout.write(show_why(found) if arguments.output == "text" else machine_text(found, arguments.output))
    return 0


async def _ask(arguments: Namespace) -> Why:
    dag, _, job = arguments.target.partition("/")
    async with (
        connected(arguments) as (client, connection, namespace),
        reached(arguments, client, connection, namespace) as gateway,
    ):
        query = f"?{urlencode({'partition': arguments.partition})}" if arguments.partition else ""
        found = await gateway.ask("GET", f"/v1/namespaces/{namespace}/dags/{dag}/jobs/{job}/why{query}", Why)
        asks = not arguments.partition or (found.state == "Queued" and not found.waits_for)
        told = await _of_pods(client, namespace, dag, job) if asks else None
    return replace(found, words=with_pods(told, found.words, "its job: " if arguments.partition else ""))


def with_pods(told: str | None, words: tuple[str, ...], about: str = "") -> tuple[str, ...]:
    """`words`, and first what is told of pods (of whose: `about`), unless they say so already: a status has the same
    reasons, cut.
    """
    known = told is None or any(told.partition(": ")[0] in one for one in words)
    return words if told is None or known else (f"{about}{told}", *words)


async def _of_pods(client: Client, namespace: str, dag: str, job: str) -> str | None:
    """What the operator says of the job's pods in its object's status; None for who may not look."""
    try:
        jobs = await client.get(object_path(JOB, namespace), _Jobs)
    except Refused:
        return None
    for one in jobs.items if jobs else ():
        if one.spec.dag == dag and (one.spec.job_name or one.metadata.name) == job:
            return one.status.waiting_for
    return None


def show_why(why: Why) -> str:
    """The answer as text."""
    about = f"{why.dag}/{why.job}" + (f" {why.partition}" if why.partition else "")
    lines = [f"{clean(about)}: {why.state}"]
    for words in why.words:
        lines += wrapped(words, "  - ", "    ")
    if why.waits_for:
        lines.append("  It waits for")
        rows = [
            (clean(f"{b.job} {b.partition}"), b.state, shorten(clean(" ".join((b.message or "").split())), WIDTH // 2))
            for b in why.waits_for
        ]
        lines += table(rows, "    ")
    return "\n".join(lines) + "\n"
