"""The state schema: the sixteen tables' columns by name and type, their keys, and what they refuse.

The seed's columns keep their names, types, keys and uniques; more columns may stand beside them.
"""

from __future__ import annotations

from collections.abc import Iterator
from uuid import uuid4

import psycopg
import pytest
from psycopg.rows import tuple_row

from tests.conftest import database_url
from tests.state import refused

# Table: column type [PK] [UK] [>table that it refers to].
SEED = """
orgs: id uuid PK, name text, slug text UK, settings jsonb, created_at timestamptz
users: id uuid PK, org_id uuid >orgs, external_id text UK, email text, role text, created_at timestamptz
org_roles: id uuid PK, org_id uuid >orgs, slug text, name text, created_at timestamptz
org_role_memberships: role_id uuid PK >org_roles, user_id uuid PK >users, created_at timestamptz
dag_versions: id uuid PK, org_id uuid >orgs, dag_name text, yaml_hash text, created_at timestamptz
dag_current_versions: org_id uuid PK >orgs, dag_name text PK, dag_version_id uuid >dag_versions, updated_at timestamptz
jobs: id uuid PK, org_id uuid >orgs, name text, dag_name text, dag_version_id uuid >dag_versions, activation text,
 runtime text, operator text, source jsonb, execution_strategy text, idle_timeout text, config jsonb, config_hash text,
 input_datasets text[], output_datasets text[], update_strategy text, unique_key text[], scaling jsonb,
 timeout_seconds int, heartbeat_timeout_seconds int, max_attempts int, created_at timestamptz, updated_at timestamptz
datasets: id uuid PK, org_id uuid >orgs, name text, producer_dag_name text, producer_job_name text,
 producer_output_index int, storage jsonb, read_roles text[], created_at timestamptz, updated_at timestamptz
dataset_versions: id uuid PK, dataset_uuid uuid >datasets, created_at timestamptz, storage_location text,
 config_hash text, schema_hash text
dag_version_datasets: dag_version_id uuid PK >dag_versions, dataset_uuid uuid PK >datasets,
 dataset_version uuid >dataset_versions
tasks: id uuid PK, job_id uuid >jobs, status text, partitions text[], input_versions jsonb, worker_id text,
 started_at timestamptz, completed_at timestamptz, last_heartbeat timestamptz, attempts int, next_retry_at timestamptz,
 error_message text, outputs jsonb, created_at timestamptz
task_inputs: task_id uuid PK >tasks, input_dataset_uuid uuid PK >datasets, input_partition_key text PK,
 input_version timestamptz
column_lineage: output_dataset_uuid uuid PK >datasets, output_column text PK, input_dataset_uuid uuid PK >datasets,
 input_column text PK, job_id uuid >jobs
partition_versions: dataset_uuid uuid PK >datasets, dataset_version uuid PK >dataset_versions, partition_key text PK,
 materialized_at timestamptz, config_hash text, schema_hash text, location text, row_count bigint, bytes bigint
dataset_cursors: dataset_uuid uuid PK >datasets, dataset_version uuid PK >dataset_versions, job_id uuid PK >jobs,
 cursor_column text, cursor_value text, updated_at timestamptz
data_invalidations: id uuid PK, dataset_uuid uuid >datasets, dataset_version uuid >dataset_versions, scope text,
 partition_key text, row_filter jsonb, reason text, source_event jsonb, created_at timestamptz, processed_by uuid[],
 processed_at timestamptz
"""
SPELLED = {"timestamp with time zone": "timestamptz", "integer": "int"}

Connection = psycopg.Connection[tuple[object, ...]]


def seed() -> dict[str, dict[str, list[str]]]:
    """Table to column to its type and marks."""
    tables = dict(line.split(": ", 1) for line in SEED.replace("\n ", " ").strip().splitlines())
    return {table: {(c := text.split())[0]: c[1:] for text in whole.split(", ")} for table, whole in tables.items()}


@pytest.fixture(scope="module")
def connection(postgres_server: str, template_database: str) -> Iterator[Connection]:
    """A database of this module with one row of most tables, as a small DAG would have."""
    name = f"schema_{uuid4().hex}"
    with psycopg.connect(postgres_server, autocommit=True) as server:
        server.execute(f"CREATE DATABASE {name} TEMPLATE {template_database}".encode())
        with psycopg.connect(database_url(postgres_server, name), autocommit=True, row_factory=tuple_row) as found:
            for statement in refused.ROWS:
                found.execute(statement.encode())
            yield found
        server.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())


