"""Statements that the state schema must refuse, each with the name of what refuses it; and their good neighbours.

They run on `ROWS`: an org with the DAG `d` of two versions, a source and a reactive job, three datasets, two tasks.
"""

from __future__ import annotations


def uid(number: int) -> str:
    """A UUID literal."""
    return f"'00000000-0000-0000-0000-{number:012}'"


def insert(table: str, base: dict[str, str], **values: str) -> str:
    """An INSERT of `base` with some columns other than usual; values are SQL."""
    row = base | values
    return f"INSERT INTO {table} ({', '.join(row)}) VALUES ({', '.join(row.values())})"


ORG, OTHER_ORG, V1, V2, DAY, CLEAN, ROWS_DATASET, BAD_DATASET, G1, G2 = (uid(n) for n in range(1, 11))
DAG = {"org_id": ORG, "dag_name": "'d'"}
CURRENT = {**DAG, "dag_version_id": V1}
VERSION = {**DAG, "yaml_hash": "'v1-a'", "document": "'{}'"}
JOB = {
    **DAG, "name": "'x'", "dag_version_id": V1, "activation": "'reactive'", "runtime": "'pod'", "pod": "'{}'",
    "operator": "'container'", "execution_strategy": "'PerPartition'", "idle_timeout": "'0'", "config_hash": "'v1-c'",
    "update_strategy": "'replace'", "scaling": """'{"max_concurrency": 1}'""", "timeout_seconds": "1",
    "heartbeat_timeout_seconds": "1", "max_attempts": "1", "identity": "gen_random_uuid()", "fingerprint": "'v1-f'",
    "document": "'{}'", "document_hash": "'v1-d'", "position": "0", "upstream": "''",
}  # fmt: skip
DATASET = {"org_id": ORG, "name": "'d.clean.9'", "producer_dag_name": "'d'", "producer_job_name": "'clean'",
           "producer_output_index": "9"}  # fmt: skip
GENERATION = {"dataset_uuid": ROWS_DATASET, "storage_location": "'file:///x'", "config_hash": "'v1-g1'"}
POINTER = {"dag_version_id": V2, "dataset_uuid": ROWS_DATASET, "dataset_version": G1, "name": "'rows'"}
ROLLOUT = {
    **DAG,
    "dag_version_id": V2,
    "base_version_id": V1,
    "state": "'Building'",
    "strategy": "'WhenReady'",
    "planned_tasks": "1",
    "plan": "'{}'",
}
NAME = {"org_id": ORG, "name": "'rows'", "dag_name": "'d'"}
SAME = {**DAG, "job_name": "'clean'", "fingerprint": "'v1-f'", "same_as": "'v1-e'"}
E1 = uid(11)
TASK = {"job_id": CLEAN, "partitions": "'{k}'", "job_identity": CLEAN, "fingerprint": "'v1-f'", "unit_key": "'k'"}
LEASE = {"status": "'Running'", "lease_token": "gen_random_uuid()", "lease_expires_at": "now()", "attempts": "1",
         "worker_id": "'p'", "started_at": "now()", "outputs": "'[]'", "claimed_epoch": "0"}  # fmt: skip
PARTITION = {"dataset_uuid": ROWS_DATASET, "dataset_version": G1, "partition_key": "'z'", "config_hash": "'v1-g1'",
             "materialized_at": "now()", "task_id": "gen_random_uuid()"}  # fmt: skip
PIN = {
    "id": uid(40),
    "org_id": ORG,
    "user_name": "'ann'",
    "name": "'rows'",
    "dataset_uuid": ROWS_DATASET,
    "dataset_version": G1,
}
PAGE = {"pin": uid(40), "page": "1", "partitions": "'[]'"}
INVALID = {"dataset_uuid": ROWS_DATASET, "dataset_version": G1, "scope": "'partition'", "partition_key": "'k'",
           "reason": "'manual'"}  # fmt: skip
CURSOR = {"dataset_uuid": ROWS_DATASET, "dataset_version": G1, "job_id": CLEAN, "cursor_column": "'n'",
          "cursor_value": "'1'", "cursor_type": "'bigint'"}  # fmt: skip
