"""What a plan holds for every state that Postgres can be in; pure, so each case is a value."""

from __future__ import annotations

from uuid import UUID

import pytest
from msgspec.structs import replace

from headrace.compile.document import Compiled
from headrace.plan.decide import Intent, decide
from headrace.plan.observed import (
    Ancestry,
    DifferingJob,
    FailedRollout,
    Observed,
    Obstacle,
    Owner,
    Presence,
    Reader,
    UnderWay,
    UnitCount,
)
from headrace.plan.outputs import dataset_rows
from headrace.plan.steps import (
    AddVersion,
    AdjustRollout,
    ClaimNames,
    Cutover,
    EndRollout,
    MarkPresent,
    Plan,
    SameData,
    StartRollout,
)
from tests.compile.documents import Spec, compiled, step

ORG, FORMER, WANTED, ROLLOUT = UUID(int=1), UUID(int=2), UUID(int=3), UUID(int=4)
DAY: Spec = {"name": "day", "source": {"kind": "manual"}}
HERE = Presence(object_uid="u", suspended=False, absent=False)
INTENT = Intent(object_uid="u")


def document(*published: tuple[str, str, int], config: object = 0, reads: str | None = None) -> Compiled:
    """A source and a job of two outputs, with datasets published as (name, job, output)."""
    clean = {**step("clean", "day"), "outputs": 2, "config": {"n": config}}
    if reads:
        clean["inputs"] = [*clean["inputs"], {"from": {"dataset": reads}}]
    publish = [{"name": name, "from": {"job": job, "output": output}} for name, job, output in published]
    return compiled({"jobs": [DAY, clean], "publish": publish}, dag="flights")


DOCUMENT = document()
H = DOCUMENT.yaml_hash


def new(compiled_: Compiled = DOCUMENT, **fields: object) -> Observed:
    """What Postgres says before anything was applied."""
    return replace(Observed(org_id=ORG, compiled=compiled_), **fields)


def serving(compiled_: Compiled = DOCUMENT, **fields: object) -> Observed:
    """What Postgres says while a former version serves."""
    base = Observed(
        org_id=ORG, compiled=compiled_, presence=HERE, current_version=FORMER, current_hash="v1-former", base_publish=()
    )
    return replace(base, **fields)


def under_way(yaml_hash: str = H, **fields: object) -> UnderWay:
    """A rollout that builds."""
    base = UnderWay(id=ROLLOUT, yaml_hash=yaml_hash, base=FORMER, strategy="WhenReady", planned_tasks=5, builds=True)
    return replace(base, **fields)


def names(plan: Plan) -> list[str]:
    """The kinds of a plan's steps."""
    return [type(step).__name__ for step in plan.steps]


KNOWN = {"wanted_version": WANTED}
SERVED = {**KNOWN, "served": True}
SUSPENDED = replace(INTENT, suspended=True)
MANUAL = replace(INTENT, strategy="Manual")
FAILED = FailedRollout(id=ROLLOUT, yaml_hash=H, cause="job clean: it broke")
PINNED = replace(HERE, pinned_hash="v1-pinned")


