-- Invalidations: what of a dataset is wrong, and is to be made again from it.

-- When it was written; an invalidation moves `materialized_at` alone, so that what was made from it is out of date.
ALTER TABLE partition_versions ADD COLUMN written_at timestamptz;
UPDATE partition_versions SET written_at = materialized_at;
ALTER TABLE partition_versions ALTER COLUMN written_at SET NOT NULL, ALTER COLUMN written_at SET DEFAULT now();
ALTER TABLE partition_versions ADD CONSTRAINT partition_versions_written_at_check CHECK (written_at <= materialized_at);

-- `created_at` is the `materialized_at` that the partitions have by it.
CREATE INDEX data_invalidations_generation ON data_invalidations (dataset_uuid, dataset_version, created_at);
CREATE INDEX data_invalidations_open ON data_invalidations (dataset_uuid, dataset_version) WHERE processed_at IS NULL;

-- An update may be a correction: which rows, by filters of which one matches; or an invalidation of all; or, of no task and
-- no invalidation, that partitions are gone.
ALTER TABLE dataset_updates ADD COLUMN row_filters jsonb CHECK (jsonb_typeof(row_filters) = 'array');
ALTER TABLE dataset_updates ADD COLUMN invalidation_id uuid REFERENCES data_invalidations ON DELETE CASCADE;
ALTER TABLE dataset_updates ALTER COLUMN task_id DROP NOT NULL;
ALTER TABLE dataset_updates ADD CONSTRAINT dataset_updates_origin_check
  CHECK (task_id IS NULL OR invalidation_id IS NULL);
ALTER TABLE dataset_updates ADD CONSTRAINT dataset_updates_rows_check CHECK (row_filters IS NULL OR to_value IS NULL);

ALTER TABLE requests DROP CONSTRAINT requests_kind_check;
ALTER TABLE requests ADD CONSTRAINT requests_kind_check CHECK (kind IN ('run', 'cancel', 'invalidate'));

-- The task that what a unit has made is of.
CREATE FUNCTION made_by(job uuid, key text) RETURNS SETOF uuid LANGUAGE sql STABLE AS $$
  SELECT pv.task_id
  FROM jobs j
  JOIN datasets d ON d.org_id = j.org_id AND d.producer_dag_name = j.dag_name AND d.producer_job_name = j.name
    AND d.producer_output_index = 0
  JOIN dag_version_datasets v ON v.dag_version_id = j.dag_version_id AND v.dataset_uuid = d.id
  CROSS JOIN LATERAL (
    SELECT p.task_id FROM partition_versions p
    WHERE p.dataset_uuid = v.dataset_uuid AND p.dataset_version = v.dataset_version AND p.partition_key = key OFFSET 0
  ) AS pv
  WHERE j.id = job
  UNION ALL
  SELECT u.task_id
  FROM jobs j
  JOIN unit_completions u ON u.job_identity = j.identity AND u.fingerprint = j.fingerprint AND u.unit_key = key
  WHERE j.id = job AND cardinality(j.output_datasets) = 0
$$;

