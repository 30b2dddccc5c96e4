"""The command line of `bench/run`: measures, prints one table; for what needs them, brings cluster and operator up.

Ratios and counts are what to look at: times depend on the machine, and floor and figure share it in one run.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
from collections.abc import Awaitable, Callable, Sequence

from bench import deploy, grown, idle, latency, starts, workers
from bench.place import Place, place
from bench.queue.rows import queue
from bench.table import Row, show
from harness import deployment, places
from harness.console import HarnessError, say
from harness.providers import choice

Measure = Callable[[Place, argparse.Namespace], Awaitable[list[Row]]]

ALONE: dict[str, Callable[[argparse.Namespace], Awaitable[list[Row]]]] = {
    "deploy": deploy.deploy,
    "queue": queue,
    "grown": grown.grown,
}
"""What needs no cluster."""
ON_CLUSTER: dict[str, Measure] = {
    "one": latency.one_at_a_time,
    "many": latency.many_at_once,
    "apply": latency.apply_to_first_pod,
    "pods": workers.pods,
    "warm": workers.warm,
    "idle": idle.idle,
    "starts": starts.starts,
}


def main(argv: list[str]) -> int:
    """Measure and print; 0 unless something could not be measured."""
    parser = argparse.ArgumentParser(prog="bench/run", description=__doc__.splitlines()[0])
    parser.add_argument("rows", nargs="*", help=f"of {', '.join([*ALONE, *ON_CLUSTER])}; all of them by default")
    parser.add_argument("--name", default=places.chosen_cluster(), help="which cluster (default: %(default)s)")
    parser.add_argument("--provider", choices=choice.NAMES, help="default: the one it was made with, else native")
    parser.add_argument(
        "--rounds", type=int, default=10, help="pods of each kind, one at a time (default: %(default)s)"
    )
    parser.add_argument("--at-once", type=int, default=60, help="pods of each kind at once (default: %(default)s)")
    parser.add_argument("--repeat", type=int, default=3, help="how often so many at once (default: %(default)s)")
    parser.add_argument("--pods", type=int, default=200, help="task pods in all (default: %(default)s)")
    parser.add_argument("--slots", type=int, default=16, help="of them at once (default: %(default)s)")
    parser.add_argument("--warm-tasks", type=int, default=1000, help="tasks on warm workers (default: %(default)s)")
    parser.add_argument(
        "--idle", type=float, default=320.0, help="seconds to look at idleness; a full pass takes place every 300"
    )
    parser.add_argument("--idle-dags", type=int, default=200, help="DAGs that are there then (default: %(default)s)")
    parser.add_argument("--idle-jobs", type=int, default=10, help="jobs of each (default: %(default)s)")
    parser.add_argument("--dags", type=int, default=2000, help="DAGs that a start finds (default: %(default)s)")
    parser.add_argument(
        "--jobs",
        type=int,
        nargs="+",
        default=[100, 1000, 10000],
        help="sizes of the DAGs deployed (default: %(default)s)",
    )
    parser.add_argument("--deploys", type=int, default=3, help="deploys of each kind and size (default: %(default)s)")
    parser.add_argument(
        "--peer", action=argparse.BooleanOptionalAction, default=True, help="others beside ours (default: yes)"
    )
    parser.add_argument("--tasks", type=int, default=100_000, help="tasks to drain (default: %(default)s)")
    parser.add_argument(
        "--grown-jobs", type=int, default=50, help="jobs of the DAG that has grown (default: %(default)s)"
    )
    parser.add_argument("--partitions", type=int, default=10_000, help="partitions of each (default: %(default)s)")
    parser.add_argument("--json", action="store_true", help="the rows as JSON instead of a table")
    chosen = parser.parse_args(argv)
    unknown = set(chosen.rows) - {*ALONE, *ON_CLUSTER}
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
    wanted = chosen.rows or [*ALONE, *ON_CLUSTER]
    rows: list[Row] = []
    for name in (one for one in wanted if one in ALONE):
        rows += await ALONE[name](chosen)
    if any(name in ON_CLUSTER for name in wanted):
        rows += await _on_cluster(chosen, [name for name in wanted if name in ON_CLUSTER])
    return rows


async def _on_cluster(chosen: argparse.Namespace, wanted: Sequence[str]) -> list[Row]:
    provider = choice.get(chosen.name, chosen.provider)
    provider.up()
    env = deployment.environment(provider)
    deployment.load_images(provider)
    deployment.install(env)
    os.environ["KUBECONFIG"] = env["KUBECONFIG"]
    rows: list[Row] = []
    async with place(env, provider.status().addresses.get("audit log")) as there:
        for name in wanted:
            rows += await ON_CLUSTER[name](there, chosen)
    return rows


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
