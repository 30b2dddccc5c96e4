"""A namespace made anew adopts the org that its namesake had: all of it serves again, and the young org trades places.

On real Postgres; also against a commit and a completion that know the young org, in every order of their steps.
"""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable
from typing import Any

import psycopg
import pytest

from headrace.api.adoption import Adopted
from headrace.errors import TemporaryError
from headrace.gateway.adoption import Adoption
from headrace.gateway.errors import RequestError
from headrace.plan.decide import Intent
from headrace.plan.steps import AddVersion
from headrace.run.commit import commit
from headrace.state import adoption, attempts, orgs, people, workers
from headrace.state.adoption import AdoptionRefused
from headrace.state.database import Database, Transaction
from headrace.state.orgs import Org, OrgMoved
from tests.compile.documents import compiled
from tests.state.faults import interleave
from tests.state.world import NAMESPACE_UID, World, month_source, step

NEW_UID = "7d2e6a1f-0000-4000-8000-000000000002"
LEFT = "air~6c1d5f0e"
JOBS = [month_source("a", "b"), step("clean", "month"), step("send", "clean", outputs=0)]
OTHERS = [month_source("c", "d"), step("clean", "month", config={"n": 1})]
Act = Callable[[Transaction], Awaitable[object]]


class Young(World):
    """The namespace made anew."""

    async def org(self, namespace: str = "air", uid: str = NEW_UID) -> Org:
        """Its org."""
        return await super().org(namespace, uid)


@pytest.fixture
async def old(db: Database) -> World:
    """The old namespace, which has made everything and is gone."""
    world = World(db)
    await world.apply("flights", *JOBS, publish=[{"name": "rows", "from": {"job": "clean"}}])
    await world.run("flights", "month", "a", "b")
    await world.drain()
    await world.leave("flights")
    return world


@pytest.fixture
def young(db: Database, old: World) -> Young:
    """And its namesake."""
    return Young(db)


async def adopt(world: World, given: str = LEFT, namespace: str = "air", uid: str = NEW_UID) -> Adopted:
    """What the gateway does, once the cluster was asked."""
    async with world.db.transaction() as tx:
        left = await adoption.find(tx, given)
        assert left is not None
        return await adoption.adopt(tx, namespace, uid, left)


async def slugs(world: World) -> dict[object, object]:
    """By id, what orgs are called."""
    return dict(await world.rows("SELECT id, slug FROM orgs"))  # type: ignore[arg-type]


PARTITIONS = """
SELECT d.name, p.partition_key FROM dag_current_versions c
JOIN dag_version_datasets v USING (dag_version_id) JOIN datasets d ON d.id = v.dataset_uuid
JOIN partition_versions p ON p.dataset_uuid = v.dataset_uuid AND p.dataset_version = v.dataset_version
WHERE c.org_id = %(org)s ORDER BY 1, 2
"""
UNFINISHED = """
SELECT j.org_id FROM tasks t JOIN jobs j ON j.id = t.job_id
WHERE t.status IN ('Queued', 'Running') OR t.next_retry_at IS NOT NULL
"""


async def test_everything_serves_again_and_the_young_org_trades_places(old: World, young: Young) -> None:
    theirs = await old.org()
    await young.apply("flights", *OTHERS)
    await young.apply("ships", month_source("x"), step("load", "month"))
    await young.run("flights", "month", "c", "d")
    (pod,) = await young.claim(1)
    mine = await young.org()
    assert (await slugs(old))[theirs.id] == LEFT
    done = await adopt(young)
    assert (done.org, done.id, done.before) == (LEFT, theirs.id, (await slugs(young))[mine.id])
    assert done.before is not None
    assert done.before.startswith("air~")
    # The young one's work is over, and what its pod still says counts for nothing.
    assert await young.rows(UNFINISHED) == []
    assert not await young.complete(pod)
    assert await young.rows("SELECT name FROM dags WHERE absent_since IS NULL") == []
    # The same objects, in the same namespace, are the old org's from here on.
    again = Young(young.db)
    assert await again.org() == Org(id=theirs.id, slug="air")
    plan = await again.apply("flights", *JOBS, publish=[{"name": "rows", "from": {"job": "clean"}}])
    assert not any(isinstance(one, AddVersion) for one in plan.steps)
    assert [key for _, key in await again.rows(PARTITIONS, org=theirs.id)] == ["a", "b"] * 2
    assert await again.drain() == []
    await again.apply("ships", month_source("x"), step("load", "month"))
    await again.run("ships", "month", "x")
    assert await again.drain() == [("load", "x")]
    # And the rows of the young one are where they were.
    assert [job for job, in await young.rows("SELECT DISTINCT name FROM jobs WHERE org_id = %(o)s ORDER BY 1",
                                             o=mine.id)] == ["clean", "load", "month"]  # fmt: skip


