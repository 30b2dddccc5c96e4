"""Sources that run on and on, over real Postgres: what becomes of them when they are changed."""

from __future__ import annotations

import msgspec
import pytest

from headrace.plan.rollout import Hold, Stay, SwitchOver
from headrace.state.database import Busy, Database
from headrace.state.why import read_unit
from tests.state.live import LIVE, PARTS, REPLAY, Chain, document, finish, refused, upto
from tests.state.world import step


@pytest.fixture
def chain(db: Database) -> Chain:
    return Chain(db)


async def test_a_new_form_that_can_start_over_is_built_beside_and_takes_its_place(chain: Chain) -> None:
    await chain.apply("chain", REPLAY, step("clean", "blocks"))
    serves = await chain.source()
    await chain.tell(serves, upto(10), upto(20, 10))
    await finish(chain, "clean")
    await chain.apply("chain", {**REPLAY, "image": "j"}, step("clean", "blocks"))
    builds = await chain.source()
    assert (builds.id != serves.id, document(builds)["last"]) == (True, None)
    assert await chain.advance("chain") == Stay()
    await chain.tell(builds, upto(10))
    await finish(chain, "clean")
    assert await chain.advance("chain") == Stay()
    await chain.tell(serves, upto(30, 20))
    await chain.tell(builds, upto(20, 10))
    await finish(chain, "clean")
    assert await chain.advance("chain") == Stay()
    await chain.tell(builds, upto(30, 20))
    assert await chain.advance("chain") == Stay()  # what reads it is not done
    await finish(chain, "clean")
    assert await chain.advance("chain") == SwitchOver()
    assert [pod.id for pod in await chain.running()] == [builds.id]
    assert await refused(chain, serves, upto(40, 30)) == 409
    await chain.tell(builds, upto(40, 30))
    assert await finish(chain, "clean") == [("clean", "*")]


async def test_by_its_partitions_where_no_cursors_are_told(chain: Chain) -> None:
    await chain.apply("chain", REPLAY)
    await chain.tell(await chain.source(), {"id": "1", "partition": "a"}, {"id": "2", "partition": "b"})
    await chain.apply("chain", {**REPLAY, "image": "j"})
    builds = await chain.source()
    await chain.tell(builds, {"id": "1", "partition": "a"})
    assert await chain.advance("chain") == Stay()
    await chain.tell(builds, {"id": "2", "partition": "b"})
    assert await chain.advance("chain") == SwitchOver()


async def test_a_first_event_without_a_cursor_is_not_as_far(chain: Chain) -> None:
    await chain.apply("chain", {**REPLAY, **PARTS})
    await chain.tell(await chain.source(), upto(10))
    await chain.apply("chain", {**REPLAY, **PARTS, "image": "j"})
    builds = await chain.source()
    await chain.tell(builds, {"id": "begin"})
    assert await chain.advance("chain") == Stay()
    other = {"column": "time", "type": "bigint", "to": 1}
    await chain.tell(builds, {"id": "other", "cursor": other})  # not of the same column: its partitions tell
    assert await chain.advance("chain") == SwitchOver()


async def test_nothing_is_held_before_it_has_come_near(chain: Chain) -> None:
    await chain.apply("chain", REPLAY)
    await chain.tell(await chain.source(), upto(10))
    await chain.rows("UPDATE dataset_updates SET published_at = now() - interval '2 minutes' RETURNING 1")
    await chain.apply("chain", {**REPLAY, "image": "j"})
    builds = await chain.source()
    assert await chain.advance("chain") == Stay()
    assert await chain.rows("SELECT next_hold_at IS NULL FROM rollouts WHERE state = 'Building'") == [(True,)]
    await chain.tell(builds, upto(10))
    assert await chain.advance("chain") == SwitchOver()


async def test_the_plan_counts_what_follows_from_starting_over(chain: Chain) -> None:
    await chain.apply("chain", REPLAY, step("clean", "blocks"))
    await chain.tell(await chain.source(), *({"id": key, "partition": key} for key in "abc"))
    await finish(chain, "clean")
    plan = await chain.apply("chain", {**REPLAY, "image": "j"}, step("clean", "blocks"), rollout={"maxBuildTasks": 2})
    assert "more than the 2" in plan.explanation.approval


