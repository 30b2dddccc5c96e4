"""`headrace plan`: what applying files would do, asked of the gateway."""

from __future__ import annotations

import asyncio
import sys
from argparse import Namespace

from headrace.cli.connection import connected
from headrace.cli.gateway import reached
from headrace.cli.manifests import Manifest, by_namespace, manifests
from headrace.cli.output import machine_text
from headrace.cli.show import changes_anything, show_plans
from headrace.cli.style import colours, paint, plain
from headrace.plan.explanation import Explanation


def run(arguments: Namespace) -> int:
    """Print the plan; 0, or with --exit-code 2 when there is anything to do, or something in the way."""
    found = asyncio.run(_ask(arguments, manifests(arguments.filename, arguments.recursive)))
    if arguments.output == "text":
        sys.stdout.write(show_plans(found, paint if colours() else plain))
    else:
        sys.stdout.write(machine_text(found, arguments.output))
    return 2 if arguments.exit_code and any(changes_anything(one) or one.blocked for one in found) else 0


async def _ask(arguments: Namespace, objects: list[Manifest]) -> list[Explanation]:
    async with connected(arguments) as (client, connection, namespace):
        found: list[Explanation] = []
        groups = by_namespace(objects, arguments.namespace, namespace)
        for name, group in sorted(groups.items()):
            async with reached(arguments, client, connection, name) as gateway:
                path = f"/v1/namespaces/{name}/plan"
                found += await gateway.ask("POST", path, list[Explanation], {"objects": group})
        return found
