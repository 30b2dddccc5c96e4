"""What cannot be compiled: every problem at once, each with its object, place, value and way out."""

from __future__ import annotations

import warnings
from pathlib import Path

import pytest

from headrace.api.parse import InvalidObject, parse_dag
from headrace.compile.problems import CompileError, Problem
from tests.compile.documents import Spec, compiled, source, step

CRON = {"kind": "cron", "schedule": "0 6 * * *"}
HOOK = {"kind": "webhook", "secretName": "hook"}
DAY: Spec = {"name": "day", "source": {"kind": "manual"}}


def problems(spec: Spec) -> tuple[Problem, ...]:
    """What is wrong with a spec."""
    with pytest.raises(CompileError) as caught:
        compiled(spec, dag="flights")
    assert {p.object for p in caught.value.problems} == {"DAG flights"}
    assert str(caught.value) == "\n".join(str(p) for p in caught.value.problems)
    return caught.value.problems


def jobs(*given: Spec, **spec: object) -> Spec:
    """A DAG of a source job `day` and these."""
    return {"jobs": [DAY, *given], **spec}


def tick(format_: str, offset: int = -1, **fields: object) -> Spec:
    """A cron source with a partition for each tick."""
    return source(**{**CRON, **fields, "partition": {"format": format_, "offset": offset}})


def listed(**fields: object) -> Spec:
    """A source with a list of partitions."""
    return source(kind="manual", partitions=fields)


def ranged(start: str, end: str, every: str = "1mo", format_: str = "%Y-%m") -> Spec:
    """A source over a range."""
    return listed(range={"start": start, "end": end, "every": every, "format": format_})


def schema(given: Spec, **config: object) -> Spec:
    """A source job with a config and its schema."""
    return {"jobs": [{**DAY, "config": config, "configSchema": given}]}


def reads(*inputs: Spec) -> Spec:
    """A job `a` with these inputs."""
    return jobs({**step("a"), "inputs": list(inputs)}, publish=[{"name": "days", "from": {"job": "day"}}])


A = "spec.jobs[a]"
SOURCE = f"{A}.source"
LISTED = f"{SOURCE}.partitions"
CONFIG = "spec.jobs[day].configSchema"
SAME = {"name": "same", "from": {"job": "day"}}