@pytest.mark.parametrize(
    ("observed", "intent", "steps"),
    [
        pytest.param(new(), INTENT, ["MarkPresent", "AddVersion", "Cutover"], id="the first version"),
        pytest.param(new(), MANUAL, ["MarkPresent", "AddVersion", "Cutover"], id="the first version needs no approval"),
        pytest.param(serving(), INTENT, ["AddVersion", "StartRollout"], id="a new document"),
        pytest.param(serving(**KNOWN), INTENT, ["StartRollout"], id="a known document that never served"),
        pytest.param(serving(**SERVED), INTENT, ["Cutover"], id="a document that served before: pointers first"),
        pytest.param(serving(**SERVED), MANUAL, ["StartRollout"], id="it served before, and a person decides"),
        pytest.param(serving(**SERVED, intact=False), INTENT, ["Repoint", "StartRollout"], id="its data were retired"),
        pytest.param(serving(**KNOWN, repoints=True), INTENT, ["Repoint", "StartRollout"], id="others are reused now"),
        pytest.param(serving(current_hash=H, **KNOWN), INTENT, [], id="the same again"),
        pytest.param(serving(current_hash=H, **KNOWN), SUSPENDED, ["MarkPresent"], id="suspended, no new version"),
        pytest.param(serving(current_hash=H, presence=replace(HERE, suspended=True), **KNOWN), INTENT, ["MarkPresent"],
                     id="no longer suspended"),
        pytest.param(serving(current_hash=H, presence=replace(HERE, suspended=True), **KNOWN), SUSPENDED, [],
                     id="suspended still"),
        pytest.param(serving(current_hash=H, presence=replace(HERE, object_uid="v"), **KNOWN), INTENT, ["MarkPresent"],
                     id="an object made anew"),
        pytest.param(serving(current_hash=H, presence=replace(HERE, absent=True), **KNOWN), INTENT, ["MarkPresent"],
                     id="an object that was gone"),
        pytest.param(serving(under_way=under_way(), **KNOWN), INTENT, [], id="its rollout is under way"),
        pytest.param(serving(under_way=under_way(), **KNOWN), MANUAL, ["AdjustRollout"], id="its rollout turns manual"),
        pytest.param(serving(under_way=under_way(), **KNOWN), replace(INTENT, deadline=9), ["AdjustRollout"],
                     id="its rollout gets a deadline"),
        pytest.param(serving(under_way=under_way(builds=False), **KNOWN), INTENT, ["AdjustRollout"],
                     id="the bound of its tasks was raised"),
        pytest.param(serving(under_way=under_way(builds=False), **KNOWN), replace(INTENT, max_build_tasks=1), [],
                     id="it waits for approval still"),
        pytest.param(serving(under_way=under_way(), repoints=True, **KNOWN), INTENT, ["Repoint"],
                     id="data are reused while it builds"),
        pytest.param(serving(under_way=under_way("v1-other")), INTENT, ["AddVersion", "EndRollout", "StartRollout"],
                     id="another rollout is superseded"),
        pytest.param(serving(current_hash=H, under_way=under_way("v1-other"), **KNOWN), INTENT, ["EndRollout"],
                     id="back to what serves, while another is built"),
        pytest.param(serving(under_way=under_way("v1-other"), **SERVED), INTENT, ["EndRollout", "Cutover"],
                     id="back to an older one, while another is built"),
        pytest.param(serving(failed=replace(FAILED, yaml_hash="v1-other")), INTENT,
                     ["AddVersion", "EndRollout", "StartRollout"], id="another rollout failed before"),
        pytest.param(serving(current_hash=H, failed=replace(FAILED, yaml_hash="v1-other"), **KNOWN), INTENT,
                     ["EndRollout"], id="back to what serves, after a failure"),
        pytest.param(serving(failed=FAILED, **SERVED), INTENT, ["EndRollout", "Cutover"],
                     id="it failed once and served since"),
        pytest.param(serving(presence=PINNED, current_hash="v1-pinned"), INTENT, ["AddVersion"],
                     id="pinned: a new document is registered and does not serve"),
        pytest.param(serving(presence=PINNED, current_hash="v1-pinned", **KNOWN), INTENT, [], id="pinned"),
        pytest.param(serving(under_way=under_way(), **SERVED), INTENT, ["EndRollout", "Cutover"],
                     id="it is built for a person's approval, and needs none any more"),
        pytest.param(serving(presence=replace(PINNED, suspended=True), current_hash="v1-pinned", **KNOWN), INTENT,
                     ["MarkPresent"], id="pinned, and nothing to do but to note the object"),
    ],
)  # fmt: skip
def test_steps(observed: Observed, intent: Intent, steps: list[str]) -> None:
    plan = decide(intent, observed)
    assert (names(plan), plan.blocked) == (steps, None)
    returns = observed.presence is not None and observed.presence.absent
    marked = [step for step in plan.steps if isinstance(step, MarkPresent)]
    assert marked == [MarkPresent(object_uid="u", suspended=intent.suspended, returns=returns)][: len(marked)]
    assert decide(intent, observed) == plan


