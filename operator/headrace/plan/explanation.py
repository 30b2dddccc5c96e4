"""What a plan would do, in words that people and tools read: the gateway sends it, the command line and status show it.

`plan.explain` makes it from the same values as `plan.decide`; nothing here is executed.
"""

from __future__ import annotations

from typing import Final, Literal

from msgspec import Struct, field
from msgspec.structs import replace

from headrace.plan.contracts import ColumnBreak

Change = Literal["added", "changed", "downstream", "removed"]
Action = Literal["reused", "caught up", "rebuilt", "added", "removed"]
Swap = Literal["none", "swap only", "build first", "first version"]
KEPT: Final = 200
_FEW: Final = 8


class FieldChange(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One field of a job's or dataset's document: its path there (`config.limit`), and both values; None: not there."""

    path: str
    old: object = None
    new: object = None


class JobChange(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A job that is not as it was. `because`: the changed jobs that a `downstream` one is downstream of.

    `rebuilds`: whether its data are made again, `units` how many; `reuses`: `rollout.reuse` keeps its data.
    """

    job: str
    change: Change
    fields: tuple[FieldChange, ...] = ()
    because: tuple[str, ...] = ()
    rebuilds: bool = False
    reuses: bool = False
    units: int = 0


class DatasetChange(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What becomes of a dataset whose contents or name change; `partitions`: how many are made."""

    dataset: str
    job: str
    output: int
    action: Action
    partitions: int = 0
    was: str | None = None


class Consumer(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A job of another DAG that reads a dataset which this plan changes."""

    dataset: str
    dag: str
    job: str


class Hurt(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A job that reads a dataset whose contract is broken. `columns`: those of the broken ones that it is known to use,
    by its lineage: what a column is made from, and not what rows are chosen or joined by. None: it may use any.
    """

    dag: str
    job: str
    columns: tuple[str, ...] = ()


class ContractChange(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What of a published dataset's contract does not hold any more, and whom that hurts."""

    dataset: str
    breaks: tuple[ColumnBreak, ...]
    hurts: tuple[Hurt, ...] = ()


class Explanation(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """All of it. `base_hash`: the document that serves now, None before the first; `unchanged`: how many jobs are as
    they were; `tasks`: how many the build runs; `swap`: whether pointers move at once or after a build; `restorable`:
    whether the version served before and all of its data are still there; `approval`: why it waits for one, if so;
    `forgotten`: sources whose history cannot be made again in full; `blocked`: why it cannot become a version.
    `totals`: jobs by how they change, of which `jobs` may be the first few. `contracts`: what of them is given up.
    """

    dag: str
    yaml_hash: str
    base_hash: str | None = None
    swap: Swap = "none"
    restorable: bool = False
    unchanged: int = 0
    totals: dict[Change, int] = field(default_factory=dict)
    jobs: tuple[JobChange, ...] = ()
    datasets: tuple[DatasetChange, ...] = ()
    consumers: tuple[Consumer, ...] = ()
    contracts: tuple[ContractChange, ...] = ()
    partitions: int = 0
    tasks: int = 0
    approval: str = ""
    forgotten: tuple[str, ...] = ()
    blocked: str = ""
    notes: tuple[str, ...] = ()


def kept(explanation: Explanation) -> Explanation:
    """As it is kept with a rollout and read for each status: without the values of fields, which may be secrets, and
    the first few of what may be thousands.
    """
    explanation = replace(
        explanation,
        jobs=tuple(map(_unvalued, explanation.jobs)),
        contracts=tuple(map(_first, explanation.contracts[: KEPT // 8])),
    )
    if len(explanation.jobs) + len(explanation.datasets) + len(explanation.consumers) <= KEPT:
        return explanation
    by_change: dict[Change, list[JobChange]] = {}
    for job in explanation.jobs:
        by_change.setdefault(job.change, []).append(job)
    jobs = tuple(job for found in by_change.values() for job in found[: KEPT // 4])
    return replace(
        explanation,
        jobs=jobs,
        datasets=explanation.datasets[:KEPT],
        consumers=explanation.consumers[:KEPT],
        notes=explanation.notes[:KEPT],
    )


def _first(contract: ContractChange) -> ContractChange:
    hurts = tuple(replace(one, columns=one.columns[: _FEW // 4]) for one in contract.hurts[:_FEW])
    return replace(contract, breaks=contract.breaks[:_FEW], hurts=hurts)


def _unvalued(job: JobChange) -> JobChange:
    return replace(job, fields=tuple(FieldChange(path=one.path) for one in job.fields))