async def test_before_anything_was_applied_there_is_nothing_to_trade(young: Young) -> None:
    done = await adopt(young, "air")
    assert (done.org, done.before) == ("air", None)
    assert await young.org() == Org(id=done.id, slug="air")
    assert await young.rows("SELECT namespace_uid FROM orgs") == [(NEW_UID,)]


async def test_back_and_forth(old: World, young: Young) -> None:
    await young.apply("flights", *OTHERS)
    mine = await young.org()
    before = (await adopt(young)).before
    assert before is not None
    back = await adopt(young, before)
    assert back.id == mine.id
    assert (await slugs(young))[mine.id] == "air"
    assert str((await slugs(young))[(await old.org()).id]).startswith("air~")


async def test_work_of_the_old_one_whose_end_nobody_saw_ends_and_is_taken_up_again(db: Database) -> None:
    """The operator was down when the namespace went."""
    old = World(db)
    await old.apply("flights", *JOBS)
    await old.run("flights", "month", "a", "b")
    (pod,) = await old.claim(1)
    young = Young(db)
    await young.apply("ships", *OTHERS)
    await adopt(young)
    assert await young.rows(UNFINISHED) == []
    assert not await old.complete(pod)
    again = Young(db)
    await again.apply("flights", *JOBS)
    assert sorted(await again.drain()) == [("clean", "a"), ("clean", "b"), ("send", "a"), ("send", "b")]


async def test_workers_of_both_are_over(young: Young) -> None:
    await young.apply("flights", month_source("a"), {**step("clean", "month"), "idleTimeout": "5m"})
    org = await young.org()
    async with young.db.transaction() as tx:
        (job,) = await young.rows("SELECT id FROM jobs WHERE name = 'clean' AND org_id = %(o)s", o=org.id)
        await workers.record(tx, 0, job[0], "uid-w", "w")  # type: ignore[arg-type]
    await adopt(young)
    async with young.db.transaction() as tx:
        assert await workers.here(tx) == []


async def test_people_are_of_the_org_that_their_namespace_has(old: World, young: Young) -> None:
    mine = await young.org()
    async with young.db.transaction() as tx:
        await people.record(tx, mine.id, "ann", "writer")
    await adopt(young)
    async with young.db.transaction() as tx:
        found = await people.find(tx, "ann")
    assert found is not None
    assert found.org_id == (await old.org()).id


async def test_whoever_knows_the_young_one_is_told_and_writes_nothing(young: Young, url: str) -> None:
    await young.apply("flights", *OTHERS)
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as heard:
        await heard.execute("LISTEN headrace_touched")
        await adopt(young)
        payloads = [notify.payload async for notify in heard.notifies(timeout=5, stop_after=1)]
    assert payloads == ["air/"]
    before = await young.snapshot()
    for jobs in (OTHERS, JOBS):
        with pytest.raises(OrgMoved, match="namespace air has another org by now"):
            await young.apply("flights", *jobs)
    async with young.db.transaction() as tx:
        with pytest.raises(OrgMoved):
            await orgs.confirm(tx, await young.org())
    assert await young.snapshot() == before


def of_young(org: Org, dag: str) -> Act:
    """The operator commits a DAG to the org that it knows."""
    document = compiled({"jobs": [*OTHERS, step("more", "clean")]}, dag=dag)

    async def act(tx: Transaction) -> None:
        await commit(tx, 0, org, "file:///data", document, Intent(object_uid=f"uid-{dag}"), {})

    return act


