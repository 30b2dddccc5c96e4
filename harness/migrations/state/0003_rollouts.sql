-- Rollouts: a version is built beside the one that serves, then becomes current in one transaction.

-- The move of a DAG from one version to the next. At most one is under way for a DAG.
CREATE TABLE rollouts (
  id              uuid PRIMARY KEY DEFAULT gen_random_uuid(),
  org_id          uuid NOT NULL REFERENCES orgs,
  dag_name        text NOT NULL,
  dag_version_id  uuid NOT NULL,
  -- The version that the plan was made against; null for a DAG's first.
  base_version_id uuid,
  state           text NOT NULL CHECK (state IN ('Building', 'Ready', 'Done', 'Superseded', 'Failed', 'Canceled')),
  cause           text,
  strategy        text NOT NULL CHECK (strategy IN ('WhenReady', 'Manual')),
  -- How many tasks the plan counted, and the explanation that people are shown.
  planned_tasks   int NOT NULL CHECK (planned_tasks >= 0),
  plan            jsonb NOT NULL CHECK (jsonb_typeof(plan) = 'object'),
  -- Since when it may build (a plan above maxBuildTasks waits), and since when it may cut over (Manual waits).
  build_approved_at   timestamptz,
  cutover_approved_at timestamptz,
  -- It must be ready in time, counted from its start or from when it was resumed.
  deadline_at     timestamptz,
  deadline_from   timestamptz NOT NULL DEFAULT now(),
  -- Whether a person approved the cutover: the object's strategy can then not take it back.
  approved        boolean NOT NULL DEFAULT false,
  -- Until when live work of the jobs being replaced is held back, and before when it is not held again.
  held_until      timestamptz,
  next_hold_at    timestamptz,
  created_at      timestamptz NOT NULL DEFAULT now(),
  ready_at        timestamptz,
  finished_at     timestamptz,
  -- The order of creation, total where created_at repeats.
  seq             bigint GENERATED ALWAYS AS IDENTITY,
  CONSTRAINT rollouts_version_fkey
    FOREIGN KEY (dag_version_id, org_id, dag_name) REFERENCES dag_versions (id, org_id, dag_name),
  CONSTRAINT rollouts_base_fkey
    FOREIGN KEY (base_version_id, org_id, dag_name) REFERENCES dag_versions (id, org_id, dag_name),
  CONSTRAINT rollouts_finished_check CHECK ((state IN ('Building', 'Ready')) = (finished_at IS NULL)),
  CONSTRAINT rollouts_cause_check CHECK (state <> 'Failed' OR cause IS NOT NULL)
);
CREATE UNIQUE INDEX rollouts_one_under_way_key ON rollouts (org_id, dag_name) WHERE state IN ('Building', 'Ready');
CREATE INDEX rollouts_of_dag ON rollouts (org_id, dag_name, seq);
CREATE INDEX rollouts_dag_version_id ON rollouts (dag_version_id);

-- `rollout.reuse`: what a job with this fingerprint would make is the same data as that of another fingerprint.
CREATE TABLE same_data (
  org_id      uuid NOT NULL REFERENCES orgs,
  dag_name    text NOT NULL,
  job_name    text NOT NULL,
  fingerprint text NOT NULL,
  same_as     text NOT NULL,
  created_at  timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (org_id, dag_name, job_name, fingerprint),
  CONSTRAINT same_data_other_check CHECK (fingerprint <> same_as)
);

-- A published name belongs to the DAG that asked for it first, also after that DAG is gone, until it is transferred.
-- Apart from datasets.name, which is who has the name now: a version being built owns its names before it serves.
CREATE TABLE dataset_names (
  org_id     uuid NOT NULL REFERENCES orgs,
  name       text NOT NULL CHECK (name ~ '^[a-z][a-z0-9_]{0,127}$'),
  dag_name   text NOT NULL,
  created_at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (org_id, name)
);
INSERT INTO dataset_names (org_id, name, dag_name)
SELECT org_id, name, producer_dag_name FROM datasets WHERE position('.' IN name) = 0;

-- DAGs whose inputs from other DAGs have changed: an outbox, so that no transaction takes the locks of two DAGs.
CREATE TABLE consumer_looks (
  org_id     uuid NOT NULL REFERENCES orgs,
  dag_name   text NOT NULL,
  created_at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (org_id, dag_name)
);

