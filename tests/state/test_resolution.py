"""Datasets as readers are answered: one moment, also over pages; older versions; nobody learns what is not theirs."""

from __future__ import annotations

import json
from uuid import UUID, uuid4

import pytest

from headrace.compile.publishing import NameSettings
from headrace.run.commit import say_of_names
from headrace.state import datasets
from headrace.state.database import Database
from headrace.state.datasets import MOST_PINS, Found, Page, Reader
from tests.state.world import World, month_source, step

KEYS = tuple(f"k{number}" for number in range(5))


class Library(World):
    """A world whose dataset `cleaned` is read."""

    async def serve(self, config: int = 0, *, run: bool = True, **fields: object) -> None:
        clean = step("clean", "month", config={"n": config}, scaling={"maxConcurrency": 9}, **fields)
        publish = [{"name": "cleaned", "from": {"job": "clean"}}, {"name": "months", "from": {"job": "month"}}]
        await self.apply("flights", month_source(*KEYS), clean, publish=publish)
        if run:
            await self.run("flights", "month", *KEYS)
        await self.settle()

    async def settle(self) -> None:
        """Everything runs to its end, and the rollout goes as far as it can."""
        while True:
            await self.dispatch()
            await self.drain()
            if not await self.rows("SELECT 1 FROM rollouts WHERE state IN ('Building', 'Ready')"):
                return
            await self.advance("flights")

    async def reader(self, *roles: str, user: str = "ann") -> Reader:
        return Reader(org_id=(await self.org()).id, user=user, roles=roles)

    async def ask(
        self, *names: str, roles: tuple[str, ...] = (), at: str | None = None, most: int = 100
    ) -> list[Found]:
        who = await self.reader(*roles)
        async with self.db.transaction() as tx:
            return await datasets.resolve(tx, who, names or ("cleaned",), at, most)

    async def page(self, pin: UUID, number: int, name: str = "cleaned", *roles: str, user: str = "ann") -> Page | None:
        who = await self.reader(*roles, user=user)
        async with self.db.transaction() as tx:
            return await datasets.page(tx, who, name, pin, number)

    async def close(self, *roles: str) -> None:
        org, said = await self.org(), NameSettings(name="cleaned", read_roles=roles)
        async with self.db.transaction() as tx:
            await say_of_names(tx, 0, org, "flights", [said])


@pytest.fixture
async def library(db: Database) -> Library:
    return Library(db)


def keys(partitions: str) -> list[str]:
    return [one["key"] for one in json.loads(partitions)]


async def test_an_answer_has_all_that_a_reader_needs(library: Library) -> None:
    await library.serve()
    (found,) = await library.ask()
    assert (found.dag, found.count, found.pages, found.retired) == ("flights", 5, 1, False)
    one = json.loads(found.partitions)[0]
    assert one.keys() == {"key", "location", "materialized_at", "rows", "bytes"}
    assert one["location"].startswith(str(found.location))
    assert keys(found.partitions) == list(KEYS)
    assert await library.rows("SELECT 1 FROM read_pins") == []


async def test_pages_are_of_one_moment(library: Library) -> None:
    """Whatever happens meanwhile: partitions made anew, another version that serves."""
    await library.serve()
    (first,) = await library.ask(most=2)
    assert (keys(first.partitions), first.count, first.pages) == (["k0", "k1"], 5, 3)
    before = {str(k): location for k, location in await library.rows(
        "SELECT p.partition_key, p.location FROM partition_versions p JOIN datasets d ON d.id = p.dataset_uuid"
        " WHERE d.name = 'cleaned'")}  # fmt: skip
    await library.run("flights", "month", *KEYS)
    await library.settle()
    await library.serve(1, run=False)
    second, third = await library.page(first.pin, 1), await library.page(first.pin, 2)
    assert second is not None
    assert third is not None
    told = [*json.loads(first.partitions), *json.loads(second.partitions), *json.loads(third.partitions)]
    assert {one["key"]: one["location"] for one in told} == before
    assert (second.more, third.more, second.version) == (True, False, first.version)
    assert await library.page(first.pin, 3) is None
    (now,) = await library.ask()
    assert now.version != first.version


async def test_several_are_of_one_version(library: Library) -> None:
    await library.serve()
    found = await library.ask("months", "cleaned", "nothing")
    assert [one.name for one in found] == ["cleaned", "months"]
    assert len({one.dag_version for one in found}) == 1


async def test_an_older_version_by_its_hash(library: Library) -> None:
    await library.serve()
    (old,) = await library.ask()
    await library.serve(1, run=False)
    (new,) = await library.ask()
    assert old.dag_version is not None
    assert new.dag_version != old.dag_version
    for at in (old.dag_version, old.dag_version.partition("-")[2][:10]):
        (found,) = await library.ask(at=at)
        assert (found.version, found.dag_version) == (old.version, old.dag_version)
    (none,) = await library.ask(at="0000")
    assert (none.version, none.count) == (None, 0)


