"""What a DAG says of its names beside the document: it holds at once, for every version, and goes with the name."""

from __future__ import annotations

import pytest

from headrace.compile.publishing import NameSettings
from headrace.run.commit import say_of_names
from headrace.state.database import Database
from headrace.state.names import transfer
from tests.state.world import World, month_source, step


class Registry(World):
    async def serve(self, job: str = "clean", **fields: object) -> None:
        """The DAG publishes the output of a job as `cleaned`."""
        publish = [{"name": "cleaned", "from": {"job": job}, **fields}]
        await self.apply("flights", month_source("a"), step("clean", "month"), step("other", "month"), publish=publish)
        while await self.rows("SELECT 1 FROM rollouts WHERE state IN ('Building', 'Ready')"):
            await self.advance("flights")

    async def say(self, *roles: str, versions: int = 10, dag: str = "flights") -> bool:
        org, said = await self.org(), NameSettings(name="cleaned", read_roles=roles, versions=versions)
        async with self.db.transaction() as tx:
            return await say_of_names(tx, 0, org, dag, [said])

    async def roles(self) -> dict[str, list[str]]:
        """Who may read, by job that makes it."""
        return {
            str(job): list(roles)
            for job, roles in await self.rows(  # type: ignore[call-overload]
                "SELECT producer_job_name, read_roles FROM datasets WHERE producer_job_name <> 'month' ORDER BY 1"
            )
        }


@pytest.fixture
async def registry(db: Database) -> Registry:
    return Registry(db)


async def test_it_holds_with_the_first_version(registry: Registry) -> None:
    await registry.serve(readRoles=["b", "a"], retention={"versions": 3})
    assert await registry.roles() == {"clean": ["a", "b"], "other": []}
    assert await registry.rows("SELECT read_roles, retained_versions FROM dataset_names") == [(["a", "b"], 3)]


async def test_it_changes_without_a_version(registry: Registry) -> None:
    await registry.serve(readRoles=["a"])
    await registry.serve(readRoles=["b"])
    assert await registry.roles() == {"clean": ["b"], "other": []}
    assert await registry.rows("SELECT count(*)::int FROM dag_versions") == [(1,)]


async def test_it_holds_though_nothing_else_of_the_object_does(registry: Registry) -> None:
    await registry.serve()
    assert await registry.say("a")
    assert await registry.roles() == {"clean": ["a"], "other": []}
    assert not await registry.say("a")
    assert await registry.say("a", versions=2)


async def test_a_dag_says_nothing_of_names_of_others(registry: Registry) -> None:
    await registry.serve(readRoles=["a"])
    await registry.apply("elsewhere", month_source("a"))
    assert not await registry.say(dag="elsewhere")
    assert await registry.roles() == {"clean": ["a"], "other": []}


async def test_it_goes_with_the_name(registry: Registry) -> None:
    """The cutover that gives the name to another output closes that in the same moment."""
    await registry.serve(readRoles=["a"])
    await registry.serve("other", readRoles=["a"])
    assert await registry.roles() == {"clean": ["a"], "other": ["a"]}
    assert await registry.rows("SELECT name FROM datasets WHERE producer_job_name = 'other'") == [("cleaned",)]


async def test_said_while_another_output_is_built(registry: Registry) -> None:
    await registry.serve()
    publish = [{"name": "cleaned", "from": {"job": "other"}}]
    await registry.apply("flights", month_source("a"), step("clean", "month"), step("other", "month"), publish=publish,
                         rollout={"strategy": "Manual"})  # fmt: skip
    assert await registry.say("a")
    assert (await registry.roles())["clean"] == ["a"]
    ((wanted,),) = await registry.rows(
        "SELECT v.yaml_hash FROM rollouts r JOIN dag_versions v ON v.id = r.dag_version_id WHERE r.state <> 'Done'"
    )
    assert "approved" in str(await registry.command("flights", "approve", str(wanted)))
    while await registry.rows("SELECT 1 FROM rollouts WHERE state IN ('Building', 'Ready')"):
        await registry.advance("flights")
    assert (await registry.roles())["other"] == ["a"]


async def test_a_name_that_changes_hands_stays_as_closed_as_it_was(registry: Registry) -> None:
    await registry.serve(readRoles=["a"])
    await registry.leave("flights")
    org = await registry.org()
    async with registry.db.transaction() as tx:
        await transfer(tx, org.id, "cleaned", "heir")
    assert await registry.rows("SELECT dag_name, read_roles FROM dataset_names") == [("heir", ["a"])]