def test_the_cutover_names_the_version_that_it_was_planned_against() -> None:
    first, again = decide(INTENT, new()), decide(INTENT, serving(**SERVED))
    assert first.steps[1] == AddVersion(compiled=DOCUMENT)
    found = [step for plan in (first, again) for step in plan.steps if isinstance(step, Cutover)]
    assert [(step.base, step.yaml_hash) for step in found] == [(None, H), (FORMER, H)]


@pytest.mark.parametrize(
    ("intent", "counted", "approved"),
    [
        pytest.param(INTENT, 1000, (True, True), id="as many as are allowed"),
        pytest.param(INTENT, 1001, (False, True), id="one more"),
        pytest.param(replace(INTENT, max_build_tasks=0), 1, (False, True), id="none are allowed"),
        pytest.param(replace(INTENT, max_build_tasks=0), 0, (True, True), id="none are needed"),
        pytest.param(MANUAL, 5, (True, False), id="a person decides on the cutover"),
        pytest.param(replace(MANUAL, max_build_tasks=4), 5, (False, False), id="on both"),
    ],
)
def test_what_a_rollout_waits_for(intent: Intent, counted: int, approved: tuple[bool, bool]) -> None:
    jobs = (DifferingJob(name="clean", wanted=True, fingerprint="v1-f", document={}),)
    counts = (UnitCount(job="clean", units=counted + 3, done=3),)
    plan = decide(replace(intent, deadline=60), serving(jobs=jobs, counts=counts))
    step = plan.steps[-1]
    assert isinstance(step, StartRollout)
    assert (step.build_approved, step.cutover_approved) == approved
    assert (step.base, step.yaml_hash, step.deadline, step.strategy) == (FORMER, H, 60, intent.strategy)
    assert step.explanation.tasks == counted
    assert bool(step.explanation.approval) is not approved[0]


def test_an_approval_is_not_taken_back_by_a_lower_bound() -> None:
    observed = serving(under_way=under_way(builds=True, planned_tasks=5000), **KNOWN)
    assert decide(INTENT, observed).steps == ()


def test_what_a_superseding_rollout_keeps() -> None:
    plan = decide(INTENT, serving(under_way=under_way("v1-other")))
    ended = [step for step in plan.steps if isinstance(step, EndRollout)]
    assert [(step.id, step.state, step.keep) for step in ended] == [(ROLLOUT, "Superseded", H)]


def test_every_output_has_a_name_and_its_fingerprint() -> None:
    rows = dataset_rows(document(("rows", "clean", 1)))
    assert [(r.job, r.output, r.name) for r in rows] == [
        ("clean", 0, "flights.clean.0"), ("clean", 1, "rows"), ("day", 0, "flights.day.0"),
    ]  # fmt: skip
    assert [r.fingerprint for r in rows] == [*DOCUMENT.jobs["clean"].outputs, *DOCUMENT.jobs["day"].outputs]


def test_names_are_claimed_once() -> None:
    wanted = document(("rows", "clean", 0), ("bad", "clean", 1))
    plan = decide(INTENT, serving(wanted, owners=(Owner(name="bad", dag="flights"),)))
    assert plan.steps[0] == ClaimNames(names=("rows",))
    assert names(plan) == ["ClaimNames", "AddVersion", "StartRollout"]


ROWS = document(("rows", "clean", 0))
READER = Reader(dataset="rows", job="clean", output=0, dag="trains", reader="join")
OF_TRAINS = (Owner(name="rows", dag="trains"), Owner(name="more", dag="ships"))


