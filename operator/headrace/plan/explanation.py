"""What a plan would do, in words that people and tools read: the gateway sends it, the command line and status show it.

`plan.explain` makes it from the same values as `plan.decide`; nothing here is executed.
"""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

Change = Literal["added", "changed", "downstream", "removed"]
Action = Literal["reused", "caught up", "rebuilt", "added", "removed"]
Swap = Literal["none", "swap only", "build first", "first version"]


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


class Explanation(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """All of it. `base_hash`: the document that serves now, None before the first; `unchanged`: how many jobs are as
    they were; `tasks`: how many the build runs; `swap`: whether pointers move at once or after a build; `restorable`:
    whether the version served before and all of its data are still there; `approval`: why it waits for one, if so;
    `blocked`: why it cannot become a version.
    """

    dag: str
    yaml_hash: str
    base_hash: str | None = None
    swap: Swap = "none"
    restorable: bool = False
    unchanged: int = 0
    jobs: tuple[JobChange, ...] = ()
    datasets: tuple[DatasetChange, ...] = ()
    consumers: tuple[Consumer, ...] = ()
    partitions: int = 0
    tasks: int = 0
    approval: str = ""
    blocked: str = ""
    notes: tuple[str, ...] = ()
