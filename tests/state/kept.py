"""A world whose DAG has had several versions, with purges of what they had: for tests of these."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from headrace.api.purge import Purged
from headrace.plan.rollout import SwitchOver
from headrace.plan.steps import Plan
from headrace.state import purge
from tests.state.world import World, month_source, step

NOW = timedelta(0)
KEYS = ("a", "b")


@dataclass
class Kept(World):
    """A world with purges."""

    retained: dict[str, int] = field(default_factory=dict)

    async def would(self, dag: str = "d", older_than: timedelta = NOW) -> Purged:
        """What a purge would do."""
        org = await self.org()
        async with self.db.transaction() as tx:
            return await purge.look(tx, org.id, dag, older_than)

    async def purge(self, dag: str = "d", older_than: timedelta = NOW, most: int = 1000) -> Purged:
        """Retire."""
        org = await self.org()
        async with self.db.transaction() as tx:
            return await purge.purge(tx, org.id, dag, older_than, most)

    async def forget(self, listed: Purged, dag: str = "d") -> Purged:
        """What was listed is deleted."""
        org = await self.org()
        async with self.db.transaction() as tx:
            return await purge.forget(tx, org.id, dag, listed.listed)

    async def deploy(self, n: int, **more: Any) -> None:
        """The n-th document serves, with all of its units."""
        await self.apply("d", *jobs(n), publish=NAMES, **more)
        await self.finish()

    async def finish(self) -> None:
        """Run everything, and cut over if a rollout is under way."""
        await self.dispatch()
        await self.drain()
        if await self.rows("SELECT 1 FROM rollouts WHERE state IN ('Building', 'Ready')"):
            assert await self.advance("d") == SwitchOver()
            await self.drain()

    async def apply(self, dag: str, *jobs: dict[str, object], publish: object = (), **more: Any) -> Plan:  # type: ignore[override]
        """As the object says, also of names."""
        said = [
            {**entry, "retention": {"versions": self.retained[entry["name"]]}}
            if entry["name"] in self.retained
            else entry
            for entry in publish  # type: ignore[attr-defined]
        ]
        return await super().apply(dag, *jobs, publish=said, **more)

    async def retain(self, versions: int, name: str = "rows") -> None:
        """How many versions of this name's data stay, from now on."""
        self.retained[name] = versions
        await self.rows(
            "UPDATE dataset_names SET retained_versions = %(n)s WHERE name = %(name)s RETURNING 1",
            n=versions,
            name=name,
        )

    async def serving(self) -> list[tuple[object, ...]]:
        """The locations of what serves."""
        return await self.rows(
            "SELECT d.producer_job_name, v.partition_key, v.location, g.retired_at IS NULL"
            " FROM dag_current_versions c JOIN dag_version_datasets p USING (dag_version_id)"
            " JOIN datasets d ON d.id = p.dataset_uuid JOIN dataset_versions g ON g.id = p.dataset_version"
            " LEFT JOIN partition_versions v ON v.dataset_version = g.id WHERE d.producer_job_name <> 'month'"
            " ORDER BY 1, 2"
        )

    async def generations(self, job: str = "clean") -> list[tuple[object, ...]]:
        """The generations of a job, in the order in which they were made, and whether they are there."""
        return await self.rows(
            "SELECT g.storage_location, g.retired_at IS NULL FROM dataset_versions g JOIN datasets d"
            " ON d.id = g.dataset_uuid WHERE d.producer_job_name = %(job)s ORDER BY g.created_at", job=job,
        )  # fmt: skip


NAMES = [{"name": "rows", "from": {"job": "clean"}}]


def jobs(n: int, **more: object) -> list[dict[str, object]]:
    """month -> clean -> join; clean differs."""
    return [month_source(*KEYS), step("clean", "month", config={"n": n}, **more), step("join", "clean")]