PART = {"dataset_uuid": ROWS_DATASET, "dataset_version": G1, "partition_key": "'k'", "place": "9",
        "task_id": "gen_random_uuid()"}  # fmt: skip
UPDATE = {"dataset_uuid": ROWS_DATASET, "dataset_version": G1, "partition_key": "'k'", "number": "9",
          "task_id": "gen_random_uuid()"}  # fmt: skip
REVISION = {"dataset_uuid": ROWS_DATASET, "dataset_version": G1, "revision": "now()"}
INPUT = {"task_id": uid(20), "input_dataset_uuid": ROWS_DATASET, "input_dataset_version": G1,
         "input_partition_key": "'k'", "input_version": "now()"}  # fmt: skip
USER = {"org_id": ORG, "external_id": "'u2'"}
JOB_INPUT = {"job_id": CLEAN, "name": "'in'", "position": "0", "dataset_uuid": BAD_DATASET, "match": "'same'"}
COMMAND = {**DAG, "command": "'run'", "request_id": "'1'", "argument": "''", "outcome": "''"}
TASK_POD = {"task_id": uid(20), "attempt": "1", "pod_uid": "'p'"}
ORG_ROW = {"name": "'o'", "slug": "'new'", "namespace_uid": "'new'"}
NOTICE = {**DAG, "job_name": "'clean'", "kind": "'TaskFailed'", "yaml_hash": "'v1-a'"}
ENDED = {**NOTICE, "job_name": "''", "kind": "'RolloutDone'", "rollout_id": "gen_random_uuid()"}
REQUEST = {"org_id": ORG, "request_id": "'1'", "kind": "'run'", "user_name": "'u'", "asked": "''"}
EVENT = {"job_identity": DAY, "webhook_id": "'msg_2'", "sent_at": "now()", "partition_key": "'*'", "body": "'{}'"}
SOURCE = {"activation": "'source'", "source": "'{}'"}
DONE = {"status": "'Completed'", "completed_at": "now()"}

ROWS = [
    insert("orgs", {"id": ORG, "name": "'o'", "slug": "'o'", "namespace_uid": "'u'"}),
    insert("orgs", {"id": OTHER_ORG, "name": "'p'", "slug": "'p'", "namespace_uid": "'w'"}),
    insert("users", {"org_id": ORG, "external_id": "'u1'"}),
    insert("org_roles", {"org_id": ORG, "slug": "'r'", "name": "'r'"}),
    insert("dag_versions", VERSION, id=V1),
    insert("dag_versions", VERSION, id=V2, yaml_hash="'v1-b'"),
    insert("dag_versions", VERSION, id=E1, dag_name="'e'"),
    insert("jobs", JOB, id=DAY, name="'day'", **SOURCE),
    insert("jobs", JOB, id=CLEAN, name="'clean'"),
    insert("datasets", DATASET, id=ROWS_DATASET, name="'rows'", producer_output_index="0"),
    insert("datasets", DATASET, id=BAD_DATASET, name="'bad'", producer_output_index="1"),
    insert("dataset_versions", GENERATION, id=G1),
    insert("dataset_versions", GENERATION, id=G2, dataset_uuid=BAD_DATASET),
    insert("tasks", TASK, id=uid(20)),
    insert("tasks", TASK, id=uid(21), **LEASE),
    insert("webhook_events", EVENT, webhook_id="'msg_1'"),
]

NAMES = [("capital", "'A'"), ("dot", "'a.b'"), ("dash at the end", "'a-'"), ("empty", "''"), ("newline", "E'a\\n'"),
         ("64 characters", "repeat('a', 64)")]  # fmt: skip
KEYS = [("empty", "''"), ("blank", "'a b'"), ("slash", "'a/b'"), ("dash first", "'-a'"), ("newline", "E'a\\n'"),
        ("star and more", "'*a'"), ("129 characters", "repeat('a', 129)")]  # fmt: skip

