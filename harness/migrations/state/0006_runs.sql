-- Runs that people ask for: of named partitions, with parameters, and who asked.

-- The parameters of a run, and their hash: part of the unit. Nothing that nobody asked for has any.
ALTER TABLE tasks ADD COLUMN params jsonb NOT NULL DEFAULT '{}' CHECK (jsonb_typeof(params) = 'object');
ALTER TABLE tasks ADD COLUMN params_digest text NOT NULL DEFAULT '';
ALTER TABLE tasks ADD CONSTRAINT tasks_params_digest_check CHECK ((params = '{}') = (params_digest = ''));
-- The user who asked for it; null where the system made it.
ALTER TABLE tasks ADD COLUMN requested_by text;

-- At most one task of a unit waits. Of a key at most one runs, whatever its parameters: both would write the partition.
DROP INDEX tasks_one_waiting_key;
CREATE UNIQUE INDEX tasks_one_waiting_key ON tasks (job_identity, fingerprint, unit_key, params_digest)
  WHERE status = 'Queued' OR (status = 'Failed' AND next_retry_at IS NOT NULL);

-- What people asked the gateway for, each request once: whoever repeats it gets the first answer.
CREATE TABLE requests (
  org_id     uuid NOT NULL REFERENCES orgs,
  request_id text NOT NULL CHECK (length(request_id) BETWEEN 1 AND 128),
  kind       text NOT NULL CHECK (kind IN ('run', 'cancel')),
  user_name  text NOT NULL,
  -- What was asked for, by which a repetition is told from another request under the same id.
  asked      text NOT NULL,
  answer     jsonb,
  created_at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (org_id, request_id)
);

ALTER TABLE commands DROP CONSTRAINT commands_command_check;
ALTER TABLE commands ADD CONSTRAINT commands_command_check
  CHECK (command IN ('approve', 'cancel', 'pin', 'retry', 'run', 'unpin'));

-- Whether a person gave a rollout up: like one that failed, it is not begun again by itself.
ALTER TABLE rollouts ADD COLUMN stopped boolean NOT NULL DEFAULT false;
ALTER TABLE rollouts ADD CONSTRAINT rollouts_stopped_check CHECK (NOT stopped OR state = 'Canceled');

-- Jobs that act on the world: they never work for a version that does not serve, and pass by what was there before.
ALTER TABLE jobs ADD COLUMN side_effects boolean NOT NULL DEFAULT false;
ALTER TABLE jobs ADD CONSTRAINT jobs_side_effects_check CHECK (NOT side_effects OR cardinality(output_datasets) = 0);

-- The inputs that such a job passed by when it began to serve: units of these, as they were then, are none of its own.
CREATE TABLE passed_inputs (
  job_identity          uuid NOT NULL,
  fingerprint           text NOT NULL,
  unit_key              text NOT NULL,
  input_dataset_uuid    uuid NOT NULL REFERENCES datasets ON DELETE CASCADE,
  input_version         timestamptz NOT NULL,
  input_dataset_version uuid NOT NULL,
  PRIMARY KEY (job_identity, fingerprint, unit_key, input_dataset_uuid)
);

-- The keys on which such a job, in its former form, had acted or which it had passed by: what a catch-up makes of them
-- again is history.
CREATE TABLE passed_keys (
  job_identity uuid NOT NULL,
  fingerprint  text NOT NULL,
  unit_key     text NOT NULL,
  PRIMARY KEY (job_identity, fingerprint, unit_key)
);

-- The keys of which live work of a job, or of what is upstream of it, was canceled by the cutover that goes on.
CREATE FUNCTION live_at_cutover(job uuid) RETURNS SETOF text LANGUAGE sql STABLE AS $$
  SELECT DISTINCT t.unit_key
  FROM jobs n
  JOIN jobs u ON u.dag_version_id = n.dag_version_id AND (u.id = n.id OR get_bit(n.upstream, u.position) = 1)
  JOIN tasks t ON t.job_identity = u.identity AND t.canceled_by = 'cutover' AND t.completed_at = now()
  WHERE n.id = job
$$;

-- The jobs whose work goes on while their DAG's object is there: those of versions that serve, and of versions being
-- built those that serve in no other form and do not act on the world. What both have in common is done once, by the
-- serving version's row.
CREATE OR REPLACE VIEW working_jobs AS
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
WHERE r.state IN ('Building', 'Ready') AND r.build_approved_at IS NOT NULL AND NOT j.side_effects
  AND NOT EXISTS (
    SELECT 1
    FROM dag_current_versions c
    JOIN jobs o ON o.dag_version_id = c.dag_version_id
    WHERE c.org_id = r.org_id AND c.dag_name = r.dag_name
      AND o.identity = j.identity AND o.fingerprint = j.fingerprint);

-- The jobs that work or may come to: of versions that serve, `present` or not, of those being built, approved or not, and
-- of those whose build failed or was given up and may be resumed.
CREATE OR REPLACE VIEW potential_jobs AS
SELECT j.id AS job_id, j.org_id, j.dag_name, j.dag_version_id, j.name, p.absent_since IS NULL AS present
FROM (
  SELECT org_id, dag_name, dag_version_id FROM dag_current_versions
  UNION
  SELECT org_id, dag_name, dag_version_id FROM rollouts WHERE state IN ('Building', 'Ready')
  UNION
  SELECT r.org_id, r.dag_name, r.dag_version_id FROM rollouts r
  WHERE (r.state = 'Failed' OR r.stopped) AND NOT EXISTS (
    SELECT 1 FROM rollouts n WHERE n.org_id = r.org_id AND n.dag_name = r.dag_name AND n.seq > r.seq)
) AS v
JOIN jobs j ON j.dag_version_id = v.dag_version_id
JOIN dags p ON p.org_id = v.org_id AND p.name = v.dag_name;

-- Units of reactive jobs that should be worked on and are not: every `same` input has the key; no task of the unit waits
-- or runs; what stands for the unit (what it made, or its decided failure) is not of the inputs as they are now; and a
-- job that acts on the world has not passed by these inputs.
CREATE OR REPLACE VIEW missing_units AS
SELECT w.org_id, w.dag_name, w.dag_version_id, w.job_id, w.name, w.identity, w.fingerprint, w.building, k.key
FROM working_jobs w
JOIN jobs p ON p.id = w.job_id
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
               AND n.seq > t.seq)
             AND t.completed_at >= (
               SELECT max(pv.materialized_at)
               FROM input_versions i
               JOIN partition_versions pv ON pv.dataset_uuid = i.dataset_uuid AND pv.dataset_version = i.dataset_version
                 AND pv.partition_key = k.key
               WHERE i.job_id = w.job_id AND i.match = 'same'))))
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
          IS DISTINCT FROM (pv.materialized_at, pv.dataset_version)))
  AND NOT (p.side_effects AND NOT EXISTS (
    SELECT 1
    FROM input_versions i
    JOIN partition_versions pv
      ON pv.dataset_uuid = i.dataset_uuid AND pv.dataset_version = i.dataset_version AND pv.partition_key = k.key
    LEFT JOIN passed_inputs r ON r.job_identity = w.identity AND r.fingerprint = w.fingerprint AND r.unit_key = k.key
      AND r.input_dataset_uuid = pv.dataset_uuid
    WHERE i.job_id = w.job_id AND i.match = 'same'
      AND (r.input_version, r.input_dataset_version)
        IS DISTINCT FROM (pv.materialized_at, pv.dataset_version)));
