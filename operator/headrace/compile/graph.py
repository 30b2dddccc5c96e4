"""The graph of a DAG's jobs: order, ancestors, cycles. Pure; compile and plan call it.

A graph is a mapping of each job's name to the names of the jobs it reads from. Unknown names are the caller's business
and must have been left out.
"""

from __future__ import annotations

from collections.abc import Mapping, Set
from graphlib import CycleError, TopologicalSorter

Graph = Mapping[str, Set[str]]


def find_cycle(parents: Graph) -> tuple[str, ...] | None:
    """The names along one cycle, first and last the same and in the direction data flows; None without a cycle."""
    try:
        TopologicalSorter({name: sorted(above) for name, above in sorted(parents.items())}).prepare()
    except CycleError as error:
        cycle: list[str] = error.args[1]
        return tuple(cycle)
    return None


def topological(parents: Graph) -> tuple[str, ...]:
    """Every name after all it reads from; ties by name, so that the order depends on the graph alone."""
    sorter = TopologicalSorter(parents)
    sorter.prepare()
    order: list[str] = []
    while sorter.is_active():
        ready = sorted(sorter.get_ready())
        order.extend(ready)
        sorter.done(*ready)
    return tuple(order)


def ancestors(parents: Graph) -> dict[str, frozenset[str]]:
    """For each name, all names upstream of it, itself not among them. The graph must have no cycle."""
    above: dict[str, frozenset[str]] = {}
    for name in topological(parents):
        direct = parents.get(name, frozenset())
        above[name] = frozenset(direct).union(*(above[parent] for parent in direct))
    return above