-- `headrace rollback` pins a version until `unpin`, whatever the object says.
ALTER TABLE dags ADD COLUMN pinned_hash text;

-- The names that datasets have under a version, and where new contents go: they switch with the cutover.
ALTER TABLE dag_version_datasets ADD COLUMN name text;
UPDATE dag_version_datasets v SET name = d.name FROM datasets d WHERE d.id = v.dataset_uuid;
ALTER TABLE dag_version_datasets ALTER COLUMN name SET NOT NULL;
ALTER TABLE dag_version_datasets ADD COLUMN storage jsonb NOT NULL DEFAULT '{}' CHECK (jsonb_typeof(storage) = 'object');
UPDATE dag_version_datasets v SET storage = d.storage FROM datasets d WHERE d.id = v.dataset_uuid;

-- The job's part of the canonical document, with its hash: plans compare and explain job by job, and a DAG of 10,000
-- jobs is not read as a whole for that. dag_versions.document keeps the rest. No hash: from before there was one.
ALTER TABLE jobs ADD COLUMN document jsonb CHECK (jsonb_typeof(document) = 'object');
ALTER TABLE jobs ADD COLUMN document_hash text NOT NULL DEFAULT '';
UPDATE jobs j SET document = d.job
FROM dag_versions v, jsonb_array_elements(v.document -> 'jobs') AS d (job)
WHERE v.id = j.dag_version_id AND d.job ->> 'name' = j.name;
UPDATE dag_versions SET document = document - 'jobs';
ALTER TABLE jobs ALTER COLUMN document SET NOT NULL;

-- The place of a job in its version, and the places of all jobs upstream of it as bits, lowest first: as lists of ids
-- the upstreams of 10,000 jobs would be fifty million.
ALTER TABLE jobs ADD COLUMN position int NOT NULL DEFAULT 0 CHECK (position >= 0);
ALTER TABLE jobs ADD COLUMN upstream_bits bytea NOT NULL DEFAULT '';
UPDATE jobs j SET position = p.place
FROM (SELECT id, row_number() OVER (PARTITION BY dag_version_id ORDER BY name COLLATE "C") - 1 AS place FROM jobs) AS p
WHERE p.id = j.id;
DO $$
DECLARE
  a record;
  bits bytea;
  place int;
BEGIN
  FOR a IN SELECT id, dag_version_id, upstream,
                  (SELECT count(*) FROM jobs n WHERE n.dag_version_id = j.dag_version_id) AS jobs FROM jobs j LOOP
    bits := decode(repeat('00', ((a.jobs + 7) / 8)::int), 'hex');
    FOR place IN SELECT u.position FROM jobs u
                 WHERE u.dag_version_id = a.dag_version_id AND u.identity = ANY (a.upstream) LOOP
      bits := set_bit(bits, place, 1);
    END LOOP;
    UPDATE jobs SET upstream_bits = bits WHERE id = a.id;
  END LOOP;
END $$;
ALTER TABLE jobs DROP COLUMN upstream;
ALTER TABLE jobs RENAME COLUMN upstream_bits TO upstream;
ALTER TABLE jobs ALTER COLUMN position DROP DEFAULT, ALTER COLUMN upstream DROP DEFAULT;
ALTER TABLE jobs ALTER COLUMN document_hash DROP DEFAULT;
ALTER TABLE jobs ADD CONSTRAINT jobs_identity_key UNIQUE (dag_version_id, identity);

-- The name by which another DAG's dataset is read: it stays when the name moves to another output.
ALTER TABLE job_inputs ADD COLUMN external_name text;
CREATE INDEX job_inputs_external_name ON job_inputs (external_name) WHERE external_name IS NOT NULL;

-- Work of a build, as opposed to live work: it takes turns with it, and a rollout is ready when it is done.
ALTER TABLE tasks ADD COLUMN backfill boolean NOT NULL DEFAULT false;
ALTER TABLE tasks DROP CONSTRAINT tasks_canceled_by_check;
ALTER TABLE tasks ADD CONSTRAINT tasks_canceled_by_check
  CHECK (canceled_by IN ('absence', 'cutover', 'join', 'rollout', 'user'));

