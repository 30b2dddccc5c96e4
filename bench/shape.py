"""The DAGs that planning is measured on: layers of jobs, as our objects and as SQL models. Pure.

Both ways of writing come from one shape, so that what is compared has the same nodes and edges. `bench.deploy` and
`bench.peer` call it.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from headrace.api import names

_SOURCES = 4
_WIDTH = 100
_PUBLISHED = 20
_IMAGE = f"registry.example/pipelines/steps@sha256:{'5f' * 32}"


@dataclass(frozen=True)
class Node:
    """A job and the jobs it reads, none for a source; `edits`: how often its author has changed it."""

    name: str
    reads: tuple[str, ...]
    edits: int = 0


Shape = Sequence[Node]


def layered(count: int) -> Shape:
    """So many jobs in layers of up to 100: a few sources, then each job reads one to three of the layer before."""
    # The same choices in every run: figures of two runs are of one DAG.
    dice = random.Random(count)
    before = [Node(f"source-{number}", ()) for number in range(min(_SOURCES, count))]
    nodes = list(before)
    width = max(1, min(_WIDTH, count // 5))
    while len(nodes) < count:
        layer = [
            Node(
                f"job-{number:05d}", tuple(dice.sample([n.name for n in before], min(dice.randint(1, 3), len(before))))
            )
            for number in range(len(nodes), min(len(nodes) + width, count))
        ]
        nodes += layer
        before = layer
    return nodes


def edited(shape: Shape, *, leaf: bool, edits: int) -> Shape:
    """The shape after its last job (`leaf`), or its first source, was changed so many times."""
    place = len(shape) - 1 if leaf else 0
    return [replace(node, edits=edits) if index == place else node for index, node in enumerate(shape)]


def dag_object(dag: str, shape: Shape) -> dict[str, object]:
    """The DAG object: what it publishes; its jobs are objects of their own."""
    publish = [{"name": dataset_name(dag, shape, node), "from": {"job": node.name}} for node in shape[-_PUBLISHED:]]
    return _object(names.DAG, dag, {"publish": publish, "rollout": {"maxBuildTasks": 10 * len(shape)}})


def dataset_name(dag: str, shape: Shape, node: Node) -> str:
    """What the job makes, by its name. Names of what is published are the org's: each DAG has its own."""
    return f"{dag}_{node.name}".replace("-", "_") if node in shape[-_PUBLISHED:] else f"{dag}.{node.name}.0"


def job_objects(dag: str, shape: Shape) -> dict[str, Mapping[str, object]]:
    """The Job objects by name."""
    return {node.name: _object(names.JOB, node.name, {"dag": dag, **_fields(node)}) for node in shape}


def _fields(node: Node) -> dict[str, object]:
    config = {"step": node.name, "limit": 100 + node.edits, "columns": ["id", "day", "value"]}
    if not node.reads:
        return {"source": {"kind": "manual", "partitions": {"values": ["a", "b", "c"]}}, "config": config}
    return {
        "image": _IMAGE,
        "command": ["steps", "run", node.name],
        "env": [{"name": "LOG_LEVEL", "value": "info"}],
        "resources": {"requests": {"cpu": "100m", "memory": "128Mi"}},
        "inputs": [{"from": {"job": name}} for name in node.reads],
        "scaling": {"maxConcurrency": 2},
        "config": config,
    }


def _object(kind: str, name: str, spec: Mapping[str, object]) -> dict[str, object]:
    metadata = {"name": name, "namespace": "bench", "uid": f"uid-{name}", "generation": 1}
    return {"apiVersion": names.API_VERSION, "kind": kind, "metadata": metadata, "spec": spec}


def sql_models(shape: Shape) -> dict[str, str]:
    """SQL models by name: each unites the rows of those it reads; a source makes one row."""
    return {_table(node.name): _sql(node) for node in shape}


def _sql(node: Node) -> str:
    value = f"{100 + node.edits}"
    if not node.reads:
        query = f"SELECT 1 AS id, CAST('2013-01-01' AS DATE) AS day, {value} AS value"
    else:
        rows = (f"SELECT id, day, value + {value} AS value FROM bench.{_table(name)}" for name in node.reads)
        query = "\nUNION ALL\n".join(rows)
    return f"MODEL (name bench.{_table(node.name)}, kind FULL);\n\n{query}\n"


def _table(name: str) -> str:
    return name.replace("-", "_")
