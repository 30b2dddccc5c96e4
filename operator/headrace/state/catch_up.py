"""What a version lacks of what another one has done, of its sources: made as work of a build.

A rollout's looks and the cutover itself call it, under the DAG's lock. Units of reactive jobs are found by
`units.create_missing`, from their inputs.
"""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from msgspec import Struct

from headrace.compile.document import SourceDocument
from headrace.compile.history import history, share
from headrace.state.database import Transaction
from headrace.state.units import create_source_tasks
from headrace.state.webhooks import catch_up_events


class _Renamed(Struct, frozen=True, kw_only=True):
    job_id: UUID
    source: SourceDocument
    before: SourceDocument | None
    last_tick: datetime | None
    had: list[str]
    told: list[str]


async def catch_up_sources(tx: Transaction, base: UUID, version: UUID, *, serves: bool = False) -> int:
    """Make the units of changed sources that are done in `base` and not in `version`; how many.

    `serves`: `version` has just come to; whatever events of webhooks it lacks are then its work.
    """
    made = await tx.execute("catch_up_sources", base=base, version=version)
    renamed = await tx.rows("renamed_sources", _Renamed, base=base, version=version)
    for row in renamed:
        most, told = share(len(renamed)), frozenset(row.told)
        keys = history(row.before, row.source, row.last_tick, frozenset(row.had), most, told).keys
        made += await create_source_tasks(tx, row.job_id, keys, backfill=True)
    return made + await catch_up_events(tx, base, version, serves=serves)
