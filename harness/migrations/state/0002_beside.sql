-- Tables beside the sixteen, each with its reason.

-- One row for each DAG object ever seen: whether it is there (absence stops work and deletes nothing), whether it is
-- suspended, and which object (uid) its pods belong to. The dispatcher reads this, so a change of `suspend` needs no
-- version.
CREATE TABLE dags (
  org_id       uuid NOT NULL REFERENCES orgs,
  name         text NOT NULL CHECK (name ~ '^[a-z]([a-z0-9_-]{0,61}[a-z0-9])?$'),
  object_uid   text NOT NULL,
  suspended    boolean NOT NULL DEFAULT false,
  absent_since timestamptz,
  created_at   timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (org_id, name)
);

-- The inputs of a job as rows: fan-out joins on them. jobs.input_datasets has the names that the user sees.
CREATE TABLE job_inputs (
  job_id       uuid NOT NULL REFERENCES jobs,
  name         text NOT NULL,
  position     int NOT NULL CHECK (position >= 0),
  dataset_uuid uuid NOT NULL REFERENCES datasets,
  match        text NOT NULL CHECK (match IN ('same', 'latest')),
  PRIMARY KEY (job_id, name),
  CONSTRAINT job_inputs_position_key UNIQUE (job_id, position)
);
CREATE INDEX job_inputs_dataset_uuid ON job_inputs (dataset_uuid);

-- Finished units of jobs without outputs: their only record, which outlives the tasks.
CREATE TABLE unit_completions (
  job_identity uuid NOT NULL,
  fingerprint  text NOT NULL,
  unit_key     text NOT NULL,
  completed_at timestamptz NOT NULL,
  PRIMARY KEY (job_identity, fingerprint, unit_key)
);

-- How far a cron source has ticked, by the job's stable identity: one task for each instant, over restarts and versions.
CREATE TABLE cron_ticks (
  job_identity uuid PRIMARY KEY,
  last_tick    timestamptz NOT NULL
);

-- Commands given as annotations, kept from their first sight: a GitOps tool that takes the annotation back undoes
-- nothing, and the same request twice is one.
CREATE TABLE commands (
  org_id     uuid NOT NULL REFERENCES orgs,
  dag_name   text NOT NULL,
  command    text NOT NULL CHECK (command IN ('run', 'retry')),
  request_id text NOT NULL,
  argument   text NOT NULL,
  outcome    text NOT NULL,
  handled_at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (org_id, dag_name, command, request_id)
);
CREATE INDEX commands_latest ON commands (org_id, dag_name, command, handled_at);

-- The epoch of the operator that leads: raised at each takeover, shared-locked by every write of the dispatch, so that
-- one which lost the Lease without noticing changes nothing.
CREATE TABLE operator_epoch (
  singleton boolean PRIMARY KEY DEFAULT true CHECK (singleton),
  epoch     bigint NOT NULL,
  holder    text NOT NULL,
  since     timestamptz NOT NULL
);
INSERT INTO operator_epoch (epoch, holder, since) VALUES (0, 'nobody', now());
