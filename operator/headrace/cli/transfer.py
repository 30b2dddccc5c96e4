"""`headrace transfer`: give the name of a published dataset to another DAG."""

from __future__ import annotations

import asyncio
import sys
from argparse import Namespace

from headrace.api.history import Transferred
from headrace.cli.connection import connected
from headrace.cli.gateway import reached
from headrace.cli.output import machine_text
from headrace.cli.service import GatewayError
from headrace.cli.style import clean


def run(arguments: Namespace) -> int:
    """Transfer, and print whose it was and is."""
    done = asyncio.run(_ask(arguments))
    if arguments.output == "text":
        sys.stdout.write(
            clean(f"dataset {done.dataset} belongs to DAG {done.dag} now; before, to {done.before}") + "\n"
        )
    else:
        sys.stdout.write(machine_text(done, arguments.output))
    return 0


async def _ask(arguments: Namespace) -> Transferred:
    if "." in arguments.dataset:
        raise GatewayError(f"{arguments.dataset} is not published: only a name of its own can be transferred")
    async with (
        connected(arguments) as (client, connection, namespace),
        reached(arguments, client, connection, namespace) as gateway,
    ):
        path = f"/v1/namespaces/{namespace}/datasets/{arguments.dataset}/transfer"
        return await gateway.ask("POST", path, Transferred, {"to": arguments.to})