@pytest.mark.parametrize("table", seed())
def test_columns_have_the_names_and_types_of_the_seed(connection: Connection, table: str) -> None:
    found = connection.execute(
        "SELECT attname, format_type(atttypid, NULL) FROM pg_attribute"
        " WHERE attrelid = to_regclass(%s) AND attnum > 0 AND NOT attisdropped",
        [table],
    ).fetchall()
    types = {str(name): SPELLED.get(str(type_), str(type_)) for name, type_ in found}
    assert {name: types.get(name) for name in seed()[table]} == {n: marks[0] for n, marks in seed()[table].items()}


KEYS = """
SELECT contype::text, ARRAY(SELECT attname::text FROM unnest(conkey) WITH ORDINALITY AS k (n, place)
                            JOIN pg_attribute ON attrelid = conrelid AND attnum = n ORDER BY place),
       confrelid::regclass::text
FROM pg_constraint WHERE conrelid = to_regclass(%s) AND contype IN ('p', 'u', 'f')
"""


@pytest.mark.parametrize("table", seed())
def test_keys_are_those_of_the_seed(connection: Connection, table: str) -> None:
    """The primary key exactly; a unique of its own for each UK; each reference leads to its table."""
    found = connection.execute(KEYS.encode(), [table]).fetchall()
    columns = seed()[table]
    assert [key for kind, key, _ in found if kind == "p"] == [[n for n, marks in columns.items() if "PK" in marks]]
    uniques = [key for kind, key, _ in found if kind == "u"]
    assert [n for n, marks in columns.items() if "UK" in marks and [n] not in uniques] == []
    references = {(name, to) for kind, key, to in found if kind == "f" for name in key}  # type: ignore[attr-defined]
    wanted = {(n, mark[1:]) for n, marks in columns.items() for mark in marks if mark.startswith(">")}
    assert wanted - references == set()


def test_every_table_has_a_key_and_a_name_that_is_known(connection: Connection) -> None:
    """Tables beside the sixteen are listed here, so that one more is a decision and not an accident."""
    found = connection.execute(
        "SELECT relname::text, EXISTS (SELECT 1 FROM pg_constraint WHERE conrelid = c.oid AND contype = 'p')"
        " FROM pg_class c WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace"
    ).fetchall()
    beside = {
        "claim_turns", "commands", "consumer_looks", "cron_ticks", "dags", "dataset_names", "dataset_revisions",
        "dataset_updates", "job_inputs", "notices", "operator_epoch", "org_role_groups", "partition_parts",
        "passed_inputs", "passed_keys", "read_pages", "read_pins", "reported_lineage", "requests",
        "retired_generations", "rollouts", "same_data", "schema_migrations", "schemas", "superseded_outputs",
        "task_events", "task_pods", "unit_completions", "update_counters", "webhook_events", "webhook_keys",
        "webhook_troubles", "workers",
    }  # fmt: skip
    assert {name for name, _ in found} == set(seed()) | beside
    assert [name for name, keyed in found if not keyed] == []


@pytest.mark.parametrize(("statement", "constraint"), [pytest.param(*case, id=name) for name, *case in refused.REFUSED])
def test_refuses_what_must_not_be(connection: Connection, statement: str, constraint: str) -> None:
    """By the constraint that the code, or a promise, relies on; its name is what the code sees."""
    with pytest.raises(psycopg.IntegrityError) as caught, connection.transaction(force_rollback=True):
        connection.execute(statement.encode())
    assert caught.value.diag.constraint_name == constraint


@pytest.mark.parametrize("statement", [pytest.param(text, id=name) for name, text in refused.ACCEPTED])
def test_accepts_what_may_be(connection: Connection, statement: str) -> None:
    """The neighbours of what is refused: a constraint that is too wide is as wrong as none."""
    with connection.transaction(force_rollback=True):
        connection.execute(statement.encode())


NAMED = """
SELECT conname::text FROM pg_constraint
WHERE connamespace = 'public'::regnamespace AND (contype IN ('c', 'u') OR contype = 'f' AND cardinality(conkey) > 1)
UNION
SELECT indexrelid::regclass::text FROM pg_index
WHERE indisunique AND NOT indisprimary AND indrelid IN (
  SELECT oid FROM pg_class WHERE relnamespace = 'public'::regnamespace)
"""
# The targets of foreign keys: unique because their first column is.
TARGETS = {"dag_versions_dag_key", "dataset_versions_dataset_key"}


def test_every_check_and_unique_has_a_case(connection: Connection) -> None:
    found = {name for (name,) in connection.execute(NAMED.encode()).fetchall()}
    assert found - TARGETS == {constraint for _, _, constraint in refused.REFUSED}