REFUSED = [
    ("unknown job", jobs(step("a", "dya")), f"{A}.inputs[0].from.job", "dya", "use one of a, day"),
    ("bad output index", reads({"from": {"job": "day", "output": 1}}), f"{A}.inputs[0].from.output", "1", "0 to 0"),
    ("output of none", {"jobs": [{**DAY, "outputs": 0}, step("a", "day")]}, f"{A}.inputs[0].from.output", "0",
     "has no outputs"),
    ("nothing in a filter's list", reads({"from": {"job": "day"}, "where": {"carrier": []}}),
     f"{A}.inputs[0].where.carrier", "", "name values, or leave it out"),
    ("neither job nor dataset", reads({"from": {}}), f"{A}.inputs[0].from", "", "either job or dataset"),
    ("both job and dataset", reads({"from": {"job": "day", "dataset": "days"}}), f"{A}.inputs[0].from", "", "either"),
    ("input name twice", reads(SAME, SAME), f"{A}.inputs[1].name", "same", "a name of its own"),
    ("input name twice by default", reads({"from": {"job": "day"}}, {"from": {"job": "day"}}), f"{A}.inputs[1].name",
     "day", "a name of its own"),
    ("cycle", jobs(step("a", "c"), step("b", "a"), step("c", "b")), "spec.jobs", "a -> b -> c -> a", "cut one input"),
    ("cycle of one", jobs(step("a", "a")), "spec.jobs", "a -> a", "cut one input"),
    ("job twice", jobs(DAY), "spec.jobs", "day", "rename one"),
    ("dataset twice", jobs(publish=[{"name": "x", "from": {"job": "day"}}, {"name": "x", "from": {"job": "w"}}],),
     "spec.publish", "x", "rename one"),
    ("jobs projected alike", jobs(step("a-b", "day"), step("a_b", "day")), "spec.jobs", "a_b", "flights.a-b"),
    ("datasets projected alike", jobs({**step("a", "day"), "outputs": 2}, publish=[
        {"name": "x_", "from": {"job": "a"}}, {"name": "x", "from": {"job": "a", "output": 1}}]),
     "spec.publish", "x_", "flights.x"),
    ("publish of an unknown job", jobs(publish=[{"name": "x", "from": {"job": "dya"}}]), "spec.publish[x].from.job",
     "dya", "use one of day"),
    ("publish of a bad output", jobs(publish=[{"name": "x", "from": {"job": "day", "output": 3}}]),
     "spec.publish[x].from.output", "3", "has 1 outputs, counted from 0"),
    ("output published twice", jobs(publish=[{"name": n, "from": {"job": "day"}} for n in "xy"]),
     "spec.publish[y].from", "day[0]", "already published as x"),
    ("missing image", jobs({**step("a", "day"), "image": None}), f"{A}.image", "", "needs an image"),
    ("neither source nor inputs", {"jobs": [{"name": "a", "image": "i"}]}, A, "", "either a source or at least one"),
    ("source and inputs", jobs({**step("a", "day"), "source": {"kind": "manual"}}), A, "", "either a source or"),
    ("config against schema", schema({"properties": {"n": {"type": "integer"}}}, n="x"), "spec.jobs[day].config.n", "",
     "must be of type integer; change it"),
    ("config against schema within", schema({"properties": {"a": {"items": {"type": "integer"}}}}, a=[1, "x"]),
     "spec.jobs[day].config.a[1]", "", "change it"),
    ("config that misses a field", schema({"required": ["n"]}), "spec.jobs[day].config", "", "'n' is a required"),
    ("no schema", schema({"type": "int"}), CONFIG, "", "not a JSON Schema (2020-12)"),
    ("bad pattern in schema", schema({"properties": {"a": {"pattern": "("}}}, a="x"), CONFIG, "", "not a JSON Schema"),
    ("reference to nowhere", schema({"$ref": "#/nope"}), CONFIG, "", "leads nowhere within the schema"),
    ("reference to itself", schema({"$ref": "#"}), CONFIG, "", "leads nowhere within the schema"),
    ("env without a container", {"jobs": [{**DAY, "env": []}]}, "spec.jobs[day].env", "", "give it an image, or leave"),
    ("resources without a container", {"jobs": [{**DAY, "resources": {}}]}, "spec.jobs[day].resources", "", "an image"),
    ("endless without an image", source(kind="always_on"), "spec.jobs[a].image", "", "give it an image"),
    ("webhook without a secret", source(kind="webhook"), f"{SOURCE}.secretName", "", "the name of the Secret"),
    ("webhook with an offset", source(**HOOK, partition={"format": "%Y", "offset": -1}), f"{SOURCE}.partition.offset",
     "-1", "no periods to count"),
    ("webhook whose pattern gives no key", source(**HOOK, partition={"format": "%c"}), f"{SOURCE}.partition.format",
     "%c", "no partition key"),
    ("a part without a container", {"jobs": [{**DAY, "updateStrategy": "append", "uniqueKey": ["n"]}]},
     "spec.jobs[day].updateStrategy", "", "an image"),
    ("a partition of an input that is read as a whole",
     jobs({**step("a"), "executionStrategy": "PerUpdate", "inputs": [
         {"from": {"job": "day"}}, {"name": "b", "from": {"job": "day"}, "match": "same"}]}),
     f"{A}.inputs[1].match", "same", "say latest, or leave match out"),
    ("report without a container", {"jobs": [{**DAY, "report": "gateway"}]}, "spec.jobs[day].report", "", "an image"),
    ("cron without schedule", source(kind="cron"), f"{SOURCE}.schedule", "", "such as 30 2 * * *"),
    ("bad cron", source(kind="cron", schedule="61 * * * *"), f"{SOURCE}.schedule", "61 * * * *", "Bad minute"),
    ("four fields", source(kind="cron", schedule="0 6 * *"), f"{SOURCE}.schedule", "0 6 * *", "five fields"),
    ("never fires", source(kind="cron", schedule="0 0 30 2 *"), f"{SOURCE}.schedule", "0 0 30 2 *", "crontab(5)"),
    ("never fires on that day", source(kind="cron", schedule="0 0 * 2 MON#6"), f"{SOURCE}.schedule", "0 0 * 2 MON#6",
     "crontab(5)"),
    ("bad zone", source(**CRON, timeZone="Europe/Zurch"), f"{SOURCE}.timeZone", "Europe/Zurch", "IANA"),
    ("zone that is a folder", source(**CRON, timeZone="Europe"), f"{SOURCE}.timeZone", "Europe", "IANA"),
    ("no such start", source(**CRON, start="2026-02-30"), f"{SOURCE}.start", "2026-02-30", "write it as 2026-01-31"),
    ("no such end", source(**CRON, end="2026-01-01T25:00"), f"{SOURCE}.end", "2026-01-01T25:00", "write it as"),
    ("start before time", source(**CRON, start="0001-01-01"), f"{SOURCE}.start", "0001-01-01", "1900 to 2999"),
    ("start after time", source(**CRON, start="9999-12-31"), f"{SOURCE}.start", "9999-12-31", "1900 to 2999"),
    ("end before start", source(**CRON, start="2026-02-01", end="2026-01-01"), f"{SOURCE}.end", "2026-01-01",
     "before start, 2026-02-01"),
    ("key with a blank", tick("%Y %m"), f"{SOURCE}.partition.format", "%Y %m", "gives '2024 02', which is no"),
    ("key with a blank some days", tick("%Y-%m-%e"), f"{SOURCE}.partition.format", "%Y-%m-%e", "gives '2024-09- 4'"),
    ("key bad in its zone", tick("%Z", timeZone="America/Sao_Paulo"), f"{SOURCE}.partition.format", "%Z", "'-03'"),
    ("offset beyond time", tick("%Y", -1000, schedule="0 0 29 2 *"), f"{SOURCE}.partition.offset", "-1000", "smaller"),
    ("neither values nor range", listed(), LISTED, "", "either values or range"),
    ("key twice", listed(values=["b", "a", "b"]), f"{LISTED}.values", "b", "leave one out"),
    ("empty range", ranged("2013-02", "2013-01"), f"{LISTED}.range", "", "starts at 2013-02 and ends at 2013-01"),
    ("end that is no date", ranged("2013-01", "2013-13"), f"{LISTED}.range", "", "'2013-13' is neither in the format"),
    ("format that repeats keys", ranged("2013-01-01", "2013-01-03", "1d"), f"{LISTED}.range", "", "one key twice"),
    ("format with a directive twice", ranged("2013", "2014", "1y", "%Y%Y"), f"{LISTED}.range", "", "neither in"),
    ("too many keys", ranged("2013-01-01", "2014-01-01", "1s", "%s"), f"{LISTED}.range", "", "more than 100000 keys"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("spec", "path", "value", "way_out"), [pytest.param(*case, id=name) for name, *case in REFUSED]
)
def test_refuses_with_place_value_and_way_out(spec: Spec, path: str, value: str, way_out: str) -> None:
    assert any(p.path == path and p.value == value and way_out in p.message for p in problems(spec)), problems(spec)


def test_all_problems_of_a_document_are_told_at_once() -> None:
    """Five jobs and two publishes, each wrong in its own way: eight problems in one go."""
    found = problems(
        jobs(
            {"name": "cron", "source": {"kind": "cron", "schedule": "x", "timeZone": "y"}},
            {**step("a", "dya"), "image": None},
            step("b", "c"),
            step("c", "b"),
            {**DAY, "name": "d", "config": {"n": "x"}, "configSchema": {"properties": {"n": {"type": "integer"}}}},
            publish=[{"name": "x", "from": {"job": "nobody"}}, {"name": "y", "from": {"job": "day", "output": 9}}],
        )
    )
    assert sorted((p.path, p.value) for p in found) == [
        ("spec.jobs", "b -> c -> b"),
        ("spec.jobs[a].image", ""),
        ("spec.jobs[a].inputs[0].from.job", "dya"),
        ("spec.jobs[cron].source.schedule", "x"),
        ("spec.jobs[cron].source.timeZone", "y"),
        ("spec.jobs[d].config.n", ""),
        ("spec.publish[x].from.job", "nobody"),
        ("spec.publish[y].from.output", "9"),
    ]


def test_a_problem_reads_as_one_line() -> None:
    (problem,) = problems(jobs(step("a", "dya")))
    assert str(problem) == (
        'DAG flights: spec.jobs[a].inputs[0].from.job "dya": no job of this DAG has this name: use one of a, day'
    )


def test_long_values_and_long_choices_are_cut() -> None:
    (problem,) = problems(source(kind="cron", schedule="x" * 100))
    assert problem.value == "x" * 77 + "..."
    many = jobs(*(step(f"j{n}", "day") for n in range(20)), step("z", "nobody"))
    assert problems(many)[0].message.endswith("use one of day, j0, j1, j10, j11, j12, j13, j14, ...")


def test_a_schema_is_read_from_nowhere_else(tmp_path: Path) -> None:
    """A `$ref` to a file or URL is refused, never fetched: the operator reads nothing for a tenant."""
    outside = tmp_path / "schema.json"
    outside.write_text('{"type": "object"}')
    with warnings.catch_warnings():
        warnings.simplefilter(
            "ignore"
        )  # what would fetch it warns, and a warning here is an error: one of another kind
        (problem,) = problems(schema({"$ref": outside.as_uri()}))
    assert (problem.path, "leads nowhere within the schema" in problem.message) == (CONFIG, True)


@pytest.mark.parametrize("template", [
    pytest.param({"spec": {"containers": [{"name": {}}]}}, id="name that is a map"),
    pytest.param({"spec": {"containers": [{"name": ["x"]}, 5, None]}}, id="containers that are none"),
    pytest.param({"spec": {"containers": "x", "volumes": 7}}, id="lists that are none"),
    pytest.param({"spec": "x", "metadata": None}, id="spec that is none"),
])  # fmt: skip
def test_a_template_of_any_shape_compiles(template: Spec) -> None:
    """Its shape is the API server's to judge, by a dry run; compile only must not break on it."""
    assert compiled({"defaults": {"template": template}, "jobs": [{**DAY, "image": "i", "template": template}]})


def test_ten_thousand_listed_keys_take_no_time() -> None:
    assert compiled(listed(values=[f"k{n}" for n in range(10_000)])).document.jobs[0].source is not None


@pytest.mark.parametrize(
    ("text", "refused"), [("a\0b", True), ("\\\0", True), ("a\\u0000b", False), ("\\\\u0000", False)]
)
def test_a_nul_character_is_refused_since_postgres_keeps_none(text: str, refused: bool) -> None:
    """Anywhere in a spec; the six characters that stand for one in JSON are text like any other."""
    spec = {"jobs": [{**DAY, "config": {"a": [text]}}]}
    dag = {"apiVersion": "headrace.dev/v1alpha1", "kind": "DAG", "metadata": {"name": "a"}, "spec": spec}
    if not refused:
        assert parse_dag(dag).spec.jobs is not None
        return
    with pytest.raises(InvalidObject, match="holds a NUL character"):
        parse_dag(dag)
