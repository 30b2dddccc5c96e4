"""What the example's steps tell of columns: as they are in the file, and made from what their SQL makes them from."""

from __future__ import annotations

from collections import defaultdict

import duckdb
import pytest
import yaml

from headrace.compile.document import ColumnDocument
from headrace.plan.contracts import difference
from tests.examples.conftest import EXAMPLE, Outcome, Pipeline

KEY = "2013-11-03"
STEPS = ("clean", "weather", "join", "rank")


@pytest.fixture
def told(pipeline: Pipeline) -> dict[str, Outcome]:
    return {step: pipeline.run(step, KEY) for step in STEPS}


def test_columns_are_those_of_the_file(pipeline: Pipeline, told: dict[str, Outcome]) -> None:
    for step, outcome in told.items():
        for output in range(2 if step == "rank" else 1):
            path = pipeline.location(step, output, KEY) / "data.parquet"
            there = duckdb.sql(f"DESCRIBE FROM read_parquet('{path}')").fetchall()
            said = [(c["name"], c["type"]) for c in outcome.said["columns"] if c["output"] == output]
            assert said == [(name, kind) for name, kind, *_ in there]


def lineage(outcome: Outcome, output: int = 0) -> dict[str, set[str]]:
    found: dict[str, set[str]] = defaultdict(set)
    for one in outcome.said.get("lineage", ()):
        if one["output"] == output:
            found[one["column"]] |= {f"{source['input']}.{source['column']}" for source in one["from"]}
    return dict(found)


def test_lineage_is_read_off_the_sql(told: dict[str, Outcome]) -> None:
    assert lineage(told["clean"]) == lineage(told["weather"]) == {}  # from files of the package
    join = lineage(told["join"])
    flights = {c["name"] for c in told["clean"].said["columns"]}
    weather = {c["name"] for c in told["weather"].said["columns"]} - {"origin", "observed_hour"}
    assert {column: {f"clean.{column}"} for column in flights} | {c: {f"weather.{c}"} for c in weather} == join
    carriers, airports = lineage(told["rank"]), lineage(told["rank"], 1)
    assert carriers["mean_arr_delay"] == airports["mean_arr_delay"] == {"join.arr_delay"}
    assert (carriers["name"], airports["name"]) == ({"join.airline"}, {"join.dest_name"})
    assert carriers["rank"] == {"join.arr_delay", "join.carrier"}
    assert "flights" not in carriers  # it counts rows, and is made from no column


def test_what_changes_with_a_column_is_said_to_be_made_from_it(pipeline: Pipeline, told: dict[str, Outcome]) -> None:
    """The lineage against the data: of an input in which one column is another, other columns are as they were."""
    rank = lineage(told["rank"])
    target, source = (
        pipeline.location("rank", 0, KEY) / "data.parquet",
        pipeline.location("join", 0, KEY) / "data.parquet",
    )
    before = duckdb.sql(f"FROM read_parquet('{target}') ORDER BY carrier").fetchall()
    with duckdb.connect() as db:
        db.execute(f"CREATE TABLE t AS FROM read_parquet('{source}')")
        db.execute("UPDATE t SET dep_delay = dep_delay * 2 + 1")
        db.table("t").write_parquet(str(source))
    assert pipeline.run("rank", KEY).code == 0
    result = duckdb.sql(f"FROM read_parquet('{target}') ORDER BY carrier")
    after = result.fetchall()
    changed = {name for n, name in enumerate(result.columns) if [r[n] for r in before] != [r[n] for r in after]}
    assert changed == {column for column, sources in rank.items() if "join.dep_delay" in sources} - {"departed"}


def test_the_example_keeps_its_contract(told: dict[str, Outcome]) -> None:
    (dag,) = [d for d in yaml.safe_load_all((EXAMPLE / "flights.yaml").read_text()) if d["kind"] == "DAG"]
    (published,) = [p for p in dag["spec"]["publish"] if p["name"] == "carrier_rank"]
    contract = tuple(ColumnDocument(c["name"], c["type"]) for c in published["columns"])
    said = tuple(ColumnDocument(c["name"], c["type"]) for c in told["rank"].said["columns"] if c["output"] == 0)
    assert (len(contract) > 0, difference(contract, said)) == (True, "")
    assert difference(contract, said[1:]) == "carrier varchar is not there"