-- Which task completed a unit without outputs: its recorded inputs tell whether the unit is stale.
ALTER TABLE unit_completions ADD COLUMN task_id uuid;

-- Since when a cron source ticks: a changed pattern is built over its instants from there.
ALTER TABLE cron_ticks ADD COLUMN since timestamptz NOT NULL DEFAULT now();
UPDATE cron_ticks k SET since = least(k.last_tick, t.first)
FROM (SELECT job_identity, min(created_at) AS first FROM tasks GROUP BY 1) AS t WHERE t.job_identity = k.job_identity;

ALTER TABLE commands DROP CONSTRAINT commands_command_check;
ALTER TABLE commands ADD CONSTRAINT commands_command_check
  CHECK (command IN ('approve', 'pin', 'retry', 'run', 'unpin'));

-- Every version of a DAG that is there came to serve as soon as it was committed.
INSERT INTO rollouts (org_id, dag_name, dag_version_id, state, strategy, planned_tasks, plan, build_approved_at,
                      cutover_approved_at, created_at, ready_at, finished_at)
SELECT org_id, dag_name, id, 'Done', 'WhenReady', 0,
       jsonb_build_object('dag', dag_name, 'yaml_hash', yaml_hash, 'swap', 'swap only'),
       created_at, created_at, created_at, created_at, created_at
FROM dag_versions ORDER BY created_at;

-- The jobs whose work goes on while their DAG's object is there: those of versions that serve, and of versions being
-- built those that serve in no other form. What both have in common is done once, by the serving version's row.
CREATE VIEW working_jobs AS
SELECT j.id AS job_id, j.org_id, j.dag_name, j.dag_version_id, j.name, j.identity, j.fingerprint, j.activation,
       false AS building
FROM dag_current_versions c
JOIN dags p ON p.org_id = c.org_id AND p.name = c.dag_name AND p.absent_since IS NULL
JOIN jobs j ON j.dag_version_id = c.dag_version_id
UNION ALL
SELECT j.id, j.org_id, j.dag_name, j.dag_version_id, j.name, j.identity, j.fingerprint, j.activation, true
FROM rollouts r
JOIN dags p ON p.org_id = r.org_id AND p.name = r.dag_name AND p.absent_since IS NULL
JOIN jobs j ON j.dag_version_id = r.dag_version_id
WHERE r.state IN ('Building', 'Ready') AND r.build_approved_at IS NOT NULL
  AND NOT EXISTS (
    SELECT 1
    FROM dag_current_versions c
    JOIN jobs o ON o.dag_version_id = c.dag_version_id
    WHERE c.org_id = r.org_id AND c.dag_name = r.dag_name
      AND o.identity = j.identity AND o.fingerprint = j.fingerprint);

-- The jobs that work or may come to: of versions that serve, `present` or not, of those being built, approved or not, and
-- of those whose build failed and may be resumed. What they read must stay, and they must not close a circle.
CREATE VIEW potential_jobs AS
SELECT j.id AS job_id, j.org_id, j.dag_name, j.dag_version_id, j.name, p.absent_since IS NULL AS present
FROM (
  SELECT org_id, dag_name, dag_version_id FROM dag_current_versions
  UNION
  SELECT org_id, dag_name, dag_version_id FROM rollouts WHERE state IN ('Building', 'Ready')
  UNION
  SELECT r.org_id, r.dag_name, r.dag_version_id FROM rollouts r
  WHERE r.state = 'Failed' AND NOT EXISTS (
    SELECT 1 FROM rollouts n WHERE n.org_id = r.org_id AND n.dag_name = r.dag_name AND n.seq > r.seq)
) AS v
JOIN jobs j ON j.dag_version_id = v.dag_version_id
JOIN dags p ON p.org_id = v.org_id AND p.name = v.dag_name;

