"""`headrace adopt`: give a namespace that was made anew the org that its namesake had; without one, list those."""

from __future__ import annotations

import asyncio
import sys
from argparse import Namespace
from collections.abc import Iterator

from headrace.api.adoption import Adoptables, Adopted
from headrace.api.words import counted
from headrace.cli.connection import connected
from headrace.cli.gateway import reached
from headrace.cli.output import machine_text
from headrace.cli.runs import patient
from headrace.cli.style import clean, table


def run(arguments: Namespace) -> int:
    """Adopt, or list, and print what there is."""
    done = asyncio.run(_ask(arguments))
    if arguments.output != "text":
        sys.stdout.write(machine_text(done, arguments.output))
    else:
        lines = _adopted(done) if isinstance(done, Adopted) else show_adoptables(done)
        sys.stdout.write("".join(clean(line) + "\n" for line in lines))
    return 0


def show_adoptables(found: Adoptables) -> Iterator[str]:
    """The orgs that could be adopted, and how."""
    if not found.orgs:
        yield f"no other namespace {found.namespace} has left an org behind"
        return
    rows = [
        (one.org, f"{one.since:%Y-%m-%d}", counted(one.dags, "DAG"), counted(one.partitions, "partition"))
        for one in found.orgs
    ]
    yield from table(rows, "")
    yield f"To adopt one: headrace adopt ORG -n {found.namespace}"


def _adopted(done: Adopted) -> Iterator[str]:
    yield f"namespace {done.namespace} has the org {done.org} now"
    if done.before is not None:
        yield f"the one that it had is called {done.before}"


async def _ask(arguments: Namespace) -> Adoptables | Adopted:
    async with (
        connected(arguments) as (client, connection, namespace),
        reached(arguments, client, connection, namespace) as gateway,
    ):
        path = f"/v1/namespaces/{namespace}/adopt"
        if arguments.org is None:
            return await gateway.ask("GET", path, Adoptables)
        return await patient(gateway, path, Adopted, {"org": arguments.org})