async def test_a_name_is_what_it_was_in_an_older_version(library: Library) -> None:
    await library.serve()
    (old,) = await library.ask()
    clean, other = step("clean", "month", config={"n": 0}, scaling={"maxConcurrency": 9}), step("other", "month")
    await library.apply(
        "flights", month_source(*KEYS), clean, other, publish=[{"name": "cleaned", "from": {"job": "other"}}]
    )
    await library.settle()
    (new,) = await library.ask()
    assert new.uuid != old.uuid
    (found,) = await library.ask(at=old.dag_version)
    assert (found.uuid, found.version) == (old.uuid, old.version)
    # It is as closed as the name is now.
    await library.close("analysts")
    assert await library.ask(at=old.dag_version) == []


async def test_many_datasets_of_one_answer_keep_their_pages(library: Library) -> None:
    jobs = [step(f"j{n}", "month", scaling={"maxConcurrency": 9}) for n in range(MOST_PINS + 4)]
    names = [f"d{n}" for n in range(len(jobs))]
    publish = [{"name": name, "from": {"job": f"j{n}"}} for n, name in enumerate(names)]
    await library.apply("flights", month_source(*KEYS), *jobs, publish=publish)
    await library.run("flights", "month", *KEYS)
    await library.settle()
    found = await library.ask(*names, most=2)
    assert len(found) == len(names)
    for one in found:
        assert await library.page(one.pin, 1, one.name) is not None


async def test_what_is_built_is_not_read(library: Library) -> None:
    await library.serve()
    (old,) = await library.ask()
    clean = step("clean", "month", config={"n": 7})
    await library.apply("flights", month_source(*KEYS), clean, publish=[{"name": "cleaned", "from": {"job": "clean"}}])
    ((building,),) = await library.rows(
        "SELECT v.yaml_hash FROM rollouts r JOIN dag_versions v ON v.id = r.dag_version_id WHERE r.state = 'Building'"
    )
    (found,) = await library.ask()
    assert found.version == old.version
    (found,) = await library.ask(at=str(building))
    assert found.version is None


async def test_a_role_is_needed_where_one_is_asked_for(library: Library) -> None:
    """In every version, without a new one; who has none gets what there is of a dataset that is not there."""
    await library.serve()
    (old,) = await library.ask()
    await library.serve(1, run=False)
    await library.close("analysts", "owners")
    assert await library.ask() == await library.ask("nothing") == []
    assert await library.ask(at=old.dag_version) == []
    assert await library.ask(roles=("others",)) == []
    assert [one.name for one in await library.ask(roles=("owners", "x"))] == ["cleaned"]
    await library.close()
    assert len(await library.ask()) == 1


async def test_pages_are_closed_too(library: Library) -> None:
    await library.serve()
    (first,) = await library.ask(most=2)
    await library.close("analysts")
    assert await library.page(first.pin, 1) is None
    assert await library.page(first.pin, 1, "cleaned", "analysts") is not None
    assert await library.page(first.pin, 1, "cleaned", "analysts", user="bob") is None
    assert await library.page(first.pin, 1, "months", "analysts") is None
    assert await library.page(uuid4(), 1, "cleaned", "analysts") is None


async def test_another_org_has_nothing(library: Library) -> None:
    await library.serve()
    (first,) = await library.ask(most=2)
    other = await library.org("other", "6c1d5f0e-0000-4000-8000-000000000009")
    who = Reader(org_id=other.id, user="ann", roles=())
    async with library.db.transaction() as tx:
        assert await datasets.resolve(tx, who, ["cleaned"], None, 100) == []
        assert await datasets.page(tx, who, "cleaned", first.pin, 1) is None


async def test_pins_end(library: Library) -> None:
    await library.serve()
    first = [(await library.ask(most=2))[0].pin for _ in range(MOST_PINS + 1)]
    assert await library.page(first[0], 1) is None
    assert await library.page(first[1], 1) is not None
    await library.rows("UPDATE read_pins SET created_at = now() - interval '61 minutes' RETURNING 1")
    assert await library.page(first[-1], 1) is None
    async with library.db.transaction() as tx:
        await datasets.forget_pins(tx, 0)
    assert await library.rows("SELECT 1 FROM read_pins UNION ALL SELECT 1 FROM read_pages") == []


async def test_parts_in_their_order(library: Library) -> None:
    await library.serve(updateStrategy="append", uniqueKey=["id"])
    await library.run("flights", "month", "k0")
    await library.settle()
    (found,) = await library.ask()
    assert found.unique_key == ("id",)
    told = {one["key"]: one["parts"] for one in json.loads(found.partitions)}
    assert {key: len(parts) for key, parts in told.items()} == dict.fromkeys(KEYS, 1)
    parts = [part for listed in told.values() for part in listed]
    assert all(part["location"].startswith(str(found.location)) for part in parts)


async def test_a_deleted_dag_that_is_retained_is_read(library: Library) -> None:
    await library.serve()
    await library.leave("flights")
    assert [one.count for one in await library.ask()] == [5]
