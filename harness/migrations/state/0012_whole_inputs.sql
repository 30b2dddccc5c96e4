-- Inputs that are read as a whole (`match: latest`), filters that are handed to tasks, and one place for what a task waits
-- for and for what a unit of work is made from.

-- `filter`: what of the input a task is to read. `on_change`: what a later change of a whole input does to what was made
-- from it; the sole input of a job always runs it again.
ALTER TABLE job_inputs ADD COLUMN filter jsonb CHECK (jsonb_typeof(filter) = 'object');
ALTER TABLE job_inputs ADD COLUMN on_change text NOT NULL DEFAULT 'stale' CHECK (on_change IN ('stale', 'rerun'));

-- The jobs whose data a job reads as a whole, at any distance, as bits like `upstream`; null where it reads none so.
ALTER TABLE jobs ADD COLUMN awaited bytea;

-- When a generation that somebody reads as a whole was last changed: a time that never repeats, that of its last
-- materialisation. There is no row of what nobody reads so.
CREATE TABLE dataset_revisions (
  dataset_uuid    uuid NOT NULL,
  dataset_version uuid NOT NULL,
  revision        timestamptz NOT NULL,
  PRIMARY KEY (dataset_uuid, dataset_version),
  CONSTRAINT dataset_revisions_version_fkey
    FOREIGN KEY (dataset_version, dataset_uuid) REFERENCES dataset_versions (id, dataset_uuid)
) WITH (fillfactor = 50);

CREATE OR REPLACE VIEW input_versions AS
SELECT i.job_id, i.name, i.position, i.match, i.dataset_uuid, v.dataset_version, v.name AS dataset, i.filter, i.on_change
FROM job_inputs i
JOIN jobs j ON j.id = i.job_id
CROSS JOIN LATERAL (
  SELECT p.dataset_version, p.name FROM dag_version_datasets p
  WHERE p.dag_version_id = j.dag_version_id AND p.dataset_uuid = i.dataset_uuid OFFSET 0
) AS v
WHERE i.external_name IS NULL
UNION ALL
SELECT i.job_id, i.name, i.position, i.match, i.dataset_uuid, v.dataset_version, v.name AS dataset, i.filter, i.on_change
FROM job_inputs i
JOIN datasets d ON d.id = i.dataset_uuid
JOIN dag_current_versions c ON c.org_id = d.org_id AND c.dag_name = d.producer_dag_name
CROSS JOIN LATERAL (
  SELECT p.dataset_version, p.name FROM dag_version_datasets p
  WHERE p.dag_version_id = c.dag_version_id AND p.dataset_uuid = i.dataset_uuid OFFSET 0
) AS v
WHERE i.external_name IS NOT NULL;

-- The inputs that a job reads as a whole and that have nothing yet.
CREATE FUNCTION unmade_inputs(job uuid) RETURNS SETOF job_inputs LANGUAGE sql STABLE AS $$
  SELECT i.*
  FROM job_inputs i
  WHERE i.job_id = job AND i.match = 'latest' AND NOT EXISTS (
    SELECT 1
    FROM input_versions v
    JOIN partition_versions pv ON pv.dataset_uuid = v.dataset_uuid AND pv.dataset_version = v.dataset_version
    WHERE v.job_id = i.job_id AND v.name = i.name)
$$;

-- The `same` inputs of a job that do not have a partition: one that a run asked for before it is there, or that is not in
-- the generation which another DAG has come to serve.
CREATE FUNCTION lacking_inputs(job uuid, key text) RETURNS SETOF job_inputs LANGUAGE sql STABLE AS $$
  SELECT i.*
  FROM job_inputs i
  WHERE i.job_id = job AND i.match = 'same' AND NOT EXISTS (
    SELECT 1
    FROM input_versions v
    JOIN partition_versions pv ON pv.dataset_uuid = v.dataset_uuid AND pv.dataset_version = v.dataset_version
      AND pv.partition_key = key
    WHERE v.job_id = i.job_id AND v.name = i.name)
$$;

