"""Updates of datasets in Postgres: numbered as they come, read one by one or merged, and how far each job has read."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from uuid import UUID

from msgspec import Struct
from msgspec.structs import replace

from headrace.plan.cursors import CursorType, Range, Reach, advance, joined
from headrace.state.database import Transaction, jsonb

CHUNK = 100
"""Updates of a task where a job begins with many."""


class _Id(Struct, frozen=True):
    id: UUID


class Brought(Struct, frozen=True, kw_only=True):
    """The range of the rows that a task brought to an output."""

    task: UUID
    output: int
    column: str
    type: CursorType
    from_value: str | None
    to_value: str


class _Settling(Struct, frozen=True):
    id: UUID
    job: UUID
    whole: bool
    dataset: UUID
    version: UUID
    first: int
    last: int
    ranges: list[Range]


class _Cursor(Struct, frozen=True):
    job: UUID
    dataset: UUID
    version: UUID
    column: str | None
    type: CursorType | None
    value: str | None
    ahead: list[Range]


class _Waiting(Struct, frozen=True):
    id: UUID
    job: UUID
    first: int
    last: int
    column: str
    type: CursorType
    from_value: str | None
    to_value: str

    @property
    def range(self) -> Range:
        return Range(self.column, self.type, self.from_value, self.to_value)


async def record(tx: Transaction, ids: Sequence[UUID], brought: Sequence[Brought]) -> None:
    """What these completed tasks made is an update of what they made it of; whoever reads it so has a task for it."""
    await tx.execute("record_updates", ids=list(ids), cursors=jsonb(list(brought)))


async def tell_readers(tx: Transaction, ids: Sequence[UUID]) -> None:
    """Tasks for the jobs that read update by update what these completed tasks made."""
    readers = [row.id for row in await tx.rows("update_readers", _Id, ids=list(ids))]
    if readers:
        await create(tx, readers)


async def create(tx: Transaction, jobs: Sequence[UUID]) -> int:
    """Tasks for what these jobs are to read and do not; how many."""
    return await _create(tx, jobs=list(jobs), org_ids=[], dags=[], backfill=False, building=False)


async def create_of(
    tx: Transaction, dags: Sequence[tuple[UUID, str]], *, backfill: bool = False, building: bool = False
) -> int:
    """The same for all jobs of these DAGs (org, name), as `units.create_missing` says."""
    orgs, names = [org for org, _ in dags], [dag for _, dag in dags]
    return await _create(tx, jobs=None, org_ids=orgs, dags=names, backfill=backfill, building=building)


async def _create(tx: Transaction, **which: object) -> int:
    begun = await tx.execute("begin_in_chunks", chunk=CHUNK, **which)
    return begun + await tx.execute("create_updates", **which)


async def settle(tx: Transaction, ids: Sequence[UUID]) -> None:
    """These completed tasks have read the updates that they were about: the cursors of their jobs move.

    Never back, and only over what has no gap. After the first look at the whole come the updates since.
    """
    done = await tx.rows("settling", _Settling, ids=list(ids))
    jobs = list(dict.fromkeys(row.job for row in done))
    known = {(c.job, c.dataset, c.version): c for c in await tx.rows("lock_cursors", _Cursor, jobs=jobs)}
    for row in done:
        place = (row.job, row.dataset, row.version)
        moved = known[place] = _moved(known.get(place), row)
        await tx.execute(
            "move_cursor", dataset=row.dataset, version=row.version, job=row.job, first=row.first, last=row.last,
            column=moved.column, type=moved.type, value=moved.value, ahead=jsonb(moved.ahead),
            start=row.id if row.whole else None,
        )  # fmt: skip
    if any(row.whole for row in done):
        await create(tx, list({row.job for row in done if row.whole}))


def _moved(cursor: _Cursor | None, done: _Settling) -> _Cursor:
    """A job's cursor after that; ranges of another column than its own do not move it."""
    own = cursor or _Cursor(done.job, done.dataset, done.version, None, None, None, [])
    ranges = [r for r in done.ranges if own.column is None or (r.column, r.type) == (own.column, own.type)]
    if own.column is None:
        ranges = [r for r in ranges if (r.column, r.type) == (ranges[0].column, ranges[0].type)]
    reach = advance(Reach(own.value, tuple(own.ahead)), ranges)
    named = own.column is None and reach.value is not None
    return replace(
        own, value=reach.value, ahead=list(reach.ahead), column=ranges[0].column if named else own.column,
        type=ranges[0].type if named else own.type,
    )  # fmt: skip


async def merge(tx: Transaction, picked: Sequence[tuple[UUID, UUID]]) -> set[UUID]:
    """Of these tasks (id, job) that are about to start, those that now are part of another one, and do not.

    Each takes over the waiting tasks of its job whose updates follow on its own, each from where the one before ends.
    """
    if not picked:
        return set()
    starting, over = {task for task, _ in picked}, set[UUID]()
    waiting = await tx.rows("waiting_updates", _Waiting, jobs=list({job for _, job in picked}))
    lasts: dict[UUID, int] = {}
    for _, group in groupby(waiting, key=lambda row: row.job):
        rows = list(group)
        while rows:
            count = joined([row.range for row in rows])
            run, rows = rows[:count], rows[count:]
            first = next((place for place, row in enumerate(run) if row.id in starting), None)
            if first is None or first == len(run) - 1:
                continue
            lasts[run[first].id] = run[-1].last
            over.update(row.id for row in run[first + 1 :])
    if lasts:
        await tx.execute("merge_updates", ids=list(lasts), lasts=list(lasts.values()))
        await tx.execute("end_merged", ids=list(over))
    return over & starting
