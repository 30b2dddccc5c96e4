"""`headrace lineage`: what columns are made from, and what from them; as a tree, for programs, or for a picture."""

from __future__ import annotations

import asyncio
import re
import sys
from argparse import Namespace
from collections.abc import Iterable, Iterator, Mapping
from typing import Final
from urllib.parse import quote

from headrace.api.datasets import ColumnEdge, ColumnLineage
from headrace.cli.connection import connected
from headrace.cli.gateway import reached
from headrace.cli.output import machine_text
from headrace.cli.style import Paint, clean, colours, paint, plain

_SIGNS: Final = re.compile(r"[^A-Za-z0-9_ ./-]")
_MOST_LINES: Final = 2000

Column = tuple[str, str]
"""A dataset and one of its columns."""


def run(arguments: Namespace) -> int:
    """Show the lineage."""
    told = asyncio.run(_ask(arguments))
    match arguments.output:
        case "text":
            sys.stdout.write(show_lineage(told, paint if colours() else plain))
        case "mermaid":
            sys.stdout.write(mermaid(told))
        case _:
            sys.stdout.write(machine_text(told, arguments.output))
    return 0


async def _ask(arguments: Namespace) -> ColumnLineage:
    dataset, column = arguments.column
    async with (
        connected(arguments) as (client, connection, namespace),
        reached(arguments, client, connection, namespace) as gateway,
    ):
        query = "" if column is None else f"?column={quote(column, safe='')}"
        return await gateway.ask("GET", f"/v1/namespaces/{namespace}/datasets/{dataset}/lineage{query}", ColumnLineage)


def show_lineage(told: ColumnLineage, paint: Paint = plain) -> str:
    """A tree each way for each column; what was shown before is not shown again, but marked."""
    ups = _edges(((e.dataset, e.column), (e.from_dataset, e.from_column), e) for e in told.upstream)
    downs = _edges(((e.from_dataset, e.from_column), (e.dataset, e.column), e) for e in told.downstream)
    own = {place for place in (*ups, *downs) if place[0] == told.dataset}
    wanted = [(told.dataset, told.column)] if told.column is not None else sorted(own)
    lines: list[str] = []
    for place in wanted:
        lines.append(paint(_named(place), "bold"))
        for title, edges in (("made from", ups), ("used for", downs)):
            if place in edges:
                lines.append(f"  {title}")
                lines += _tree(place, edges, "  ", {place}, paint)
    if not ups and not downs:
        lines.append("  nobody has said what it is made from, or what for it is used")
    if told.cut or len(lines) > _MOST_LINES:
        lines = [*lines[:_MOST_LINES], "  and more: ask for one column, or for JSON"]
    return "".join(f"{line}\n" for line in lines)


def mermaid(told: ColumnLineage) -> str:
    """A flowchart for what draws Mermaid: a box for each dataset, its columns in it, an arrow for each edge."""
    edges = list(dict.fromkeys((*told.upstream, *told.downstream)))
    columns = {place for e in edges for place in ((e.dataset, e.column), (e.from_dataset, e.from_column))}
    columns |= {(told.dataset, told.column)} if told.column is not None else set()
    ids = {place: f"c{number}" for number, place in enumerate(sorted(columns))}
    lines = ["flowchart LR"]
    for number, dataset in enumerate(sorted({dataset for dataset, _ in columns})):
        lines.append(f'  subgraph d{number}["{_label(dataset)}"]')
        lines += [f'    {id_}["{_label(column)}"]' for (of, column), id_ in ids.items() if of == dataset]
        lines.append("  end")
    lines += [
        f"  {ids[e.from_dataset, e.from_column]} -->|{_label(f'{e.dag}/{e.job}')}| {ids[e.dataset, e.column]}"
        for e in edges
    ]
    return "".join(f"{line}\n" for line in lines)


def _edges(told: Iterable[tuple[Column, Column, ColumnEdge]]) -> dict[Column, list[tuple[Column, ColumnEdge]]]:
    found: dict[Column, list[tuple[Column, ColumnEdge]]] = {}
    for one, other, edge in told:
        found.setdefault(one, []).append((other, edge))
    return found


def _tree(
    place: Column, edges: Mapping[Column, list[tuple[Column, ColumnEdge]]], indent: str, seen: set[Column], paint: Paint
) -> Iterator[str]:
    """Depth first, by a stack of its own: a chain may be longer than Python's is deep."""
    stack = [(iter(_children(place, edges)), indent)]
    while stack:
        children, before = stack[-1]
        found = next(children, None)
        if found is None:
            stack.pop()
            continue
        (other, edge), last = found
        known = other in seen and other in edges
        by = f"{edge.dag}/{edge.job}" + ("" if edge.declared else ", as its tasks say")
        again = " (above)" if known else ""
        yield f"{before}{'└─' if last else '├─'} {_named(other)}{again}  {paint(clean(by), 'dim')}"
        if not known:
            seen.add(other)
            stack.append((iter(_children(other, edges)), before + ("   " if last else "│  ")))


def _children(
    place: Column, edges: Mapping[Column, list[tuple[Column, ColumnEdge]]]
) -> list[tuple[tuple[Column, ColumnEdge], bool]]:
    """What hangs at a column, each with whether it is the last."""
    there = edges.get(place, [])
    return [(one, number == len(there) - 1) for number, one in enumerate(there)]


def _named(place: Column) -> str:
    return clean(".".join(place))


def _label(text: str) -> str:
    """Text as Mermaid shows it and does not read it."""
    return _SIGNS.sub(lambda found: f"#{ord(found[0])};", text)