-- The filters of the invalidations for which alone a unit is to be made again, by the name of the input: an object; null
-- where something else has changed since it was made, or a partition was invalidated as a whole.
CREATE FUNCTION row_hints(job uuid, key text) RETURNS jsonb LANGUAGE sql STABLE AS $$
  WITH made AS (
    SELECT m.id FROM made_by(job, key) AS m (id)
  ), changed AS (
    SELECT i.name, i.match, i.dataset_uuid, i.dataset_version, r.input_version, r.input_dataset_version, pv.written_at,
           pv.materialized_at
    FROM made
    CROSS JOIN input_versions i
    LEFT JOIN partition_versions pv ON i.match = 'same' AND pv.dataset_uuid = i.dataset_uuid
      AND pv.dataset_version = i.dataset_version AND pv.partition_key = key
    LEFT JOIN dataset_revisions v ON i.match = 'latest' AND v.dataset_uuid = i.dataset_uuid
      AND v.dataset_version = i.dataset_version
    LEFT JOIN task_inputs r ON r.task_id = made.id AND r.input_dataset_uuid = i.dataset_uuid
      AND r.input_partition_key = CASE WHEN i.match = 'same' THEN key ELSE '*' END
    WHERE i.job_id = job AND (r.input_version, r.input_dataset_version)
      IS DISTINCT FROM (coalesce(pv.materialized_at, v.revision), i.dataset_version)
  ), told AS (
    SELECT c.name, n.scope, n.row_filter
    FROM changed c
    LEFT JOIN data_invalidations n ON n.dataset_uuid = c.dataset_uuid AND n.dataset_version = c.dataset_version
      AND n.created_at > c.input_version AND n.created_at <= c.materialized_at AND (n.partition_key IS NULL OR n.partition_key = key)
  )
  SELECT CASE WHEN count(*) > 0 AND bool_and(t.scope = 'row_range')
      AND NOT EXISTS (
        SELECT 1 FROM changed c
        WHERE c.match <> 'same' OR c.input_version IS NULL OR c.input_dataset_version <> c.dataset_version
          OR c.written_at > c.input_version)
    THEN (
      SELECT jsonb_object_agg(f.name, f.filters)
      FROM (SELECT t.name, jsonb_agg(DISTINCT t.row_filter) AS filters FROM told t GROUP BY t.name) AS f) END
  FROM told t
$$;

-- Whether what filters match of an input is, in what a job makes, what they match there: it has all of their columns.
CREATE FUNCTION maps_filters(job uuid, filters jsonb) RETURNS boolean LANGUAGE sql STABLE AS $$
  SELECT NOT EXISTS (
    SELECT 1
    FROM jobs j
    CROSS JOIN jsonb_array_elements(filters) AS f
    CROSS JOIN jsonb_object_keys(f) AS c (name)
    WHERE j.id = job AND c.name <> ALL (j.unique_key)
      AND c.name IS DISTINCT FROM j.document #>> '{partition_by,column}')
$$;

-- Whether a job that reads a generation has yet to look at what an invalidation says of it: a unit that was made before it,
-- from what it is about; an update that it is. What is only marked stale by it, and is not run again, is done with it.
CREATE FUNCTION waits_for(invalidation data_invalidations, job uuid, input text) RETURNS boolean LANGUAGE sql STABLE AS $$
  SELECT CASE
    WHEN i.on_change = 'update' THEN EXISTS (
      SELECT 1 FROM dataset_updates u
      LEFT JOIN dataset_cursors c ON c.job_id = job AND c.dataset_uuid = u.dataset_uuid
        AND c.dataset_version = u.dataset_version
      WHERE u.dataset_uuid = invalidation.dataset_uuid AND u.dataset_version = invalidation.dataset_version
        AND (u.invalidation_id = invalidation.id OR u.task_id::text = invalidation.source_event ->> 'task')
        AND c.job_id IS NOT NULL AND NOT u.number <@ c.settled)
    WHEN i.match = 'same' THEN EXISTS (
      SELECT 1
      FROM partition_versions pv
      CROSS JOIN LATERAL made_by(job, pv.partition_key) AS m (id)
      LEFT JOIN task_inputs r ON r.task_id = m.id AND r.input_dataset_uuid = pv.dataset_uuid
        AND r.input_partition_key = pv.partition_key
      WHERE pv.dataset_uuid = invalidation.dataset_uuid AND pv.dataset_version = invalidation.dataset_version
        AND (invalidation.partition_key IS NULL OR pv.partition_key = invalidation.partition_key)
        AND pv.materialized_at >= invalidation.created_at
        AND coalesce(r.input_version, '-infinity') < invalidation.created_at)
    WHEN i.on_change = 'rerun' THEN EXISTS (
      SELECT 1
      FROM ready_units(job) AS k (key)
      CROSS JOIN LATERAL made_by(job, k.key) AS m (id)
      LEFT JOIN task_inputs r ON r.task_id = m.id AND r.input_dataset_uuid = invalidation.dataset_uuid
        AND r.input_partition_key = '*'
      WHERE coalesce(r.input_version, '-infinity') < invalidation.created_at)
    ELSE false END
  FROM job_inputs i WHERE i.job_id = job AND i.name = input
$$;