@pytest.mark.parametrize(
    ("observed", "reason", "told", "waits"),
    [
        pytest.param(serving(ROWS, owners=OF_TRAINS[:1]), "NameTaken", "rows (of DAG trains)", False, id="a name"),
        pytest.param(new(ROWS, owners=OF_TRAINS[:1]), "NameTaken", "transfer rows --to flights", False, id="at first"),
        pytest.param(serving(readers=(READER,)), "ConsumersExist", "rows (read by trains/join)", False,
                     id="others read what is dropped"),
        pytest.param(serving(document(reads="delays"), absent=("delays",)), "InputsMissing", "delays", True,
                     id="what it reads is not there yet"),
        pytest.param(serving(document(reads="delays"), ancestry=(Ancestry(dataset="delays", job="clean"),)),
                     "CycleAcrossDAGs", "job clean reads the dataset delays", False, id="it reads what it makes"),
        pytest.param(serving(failed=FAILED, **KNOWN), "RolloutFailed", "job clean: it broke", False, id="it failed"),
        pytest.param(serving(readers=(READER,), **SERVED), "ConsumersExist", "rows (read by", False,
                     id="an older document dropped it"),
    ],
)  # fmt: skip
def test_what_cannot_become_a_version(observed: Observed, reason: str, told: str, waits: bool) -> None:
    """Nothing but the object is noted, and the version that serves goes on."""
    plan = decide(replace(INTENT, suspended=True), observed)
    assert plan.blocked is not None
    assert (plan.blocked.reason, plan.blocked.waits) == (reason, waits)
    assert told in plan.blocked.message
    assert names(plan) == ["MarkPresent"]


@pytest.mark.parametrize(
    "observed",
    [
        pytest.param(serving(ROWS, readers=(READER,)), id="what others read stays published"),
        pytest.param(serving(owners=OF_TRAINS), id="names of others that it does not ask for"),
        pytest.param(serving(document(reads="delays"), ancestry=(Ancestry(dataset="delays", job="gone"),)),
                     id="made from a job that it has no more"),
        pytest.param(serving(document(reads="delays"), ancestry=(Ancestry(dataset="delays", job="day"),)),
                     id="made from a job that is only upstream of the reader"),
        pytest.param(serving(failed=replace(FAILED, yaml_hash="v1-other")), id="another document failed"),
    ],
)  # fmt: skip
def test_what_does_not_stop_a_version(observed: Observed) -> None:
    assert decide(INTENT, observed).blocked is None


def test_a_document_that_is_blocked_is_told_while_another_is_pinned() -> None:
    plan = decide(INTENT, serving(presence=PINNED, readers=(READER,)))
    assert plan.blocked is not None
    assert (plan.blocked.reason, names(plan), plan.registered) == ("ConsumersExist", [], False)


@pytest.mark.parametrize("reason", ["InputsMissing", "CycleAcrossDAGs", "NameTaken"])
def test_a_dag_that_comes_back_to_a_changed_world_stays_stopped(reason: str) -> None:
    gone = replace(HERE, absent=True)
    obstacles = (Obstacle(reason=reason, what="rows"),)
    plan = decide(INTENT, serving(presence=gone, current_hash=H, obstacles=obstacles, **KNOWN))
    assert plan.blocked is not None
    assert (plan.blocked.reason, plan.blocked.waits, plan.steps) == (reason, reason == "InputsMissing", ())


def test_what_blocks_is_told_in_full_up_to_eight() -> None:
    readers = tuple(replace(READER, reader=f"j{n}") for n in range(9))
    plan = decide(INTENT, serving(readers=readers))
    assert plan.blocked is not None
    assert "rows (read by trains/j7) and 1 more;" in plan.blocked.message


def test_reused_data_are_recorded_with_the_version() -> None:
    same = (SameData(job="clean", fingerprint="v1-new", same_as="v1-old"),)
    plan = decide(INTENT, serving(same_data=same))
    added = [step for step in plan.steps if isinstance(step, AddVersion)]
    assert [step.same_data for step in added] == [same]


def test_adjusting_says_everything() -> None:
    intent = replace(MANUAL, deadline=7)
    assert decide(intent, serving(under_way=under_way(), **KNOWN)).steps == (
        AdjustRollout(id=ROLLOUT, strategy="Manual", build_approved=True, deadline=7),
    )