REFUSED: list[tuple[str, str, str]] = [
    ("slug twice", insert("orgs", ORG_ROW, slug="'o'"), "orgs_slug_key"),
    ("namespace twice", insert("orgs", ORG_ROW, namespace_uid="'u'"), "orgs_namespace_uid_key"),
    ("settings that are none", insert("orgs", ORG_ROW, settings="'[]'"), "orgs_settings_check"),
    ("user twice", insert("users", USER, org_id=OTHER_ORG, external_id="'u1'"), "users_external_id_key"),
    ("unknown role", insert("users", USER, role="'owner'"), "users_role_check"),
    ("role twice", insert("org_roles", {"org_id": ORG, "slug": "'r'", "name": "'x'"}), "org_roles_org_id_slug_key"),
    *((f"role of no form: {n}", insert("org_roles", {"org_id": ORG, "slug": v, "name": "'x'"}), "org_roles_slug_check")
      for n, v in NAMES),
    ("second version of a document", insert("dag_versions", VERSION), "dag_versions_document_key"),
    ("document that is none", insert("dag_versions", VERSION, document="'1'"), "dag_versions_document_check"),
    *((f"DAG name: {n}", insert("dag_versions", VERSION, dag_name=v), "dag_versions_dag_name_check") for n, v in NAMES),
    ("current version of another DAG", insert("dag_current_versions", CURRENT, dag_name="'e'"),
     "dag_current_versions_version_fkey"),
    ("current version of another org", insert("dag_current_versions", CURRENT, org_id=OTHER_ORG),
     "dag_current_versions_version_fkey"),
    ("job of another org's version", insert("jobs", JOB, org_id=OTHER_ORG), "jobs_version_fkey"),
    ("job twice in a version", insert("jobs", JOB, name="'clean'"), "jobs_name_key"),
    *((f"job name: {n}", insert("jobs", JOB, name=v), "jobs_name_check") for n, v in NAMES),
    ("unknown activation", insert("jobs", JOB, activation="'timer'", source="NULL"), "jobs_activation_check"),
    ("source job without source", insert("jobs", JOB, activation="'source'"), "jobs_activation_source_check"),
    ("reactive job with source", insert("jobs", JOB, source="'{}'"), "jobs_activation_source_check"),
    ("source that is none", insert("jobs", JOB, activation="'source'", source="'[]'"), "jobs_source_check"),
    ("unknown runtime", insert("jobs", JOB, runtime="'vm'"), "jobs_runtime_check"),
    ("pod without template", insert("jobs", JOB, pod="NULL"), "jobs_runtime_pod_check"),
    ("template in the operator", insert("jobs", JOB, runtime="'dispatcher'"), "jobs_runtime_pod_check"),
    ("unknown strategy", insert("jobs", JOB, execution_strategy="'PerRow'"), "jobs_execution_strategy_check"),
    ("unknown update", insert("jobs", JOB, update_strategy="'merge'"), "jobs_update_strategy_check"),
    ("append without key", insert("jobs", JOB, update_strategy="'append'"), "jobs_append_check"),
    ("config that is none", insert("jobs", JOB, config="'[]'"), "jobs_config_check"),
    ("17 outputs", insert("jobs", JOB, output_datasets="array_fill('x'::text, '{17}')"), "jobs_output_datasets_check"),
    ("no concurrency", insert("jobs", JOB, scaling="""'{"max_concurrency": 0}'"""), "jobs_scaling_check"),
    ("no time", insert("jobs", JOB, timeout_seconds="0"), "jobs_timeout_seconds_check"),
    ("no heartbeat", insert("jobs", JOB, heartbeat_timeout_seconds="0"), "jobs_heartbeat_timeout_seconds_check"),
    ("no attempts", insert("jobs", JOB, max_attempts="0"), "jobs_max_attempts_check"),
    ("name twice in an org", insert("datasets", DATASET, name="'rows'"), "datasets_name_key"),
    ("output twice", insert("datasets", DATASET, name="'more'", producer_output_index="0"), "datasets_producer_key"),
    ("name of another producer", insert("datasets", DATASET, name="'d.clean.8'"), "datasets_name_form_check"),
    ("name with a dash", insert("datasets", DATASET, name="'a-b'"), "datasets_name_form_check"),
    ("17th output", insert("datasets", DATASET, name="'x'", producer_output_index="16"),
     "datasets_producer_output_index_check"),
    ("storage that is none", insert("datasets", DATASET, storage="'[]'"), "datasets_storage_check"),
    ("two live versions of one fingerprint", insert("dataset_versions", GENERATION),
     "dataset_versions_fingerprint_key"),
    ("pointer to a version of another dataset", insert("dag_version_datasets", POINTER, dataset_version=G2),
     "dag_version_datasets_version_fkey"),
    ("unknown status", insert("tasks", TASK, status="'Pending'", unit_key="'z'"), "tasks_status_check"),
    ("two waiting tasks of a unit", insert("tasks", TASK), "tasks_one_waiting_key"),
    ("a retry beside a waiting task", insert("tasks", TASK, status="'Failed'", next_retry_at="now()"),
     "tasks_one_waiting_key"),
    ("two running tasks of a unit", insert("tasks", TASK, **LEASE), "tasks_one_running_key"),
    *((f"running without {c}", insert("tasks", TASK, **{**LEASE, c: "NULL", "unit_key": "'z'"}), "tasks_running_check")
      for c in ("lease_token", "lease_expires_at", "worker_id", "started_at", "outputs", "claimed_epoch")),
    ("completed at no time", insert("tasks", TASK, status="'Completed'"), "tasks_finished_check"),
    ("failed for good at no time", insert("tasks", TASK, status="'Failed'"), "tasks_finished_check"),
    ("waiting and over", insert("tasks", TASK, unit_key="'z'", completed_at="now()"), "tasks_finished_check"),
    ("canceled by nobody", insert("tasks", {**TASK, **DONE}, status="'Canceled'"), "tasks_canceled_check"),
    ("completed and canceled", insert("tasks", {**TASK, **DONE}, canceled_by="'user'"), "tasks_canceled_check"),
    ("canceled by an unknown", insert("tasks", {**TASK, **DONE}, status="'Canceled'", canceled_by="'me'"),
     "tasks_canceled_by_check"),
    ("queued with a retry", insert("tasks", TASK, unit_key="'z'", next_retry_at="now()"), "tasks_retry_check"),
    ("no partition", insert("tasks", TASK, partitions="'{}'", unit_key="'z'"), "tasks_partitions_check"),
    *((f"{column} below none", insert("tasks", TASK, **{column: "-1"}, unit_key="'z'"), f"tasks_{column}_check")
      for column in ("attempts", "losses", "forgiven")),
    ("more losses than attempts", insert("tasks", TASK, losses="1", forgiven="1", attempts="1", unit_key="'z'"),
     "tasks_budget_check"),
    *((f"unit key: {n}", insert("tasks", TASK, unit_key=v), "tasks_unit_key_check") for n, v in KEYS),
    ("input of another dataset's version", insert("task_inputs", INPUT, input_dataset_version=G2),
     "task_inputs_version_fkey"),
    *((f"partition key: {n}", insert("partition_versions", PARTITION, partition_key=v),
       "partition_versions_partition_key_check") for n, v in KEYS),
    ("partition of another dataset's version", insert("partition_versions", PARTITION, dataset_version=G2),
     "partition_versions_version_fkey"),
    ("rows below none", insert("partition_versions", PARTITION, row_count="-1"), "partition_versions_row_count_check"),
    ("bytes below none", insert("partition_versions", PARTITION, bytes="-1"), "partition_versions_bytes_check"),
    ("cursor of another dataset's version", insert("dataset_cursors", CURSOR, dataset_version=G2),
     "dataset_cursors_version_fkey"),
    *((f"half a cursor: without {n}", insert("dataset_cursors", CURSOR, **{n: "NULL"}), "dataset_cursors_value_check")
      for n in ("cursor_column", "cursor_type", "cursor_value")),
    ("a generation of parts without what tells rows apart", insert("dataset_versions", GENERATION, unique_key="'{}'"),
     "dataset_versions_unique_key_check"),
    ("part of no partition", insert("partition_parts", PART, partition_key="'none'"), "partition_parts_partition_fkey"),
    ("part of another dataset's version", insert("partition_parts", PART, dataset_version=G2),
     "partition_parts_partition_fkey"),
    *((f"part with {n} below none", insert("partition_parts", PART, **{n: "-1"}), f"partition_parts_{n}_check")
      for n in ("place", "row_count", "bytes")),
    ("part that replaces no list", insert("partition_parts", PART, replaces="'{}'"), "partition_parts_replaces_check"),
    ("updates below none", insert("update_counters", {"dataset_uuid": ROWS_DATASET, "updates": "-1"}),
     "update_counters_updates_check"),
    ("rows that are no list", insert("dataset_updates", UPDATE, row_filters="'{}'"),
     "dataset_updates_row_filters_check"),
    ("rows and a range", insert("dataset_updates", UPDATE, row_filters="'[]'", cursor_column="'n'",
                                cursor_type="'text'", to_value="'1'"), "dataset_updates_rows_check"),
    ("update of two", insert("dataset_updates", UPDATE, invalidation_id="gen_random_uuid()"),
     "dataset_updates_origin_check"),
    ("partition that is written later than it is there", insert("partition_versions", PARTITION,
        written_at="now() + interval '1 minute'"), "partition_versions_written_at_check"),
    ("update number none", insert("dataset_updates", UPDATE, number="0"), "dataset_updates_number_check"),
    ("update of another dataset's version", insert("dataset_updates", UPDATE, dataset_version=G2),
     "dataset_updates_version_fkey"),
    ("cursor of an unknown type", insert("dataset_updates", UPDATE, cursor_column="'n'", cursor_type="'float'",
                                         to_value="'1'"), "dataset_updates_cursor_type_check"),
    *((f"half a range: only {n}", insert("dataset_updates", UPDATE, **v), "dataset_updates_cursor_check")
      for n, v in (("column", {"cursor_column": "'n'"}), ("type", {"cursor_type": "'text'"}),
                   ("beginning", {"from_value": "'1'"}), ("end", {"to_value": "'1'"}))),
    *((f"updates of a task: {n}", insert("tasks", TASK, unit_key="'z'", **v), "tasks_updates_check")
      for n, v in (("no last", {"first_update": "1"}), ("no first", {"last_update": "1"}),
                   ("backwards", {"first_update": "2", "last_update": "1"}),
                   ("below none", {"first_update": "-1", "last_update": "1"}))),
    ("an event that is not done", insert("tasks", TASK, unit_key="'z'", event="'e1'"), "tasks_event_check"),
    ("an event twice", ";".join(2 * [insert("tasks", {**TASK, **DONE}, status="'Completed'", event="'e1'")]),
     "tasks_event"),
    ("unknown scope", insert("data_invalidations", INVALID, scope="'all'"), "data_invalidations_scope_check"),
    ("unknown reason", insert("data_invalidations", INVALID, reason="'mood'"), "data_invalidations_reason_check"),
    *((f"scope form: {n}", insert("data_invalidations", INVALID, **v), "data_invalidations_scope_form_check")
      for n, v in (("partition without key", {"partition_key": "NULL"}),
                   ("partition with filter", {"row_filter": "'{}'"}),
                   ("rows without filter", {"scope": "'row_range'"}))),
    ("filter that is none", insert("data_invalidations", INVALID, scope="'row_range'", row_filter="'[]'"),
     "data_invalidations_row_filter_check"),
    ("invalidation of another dataset's version", insert("data_invalidations", INVALID, dataset_version=G2),
     "data_invalidations_version_fkey"),
    ("unknown match", insert("job_inputs", JOB_INPUT, match="'any'"), "job_inputs_match_check"),
    ("a filter that is none", insert("job_inputs", JOB_INPUT, filter="'[]'"), "job_inputs_filter_check"),
    ("unknown effect of a change", insert("job_inputs", JOB_INPUT, on_change="'any'"), "job_inputs_on_change_check"),
    ("revision of another dataset's version", insert("dataset_revisions", REVISION, dataset_version=G2),
     "dataset_revisions_version_fkey"),
    ("two inputs at one position", insert("job_inputs", JOB_INPUT) + ";" + insert("job_inputs", JOB_INPUT, name="'b'"),
     "job_inputs_position_key"),
    ("an input's key of no form", insert("task_inputs", INPUT, input_partition_key="'a b'"),
     "task_inputs_input_partition_key_check"),
    ("an invalidation's key of no form", insert("data_invalidations", INVALID, partition_key="'a b'"),
     "data_invalidations_partition_key_check"),
    ("a DAG's name of no form", insert("dags", {"org_id": ORG, "name": "'D'", "object_uid": "'u'"}), "dags_name_check"),
    ("scaling that says nothing", insert("jobs", JOB, scaling="'{}'"), "jobs_scaling_check"),
    ("position below none", insert("job_inputs", JOB_INPUT, position="-1"), "job_inputs_position_check"),
    *((f"published name: {n}", insert("dataset_names", NAME, name=v), "dataset_names_name_check")
      for n, v in (("capital", "'A'"), ("dot", "'a.b'"), ("dash", "'a-b'"), ("129 characters", "repeat('a', 129)"))),
    ("storage of a pointer that is none", insert("dag_version_datasets", POINTER, storage="'[]'"),
     "dag_version_datasets_storage_check"),
    ("two rollouts under way", insert("rollouts", ROLLOUT) + ";" + insert("rollouts", ROLLOUT, state="'Ready'"),
     "rollouts_one_under_way_key"),
    ("unknown state of a rollout", insert("rollouts", ROLLOUT, state="'Halted'", finished_at="now()"),
     "rollouts_state_check"),
    ("unknown strategy of a rollout", insert("rollouts", ROLLOUT, strategy="'Never'"), "rollouts_strategy_check"),
    ("a plan that is none", insert("rollouts", ROLLOUT, plan="'[]'"), "rollouts_plan_check"),
    ("tasks below none", insert("rollouts", ROLLOUT, planned_tasks="-1"), "rollouts_planned_tasks_check"),
    ("a rollout of another DAG's version", insert("rollouts", ROLLOUT, dag_name="'e'", base_version_id="NULL"),
     "rollouts_version_fkey"),
    ("a rollout from another DAG's version", insert("rollouts", ROLLOUT, base_version_id=E1), "rollouts_base_fkey"),
    ("a rollout that builds and is over", insert("rollouts", ROLLOUT, finished_at="now()"), "rollouts_finished_check"),
    ("a rollout that is done at no time", insert("rollouts", ROLLOUT, state="'Done'"), "rollouts_finished_check"),
    ("a rollout that failed for no reason", insert("rollouts", ROLLOUT, state="'Failed'", finished_at="now()"),
     "rollouts_cause_check"),
    ("the same data as itself", insert("same_data", SAME, same_as="'v1-f'"), "same_data_other_check"),
    ("a job's document that is none", insert("jobs", JOB, document="'[]'"), "jobs_document_check"),
    ("a place below the first", insert("jobs", JOB, position="-1"), "jobs_position_check"),
    ("an identity twice in a version", insert("jobs", JOB, identity=uid(30)) + ";" +
     insert("jobs", JOB, name="'y'", identity=uid(30)), "jobs_identity_key"),
    ("a worker's name twice", "INSERT INTO workers (pod_uid, org_id, pod_name, job_id, epoch) SELECT u, org_id, 'w',"
     " id, 0 FROM (SELECT * FROM jobs LIMIT 1) AS j, unnest(ARRAY['a', 'b']) AS u", "workers_pod_name_key"),
    ("parameters that are none", insert("tasks", TASK, unit_key="'l'", params="'[]'", params_digest="'d'"),
     "tasks_params_check"),
    ("parameters without their hash", insert("tasks", TASK, unit_key="'l'", params="'{\"a\": 1}'"),
     "tasks_params_digest_check"),
    ("a hash of no parameters", insert("tasks", TASK, unit_key="'l'", params_digest="'d'"),
     "tasks_params_digest_check"),
    ("a rollout given up that goes on", insert("rollouts", ROLLOUT, stopped="true"), "rollouts_stopped_check"),
    ("an act on the world that makes data", insert("jobs", JOB, side_effects="true", output_datasets="'{x}'"),
     "jobs_side_effects_check"),
    ("a request of another kind", insert("requests", REQUEST, kind="'stop'"), "requests_kind_check"),
    ("a request without an id", insert("requests", REQUEST, request_id="''"), "requests_request_id_check"),
    ("an event twice", insert("webhook_events", EVENT, webhook_id="'msg_1'"), "webhook_events_webhook_id_key"),
    *((f"an event's id: {n}", insert("webhook_events", EVENT, webhook_id=v), "webhook_events_webhook_id_form_check")
      for n, v in (("empty", "''"), ("dot", "'a.b'"), ("blank", "'a b'"), ("newline", "E'a\n'"),
                   ("256 characters", "repeat('a', 256)"))),
    ("a body that is too large", insert("webhook_events", EVENT, body="repeat('a', 65537)"),
     "webhook_events_body_size_check"),
    *((f"partition of an event: {n}", "INSERT INTO webhook_keys (job_identity, format, seq, partition_key)"
       f" SELECT job_identity, '', seq, {v} FROM webhook_events", "webhook_keys_partition_key_check") for n, v in KEYS),
    ("events below none", f"INSERT INTO task_events (task_id, events) VALUES ({uid(20)}, -1)",
     "task_events_events_check"),
    ("an attempt before the first", insert("task_pods", TASK_POD, attempt="0"), "task_pods_attempt_check"),
    ("a pod of two attempts", insert("task_pods", TASK_POD) + ";" + insert("task_pods", TASK_POD, attempt="2"),
     "task_pods_pod_uid_key"),
    ("a report that is none", insert("task_pods", TASK_POD, reported="'[]'"), "task_pods_reported_check"),
    ("no version keeps its contents", insert("dataset_names", NAME, retained_versions="0"),
     "dataset_names_retained_versions_check"),
    ("columns that are no list", "INSERT INTO schemas (hash, columns) VALUES ('v1-x', '{}')", "schemas_columns_check"),
    ("a pin of another dataset's version", insert("read_pins", PIN, dataset_version=G2), "read_pins_version_fkey"),
    ("a first page beside its answer", insert("read_pins", PIN) + ";" + insert("read_pages", PAGE, page="0"),
     "read_pages_page_check"),
    ("a page that is no list", insert("read_pins", PIN) + ";" + insert("read_pages", PAGE, partitions="'{}'"),
     "read_pages_partitions_check"),
    ("contracts that are a list", "UPDATE jobs SET contracts = '[]'", "jobs_contracts_check"),
    ("lineage that is an object", "UPDATE jobs SET lineage = '{}'", "jobs_lineage_check"),
    ("lineage of a seventeenth output",
     "INSERT INTO reported_lineage VALUES (gen_random_uuid(), 'v1-x', 16, 'a', 'i', 'b')",
     "reported_lineage_output_check"),
    ("turns below none", "INSERT INTO claim_turns (job_identity, live) VALUES (gen_random_uuid(), -1)",
     "claim_turns_live_check"),
    ("unknown command", insert("commands", COMMAND, command="'stop'"), "commands_command_check"),
    ("a second epoch", insert("operator_epoch", {"singleton": "false", "epoch": "1", "holder": "''", "since": "now()"}),
     "operator_epoch_singleton_check"),
    ("migration before the first", insert("schema_migrations", {"version": "0", "name": "''", "checksum": "''"}),
     "schema_migrations_version_check"),
    ("news of a kind that is none", insert("notices", ENDED, kind="'Nothing'"), "notices_kind_check"),
    ("news of nothing", insert("notices", NOTICE, times="0"), "notices_times_check"),
    ("news that was never tried less", insert("notices", NOTICE, tries="-1"), "notices_tries_check"),
    ("a failed task of no job", insert("notices", NOTICE, job_name="''"), "notices_job_check"),
    ("a rollout of a job", insert("notices", ENDED, job_name="'clean'"), "notices_job_check"),
    ("a failed task of a rollout", insert("notices", NOTICE, rollout_id="gen_random_uuid()"), "notices_rollout_check"),
    ("the end of no rollout", insert("notices", ENDED, rollout_id="NULL"), "notices_rollout_check"),
]  # fmt: skip

