"""What a plan holds for every state that Postgres can be in; pure, so each case is a value."""

from __future__ import annotations

from uuid import UUID, uuid5

import pytest
from msgspec.structs import replace

from headrace.compile.document import Compiled
from headrace.plan.decide import dataset_rows, decide
from headrace.plan.observed import Observed, ObservedDataset, ObservedJob, Presence
from headrace.plan.steps import AddVersion, Cutover, MarkPresent, NameDatasets, Plan
from tests.compile.documents import Spec, compiled, step

ORG = UUID(int=1)
FORMER = UUID(int=2)
WANTED = UUID(int=3)
DAY: Spec = {"name": "day", "source": {"kind": "manual"}}
HERE = Presence(object_uid="u", suspended=False, absent=False)


def document(*published: tuple[str, str, int], config: object = 0) -> Compiled:
    """A source and a job of two outputs, with datasets published as (name, job, output)."""
    clean = {**step("clean", "day"), "outputs": 2, "config": {"n": config}}
    publish = [{"name": name, "from": {"job": job, "output": output}} for name, job, output in published]
    return compiled({"jobs": [DAY, clean], "publish": publish}, dag="flights")


DOCUMENT = document()


def dataset(name: str, job: str = "clean", output: int = 0, dag: str = "flights") -> ObservedDataset:
    """A dataset's row; its id is made of its producer."""
    id_ = uuid5(ORG, f"{dag}/{job}/{output}")
    return ObservedDataset(id=id_, name=name, dag=dag, job=job, output=output, storage_base=None)


DEFAULT = (dataset("flights.clean.0"), dataset("flights.clean.1", output=1), dataset("flights.day.0", "day"))


def serving(**fields: object) -> Observed:
    """What Postgres says while a former version serves."""
    base = Observed(org_id=ORG, presence=HERE, current_version=FORMER, current_hash="v1-former", datasets=DEFAULT)
    return replace(base, **fields)


def names(plan: Plan) -> list[str]:
    """The kinds of a plan's steps."""
    return [type(step).__name__ for step in plan.steps]


@pytest.mark.parametrize(
    ("observed", "suspended", "steps"),
    [
        pytest.param(Observed(org_id=ORG), False, ["MarkPresent", "AddVersion", "Cutover"], id="the first version"),
        pytest.param(serving(), False, ["AddVersion", "Cutover"], id="a new document"),
        pytest.param(serving(wanted_version=WANTED), False, ["Cutover"], id="a document that was there before"),
        pytest.param(serving(current_hash=DOCUMENT.yaml_hash), False, [], id="the same again"),
        pytest.param(serving(current_hash=DOCUMENT.yaml_hash), True, ["MarkPresent"], id="suspended, no new version"),
        pytest.param(serving(current_hash=DOCUMENT.yaml_hash, presence=replace(HERE, suspended=True)), False,
                     ["MarkPresent"], id="no longer suspended"),
        pytest.param(serving(current_hash=DOCUMENT.yaml_hash, presence=replace(HERE, suspended=True)), True,
                     [], id="suspended still"),
        pytest.param(serving(current_hash=DOCUMENT.yaml_hash, presence=replace(HERE, object_uid="v")), False,
                     ["MarkPresent"], id="an object made anew"),
        pytest.param(serving(current_hash=DOCUMENT.yaml_hash, presence=replace(HERE, absent=True)), False,
                     ["MarkPresent"], id="an object that was gone"),
        pytest.param(serving(presence=replace(HERE, suspended=True)), False, ["MarkPresent", "AddVersion", "Cutover"],
                     id="suspension and document at once"),
    ],
)  # fmt: skip
def test_steps(observed: Observed, suspended: bool, steps: list[str]) -> None:
    plan = decide(DOCUMENT, "u", suspended, observed)
    assert (names(plan), plan.blocked) == (steps, None)
    returns = observed.presence is not None and observed.presence.absent
    marked = [step for step in plan.steps if isinstance(step, MarkPresent)]
    assert marked == [MarkPresent(object_uid="u", suspended=suspended, returns=returns)][: len(marked)]
    assert decide(DOCUMENT, "u", suspended, observed) == plan


def test_the_cutover_names_the_version_that_it_was_planned_against() -> None:
    assert decide(DOCUMENT, "u", False, serving()).steps[-1] == Cutover(base=FORMER, yaml_hash=DOCUMENT.yaml_hash)
    first = decide(DOCUMENT, "u", False, Observed(org_id=ORG)).steps
    assert first[1:] == (
        AddVersion(compiled=DOCUMENT, datasets=dataset_rows(DOCUMENT)),
        Cutover(base=None, yaml_hash=DOCUMENT.yaml_hash),
    )


def test_every_output_has_a_name_and_its_fingerprint() -> None:
    rows = dataset_rows(document(("rows", "clean", 1)))
    assert [(r.job, r.output, r.name) for r in rows] == [
        ("clean", 0, "flights.clean.0"), ("clean", 1, "rows"), ("day", 0, "flights.day.0"),
    ]  # fmt: skip
    assert [r.fingerprint for r in rows] == [*DOCUMENT.jobs["clean"].outputs, *DOCUMENT.jobs["day"].outputs]


TAKEN = dataset("rows", "make", dag="trains")


