"""`headrace status`: what serves, builds, waits and fails in a namespace, as a tree; from the objects' statuses."""

from __future__ import annotations

import asyncio
import shutil
import sys
from argparse import Namespace
from datetime import UTC, datetime
from typing import IO, Final

from rich.console import Console
from rich.text import Text
from rich.tree import Tree

from headrace.cli.connection import connected
from headrace.cli.objects import View, read_view
from headrace.cli.output import machine_text
from headrace.cli.style import WIDTH, clean, colours
from headrace.cli.tree import DagNode, DatasetNode, JobNode, RolloutNode, StatusTree, contents, counts, status_tree

NOT_UP_TO_DATE: Final = 2
_BAR: Final = 20
_COLOURS: Final = {
    "UpToDate": "green", "Idle": "green", "Running": "cyan", "Working": "cyan", "Rebuilding": "cyan",
    "Building": "cyan", "Ready": "cyan", "Stalled": "red", "Degraded": "red", "Failing": "red", "Failed": "red",
    "Absent": "red", "NotReady": "red",
}  # fmt: skip
_FRESH: Final = {True: "green", False: "red"}


def run(arguments: Namespace) -> int:
    """Print the tree; 0 when all of it is up to date, else 2."""
    told = status_tree(asyncio.run(_read(arguments)), arguments.target, all_jobs=arguments.all)
    if arguments.output == "text":
        width = shutil.get_terminal_size((WIDTH, 24)).columns
        show_status(told, sys.stdout, now=datetime.now(UTC), width=width, coloured=colours())
    else:
        sys.stdout.write(machine_text(told, arguments.output))
    return 0 if told.up_to_date else NOT_UP_TO_DATE


async def _read(arguments: Namespace) -> View:
    async with connected(arguments) as (client, _, namespace):
        return await read_view(client, namespace)


def show_status(told: StatusTree, file: IO[str], *, now: datetime, width: int = WIDTH, coloured: bool = False) -> None:
    """Write the tree as text."""
    tree = Tree(Text(clean(told.namespace), "bold"), guide_style="dim")
    for dag in told.dags:
        _add_dag(tree, dag, now)
    if not told.dags:
        tree.add(Text("no DAG is there", "dim"))
    console = Console(
        file=file, width=width, force_terminal=coloured, color_system="standard" if coloured else None, highlight=False
    )
    with console.capture() as captured:
        console.print(tree)
    file.write("".join(line.rstrip() + "\n" for line in captured.get().splitlines()))


def _add_dag(tree: Tree, dag: DagNode, now: datetime) -> None:
    label = Text.assemble((clean(dag.name), "bold"), "  ", _state(dag.state))
    label.append(f"  {dag.version}" if dag.version else "  no version", "dim")
    _reason(label, dag.message)
    branch = tree.add(label)
    if dag.rollout is not None:
        branch.add(_rollout(dag.rollout, shown=dag.message))
    names = max((len(job.name) for job in dag.jobs), default=0)
    states = max((len(job.state) for job in dag.jobs), default=0)
    for job in dag.jobs:
        leaf = branch.add(_job(job, min(names, 28), states, now))
        for dataset in job.datasets:
            leaf.add(_dataset(dataset, now))
    for dataset in dag.datasets:
        branch.add(_dataset(dataset, now))
    if dag.quiet:
        branch.add(Text(f"and {dag.quiet:,} jobs with nothing to tell: --all shows them", "dim"))


def _rollout(rollout: RolloutNode, shown: str) -> Text:
    label = Text.assemble(f"→ {rollout.version}  ", _state(rollout.state), "  ")
    if rollout.total:
        filled = _BAR * min(rollout.done, rollout.total) // rollout.total
        label.append("█" * filled, "green").append("░" * (_BAR - filled), "dim")
        label.append(f"  {rollout.done:,} of {rollout.total:,} tasks")
    _reason(label, "" if rollout.why in shown else rollout.why)
    return label


def _job(job: JobNode, names: int, states: int, now: datetime) -> Text:
    label = Text.assemble(f"{clean(job.name):{names}}  ", _state(job.state), " " * (states - len(job.state)), "  ")
    label.append(counts(job))
    if job.next_run:
        label.append(f", next in {_span(_time(job.next_run), now)}", "dim")
    _reason(label, job.why)
    return label


def _dataset(dataset: DatasetNode, now: datetime) -> Text:
    label = Text.assemble((clean(dataset.name), "cyan"), f"  {contents(dataset)}")
    if dataset.updated:
        label.append(f", {_span(now, _time(dataset.updated))} ago")
    if dataset.fresh is not None:
        fresh = dataset.fresh.status == "True"
        label.append("  ").append("Fresh" if fresh else clean(dataset.fresh.reason or "NotFresh"), _FRESH[fresh])
        _reason(label, "" if fresh else dataset.fresh.message)
    _reason(label, dataset.why)
    return label


def _state(state: str) -> Text:
    return Text(clean(state), _COLOURS.get(state, "yellow"))


def _reason(label: Text, words: str) -> None:
    """A reason on lines of its own, below."""
    if words:
        label.append("\n").append(clean(" ".join(words.split())), "dim")


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text)


def _span(later: datetime, earlier: datetime) -> str:
    """How long between two times, in one unit: `7m`."""
    seconds = max(0, int((later - earlier).total_seconds()))
    for unit, size in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds >= 2 * size:
            return f"{seconds // size}{unit}"
    return f"{seconds}s"