-- The first of a job's tasks, by seq, that has to wait for what the job reads as a whole: 0, so all of them, while such an
-- input has nothing yet; else those newer than the oldest unfinished task of what makes them. Null: none.
CREATE FUNCTION awaits(job uuid) RETURNS bigint LANGUAGE sql STABLE AS $$
  SELECT CASE WHEN EXISTS (SELECT 1 FROM unmade_inputs(job)) THEN 0 ELSE (
    SELECT min(o.seq)
    FROM jobs j
    JOIN jobs u ON u.dag_version_id = j.dag_version_id AND get_bit(j.awaited, u.position) = 1
    CROSS JOIN LATERAL (
      SELECT (SELECT t.seq FROM tasks t WHERE t.job_id = w.id AND t.status = 'Queued' AND t.low = b.low
              ORDER BY t.seq LIMIT 1)
      FROM jobs w CROSS JOIN (VALUES (false), (true)) AS b (low)
      WHERE w.identity = u.identity AND w.fingerprint = u.fingerprint
      UNION ALL
      SELECT t.seq FROM tasks t
      WHERE t.job_identity = u.identity AND t.fingerprint = u.fingerprint AND t.status = 'Running'
      UNION ALL
      SELECT t.seq FROM tasks t
      WHERE t.next_retry_at IS NOT NULL AND t.job_identity = u.identity AND t.fingerprint = u.fingerprint
    ) AS o (seq)
    WHERE j.id = job) END
$$;

-- The older work upstream of its key that a task of a job waits for: also what failed for good, unless a newer task of that
-- unit decides.
CREATE FUNCTION held_by(job uuid, key text, before bigint) RETURNS SETOF tasks LANGUAGE sql STABLE AS $$
  SELECT u.*
  FROM jobs j
  JOIN tasks u ON u.unit_key = key AND u.seq < before AND u.status IN ('Queued', 'Running', 'Failed')
  JOIN jobs uj ON uj.dag_version_id = j.dag_version_id AND uj.identity = u.job_identity AND uj.fingerprint = u.fingerprint
  WHERE j.id = job AND get_bit(j.upstream, uj.position) = 1
    AND NOT (u.status = 'Failed' AND u.next_retry_at IS NULL AND EXISTS (
      SELECT 1 FROM tasks n
      WHERE n.job_identity = u.job_identity AND n.fingerprint = u.fingerprint AND n.unit_key = u.unit_key
        AND n.seq > u.seq))
$$;

-- The keys that a reactive job has units for: those that every `same` input has; the whole, where it reads nothing else.
CREATE FUNCTION ready_units(job uuid) RETURNS SETOF text LANGUAGE sql STABLE AS $$
  SELECT pv.partition_key
  FROM input_versions i
  JOIN partition_versions pv ON pv.dataset_uuid = i.dataset_uuid AND pv.dataset_version = i.dataset_version
  WHERE i.job_id = job AND i.match = 'same'
  GROUP BY pv.partition_key
  HAVING count(*) = (SELECT count(*) FROM job_inputs n WHERE n.job_id = job AND n.match = 'same')
  UNION ALL
  SELECT '*'
  WHERE EXISTS (SELECT 1 FROM job_inputs i WHERE i.job_id = job)
    AND NOT EXISTS (SELECT 1 FROM job_inputs i WHERE i.job_id = job AND i.match = 'same')
    AND NOT EXISTS (SELECT 1 FROM unmade_inputs(job))
$$;

-- What a unit is made from and is made again for, as it is now: partitions, and whole datasets (`*`) by their revision.
CREATE FUNCTION unit_inputs(job uuid, key text)
RETURNS TABLE (dataset_uuid uuid, dataset_version uuid, input_key text, version timestamptz) LANGUAGE sql STABLE AS $$
  SELECT pv.dataset_uuid, pv.dataset_version, pv.partition_key, pv.materialized_at
  FROM input_versions i
  JOIN partition_versions pv
    ON pv.dataset_uuid = i.dataset_uuid AND pv.dataset_version = i.dataset_version AND pv.partition_key = key
  WHERE i.job_id = job AND i.match = 'same'
  UNION ALL
  SELECT r.dataset_uuid, r.dataset_version, '*', r.revision
  FROM input_versions i
  JOIN dataset_revisions r ON r.dataset_uuid = i.dataset_uuid AND r.dataset_version = i.dataset_version
  WHERE i.job_id = job AND i.match = 'latest' AND i.on_change = 'rerun'
$$;