@pytest.mark.parametrize(
    ("datasets", "published", "told"),
    [
        pytest.param((TAKEN,), [("rows", "clean", 0)], "rows (of DAG trains)", id="one"),
        pytest.param((TAKEN, dataset("more", "make", 1, "ships")), [("rows", "clean", 0), ("more", "clean", 1)],
                     "more (of DAG ships), rows (of DAG trains)", id="two"),
        pytest.param((TAKEN,), [], None, id="not asked for"),
        pytest.param((dataset("rows", output=1),), [("rows", "clean", 0)], None, id="of an output of this DAG"),
    ],
)  # fmt: skip
def test_a_name_belongs_to_the_dag_that_published_it_first(
    datasets: tuple[ObservedDataset, ...], published: list[tuple[str, str, int]], told: str | None
) -> None:
    """The owner's name is told, nothing but the presence is noted, and the serving version stays."""
    plan = decide(document(*published), "u", True, serving(datasets=datasets))
    if told is None:
        assert plan.blocked is None
        return
    assert plan.blocked is not None
    assert (plan.blocked.reason, names(plan)) == ("NameTaken", ["MarkPresent"])
    assert told in plan.blocked.message


def job(name: str, undone: int, compiled_: Compiled = DOCUMENT) -> ObservedJob:
    """A job that serves, with the fingerprint that it has in a document."""
    known = compiled_.jobs.get(name)
    return ObservedJob(name=name, fingerprint=known.fingerprint if known else "v1-gone", undone=undone)


@pytest.mark.parametrize(
    ("jobs", "stale"),
    [
        pytest.param([job("day", 3), job("clean", 3)], "clean", id="data of a changed job"),
        pytest.param([job("day", 3), job("clean", 0)], None, id="a changed job without data"),
        pytest.param([job("day", 3)], None, id="an unchanged job"),
        pytest.param([job("gone", 3)], None, id="a removed job"),
        pytest.param([job("clean", 3, document(config=1))], None, id="data that the wanted version made already"),
    ],
)
def test_data_that_exist_are_not_made_stale(jobs: list[ObservedJob], stale: str | None) -> None:
    plan = decide(document(config=1), "u", False, serving(jobs=tuple(jobs)))
    blocked = plan.blocked
    if stale is None:
        assert (blocked, names(plan)) == (None, ["AddVersion", "Cutover"])
        return
    assert blocked is not None
    assert (blocked.reason, names(plan)) == ("RebuildNotSupported", [])
    assert f"the data of these jobs stale: {stale}. " in blocked.message


def test_what_blocks_is_told_in_full_up_to_eight_jobs() -> None:
    many = [step(f"j{n}", "day") for n in range(9)]
    wanted = compiled({"jobs": [DAY, *many]})
    stale = tuple(ObservedJob(name=f"j{n}", fingerprint="v1-other", undone=1) for n in range(9))
    plan = decide(wanted, "u", False, serving(jobs=stale))
    assert plan.blocked is not None
    assert "stale: j0, j1, j2, j3, j4, j5, j6, j7, ...." in plan.blocked.message


def test_a_taken_name_is_told_before_a_rebuild() -> None:
    wanted = document(("rows", "clean", 0), config=1)
    plan = decide(wanted, "u", False, serving(datasets=(TAKEN,), jobs=(job("clean", 1),)))
    assert plan.blocked is not None
    assert plan.blocked.reason == "NameTaken"


@pytest.mark.parametrize(
    ("datasets", "published", "renamed"),
    [
        pytest.param(DEFAULT, [], {}, id="nothing published, before and after"),
        pytest.param(DEFAULT, [("rows", "clean", 0)], {("clean", 0): "rows"}, id="published later"),
        pytest.param((dataset("rows"),), [], {("clean", 0): "flights.clean.0"}, id="no longer published"),
        pytest.param((dataset("rows"),), [("lines", "clean", 0)], {("clean", 0): "lines"}, id="under another name"),
        pytest.param((dataset("rows"), dataset("bad", output=1)), [("bad", "clean", 0), ("rows", "clean", 1)],
                     {("clean", 0): "bad", ("clean", 1): "rows"}, id="two outputs trade names"),
        pytest.param((dataset("rows"), dataset("flights.clean.1", output=1)), [("rows", "clean", 1)],
                     {("clean", 0): "flights.clean.0", ("clean", 1): "rows"}, id="a name moves on"),
        pytest.param((dataset("rows", "former"), dataset("flights.clean.0")), [("rows", "clean", 0)],
                     {("former", 0): "flights.former.0", ("clean", 0): "rows"}, id="a removed job's name is taken"),
        pytest.param((dataset("rows", "former"),), [], {}, id="a removed job keeps a name that nobody wants"),
    ],
)  # fmt: skip
def test_names_move_in_one_step(
    datasets: tuple[ObservedDataset, ...], published: list[tuple[str, str, int]], renamed: dict[tuple[str, int], str]
) -> None:
    """Before the version is added, so that its rows find every name free."""
    plan = decide(document(*published), "u", False, serving(datasets=datasets))
    steps = [s for s in plan.steps if isinstance(s, NameDatasets)]
    ids = {uuid5(ORG, f"flights/{job}/{output}"): name for (job, output), name in renamed.items()}
    assert [dict(s.renamed) for s in steps] == ([ids] if ids else [])
    assert names(plan) == [*(["NameDatasets"] if ids else []), "AddVersion", "Cutover"]
