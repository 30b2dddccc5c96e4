"""Which partitions a run of a source makes, and which parameters it may give."""

from __future__ import annotations

import pytest

from headrace.api.runs import NotUnderstood, Run
from headrace.api.source import CronPartition, PartitionRange, Partitions, Source
from headrace.compile.document import SourceDocument
from headrace.compile.problems import Problems
from headrace.compile.runs import check_params, source_keys
from headrace.compile.sources import compile_source
from headrace.compiler import Compiler


def source(**fields: object) -> SourceDocument:
    problems = Problems("DAG d")
    found = compile_source(Source(**fields), "s", problems)  # type: ignore[arg-type]
    assert found is not None
    return found


DAILY = source(
    kind="cron", schedule="30 2 * * *", time_zone="Europe/Zurich", partition=CronPartition(format="%Y-%m-%d")
)
HOURLY = source(kind="cron", schedule="0 * * * *", partition=CronPartition(format="%Y-%m-%d"))
BACKWARDS = source(kind="cron", schedule="0 0 * * *", partition=CronPartition(format="%d.%m.%Y"))
MONTHS = source(
    kind="manual",
    partitions=Partitions(range=PartitionRange(start="2013-01", end="2013-12", every="1mo", format="%Y-%m")),
)
LISTED = source(kind="manual", partitions=Partitions(values=["b", "a", "c"]))
WHOLE = source(kind="manual")
HOOK = source(kind="webhook", secret_name="s")
TICKS = source(kind="cron", schedule="0 0 * * *")

RUNS: list[tuple[SourceDocument, Run, tuple[str, ...]]] = [
    (DAILY, Run(partitions=("2013-01-05",)), ("2013-01-05",)),
    (DAILY, Run(first="2013-03-30", last="2013-04-01"), ("2013-03-30", "2013-03-31", "2013-04-01")),
    (DAILY, Run(first="2013-03-30", last="2013-03-30"), ("2013-03-30",)),
    (HOURLY, Run(first="2013-01-01", last="2013-01-02"), ("2013-01-01", "2013-01-02")),
    (BACKWARDS, Run(first="31.01.2013", last="02.02.2013"), ("31.01.2013", "01.02.2013", "02.02.2013")),
    (MONTHS, Run(), tuple(f"2013-{month:02}" for month in range(1, 13))),
    (MONTHS, Run(first="2013-02", last="2013-04"), ("2013-02", "2013-03", "2013-04")),
    (MONTHS, Run(partitions=("2013-12", "2013-01")), ("2013-12", "2013-01")),
    (LISTED, Run(first="b", last="a"), ("b", "a")),
    (WHOLE, Run(), ("*",)),
    (WHOLE, Run(partitions=("eu", "us")), ("eu", "us")),
    (TICKS, Run(), ("*",)),
    (TICKS, Run(partitions=("*",)), ("*",)),
]


@pytest.mark.parametrize(("of", "run", "keys"), RUNS, ids=range(len(RUNS)))
def test_a_run_makes(of: SourceDocument, run: Run, keys: tuple[str, ...]) -> None:
    assert source_keys(of, run) == keys


REFUSED: list[tuple[SourceDocument, Run, str]] = [
    (DAILY, Run(), "name some with --partition"),
    (DAILY, Run(partitions=("2013-1-5",)), "not written as those of the source are, %Y-%m-%d"),
    (DAILY, Run(first="2013", last="2014"), "partition 2013 is not written as those of the source are"),
    (DAILY, Run(first="2013-02-01", last="2013-01-01"), "the range is empty"),
    (HOURLY, Run(first="1900-01-01", last="2900-01-01"), "more than 10000 partitions, or 20000 instants"),
    (DAILY, Run(first="0001-01-01", last="0001-01-02"), "leaves the years|no instant"),
    (DAILY, Run(first="9999-12-30", last="9999-12-31"), "leaves the years|no instant"),
    (HOOK, Run(partitions=("a",)), "the source has no partitions"),
    (MONTHS, Run(partitions=("2014-01",)), "partition 2014-01 is none of those that the source lists: add it"),
    (
        MONTHS,
        Run(first="2012-01", last="2013-01"),
        "partition 2012-01 is none of those that the source lists, 2013-01 to 2013-12",
    ),
    (LISTED, Run(first="a", last="b"), "the range is empty: b comes before a"),
    (WHOLE, Run(first="a", last="b"), "no partitions that a range could be of"),
    (TICKS, Run(partitions=("a",)), "the source has no partitions"),
]


@pytest.mark.parametrize(("of", "run", "message"), REFUSED, ids=range(len(REFUSED)))
def test_a_run_is_refused_with_the_way_out(of: SourceDocument, run: Run, message: str) -> None:
    with pytest.raises(NotUnderstood, match=message):
        source_keys(of, run)


SCHEMA: dict[str, object] = {
    "type": "object",
    "properties": {"n": {"type": "integer"}, "s": {"type": "string"}},
    "required": ["n"],
    "additionalProperties": False,
}


def test_a_schema_that_leads_nowhere_is_told() -> None:
    for reference in ("#/title", "#/minProperties", "#/nowhere", "https://example.com/x"):
        with pytest.raises(NotUnderstood, match=r"has a \$ref"):
            check_params({"n": 1}, {"title": "t", "minProperties": 1, "properties": {"n": {"$ref": reference}}})


async def test_a_pattern_that_takes_for_ever_is_given_up() -> None:
    compiler = Compiler()
    try:
        slow: dict[str, object] = {"properties": {"s": {"pattern": "^(a+)+$"}}}
        told = await compiler.params_problem({"s": "a" * 60 + "!"}, slow)
        assert told is not None
        assert "took more than 1 s" in told
        assert await compiler.params_problem({"s": "a"}, slow) is None
    finally:
        compiler.close()


def test_parameters_are_as_the_schema_asks() -> None:
    check_params({"n": 3}, SCHEMA)
    for params, schema, message in (
        ({}, SCHEMA, "'n' is a required property"),
        ({"n": "3", "x": 1}, SCHEMA, "must be of type integer"),
    ):
        with pytest.raises(NotUnderstood, match=message):
            check_params(params, schema)  # type: ignore[arg-type]
