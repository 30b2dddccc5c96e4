"""The graph of a DAG's jobs: order, ancestors, cycles. Pure; compile and plan call it.

A graph is a mapping of each job's name to the names of the jobs it reads from. Unknown names are the caller's business
and must have been left out.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence, Set
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


def ancestors(parents: Graph, order: Sequence[str]) -> dict[str, int]:
    """For each name of `order` (as from `topological`), what is upstream of it: a set of bits, one for each position.

    The position of a name is its place among all names, sorted. Ten thousand names are 12 MB of bits, where sets of
    names would be gigabytes.
    """
    place = {name: index for index, name in enumerate(sorted(parents))}
    above: dict[str, int] = {}
    for name in order:
        bits = 0
        for parent in parents[name]:
            bits |= above[parent] | 1 << place[parent]
        above[name] = bits
    return above


def read_whole(
    order: Sequence[str], reads: Mapping[str, Sequence[tuple[str | None, str]]], above: Mapping[str, int]
) -> dict[str, int | None]:
    """For each name of `order`, as bits, what makes the wholes that are read by it or by anything upstream of it.

    `reads`: what each reads (None: something outside of the graph) and how, `same` or `latest`; `above` as from
    `ancestors`. None where nothing is read as a whole.
    """
    place = {name: index for index, name in enumerate(sorted(reads))}
    found: dict[str, int | None] = {}
    for name in order:
        own: int | None = None
        for parent, match in reads[name]:
            if match == "latest":
                own = (own or 0) | (0 if parent is None else above[parent] | 1 << place[parent])
            elif parent is not None and found[parent] is not None:
                own = (own or 0) | (found[parent] or 0)
        found[name] = own
    return found


def positions(bits: int) -> Iterator[int]:
    """The positions whose bit is set, ascending."""
    while bits:
        lowest = bits & -bits
        yield lowest.bit_length() - 1
        bits ^= lowest
