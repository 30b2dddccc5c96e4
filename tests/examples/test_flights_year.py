"""All 336,776 flights: the whole year by months through every step, and the table that people see."""

import json
from pathlib import Path

import pytest

from flights import steps
from flights.task import Task
from tests.examples import oracle
from tests.examples.conftest import EXAMPLE, Outcome, Pipeline, flights

KINDS = {
    "clean": ("clean", 0),
    "weather": ("weather", 0),
    "join": ("join", 0),
    "carrier_rank": ("rank", 0),
    "airport_rank": ("rank", 1),
}


@pytest.fixture(scope="module")
def year(tmp_path_factory: pytest.TempPathFactory) -> Pipeline:
    pipeline = Pipeline(tmp_path_factory.mktemp("year"))
    for key in oracle.MONTHS:
        for job in ("clean", "weather", "join", "rank"):
            getattr(steps, job)(Task(pipeline.task(job, key)), key)
    return pipeline


@pytest.mark.parametrize("kind", KINDS)
def test_every_value_of_the_year_is_the_oracle_s(year: Pipeline, kind: str) -> None:
    rows = oracle.check_year(kind, {key: year.location(*KINDS[kind], key) for key in oracle.MONTHS})
    if kind in ("clean", "join"):
        assert rows == 336_776


def test_the_oracle_knows_the_package_s_own_totals() -> None:
    counts = [oracle.expected(month).counts for month in oracle.MONTHS]
    assert sum(count.flights for count in counts) == 336_776
    assert sum(count.cancelled for count in counts) == 8_255
    assert sum(count.cancelled + count.diverted for count in counts) == 9_430
    assert sum(count.weather_hours for count in counts) == 26_115


def locations(year: Pipeline, kind: str) -> list[dict[str, str]]:
    job, index = KINDS[kind]
    return [{"key": key, "location": year.location(job, index, key).as_uri()} for key in oracle.MONTHS]


def result(year: Pipeline, document: object, *arguments: str) -> Outcome:
    log = year.volume / "log"
    log.touch()
    return flights(["result", *arguments], {"PYTHONPATH": str(EXAMPLE)}, log, stdin=json.dumps(document))


@pytest.mark.parametrize("kind", ["carrier_rank", "airport_rank"])
def test_the_year_s_ranking_is_that_of_its_flights(year: Pipeline, kind: str) -> None:
    outcome = result(year, locations(year, kind), "--json")
    assert outcome.code == 0, outcome.stderr
    rows, wanted = json.loads(outcome.stdout), oracle.year_ranking(kind)
    assert [row["code"] for row in rows] == [row["code"] for row in wanted]
    for row, want in zip(rows, wanted, strict=True):
        assert row.keys() == want.keys()
        for name, value in want.items():
            assert row[name] == (pytest.approx(value, rel=1e-12) if isinstance(value, float) else value), name


def test_the_table_fits_a_terminal(year: Pipeline) -> None:
    outcome = result(year, {kind: locations(year, kind) for kind in ("carrier_rank", "airport_rank")})
    assert outcome.code == 0, outcome.stderr
    lines = outcome.stdout.splitlines()
    assert max(map(len, lines)) <= 80
    assert len(lines) == 2 * (3 + 10) + 1
    assert lines[3].split()[:2] == ["1", oracle.year_ranking("carrier_rank")[0]["code"]]


def test_only_what_is_named_counts(year: Pipeline) -> None:
    """Beside an accepted partition lies what a superseded attempt wrote."""
    accepted = year.location("rank", 0, "2013-01")
    superseded = accepted.with_name("attempt-0")
    superseded.mkdir(exist_ok=True)
    (superseded / "data.parquet").write_bytes((accepted / "data.parquet").read_bytes())
    rows = json.loads(result(year, locations(year, "carrier_rank"), "--json").stdout)
    assert sum(row["flights"] for row in rows) == 336_776


def test_the_volume_may_be_mounted_elsewhere(year: Pipeline) -> None:
    here = year.volume.as_uri()
    moved = [
        {"key": entry["key"], "location": entry["location"].replace(here, "file:///data")}
        for entry in locations(year, "carrier_rank")
    ]
    assert result(year, moved, "--map", f"file:///data={here}").code == 0


@pytest.mark.parametrize("document", [[], [{"key": "2013-01"}], {"carrier_rank": "text"}, 7])
def test_what_cannot_be_ranked_is_refused_in_words(year: Pipeline, document: object) -> None:
    outcome = result(year, document)
    assert outcome.code == 1
    assert outcome.stderr.startswith("flights result: ")
    assert "Traceback" not in outcome.stderr


def test_a_partition_that_is_not_there_fails(year: Pipeline) -> None:
    missing = [{"key": "2013-01", "location": Path("/nowhere").as_uri()}]
    assert result(year, missing).code == 1