-- Which dataset version a job's input is: under the job's own version, or, of another DAG, the one that serves.
CREATE VIEW input_versions AS
SELECT i.job_id, i.name, i.position, i.match, i.dataset_uuid, v.dataset_version, v.name AS dataset
FROM job_inputs i
JOIN jobs j ON j.id = i.job_id
CROSS JOIN LATERAL (
  SELECT p.dataset_version, p.name FROM dag_version_datasets p
  WHERE p.dag_version_id = j.dag_version_id AND p.dataset_uuid = i.dataset_uuid OFFSET 0
) AS v
WHERE i.external_name IS NULL
UNION ALL
SELECT i.job_id, i.name, i.position, i.match, i.dataset_uuid, v.dataset_version, v.name AS dataset
FROM job_inputs i
JOIN datasets d ON d.id = i.dataset_uuid
JOIN dag_current_versions c ON c.org_id = d.org_id AND c.dag_name = d.producer_dag_name
CROSS JOIN LATERAL (
  SELECT p.dataset_version, p.name FROM dag_version_datasets p
  WHERE p.dag_version_id = c.dag_version_id AND p.dataset_uuid = i.dataset_uuid OFFSET 0
) AS v
WHERE i.external_name IS NOT NULL;

-- Units of reactive jobs that should be worked on and are not: every `same` input has the key; no task of the unit waits
-- or runs; and what stands for the unit (what it made, or its decided failure) is not of the inputs as they are now.
CREATE VIEW missing_units AS
SELECT w.org_id, w.dag_name, w.dag_version_id, w.job_id, w.name, w.identity, w.fingerprint, w.building, k.key
FROM working_jobs w
CROSS JOIN LATERAL (SELECT count(*) AS inputs FROM job_inputs i WHERE i.job_id = w.job_id AND i.match = 'same') AS s
CROSS JOIN LATERAL (
  SELECT pv.partition_key AS key
  FROM input_versions i
  JOIN partition_versions pv ON pv.dataset_uuid = i.dataset_uuid AND pv.dataset_version = i.dataset_version
  WHERE i.job_id = w.job_id AND i.match = 'same'
  GROUP BY pv.partition_key
  HAVING count(*) = s.inputs
) AS k
WHERE w.activation = 'reactive'
  AND NOT EXISTS (
    SELECT 1 FROM tasks t
    WHERE t.job_identity = w.identity AND t.fingerprint = w.fingerprint AND t.unit_key = k.key
      AND (t.status IN ('Queued', 'Running') OR t.next_retry_at IS NOT NULL
           OR (t.canceled_by = 'user' AND NOT EXISTS (
             SELECT 1 FROM tasks n
             WHERE n.job_identity = t.job_identity AND n.fingerprint = t.fingerprint AND n.unit_key = t.unit_key
               AND n.seq > t.seq))))
  AND NOT EXISTS (
    SELECT 1
    FROM (
      SELECT pv.task_id
      FROM datasets d
      JOIN dag_version_datasets v ON v.dag_version_id = w.dag_version_id AND v.dataset_uuid = d.id
      JOIN partition_versions pv
        ON pv.dataset_uuid = v.dataset_uuid AND pv.dataset_version = v.dataset_version AND pv.partition_key = k.key
      WHERE d.org_id = w.org_id AND d.producer_dag_name = w.dag_name AND d.producer_job_name = w.name
        AND d.producer_output_index = 0
      UNION ALL
      SELECT u.task_id FROM unit_completions u
      WHERE u.job_identity = w.identity AND u.fingerprint = w.fingerprint AND u.unit_key = k.key
      UNION ALL
      SELECT t.id FROM tasks t
      WHERE t.job_identity = w.identity AND t.fingerprint = w.fingerprint AND t.unit_key = k.key
        AND t.status = 'Failed' AND t.next_retry_at IS NULL AND NOT EXISTS (
          SELECT 1 FROM tasks n
          WHERE n.job_identity = t.job_identity AND n.fingerprint = t.fingerprint AND n.unit_key = t.unit_key
            AND n.seq > t.seq)
    ) AS stands
    WHERE stands.task_id IS NULL OR NOT EXISTS (
      SELECT 1
      FROM input_versions i
      JOIN partition_versions pv
        ON pv.dataset_uuid = i.dataset_uuid AND pv.dataset_version = i.dataset_version AND pv.partition_key = k.key
      LEFT JOIN task_inputs r ON r.task_id = stands.task_id AND r.input_dataset_uuid = pv.dataset_uuid
        AND r.input_partition_key = pv.partition_key
      WHERE i.job_id = w.job_id AND i.match = 'same'
        AND (r.input_version, r.input_dataset_version)
          IS DISTINCT FROM (pv.materialized_at, pv.dataset_version)));
