"""Why a version may not serve, in words: each kind with its cause and the way out. Pure; plans and rollouts tell it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from headrace.plan.observed import Obstacle

_TELLS: Final = {
    "NameTaken": (
        "these dataset names belong to another DAG",
        "publish under other names, or, once that DAG publishes them no more, run headrace transfer {name} --to {dag}",
    ),
    "ConsumersExist": (
        "these datasets would no longer be published, and other DAGs read them",
        "change those first, or publish them on",
    ),
    "InputsMissing": (
        "no DAG of this namespace publishes these datasets, which it reads",
        "apply the DAG that does, or read others (of two that read each other, one publishes before it reads)",
    ),
    "CycleAcrossDAGs": (
        "it would read what other DAGs make from what it makes itself",
        "cut one of these inputs",
    ),
}
_MOST: Final = 8


def told(dag: str, found: Sequence[Obstacle]) -> str:
    """What stands in the way of a version of `dag`, each kind with the way out."""
    by_reason: dict[str, list[str]] = {}
    for obstacle in found:
        by_reason.setdefault(obstacle.reason, []).append(obstacle.what)
    sentences = []
    for reason, what in by_reason.items():
        cause, way = _TELLS[reason]
        sentences.append(f"{cause}: {listed(what)}; {way.format(name=what[0].split(' ')[0], dag=dag)}")
    return ". ".join(sentences)


def listed(items: Iterable[str]) -> str:
    """The first few, and how many more there are."""
    found = list(items)
    return ", ".join(found[:_MOST]) + (f" and {len(found) - _MOST} more" if len(found) > _MOST else "")
