-- The sixteen tables of the state schema. Columns of the seed keep their names and types; a column that was added
-- stands below a line that says why. Times are the database's. Statuses are CHECKs, so that a row that makes no sense
-- is refused here and not found later.

CREATE TABLE orgs (
  id         uuid PRIMARY KEY DEFAULT gen_random_uuid(),
  name       text NOT NULL,
  slug       text NOT NULL CONSTRAINT orgs_slug_key UNIQUE,
  settings   jsonb NOT NULL DEFAULT '{}' CHECK (jsonb_typeof(settings) = 'object'),
  created_at timestamptz NOT NULL DEFAULT now(),
  -- A namespace is known by its uid: one made anew under an old name is another org.
  namespace_uid text NOT NULL CONSTRAINT orgs_namespace_uid_key UNIQUE
);

CREATE TABLE users (
  id          uuid PRIMARY KEY DEFAULT gen_random_uuid(),
  org_id      uuid NOT NULL REFERENCES orgs,
  external_id text NOT NULL CONSTRAINT users_external_id_key UNIQUE,
  email       text,
  role        text NOT NULL DEFAULT 'reader' CHECK (role IN ('reader', 'writer', 'admin')),
  created_at  timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX users_org_id ON users (org_id);

CREATE TABLE org_roles (
  id         uuid PRIMARY KEY DEFAULT gen_random_uuid(),
  org_id     uuid NOT NULL REFERENCES orgs,
  slug       text NOT NULL,
  name       text NOT NULL,
  created_at timestamptz NOT NULL DEFAULT now(),
  CONSTRAINT org_roles_org_id_slug_key UNIQUE (org_id, slug)
);

CREATE TABLE org_role_memberships (
  role_id    uuid NOT NULL REFERENCES org_roles ON DELETE CASCADE,
  user_id    uuid NOT NULL REFERENCES users ON DELETE CASCADE,
  created_at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (role_id, user_id)
);
CREATE INDEX org_role_memberships_user_id ON org_role_memberships (user_id);

CREATE TABLE dag_versions (
  id         uuid PRIMARY KEY DEFAULT gen_random_uuid(),
  org_id     uuid NOT NULL REFERENCES orgs,
  dag_name   text NOT NULL CHECK (dag_name ~ '^[a-z]([a-z0-9_-]{0,61}[a-z0-9])?$'),
  yaml_hash  text NOT NULL,
  created_at timestamptz NOT NULL DEFAULT now(),
  -- The canonical document that yaml_hash is the hash of: plans compare against it, rollbacks return to it.
  document   jsonb NOT NULL CHECK (jsonb_typeof(document) = 'object'),
  CONSTRAINT dag_versions_document_key UNIQUE (org_id, dag_name, yaml_hash),
  -- The target of composite foreign keys: what points at a version points at one of the same DAG.
  CONSTRAINT dag_versions_dag_key UNIQUE (id, org_id, dag_name)
);

CREATE TABLE dag_current_versions (
  org_id         uuid NOT NULL REFERENCES orgs,
  dag_name       text NOT NULL,
  dag_version_id uuid NOT NULL,
  updated_at     timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (org_id, dag_name),
  CONSTRAINT dag_current_versions_version_fkey
    FOREIGN KEY (dag_version_id, org_id, dag_name) REFERENCES dag_versions (id, org_id, dag_name)
);
CREATE INDEX dag_current_versions_dag_version_id ON dag_current_versions (dag_version_id);

CREATE TABLE jobs (
  id                        uuid PRIMARY KEY DEFAULT gen_random_uuid(),
  org_id                    uuid NOT NULL REFERENCES orgs,
  name                      text NOT NULL CHECK (name ~ '^[a-z]([a-z0-9_-]{0,61}[a-z0-9])?$'),
  dag_name                  text NOT NULL,
  dag_version_id            uuid NOT NULL,
  activation                text NOT NULL CHECK (activation IN ('source', 'reactive')),
  runtime                   text NOT NULL CHECK (runtime IN ('dispatcher', 'pod', 'worker')),
  operator                  text NOT NULL,
  source                    jsonb CHECK (jsonb_typeof(source) = 'object'),
  execution_strategy        text NOT NULL CHECK (execution_strategy IN ('PerPartition', 'PerUpdate')),
  idle_timeout              text NOT NULL,
  config                    jsonb NOT NULL DEFAULT '{}' CHECK (jsonb_typeof(config) = 'object'),
  config_hash               text NOT NULL,
  input_datasets            text[] NOT NULL DEFAULT '{}',
  output_datasets           text[] NOT NULL DEFAULT '{}' CHECK (cardinality(output_datasets) <= 16),
  update_strategy           text NOT NULL CHECK (update_strategy IN ('replace', 'append')),
  unique_key                text[] NOT NULL DEFAULT '{}',
  scaling                   jsonb NOT NULL CHECK (coalesce((scaling ->> 'max_concurrency')::int, 0) >= 1),
  timeout_seconds           int NOT NULL CHECK (timeout_seconds > 0),
  heartbeat_timeout_seconds int NOT NULL CHECK (heartbeat_timeout_seconds > 0),
  max_attempts              int NOT NULL CHECK (max_attempts > 0),
  created_at                timestamptz NOT NULL DEFAULT now(),
  updated_at                timestamptz NOT NULL DEFAULT now(),
  -- The stable identity across versions, from (org, dag, name): concurrency, deduplication and cron instants use it.
  identity                  uuid NOT NULL,
  -- The Merkle hash over config_hash and the inputs' fingerprints: with the identity and a key it names a unit of work.
  fingerprint               text NOT NULL,
  -- The identities of every job upstream: a unit waits for the older tasks of its key among these.
  upstream                  uuid[] NOT NULL DEFAULT '{}',
  -- The merged pod template with the container `main`; null for what the operator runs itself.
  pod                       jsonb,
  CONSTRAINT jobs_name_key UNIQUE (dag_version_id, name),
  CONSTRAINT jobs_version_fkey
    FOREIGN KEY (dag_version_id, org_id, dag_name) REFERENCES dag_versions (id, org_id, dag_name),
  CONSTRAINT jobs_activation_source_check CHECK ((activation = 'source') = (source IS NOT NULL)),
  CONSTRAINT jobs_append_check CHECK (update_strategy <> 'append' OR cardinality(unique_key) > 0),
  CONSTRAINT jobs_runtime_pod_check CHECK ((runtime = 'dispatcher') = (pod IS NULL))
);
CREATE INDEX jobs_identity ON jobs (identity);

CREATE TABLE datasets (
  id                    uuid PRIMARY KEY DEFAULT gen_random_uuid(),
  org_id                uuid NOT NULL REFERENCES orgs,
  name                  text NOT NULL,
  producer_dag_name     text NOT NULL,
  producer_job_name     text NOT NULL,
  producer_output_index int NOT NULL CHECK (producer_output_index BETWEEN 0 AND 15),
  storage               jsonb NOT NULL DEFAULT '{}' CHECK (jsonb_typeof(storage) = 'object'),
  read_roles            text[] NOT NULL DEFAULT '{}',
  created_at            timestamptz NOT NULL DEFAULT now(),
  updated_at            timestamptz NOT NULL DEFAULT now(),
  -- Deferrable: checked at the end of a statement, so that two outputs of a DAG can trade names in one.
  CONSTRAINT datasets_name_key UNIQUE (org_id, name) DEFERRABLE INITIALLY IMMEDIATE,
  CONSTRAINT datasets_producer_key UNIQUE (org_id, producer_dag_name, producer_job_name, producer_output_index),
  -- A published name has no dot; the name of an output that is not published is made of its producer.
  CONSTRAINT datasets_name_form_check CHECK (
    name ~ '^[a-z][a-z0-9_]{0,127}$'
    OR name = producer_dag_name || '.' || producer_job_name || '.' || producer_output_index)
);

CREATE TABLE dataset_versions (
  id               uuid PRIMARY KEY DEFAULT gen_random_uuid(),
  dataset_uuid     uuid NOT NULL REFERENCES datasets,
  created_at       timestamptz NOT NULL DEFAULT now(),
  storage_location text NOT NULL,
  config_hash      text NOT NULL,
  schema_hash      text,
  -- Retention tombstones a version; returning to its fingerprint then makes a new one.
  retired_at       timestamptz,
  CONSTRAINT dataset_versions_dataset_key UNIQUE (id, dataset_uuid)
);
CREATE UNIQUE INDEX dataset_versions_fingerprint_key ON dataset_versions (dataset_uuid, config_hash)
  WHERE retired_at IS NULL;

CREATE TABLE dag_version_datasets (
  dag_version_id  uuid NOT NULL REFERENCES dag_versions,
  dataset_uuid    uuid NOT NULL REFERENCES datasets,
  dataset_version uuid NOT NULL,
  PRIMARY KEY (dag_version_id, dataset_uuid),
  CONSTRAINT dag_version_datasets_version_fkey
    FOREIGN KEY (dataset_version, dataset_uuid) REFERENCES dataset_versions (id, dataset_uuid)
);
CREATE INDEX dag_version_datasets_dataset_version ON dag_version_datasets (dataset_version);

CREATE TABLE tasks (
  id             uuid PRIMARY KEY DEFAULT gen_random_uuid(),
  job_id         uuid NOT NULL REFERENCES jobs,
  status         text NOT NULL DEFAULT 'Queued'
                 CHECK (status IN ('Queued', 'Running', 'Completed', 'Failed', 'Canceled')),
  partitions     text[] NOT NULL CHECK (cardinality(partitions) > 0),
  input_versions jsonb,
  worker_id      text,
  started_at     timestamptz,
  completed_at   timestamptz,
  last_heartbeat timestamptz,
  attempts       int NOT NULL DEFAULT 0 CHECK (attempts >= 0),
  next_retry_at  timestamptz,
  error_message  text,
  outputs        jsonb,
  created_at     timestamptz NOT NULL DEFAULT now(),
  -- The order of creation, total where created_at repeats within a transaction: first in, first out; "older" is less.
  seq            bigint GENERATED ALWAYS AS IDENTITY,
  -- The unit of work: (job identity, job fingerprint, key). The two partial uniques below are per unit.
  job_identity   uuid NOT NULL,
  fingerprint    text NOT NULL,
  unit_key       text NOT NULL CHECK (unit_key ~ '^(\*|[A-Za-z0-9][A-Za-z0-9._:=-]{0,127})$'),
  -- The fence: every call of an attempt carries the token of its claim.
  lease_token      uuid,
  lease_expires_at timestamptz,
  -- Attempts that ended by a loss of infrastructure (pod, node): they have a budget of their own.
  losses         int NOT NULL DEFAULT 0 CHECK (losses >= 0),
  -- Attempts from before it was taken up anew (by `retry`, or as its DAG came back): the budgets count from there.
  forgiven       int NOT NULL DEFAULT 0 CHECK (forgiven >= 0),
  -- The operator's epoch at the claim: one that leads later has not seen whether the pod was made.
  claimed_epoch  bigint,
  -- Why it was canceled: what the system canceled is made again when its cause is over, what a user canceled is not.
  canceled_by    text CHECK (canceled_by IN ('absence', 'cutover', 'join', 'user')),
  CONSTRAINT tasks_budget_check CHECK (forgiven + losses <= attempts),
  CONSTRAINT tasks_running_check CHECK (
    status <> 'Running' OR (claimed_epoch IS NOT NULL AND lease_token IS NOT NULL AND lease_expires_at IS NOT NULL AND worker_id IS NOT NULL
                            AND started_at IS NOT NULL AND outputs IS NOT NULL)),
  CONSTRAINT tasks_finished_check CHECK (
    (status IN ('Completed', 'Canceled') OR (status = 'Failed' AND next_retry_at IS NULL)) = (completed_at IS NOT NULL)),
  CONSTRAINT tasks_canceled_check CHECK ((status = 'Canceled') = (canceled_by IS NOT NULL)),
  CONSTRAINT tasks_retry_check CHECK (next_retry_at IS NULL OR status = 'Failed')
) WITH (fillfactor = 70);
CREATE UNIQUE INDEX tasks_one_waiting_key ON tasks (job_identity, fingerprint, unit_key)
  WHERE status = 'Queued' OR (status = 'Failed' AND next_retry_at IS NOT NULL);
CREATE UNIQUE INDEX tasks_one_running_key ON tasks (job_identity, fingerprint, unit_key) WHERE status = 'Running';
-- The hold: older tasks of a key that are not settled; the status: what of a job is unsettled.
CREATE INDEX tasks_unsettled ON tasks (unit_key, job_identity, seq) WHERE status IN ('Queued', 'Running', 'Failed');
-- Has this unit been decided.
CREATE INDEX tasks_unit ON tasks (job_identity, fingerprint, unit_key, seq);
-- The last task of a job.
CREATE INDEX tasks_recent ON tasks (job_identity, seq);
CREATE INDEX tasks_job_id ON tasks (job_id, status);

CREATE TABLE task_inputs (
  task_id             uuid NOT NULL REFERENCES tasks ON DELETE CASCADE,
  input_dataset_uuid  uuid NOT NULL REFERENCES datasets,
  input_partition_key text NOT NULL CHECK (input_partition_key ~ '^(\*|[A-Za-z0-9][A-Za-z0-9._:=-]{0,127})$'),
  input_version       timestamptz NOT NULL,
  -- Which generation was read: materialized_at alone says when, not of what.
  input_dataset_version uuid NOT NULL,
  PRIMARY KEY (task_id, input_dataset_uuid, input_partition_key),
  CONSTRAINT task_inputs_version_fkey
    FOREIGN KEY (input_dataset_version, input_dataset_uuid) REFERENCES dataset_versions (id, dataset_uuid)
);

CREATE TABLE column_lineage (
  output_dataset_uuid uuid NOT NULL REFERENCES datasets,
  output_column       text NOT NULL,
  input_dataset_uuid  uuid NOT NULL REFERENCES datasets,
  input_column        text NOT NULL,
  job_id              uuid NOT NULL REFERENCES jobs,
  PRIMARY KEY (output_dataset_uuid, output_column, input_dataset_uuid, input_column)
);
CREATE INDEX column_lineage_input ON column_lineage (input_dataset_uuid, input_column);

CREATE TABLE partition_versions (
  dataset_uuid    uuid NOT NULL REFERENCES datasets,
  dataset_version uuid NOT NULL,
  partition_key   text NOT NULL CHECK (partition_key ~ '^(\*|[A-Za-z0-9][A-Za-z0-9._:=-]{0,127})$'),
  materialized_at timestamptz NOT NULL,
  config_hash     text NOT NULL,
  schema_hash     text,
  location        text,
  row_count       bigint CHECK (row_count >= 0),
  bytes           bigint CHECK (bytes >= 0),
  -- The accepted completion that this partition points to; the task may have left the hot table since, so no key.
  task_id         uuid NOT NULL,
  PRIMARY KEY (dataset_uuid, dataset_version, partition_key),
  CONSTRAINT partition_versions_version_fkey
    FOREIGN KEY (dataset_version, dataset_uuid) REFERENCES dataset_versions (id, dataset_uuid)
);

CREATE TABLE dataset_cursors (
  dataset_uuid    uuid NOT NULL REFERENCES datasets,
  dataset_version uuid NOT NULL,
  job_id          uuid NOT NULL REFERENCES jobs,
  cursor_column   text NOT NULL,
  cursor_value    text NOT NULL,
  updated_at      timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (dataset_uuid, dataset_version, job_id),
  CONSTRAINT dataset_cursors_version_fkey
    FOREIGN KEY (dataset_version, dataset_uuid) REFERENCES dataset_versions (id, dataset_uuid)
);

CREATE TABLE data_invalidations (
  id              uuid PRIMARY KEY DEFAULT gen_random_uuid(),
  dataset_uuid    uuid NOT NULL REFERENCES datasets,
  dataset_version uuid NOT NULL,
  scope           text NOT NULL CHECK (scope IN ('partition', 'row_range')),
  partition_key   text CHECK (partition_key ~ '^(\*|[A-Za-z0-9][A-Za-z0-9._:=-]{0,127})$'),
  row_filter      jsonb CHECK (jsonb_typeof(row_filter) = 'object'),
  reason          text NOT NULL CHECK (reason IN ('reorg', 'correction', 'manual', 'schema_change')),
  source_event    jsonb,
  created_at      timestamptz NOT NULL DEFAULT now(),
  processed_by    uuid[] NOT NULL DEFAULT '{}',
  processed_at    timestamptz,
  CONSTRAINT data_invalidations_scope_form_check CHECK (
    (scope = 'partition' AND partition_key IS NOT NULL AND row_filter IS NULL)
    OR (scope = 'row_range' AND row_filter IS NOT NULL)),
  CONSTRAINT data_invalidations_version_fkey
    FOREIGN KEY (dataset_version, dataset_uuid) REFERENCES dataset_versions (id, dataset_uuid)
);
