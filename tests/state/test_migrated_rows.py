"""Rows of a database from before rollouts, migrated: they say what they said, and the DAG goes on from them."""

from __future__ import annotations

import shutil
from pathlib import Path
from uuid import UUID

import msgspec
import psycopg
from psycopg.types.json import Jsonb

from headrace.api.identity import job_identity
from headrace.plan.rollout import SwitchOver
from headrace.state.database import Database
from headrace.state.migrate import default_directory, migrate
from tests.compile.documents import compiled
from tests.state.world import NAMESPACE_UID, World, month_source, step

ORG, VERSION = UUID(int=1), UUID(int=2)


def flights(n: int = 0) -> list[dict[str, object]]:
    """month -> clean -> join, and send without outputs."""
    jobs = [month_source("a"), step("clean", "month"), step("join", "clean", "month", config={"n": n})]
    return [*jobs, step("send", "clean", outputs=0)]


PUBLISH = [{"name": "rows", "from": {"job": "clean"}}]


def before(connection: psycopg.Connection) -> None:
    """One version that serves, all of key `a` done, as the release before wrote it."""
    document = compiled({"jobs": flights(), "publish": PUBLISH}, dag="flights")
    run = connection.execute
    run("INSERT INTO orgs (id, name, slug, namespace_uid) VALUES (%s, 'air', 'air', %s)", [ORG, NAMESPACE_UID])
    run("INSERT INTO dags (org_id, name, object_uid) VALUES (%s, 'flights', 'uid-flights')", [ORG])
    run("INSERT INTO dag_versions (id, org_id, dag_name, yaml_hash, document) VALUES (%s, %s, 'flights', %s, %s)",
        [VERSION, ORG, document.yaml_hash, Jsonb(msgspec.to_builtins(document.document))])  # fmt: skip
    run(
        "INSERT INTO dag_current_versions (org_id, dag_name, dag_version_id) VALUES (%s, 'flights', %s)", [ORG, VERSION]
    )
    for place, job in enumerate(document.document.jobs):
        facts, id_, task = document.jobs[job.name], UUID(int=100 + place), UUID(int=200 + place)
        identity = job_identity(ORG, "flights", job.name)
        upstream = [job_identity(ORG, "flights", name) for name in document.upstream_of(job.name)]
        run("INSERT INTO jobs (id, org_id, name, dag_name, dag_version_id, activation, runtime, operator, source,"
            " execution_strategy, idle_timeout, config, config_hash, output_datasets, update_strategy, scaling,"
            " timeout_seconds, heartbeat_timeout_seconds, max_attempts, identity, fingerprint, upstream, pod)"
            " VALUES (%s, %s, %s, 'flights', %s, %s, %s, %s, %s, 'PerPartition', '0', %s, %s, %s, 'replace', %s, 9, 9,"
            " 3, %s, %s, %s, %s)",
            [id_, ORG, job.name, VERSION, job.activation, job.runtime, job.operator,
             Jsonb(msgspec.to_builtins(job.source)) if job.source else None, Jsonb(job.config), facts.config_hash,
             [f"flights.{job.name}.{n}" for n in range(job.outputs)], Jsonb({"max_concurrency": 1}), identity,
             facts.fingerprint, upstream, Jsonb({"template": job.pod}) if job.pod else None])  # fmt: skip
        run("INSERT INTO tasks (id, job_id, status, partitions, attempts, outputs, completed_at, job_identity,"
            " fingerprint, unit_key) VALUES (%s, %s, 'Completed', '{a}', 1, '[]', now(), %s, %s, 'a')",
            [task, id_, identity, facts.fingerprint])  # fmt: skip
        if not job.outputs:
            run("INSERT INTO unit_completions VALUES (%s, %s, 'a', now())", [identity, facts.fingerprint])
            continue
        dataset, generation = UUID(int=300 + place), UUID(int=400 + place)
        name = "rows" if job.name == "clean" else f"flights.{job.name}.0"
        run("INSERT INTO datasets (id, org_id, name, producer_dag_name, producer_job_name, producer_output_index)"
            " VALUES (%s, %s, %s, 'flights', %s, 0)", [dataset, ORG, name, job.name])  # fmt: skip
        run("INSERT INTO dataset_versions (id, dataset_uuid, storage_location, config_hash) VALUES (%s, %s, 'x', %s)",
            [generation, dataset, facts.outputs[0]])  # fmt: skip
        run("INSERT INTO dag_version_datasets VALUES (%s, %s, %s)", [VERSION, dataset, generation])
        run("INSERT INTO partition_versions (dataset_uuid, dataset_version, partition_key, materialized_at,"
            " config_hash, location, task_id) VALUES (%s, %s, 'a', now(), %s, 'x', %s)",
            [dataset, generation, facts.outputs[0], task])  # fmt: skip
    inputs(connection, document.document.jobs)