async def test_what_waits_for_something_else_is_not_said_to_wait_for_it(chain: Chain) -> None:
    whole = {"name": "total", "image": "i", "inputs": [{"from": {"job": "blocks"}, "match": "latest"}]}
    await chain.apply("chain", LIVE, whole)
    await chain.tell(await chain.source(), upto(1))
    async with chain.db.transaction() as tx:
        assert (await read_unit(tx, (await chain.org()).id, "chain", "total", "*")).blockers == ()


async def test_a_stream_that_never_pauses_is_held_for_the_cutover(chain: Chain) -> None:
    await chain.apply("chain", REPLAY)
    serves = await chain.source()
    await chain.tell(serves, upto(10))
    await chain.apply("chain", {**REPLAY, "image": "j"})
    builds = await chain.source()
    await chain.advance("chain")
    await chain.rows("UPDATE rollouts SET next_hold_at = now() WHERE state = 'Building' RETURNING 1")
    assert isinstance(await chain.advance("chain"), Hold)
    with pytest.raises(Busy):
        await chain.tell(serves, upto(20, 10))
    await chain.tell(builds, upto(10))
    assert await chain.advance("chain") == SwitchOver()


async def test_one_that_cannot_start_over_waits_for_a_person_and_starts_at_the_cutover(chain: Chain) -> None:
    await chain.apply("chain", LIVE)
    serves = await chain.source()
    await chain.tell(serves, upto(10))
    plan = await chain.apply("chain", {**LIVE, "image": "j"})
    assert "history of blocks" in plan.explanation.approval
    assert [pod.id for pod in await chain.claim()] == [serves.id]
    await _approve(chain)
    assert await chain.advance("chain") == SwitchOver()
    pod = await chain.source()
    assert pod.id != serves.id
    assert document(pod)["last"] is None


async def test_a_revert_keeps_what_was_made_of_history_that_cannot_be_told_again(chain: Chain) -> None:
    """Of a source that began anew, with what was made of it kept (`rollout.reuse`): its keys went, that did not."""
    await chain.apply("chain", LIVE, step("clean", "blocks"))
    await chain.tell(await chain.source(), {"id": "1", "partition": "a"})
    await finish(chain, "clean")
    second = ({**LIVE, "image": "j"}, step("clean", "blocks"))
    await chain.apply("chain", *second, rollout={"reuse": ["clean"]})
    await _approve(chain)
    assert await chain.advance("chain") == SwitchOver()
    assert (await chain.keys(), await chain.keys("clean")) == ([], ["a"])
    await chain.apply("chain", second[0], step("clean", "blocks", image="k"))
    await chain.advance("chain")
    assert await chain.keys("clean") == []
    await chain.apply("chain", *second, rollout={"reuse": ["clean"]})
    assert await chain.keys("clean") == ["a"]


async def _approve(chain: Chain) -> None:
    """Let the build begin that waits."""
    ((hash_,),) = await chain.rows(
        "SELECT yaml_hash FROM rollouts JOIN dag_versions v ON v.id = dag_version_id WHERE state = 'Building'"
    )
    await chain.command("chain", "approve", str(hash_))


async def test_an_unchanged_one_runs_on_over_versions_and_an_older_form_goes_on_where_it_was(chain: Chain) -> None:
    await chain.apply("chain", REPLAY)
    pod = await chain.source()
    await chain.tell(pod, upto(10))
    await chain.apply("chain", REPLAY, step("clean", "blocks"))
    await finish(chain, "clean")
    assert await chain.advance("chain") == SwitchOver()
    assert (await chain.source()).id == pod.id
    await chain.tell(pod, upto(20, 10))
    await chain.apply("chain", {**REPLAY, "image": "j"})
    await chain.tell(await chain.source(), upto(20))
    assert await chain.advance("chain") == SwitchOver()
    await chain.apply("chain", REPLAY)  # back
    again = await chain.source()
    assert again.id != pod.id
    last = msgspec.convert(document(again)["last"], dict[str, object])
    assert last["event"] == "b20"
