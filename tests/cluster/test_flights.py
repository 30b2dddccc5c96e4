"""The example on real data in a real cluster: every number right, every table as the design says, once is enough."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cluster import example
from tests.cluster.kube import Namespace, dag, kubectl, namespace, sql, trigger, until
from tests.cluster.test_running import Person
from tests.examples import oracle


@pytest.fixture(scope="module")
def year() -> Iterator[Namespace]:
    """The year, run to its end without a disturbance."""
    with namespace() as ns:
        example.apply(ns)
        ns.wait("flights", "Ready")
        ns.run("flights", "month")
        ns.wait("flights", "UpToDate", within=300)
        yield ns


def test_every_value_of_the_year_is_right(year: Namespace) -> None:
    found = example.partitions(year)
    assert set(found) == set(example.KINDS)
    for name, kind in example.KINDS.items():
        oracle.check_year(kind, found[name])


@pytest.mark.parametrize(
    ("query", "wanted"),
    [
        pytest.param("SELECT slug = name, settings FROM orgs WHERE id = %s", [(True, {})], id="orgs"),
        pytest.param(
            "SELECT v.dag_name, v.yaml_hash LIKE 'v1-%%', c.dag_version_id = v.id FROM dag_versions v"
            " JOIN dag_current_versions c USING (org_id, dag_name) WHERE v.org_id = %s",
            [("flights", True, True)],
            id="dag_versions, dag_current_versions",
        ),
        pytest.param(
            "SELECT name, activation, runtime, operator, execution_strategy, idle_timeout, input_datasets,"
            " output_datasets, update_strategy, scaling ->> 'max_concurrency', max_attempts FROM jobs"
            " WHERE org_id = %s ORDER BY name",
            [
                ("clean", "reactive", "pod", "container", "PerPartition", "0", ["flights.month.0"],
                 ["flights_clean"], "replace", "4", 3),
                ("join", "reactive", "pod", "container", "PerPartition", "0", ["flights_clean", "flights.weather.0"],
                 ["flights_joined"], "replace", "4", 3),
                ("month", "source", "dispatcher", "manual", "PerPartition", "0", [],
                 ["flights.month.0"], "replace", "4", 3),
                ("rank", "reactive", "worker", "rank", "PerPartition", "1m", ["flights_joined"],
                 ["carrier_rank", "airport_rank"], "replace", "4", 3),
                ("weather", "reactive", "pod", "container", "PerPartition", "0", ["flights.month.0"],
                 ["flights.weather.0"], "replace", "4", 3),
            ],
            id="jobs",
        ),
        pytest.param(
            "SELECT d.name, d.producer_job_name, d.producer_output_index,"
            " v.storage_location = 'file:///data/' || o.slug || '/' || d.name || '/' || v.id,"
            " p.dataset_version = v.id, c.dag_version_id = p.dag_version_id"
            " FROM datasets d JOIN orgs o ON o.id = d.org_id JOIN dataset_versions v ON v.dataset_uuid = d.id"
            " JOIN dag_version_datasets p ON p.dataset_uuid = d.id JOIN dag_current_versions c ON c.org_id = o.id"
            " WHERE d.org_id = %s ORDER BY d.name",
            [
                ("airport_rank", "rank", 1, True, True, True),
                ("carrier_rank", "rank", 0, True, True, True),
                ("flights.month.0", "month", 0, True, True, True),
                ("flights.weather.0", "weather", 0, True, True, True),
                ("flights_clean", "clean", 0, True, True, True),
                ("flights_joined", "join", 0, True, True, True),
            ],
            id="datasets, dataset_versions, dag_version_datasets",
        ),
        pytest.param(
            "SELECT j.name, t.status, t.attempts, count(*), count(DISTINCT t.unit_key), bool_and(t.started_at IS NOT"
            " NULL AND t.completed_at >= t.started_at AND t.worker_id IS NOT NULL AND t.next_retry_at IS NULL AND"
            " t.error_message IS NULL AND t.partitions = ARRAY[t.unit_key]) FROM tasks t JOIN jobs j ON j.id = t.job_id"
            " WHERE j.org_id = %s GROUP BY 1, 2, 3 ORDER BY 1",
            [(job, "Completed", 1, 12, 12, True) for job in ("clean", "join", "month", "rank", "weather")],
            id="tasks",
        ),
        pytest.param(
            "SELECT j.name, d.name, count(*), bool_and(i.input_version = p.materialized_at) FROM task_inputs i"
            " JOIN tasks t ON t.id = i.task_id JOIN jobs j ON j.id = t.job_id JOIN datasets d"
            " ON d.id = i.input_dataset_uuid JOIN partition_versions p ON p.dataset_uuid = d.id"
            " AND p.partition_key = i.input_partition_key WHERE j.org_id = %s GROUP BY 1, 2 ORDER BY 1, 2",
            [
                ("clean", "flights.month.0", 12, True),
                ("join", "flights.weather.0", 12, True),
                ("join", "flights_clean", 12, True),
                ("rank", "flights_joined", 12, True),
                ("weather", "flights.month.0", 12, True),
            ],
            id="task_inputs",
        ),
        pytest.param(
            "SELECT d.name, count(*), sum(p.row_count)::bigint, bool_and(p.config_hash = v.config_hash),"
            " bool_and(p.location LIKE v.storage_location || '/' || p.partition_key || '/%%')"
            " FROM partition_versions p JOIN datasets d ON d.id = p.dataset_uuid"
            " JOIN dataset_versions v ON v.id = p.dataset_version WHERE d.org_id = %s AND d.name LIKE 'flights%%'"
            " GROUP BY 1 ORDER BY 1",
            [
                ("flights.month.0", 12, None, True, None),
                ("flights.weather.0", 12, 26_115, True, True),
                ("flights_clean", 12, 336_776, True, True),
                ("flights_joined", 12, 336_776, True, True),
            ],
            id="partition_versions",
        ),
        pytest.param(
            "SELECT (SELECT count(*) FROM users WHERE org_id = o.id), (SELECT count(*) FROM org_roles WHERE"
            " org_id = o.id), (SELECT count(*) FROM org_role_memberships m JOIN users u ON u.id = m.user_id"
            " WHERE u.org_id = o.id), (SELECT count(*) FROM dataset_cursors c"
            " JOIN datasets d ON d.id = c.dataset_uuid WHERE d.org_id = o.id), (SELECT count(*) FROM"
            " data_invalidations i JOIN datasets d ON d.id = i.dataset_uuid WHERE d.org_id = o.id)"
            " FROM orgs o WHERE o.id = %s",
            [(0, 0, 0, 0, 0)],
            id="tables that nothing here touches",
        ),
        pytest.param(
            "SELECT d.name, j.name, count(*), bool_or(l.declared) FROM column_lineage l JOIN jobs j ON j.id = l.job_id"
            " JOIN datasets d ON d.id = l.output_dataset_uuid WHERE d.org_id = %s GROUP BY 1, 2 ORDER BY 1",
            [
                ("airport_rank", "rank", 12, False),
                ("carrier_rank", "rank", 12, False),
                ("flights_joined", "join", 24, False),
            ],
            id="column_lineage",
        ),
    ],
)  # fmt: skip
def test_sql_shows_what_the_design_says(year: Namespace, query: str, wanted: list[tuple[Any, ...]]) -> None:
    assert sql(query, year.org()) == wanted


def test_tasks_ran_in_the_order_of_their_data(year: Namespace) -> None:
    """No task began before each of its inputs was there."""
    early = sql(
        "SELECT count(*) FROM task_inputs i JOIN tasks t ON t.id = i.task_id JOIN jobs j ON j.id = t.job_id"
        " WHERE j.org_id = %s AND t.started_at < i.input_version",
        year.org(),
    )
    assert early == [(0,)]


def test_the_statuses_tell_the_same(year: Namespace) -> None:
    status = year.get("dag", "flights")["status"]
    assert status["tasks"] == {"waiting": 0, "running": 0, "failed": 0, "completed": 60}
    jobs = {item["status"]["jobName"]: item["status"] for item in year.items("hjob")}
    assert {name: (s["state"], s["units"]["done"]) for name, s in jobs.items()} == dict.fromkeys(
        ("month", "clean", "weather", "join", "rank"), ("Idle", 12)
    )
    datasets = {item["status"]["name"]: item["status"] for item in year.items("dset")}
    assert {name: s["partitions"] for name, s in datasets.items()} == dict.fromkeys(
        ("flights_clean", "flights_joined", "carrier_rank", "airport_rank"), 12
    )
    assert datasets["flights_joined"]["rows"] == 336_776
    assert datasets["flights_clean"]["consumers"] == ["flights/join"]
    # Workers end when they have idled for a minute.
    until("no pod is left", lambda: not year.items("pod"), 120)


def test_columns_are_followed_to_where_they_come_from(year: Namespace, tmp_path: Path) -> None:
    """Read off the SQL of the tasks, over two jobs."""
    person = Person(year, "reader", "view", tmp_path)
    try:
        shown = person("lineage", "carrier_rank.mean_arr_delay")
        told = json.loads(person("lineage", "flights_clean.arr_delay", "-o", "json"))
        assert "flowchart LR" in person("lineage", "carrier_rank", "-o", "mermaid")
    finally:
        kubectl("delete", *person.binding)
    assert shown.splitlines() == [
        "carrier_rank.mean_arr_delay",
        "  made from",
        "  └─ flights_joined.arr_delay  flights/rank, as its tasks say",
        "     └─ flights_clean.arr_delay  flights/join, as its tasks say",
    ]
    below = {(e["dataset"], e["column"]) for e in told["downstream"]}
    assert below >= {("airport_rank", "late"), ("carrier_rank", "rank")}


def test_months_are_ranked_by_two_workers(year: Namespace) -> None:
    """maxConcurrency 4, two at once in each; all else has pods of single tasks."""
    ranked = sql("SELECT count(*), count(DISTINCT worker_id), bool_and(in_worker) FROM tasks t JOIN jobs j"
                 " ON j.id = t.job_id WHERE j.org_id = %s AND j.name = 'rank'", year.org())  # fmt: skip
    assert ranked[0][0] == 12
    assert ranked[0][1] <= 2
    assert ranked[0][2]
    assert sql("SELECT count(*) FROM tasks t JOIN jobs j ON j.id = t.job_id WHERE j.org_id = %s AND j.name <> 'rank'"
               " AND in_worker", year.org()) == [(0,)]  # fmt: skip


def test_applying_the_same_again_writes_nothing(year: Namespace, ns: Namespace) -> None:
    """Not by the same manifest, not by one with its lists in another order; a run asks for nothing that is there."""
    written = example.documents("flights.yaml")[0]
    before, shown = example.rows_of(year), versions_of(year)
    year.kubectl("annotate", "--overwrite", "dag/flights", "example.org/seen=again")
    written["metadata"]["namespace"] = year.name
    year.apply(written)
    handled(ns)
    assert (example.rows_of(year), versions_of(year)) == (before, shown)

    for listed in ("jobs", "publish"):
        written["spec"][listed].reverse()
    year.apply(written)
    year.wait("flights", "UpToDate")
    handled(ns)
    assert (example.rows_of(year), versions_of(year)) == (before, shown)

    year.run("flights", "month")
    year.wait("flights", "UpToDate")
    assert example.rows_of(year)["tasks"] == before["tasks"]


def versions_of(ns: Namespace) -> dict[str, str]:
    """Name of each projected object to its resource version, which every write changes."""
    return {
        f"{kind}/{item['metadata']['name']}": item["metadata"]["resourceVersion"]
        for kind in ("hjob", "dset")
        for item in ns.items(kind)
        if "flights." in item["metadata"]["name"]
    }


def handled(ns: Namespace) -> None:
    """Wait until the operator has handled what was applied before: it sees DAGs in the order of their changes."""
    marker = ns.get("dag", "marker").get("spec", {})
    ns.apply(dag("marker", trigger("a"), suspend=not marker.get("suspend", False)))
    ns.wait("marker", "Serving")