def inputs(connection: psycopg.Connection, jobs: tuple[object, ...]) -> None:
    """The inputs of the jobs, and what their tasks read."""
    places = {job.name: place for place, job in enumerate(jobs)}  # type: ignore[attr-defined]
    for job in jobs:
        for position, given in enumerate(job.inputs):  # type: ignore[attr-defined]
            dataset = UUID(int=300 + places[given.job])
            connection.execute(
                "INSERT INTO job_inputs (job_id, name, position, dataset_uuid, match) VALUES (%s, %s, %s, %s, 'same')",
                [UUID(int=100 + places[job.name]), given.name, position, dataset],  # type: ignore[attr-defined]
            )
            connection.execute(
                "INSERT INTO task_inputs (task_id, input_dataset_uuid, input_dataset_version, input_partition_key,"
                " input_version) SELECT %s, dataset_uuid, dataset_version, partition_key, materialized_at"
                " FROM partition_versions WHERE dataset_uuid = %s",
                [UUID(int=200 + places[job.name]), dataset],  # type: ignore[attr-defined]
            )


async def migrated(empty_url: str, tmp_path: Path) -> None:
    """The schema of the release before with its rows, brought up to date."""
    for file in sorted(default_directory().glob("000[12]_*.sql")):
        shutil.copy(file, tmp_path)
    await migrate(empty_url, tmp_path)
    with psycopg.connect(empty_url, autocommit=True) as connection:
        before(connection)
    await migrate(empty_url)


async def test_the_same_document_is_the_same_version_and_nothing_runs(empty_url: str, tmp_path: Path) -> None:
    await migrated(empty_url, tmp_path)
    async with Database(empty_url) as db:
        world = World(db)
        rows = await world.snapshot()
        assert (await world.apply("flights", *flights(), publish=PUBLISH)).steps == ()
        assert await world.snapshot() == rows
        assert await world.drain() == []
        assert await world.rows("SELECT * FROM missing_units") == []
        upstream = await world.rows("SELECT name, position, upstream FROM jobs ORDER BY 1")
        assert upstream == [("clean", 0, b"\x04"), ("join", 1, b"\x05"), ("month", 2, b"\x00"), ("send", 3, b"\x05")]
        assert await world.rows("SELECT name, dag_name FROM dataset_names") == [("rows", "flights")]


async def test_a_change_builds_only_what_it_changes_and_the_way_back_is_a_swap(empty_url: str, tmp_path: Path) -> None:
    await migrated(empty_url, tmp_path)
    async with Database(empty_url) as db:
        world = World(db)
        plan = await world.apply("flights", *flights(1), publish=PUBLISH)
        changed = {j.job: [f.path for f in j.fields] for j in plan.explanation.jobs}
        assert changed == {"join": ["config.n"]}
        assert await world.drain() == [("join", "a")]
        assert await world.advance("flights") == SwitchOver()
        await world.apply("flights", *flights(), publish=PUBLISH)
        assert await world.drain() == []
        assert await world.rows("SELECT dag_version_id FROM dag_current_versions") == [(VERSION,)]
