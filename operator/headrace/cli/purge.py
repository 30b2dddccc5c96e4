"""`headrace purge`: shows what contents nothing needs; with --confirm retires them, for their owner to delete."""

from __future__ import annotations

import asyncio
import sys
from argparse import Namespace
from typing import Final

import msgspec

from headrace.api.purge import Purged, PurgedGeneration, purge_of
from headrace.api.words import counted
from headrace.cli.connection import connected
from headrace.cli.gateway import reached
from headrace.cli.output import machine_text
from headrace.cli.runs import patient
from headrace.cli.style import clean

_KEPT: Final = {
    "serves": "of the version that serves",
    "rollout": "of a rollout",
    "pinned": "of the pinned version",
    "task": "made or read by tasks",
    "recent": "of the last versions",
    "served": "of versions that served not long ago",
    "read": "read by somebody page by page",
    "sibling": "made with others that are kept",
}


def run(arguments: Namespace) -> int:
    """Ask, and show what there is to delete."""
    told = asyncio.run(_ask(arguments))
    sys.stdout.write(machine_text(told, arguments.output) if arguments.output != "text" else show_purge(told))
    return 0


async def _ask(arguments: Namespace) -> Purged:
    wanted = purge_of(arguments)
    async with (
        connected(arguments) as (client, connection, namespace),
        reached(arguments, client, connection, namespace) as gateway,
    ):
        path = f"/v1/namespaces/{namespace}/dags/{arguments.dag}/purge"
        return await patient(gateway, path, Purged, msgspec.to_builtins(wanted))


def show_purge(told: Purged) -> str:
    """What would go, what is gone, what stays and why; and the next step."""
    if told.forgotten or (told.confirmed and not (told.generations or told.superseded or told.kept)):
        return clean(f"DAG {told.dag}: {counted(told.forgotten, 'location')} forgotten") + "\n"
    fresh = sum(1 for g in told.generations if g.retired is None)
    old = len(told.generations) - fresh
    lines = [f"DAG {told.dag}"]
    if fresh:
        lines.append(f"  {counted(fresh, 'generation')} of datasets to retire; nothing is changed without --confirm")
        lines += [line for g in told.generations if g.retired is None for line in _generation(g)]
    if old:
        lines.append(f"  {counted(old, 'generation')} retired: delete what lies below")
        lines += [line for g in told.generations if g.retired is not None for line in _generation(g)]
    if told.superseded:
        lines.append(f"  {counted(len(told.superseded), 'output')} superseded: delete")
        lines += [f"    {s.location}" for s in told.superseded]
    if not (told.generations or told.superseded):
        lines.append("  nothing to retire or to delete")
    lines += ["  and more: --confirm and --forget these first"] if told.more else []
    lines += [f"  {counted(sum(told.kept.values()), 'generation')} kept"] if told.kept else []
    lines += [f"    {told.kept[reason]:,} {words}" for reason, words in _KEPT.items() if reason in told.kept]
    return "".join(clean(line) + "\n" for line in [*lines, *_next(told)])


def _generation(told: PurgedGeneration) -> list[str]:
    of = f" of version {', '.join(told.versions)}" if told.versions else ""
    size = [counted(told.partitions, "partition")]
    size += [counted(told.rows, "row")] if told.rows is not None else []
    size += [f"{told.bytes:,} bytes"] if told.bytes is not None else []
    return [f"    {told.location}", f"      {told.dataset}{of}: {', '.join(size)}"]


def _next(told: Purged) -> list[str]:
    if not (told.generations or told.superseded):
        return []
    if not told.confirmed:
        return [f"Retire and list them: headrace purge {told.dag} --confirm"]
    return [f"Once they are deleted: headrace purge {told.dag} --forget {told.listed.isoformat()}"]