ACCEPTED: list[tuple[str, str]] = [
    ("news of a job, and of a rollout, each by itself", ";".join(
        insert("notices", *row) for row in ((NOTICE,), (ENDED,), (ENDED | {"kind": "'RolloutFailed'"},)))),
    ("a rollout after one that is over", insert("rollouts", ROLLOUT, state="'Done'", finished_at="now()") + ";" +
     insert("rollouts", ROLLOUT)),
    ("rollouts of two DAGs", insert("rollouts", ROLLOUT) + ";" +
     insert("rollouts", ROLLOUT, dag_name="'e'", dag_version_id=E1, base_version_id="NULL")),
    ("a rollout that failed for a reason", insert("rollouts", ROLLOUT, state="'Failed'", cause="'c'",
                                                  finished_at="now()")),
    ("the same published name in another org", insert("dataset_names", NAME, org_id=OTHER_ORG)),
    ("an identity in two versions", insert("jobs", JOB, identity=uid(30)) + ";" +
     insert("jobs", JOB, dag_version_id=V2, identity=uid(30))),
    ("an event of the same id elsewhere", insert("webhook_events", EVENT, webhook_id="'msg_1'", job_identity=CLEAN)),
    ("the largest body", insert("webhook_events", EVENT, body="repeat('a', 65536)")),
    ("the same document of another DAG", insert("dag_versions", VERSION, dag_name="'f'")),
    ("the same document of another org", insert("dag_versions", VERSION, org_id=OTHER_ORG)),
    ("the same job in another version", insert("jobs", JOB, name="'clean'", dag_version_id=V2)),
    ("append with a key", insert("jobs", JOB, update_strategy="'append'", unique_key="'{id}'")),
    ("a trigger", insert("jobs", JOB, **SOURCE, runtime="'dispatcher'", pod="NULL")),
    ("a name of 63 characters", insert("jobs", JOB, name="repeat('a', 63)")),
    ("the name made of the producer", insert("datasets", DATASET)),
    ("the same name in another org", insert("datasets", DATASET, org_id=OTHER_ORG, name="'rows'")),
    ("two outputs that trade names", "UPDATE datasets SET name = CASE name WHEN 'rows' THEN 'bad' ELSE 'rows' END"),
    ("a fingerprint beside its retired version",
     f"UPDATE dataset_versions SET retired_at = now() WHERE id = {G1}; {insert('dataset_versions', GENERATION)}"),
    ("the same fingerprint of another dataset", insert("dataset_versions", GENERATION, dataset_uuid=BAD_DATASET,
                                                      config_hash="'v1-new'")),
    ("a pointer to the dataset's own version", insert("dag_version_datasets", POINTER)),
    *((f"a waiting task of another {column}", insert("tasks", TASK, **{column: value})) for column, value in (
        ("unit_key", "'l'"), ("fingerprint", "'v1-other'"), ("job_identity", DAY))),
    ("a running task of another key", insert("tasks", TASK, **LEASE, unit_key="'l'")),
    *((f"beside them one that is {status}", insert("tasks", {**TASK, **DONE}, status=f"'{status}'", canceled_by=by))
      for status, by in (("Completed", "NULL"), ("Failed", "NULL"), ("Canceled", "'user'"))),
    ("the longest key", insert("partition_versions", PARTITION, partition_key="repeat('a', 128)")),
    ("every character of a key", insert("partition_versions", PARTITION, partition_key="'aZ09._:=-'")),
    ("the whole", insert("partition_versions", PARTITION, partition_key="'*'")),
    ("a task of no partition", insert("tasks", TASK, unit_key="'@'")),
    ("two that are no events", ";".join(2 * [insert("tasks", {**TASK, **DONE}, status="'Completed'")])),
    ("a row range of one partition", insert("data_invalidations", INVALID, scope="'row_range'", row_filter="'{}'")),
    ("a row range", insert("data_invalidations", INVALID, scope="'row_range'", row_filter="'{}'",
                           partition_key="NULL")),
]  # fmt: skip