-- The units of a job that were made from a whole input as it was before, which are not run again for that.
CREATE FUNCTION stale_units(job uuid) RETURNS SETOF text LANGUAGE sql STABLE AS $$
  SELECT m.key
  FROM jobs j
  CROSS JOIN LATERAL (
    SELECT pv.partition_key AS key, pv.task_id
    FROM datasets d
    JOIN dag_version_datasets v ON v.dag_version_id = j.dag_version_id AND v.dataset_uuid = d.id
    JOIN partition_versions pv ON pv.dataset_uuid = v.dataset_uuid AND pv.dataset_version = v.dataset_version
    WHERE d.org_id = j.org_id AND d.producer_dag_name = j.dag_name AND d.producer_job_name = j.name
      AND d.producer_output_index = 0
    UNION ALL
    SELECT u.unit_key, u.task_id FROM unit_completions u
    WHERE u.job_identity = j.identity AND u.fingerprint = j.fingerprint AND cardinality(j.output_datasets) = 0
  ) AS m
  WHERE j.id = job AND EXISTS (
    SELECT 1
    FROM input_versions v
    JOIN dataset_revisions r ON r.dataset_uuid = v.dataset_uuid AND r.dataset_version = v.dataset_version
    LEFT JOIN task_inputs i
      ON i.task_id = m.task_id AND i.input_dataset_uuid = v.dataset_uuid AND i.input_partition_key = '*'
    WHERE v.job_id = job AND v.match = 'latest' AND v.on_change = 'stale'
      AND (i.input_version, i.input_dataset_version) IS DISTINCT FROM (r.revision, r.dataset_version))
$$;

-- What a job that acts on the world has passed by may be a partition of a dataset, and the whole of it.
ALTER TABLE passed_inputs ADD COLUMN input_key text;
UPDATE passed_inputs SET input_key = unit_key;
ALTER TABLE passed_inputs ALTER COLUMN input_key SET NOT NULL;
ALTER TABLE passed_inputs DROP CONSTRAINT passed_inputs_pkey;
ALTER TABLE passed_inputs ADD PRIMARY KEY (job_identity, fingerprint, unit_key, input_dataset_uuid, input_key);

-- Units of reactive jobs that should be worked on and are not: every `same` input has the key; no task of the unit waits;
-- what stands for the unit (what it made, what runs, or its decided failure) is not of the inputs as they are now; and a
-- job that acts on the world has not passed by these inputs.
CREATE OR REPLACE VIEW missing_units AS
SELECT w.org_id, w.dag_name, w.dag_version_id, w.job_id, w.name, w.identity, w.fingerprint, w.building, k.key
FROM working_jobs w
JOIN jobs p ON p.id = w.job_id
CROSS JOIN LATERAL ready_units(w.job_id) AS k (key)
WHERE w.activation = 'reactive'
  AND NOT EXISTS (
    SELECT 1 FROM tasks t
    WHERE t.job_identity = w.identity AND t.fingerprint = w.fingerprint AND t.unit_key = k.key
      AND (t.status = 'Queued' OR t.next_retry_at IS NOT NULL
           OR (t.canceled_by = 'user' AND NOT EXISTS (
             SELECT 1 FROM tasks n
             WHERE n.job_identity = t.job_identity AND n.fingerprint = t.fingerprint AND n.unit_key = t.unit_key
               AND n.seq > t.seq)
             AND t.completed_at >= (SELECT max(i.version) FROM unit_inputs(w.job_id, k.key) AS i))))
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
        AND (t.status = 'Running' OR (t.status = 'Failed' AND t.next_retry_at IS NULL AND NOT EXISTS (
          SELECT 1 FROM tasks n
          WHERE n.job_identity = t.job_identity AND n.fingerprint = t.fingerprint AND n.unit_key = t.unit_key
            AND n.seq > t.seq)))
    ) AS stands
    WHERE stands.task_id IS NULL OR NOT EXISTS (
      SELECT 1
      FROM unit_inputs(w.job_id, k.key) AS i
      LEFT JOIN task_inputs r ON r.task_id = stands.task_id AND r.input_dataset_uuid = i.dataset_uuid
        AND r.input_partition_key = i.input_key
      WHERE (r.input_version, r.input_dataset_version) IS DISTINCT FROM (i.version, i.dataset_version)))
  AND NOT (p.side_effects AND NOT EXISTS (
    SELECT 1
    FROM unit_inputs(w.job_id, k.key) AS i
    LEFT JOIN passed_inputs r ON r.job_identity = w.identity AND r.fingerprint = w.fingerprint AND r.unit_key = k.key
      AND r.input_dataset_uuid = i.dataset_uuid AND r.input_key = i.input_key
    WHERE (r.input_version, r.input_dataset_version) IS DISTINCT FROM (i.version, i.dataset_version)));
