"""`headrace invalidate`: said to the gateway, which has what is made from it made again."""

from __future__ import annotations

import asyncio
import sys
from argparse import Namespace

from headrace.api.invalidations import Invalidated, invalidation_of
from headrace.api.words import counted
from headrace.cli.connection import connected
from headrace.cli.gateway import reached
from headrace.cli.output import machine_text
from headrace.cli.runs import ask_once
from headrace.cli.style import clean


def run(arguments: Namespace) -> int:
    """Say what is wrong; shows what is made again."""
    told = asyncio.run(_ask(arguments))
    sys.stdout.write(machine_text(told, arguments.output) if arguments.output != "text" else _words(told))
    return 0


async def _ask(arguments: Namespace) -> Invalidated:
    wanted = invalidation_of(arguments)
    async with (
        connected(arguments) as (client, connection, namespace),
        reached(arguments, client, connection, namespace) as gateway,
    ):
        path = f"/v1/namespaces/{namespace}/datasets/{arguments.dataset}/invalidations"
        return await ask_once(gateway, path, Invalidated, wanted)


def _words(told: Invalidated) -> str:
    lines = [f"{told.dataset}: {told.partitions} of {counted(told.of, 'partition')} out of date"]
    lines += [f"  all of them, since {told.widened}"] if told.widened else []
    for one in told.consumers:
        lines.append(f"  {one.dag}/{one.job}: {counted(one.units, 'unit')} to make again")
        lines += [f"    {one.widened}"] if one.widened else []
    lines += [] if told.consumers else ["  no job reads it"]
    return "".join(clean(line) + "\n" for line in lines)
