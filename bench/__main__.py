"""The command line of `bench/run`: brings the cluster and the operator up, measures, prints one table.

Ratios and counts are what to look at: times depend on the machine, and floor and figure share it in one run.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
from collections.abc import Awaitable, Callable

from bench import idle, latency
from bench.place import Place, place
from bench.table import Row, show
from harness import deployment, places
from harness.console import HarnessError, say
from harness.providers import choice

Measure = Callable[[Place, argparse.Namespace], Awaitable[list[Row]]]

MEASURES: dict[str, Measure] = {
    "one": latency.one_at_a_time,
    "many": latency.many_at_once,
    "apply": latency.apply_to_first_pod,
    "idle": idle.idle,
}


def main(argv: list[str]) -> int:
    """Measure and print; 0 unless something could not be measured."""
    parser = argparse.ArgumentParser(prog="bench/run", description=__doc__.splitlines()[0])
    parser.add_argument("rows", nargs="*", help=f"of {', '.join(MEASURES)}; all of them by default")
    parser.add_argument("--name", default=places.DEFAULT_CLUSTER, help="which cluster (default: %(default)s)")
    parser.add_argument("--provider", choices=choice.NAMES, help="default: the one it was made with, else native")
    parser.add_argument(
        "--rounds", type=int, default=10, help="pods of each kind, one at a time (default: %(default)s)"
    )
    parser.add_argument("--at-once", type=int, default=60, help="pods of each kind at once (default: %(default)s)")
    parser.add_argument("--repeat", type=int, default=3, help="how often so many at once (default: %(default)s)")
    parser.add_argument(
        "--idle", type=float, default=320.0, help="seconds to look at idleness; a full pass takes place every 300"
    )
    parser.add_argument("--json", action="store_true", help="the rows as JSON instead of a table")
    chosen = parser.parse_args(argv)
    unknown = set(chosen.rows) - set(MEASURES)
    if unknown:
        parser.error(f"no such rows: {', '.join(sorted(unknown))}")
    try:
        rows = asyncio.run(_measure(chosen))
    except HarnessError as error:
        say(f"headrace: {error}")
        return 1
    if chosen.json:
        print(json.dumps([row.document() for row in rows], indent=1))
    else:
        show(rows)
    return 0


async def _measure(chosen: argparse.Namespace) -> list[Row]:
    provider = choice.get(chosen.name, chosen.provider)
    provider.up()
    env = deployment.environment(provider)
    deployment.load_images(provider)
    deployment.install(env)
    os.environ["KUBECONFIG"] = env["KUBECONFIG"]
    rows: list[Row] = []
    async with place(env, provider.status().addresses.get("audit log")) as there:
        for name in chosen.rows or MEASURES:
            rows += await MEASURES[name](there, chosen)
    return rows


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
