"""What Postgres knows of why one unit of a job does not run. The gateway reads it for `headrace why`."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from msgspec import Struct

from headrace.api.runs import Blocker
from headrace.state.database import Transaction


class Standing(Struct, frozen=True, kw_only=True):
    """The task that stands for a partition, or that is next in its turn."""

    id: UUID
    partition: str
    state: str
    message: str | None
    retry: datetime | None
    ended: datetime | None
    worker: str | None


class Lacking(Struct, frozen=True):
    """An input without the partition, or with nothing at all where it is read as a whole; and the job that makes it."""

    input: str
    dataset: str
    whole: bool = False
    dag: str = ""
    job: str = ""


class OrgLoad(Struct, frozen=True):
    """How many tasks the org runs, and how many it may, if that is limited."""

    running: int
    cap: int | None


class Unit(Struct, frozen=True, kw_only=True):
    """All of it; `done`: when the partition was made last; `sources`: upstream of its job, within its DAG."""

    task: Standing | None
    blockers: tuple[Blocker, ...]
    lacking: tuple[Lacking, ...]
    done: datetime | None
    load: OrgLoad
    sources: tuple[str, ...] = ()


class _Name(Struct, frozen=True):
    name: str


class _At(Struct, frozen=True):
    at: datetime | None


async def read_unit(tx: Transaction, org_id: UUID, dag: str, job: str, key: str | None) -> Unit:
    """What is known of a partition of a job, or, without one, of the task that is next."""
    task = await tx.row("why_unit", Standing, org_id=org_id, dag=dag, job=job, key=key)
    blockers = [] if task is None else await tx.rows("why_blockers", Blocker, task=task.id)
    lacking, done = [], None
    if key is not None:
        lacking = await tx.rows("why_inputs", Lacking, org_id=org_id, dag=dag, job=job, key=key)
        made = await tx.row("why_done", _At, org_id=org_id, dag=dag, job=job, key=key)
        done = made.at if made else None
    sources = await tx.rows("why_sources", _Name, org_id=org_id, dag=dag, job=job)
    load = await tx.row("why_org", OrgLoad, org_id=org_id)
    return Unit(
        task=task, blockers=tuple(blockers), lacking=tuple(lacking), done=done, load=load or OrgLoad(0, None),
        sources=tuple(source.name for source in sources),
    )  # fmt: skip