def adoption_of(left: adoption.Left) -> Act:
    async def act(tx: Transaction) -> None:
        await adoption.adopt(tx, "air", NEW_UID, left)

    return act


async def trying(world: World, act: Act) -> str:
    """On its own; a lost race is tried again, as whoever asks does, unless the org is another's now."""
    while True:
        try:
            async with world.db.transaction() as tx:
                await act(tx)
        except OrgMoved:
            return "moved"
        except TemporaryError:
            continue
        return "done"


async def begin(db: Database, known: bool) -> tuple[Young, Org, adoption.Left]:
    """A young org, whose DAG `flights` it has, or not yet."""
    young = Young(db)
    org = await young.org()
    if known:
        await young.apply("flights", *OTHERS)
        await young.run("flights", "month", "c", "d")
    async with db.transaction() as tx:
        (left,) = await adoption.adoptable(tx, "air", NEW_UID)
        found = await adoption.find(tx, str(left.id))
    assert found is not None
    return young, org, found


async def end(world: World, young: Org, left: adoption.Left) -> None:
    """Whatever came first: the namespace has the old org, and nothing is there or runs in the young one."""
    names = await slugs(world)
    assert names[left.id] == "air"
    assert await world.rows("SELECT org_id FROM dags WHERE absent_since IS NULL") == []
    assert await world.rows(UNFINISHED) == []
    # For the next round: the young one is gone, the old one is a namesake's again.
    await world.rows("UPDATE orgs SET name = 'gone', slug = 'gone~' || id WHERE id = %(id)s RETURNING 1", id=young.id)
    await world.rows("UPDATE orgs SET slug = %(slug)s, namespace_uid = %(uid)s WHERE id = %(id)s RETURNING 1",
                     id=left.id, slug=LEFT, uid=NAMESPACE_UID)  # fmt: skip


@pytest.mark.long
@pytest.mark.parametrize("known", [True, False], ids=["known", "new"])
@pytest.mark.parametrize("first", ["commit", "adoption"])
async def test_a_commit_and_an_adoption_in_every_order(old: World, known: bool, first: str) -> None:
    at, more = 1, True
    while more:
        young, org, left = await begin(old.db, known)
        one, other = of_young(org, "flights" if known else "ships"), adoption_of(left)
        if first == "adoption":
            one, other = other, one

        async def second(world: World = young, act: Act = other) -> None:
            await trying(world, act)

        try:
            more = await interleave(old.db, one, second, at)
        except OrgMoved:
            assert first == "commit"
        except TemporaryError:
            assert first == "adoption"
            await trying(young, one)
        await end(old, org, left)
        at += 1
    assert at > 8


@pytest.mark.long
@pytest.mark.parametrize("first", ["completion", "adoption"])
async def test_a_completion_and_an_adoption_in_every_order(old: World, first: str) -> None:
    """It counts for the young org, or not at all; what it makes next ends with the rest."""
    at, more = 1, True
    while more:
        young, org, left = await begin(old.db, known=True)
        (pod,) = await young.claim(1)
        done = attempts.Completion(id=pod.id, attempt=pod.attempt, token=pod.token, namespace="air", pod=pod.pod_name)

        async def complete(tx: Transaction, done: attempts.Completion = done) -> None:
            await attempts.complete(tx, 0, [done], [])

        one, other = complete, adoption_of(left)
        if first == "adoption":
            one, other = other, one  # type: ignore[assignment]

        async def second(world: World = young, act: Act = other) -> None:
            await trying(world, act)

        more = await interleave(old.db, one, second, at)
        ((status,),) = await young.rows("SELECT status FROM tasks WHERE id = %(id)s", id=pod.id)
        assert status in ("Completed", "Canceled")
        await end(old, org, left)
        at += 1
    assert at > 5


@pytest.mark.long
@pytest.mark.parametrize("first", ["made", "adoption"])
async def test_the_young_org_is_made_while_its_namespace_adopts_in_every_order(old: World, first: str) -> None:
    """However it ends, the namespace has one org, the old one, and the operator finds it."""

    async def make(tx: Transaction) -> None:
        await orgs.ensure_org(tx, "air", NEW_UID)

    at, more = 1, True
    while more:
        async with old.db.transaction() as tx:
            left = await adoption.find(tx, str((await old.org()).id))
        assert left is not None
        one, other = make, adoption_of(left)
        if first == "adoption":
            one, other = other, one  # type: ignore[assignment]

        async def second(act: Act = other) -> None:
            await trying(old, act)

        try:
            more = await interleave(old.db, one, second, at)
        except TemporaryError:
            await trying(old, one)
        assert await old.rows("SELECT id, slug FROM orgs WHERE namespace_uid = %(u)s", u=NEW_UID) == [(left.id, "air")]
        async with old.db.transaction() as tx:
            assert await orgs.ensure_org(tx, "air", NEW_UID) == Org(id=left.id, slug="air")
        await old.rows("DELETE FROM orgs WHERE id <> %(id)s RETURNING 1", id=left.id)
        await old.rows("UPDATE orgs SET namespace_uid = %(uid)s RETURNING 1", uid=NAMESPACE_UID)
        at += 1
    assert at > 3


@pytest.mark.long
async def test_of_two_namespaces_that_adopt_one_org_one_has_it(old: World) -> None:
    at, more = 1, True
    while more:
        async with old.db.transaction() as tx:
            left = await adoption.find(tx, str((await old.org()).id))
        assert left is not None
        had: list[str] = []

        async def sea(left: adoption.Left = left, had: list[str] = had) -> None:
            with contextlib.suppress(TemporaryError, AdoptionRefused):
                async with old.db.transaction() as tx:
                    await adoption.adopt(tx, "sea", "uid-sea", left)
                had.append("sea")

        try:
            more = await interleave(old.db, adoption_of(left), sea, at)
            had.append("air")
        except (TemporaryError, AdoptionRefused):
            pass
        assert len(had) == 1
        assert await old.rows("SELECT slug FROM orgs WHERE id = %(id)s", id=left.id) == [(had[0],)]
        await old.rows("UPDATE orgs SET slug = 'air', name = 'air', namespace_uid = %(u)s RETURNING 1", u=NAMESPACE_UID)
        at += 1
    assert at > 5


class Cluster:
    """The namespaces that are there, by hand; real ones are in tests/cluster."""

    def __init__(self, **uids: str) -> None:
        self.uids = uids

    async def uid(self, name: str) -> str | None:
        """Of a namespace."""
        return self.uids.get(name)


@pytest.mark.parametrize(("namespace", "org", "words"), [
    ("air", "air~nothing", "there is no org air~nothing: headrace adopt -n air lists"),
    ("air", "air", "the org air is namespace air's already"),
    ("sea", "air", "the org air belongs to namespace air, which is there: delete"),
])  # fmt: skip
async def test_what_cannot_be_adopted_is_told(young: Young, namespace: str, org: str, words: str) -> None:
    await young.org()
    service = Adoption(young.db, Cluster(air=NEW_UID, sea="s").uid)
    before = await young.snapshot()
    with pytest.raises(AdoptionRefused, match=words):
        await service.adopt(namespace, org)
    with pytest.raises(RequestError, match="there is no namespace space"):
        await service.adopt("space", LEFT)
    with pytest.raises(RequestError, match="there is no namespace space"):
        await service.adoptable("space")
    assert await young.snapshot() == before


async def test_what_could_be_adopted_is_listed_and_another_name_may_have_it(old: World, young: Young) -> None:
    theirs = await old.org()
    await young.apply("flights", *OTHERS)
    service = Adoption(young.db, Cluster(air=NEW_UID, sea="s").uid)
    (one,) = (await service.adoptable("air")).orgs
    assert (one.org, one.id, one.dags, one.partitions) == (LEFT, theirs.id, 1, 4)
    assert (await service.adoptable("sea")).orgs == ()
    done: Any = await service.adopt("sea", str(theirs.id))
    assert (done.namespace, done.org, done.before) == ("sea", LEFT, None)
    assert (await service.adoptable("air")).orgs == ()
    assert (await slugs(young))[theirs.id] == "sea"
