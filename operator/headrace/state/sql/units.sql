-- name: create_missing
-- Units of reactive jobs that should be worked on and are not, of serving versions and of those being built, or of the
-- latter only. All of a DAG is looked over at once; only what is in doubt is looked at by itself.
WITH doubtful AS MATERIALIZED (
  SELECT w.job_id, w.building, k.key
  FROM working_jobs w
  CROSS JOIN LATERAL doubtful_units(w.job_id) AS k (key)
  WHERE (w.org_id, w.dag_name) IN (SELECT * FROM unnest(%(org_ids)s::uuid[], %(dags)s::text[]))
    AND w.activation = 'reactive' AND (w.building OR NOT %(building)s)
)
INSERT INTO tasks (job_id, partitions, job_identity, fingerprint, unit_key, backfill, low)
SELECT m.job_id, ARRAY[m.key], m.identity, m.fingerprint, m.key, m.building OR %(backfill)s,
       is_low(m.job_id, m.building OR %(backfill)s)
FROM doubtful d
CROSS JOIN LATERAL (
  SELECT m.* FROM missing_units m WHERE m.job_id = d.job_id AND m.key = d.key AND m.building = d.building OFFSET 0
) AS m
ORDER BY m.key, m.name
ON CONFLICT DO NOTHING;

-- name: create_always_on
-- The tasks of sources that run on and on: of versions that serve, and of those being built where they can start over. None
-- where a person gave the last one up.
INSERT INTO tasks (job_id, partitions, job_identity, fingerprint, unit_key)
SELECT w.job_id, ARRAY['*'], w.identity, w.fingerprint, '@'
FROM working_jobs w
JOIN jobs j ON j.id = w.job_id AND j.source ->> 'kind' = 'always_on'
WHERE (w.org_id, w.dag_name) IN (SELECT * FROM unnest(%(org_ids)s::uuid[], %(dags)s::text[]))
  AND CASE WHEN w.building THEN (j.source ->> 'replay')::boolean ELSE NOT %(building)s END
  AND NOT EXISTS (
    SELECT 1 FROM tasks t
    WHERE t.job_identity = w.identity AND t.fingerprint = w.fingerprint AND t.unit_key = '@'
      AND (t.status IN ('Queued', 'Running') OR t.next_retry_at IS NOT NULL
           OR (t.canceled_by = 'user' AND NOT EXISTS (
             SELECT 1 FROM tasks n
             WHERE n.job_identity = t.job_identity AND n.fingerprint = t.fingerprint AND n.unit_key = '@'
               AND n.seq > t.seq))))
ORDER BY w.name
ON CONFLICT DO NOTHING;

-- name: lock_waiting
-- No claim of these jobs' waiting tasks (of these keys, or all) is under way: it would read what is there as it was before.
SELECT t.id
FROM jobs j
JOIN tasks t ON t.job_id = j.id AND t.status = 'Queued'
WHERE j.id = ANY (%(jobs)s) AND (%(keys)s::text[] IS NULL OR t.unit_key = ANY (%(keys)s))
ORDER BY t.id
FOR UPDATE OF t;

-- name: create_missing_keys
-- The same, of these jobs and keys alone.
INSERT INTO tasks (job_id, partitions, job_identity, fingerprint, unit_key, backfill, low)
SELECT m.job_id, ARRAY[m.key], m.identity, m.fingerprint, m.key, m.building, is_low(m.job_id, m.building)
FROM missing_units m
WHERE m.job_id = ANY (%(jobs)s) AND m.key = ANY (%(keys)s)
ORDER BY m.key, m.name
ON CONFLICT DO NOTHING;

-- name: create_missing_jobs
-- Of all keys of these jobs.
INSERT INTO tasks (job_id, partitions, job_identity, fingerprint, unit_key, backfill, low)
SELECT m.job_id, ARRAY[m.key], m.identity, m.fingerprint, m.key, m.building, is_low(m.job_id, m.building)
FROM missing_units m
WHERE m.job_id = ANY (%(jobs)s)
ORDER BY m.key, m.name
ON CONFLICT DO NOTHING;

-- name: create_source_tasks
-- A run of a source job: a task for each listed key that is neither there nor on its way (`again`, and the whole: also
-- for those that are). OFFSET 0: each key is looked up by the whole of the index, however new the table is to Postgres.
WITH made AS MATERIALIZED (
  SELECT v.dataset_uuid, v.dataset_version
  FROM jobs j
  JOIN datasets d ON d.org_id = j.org_id AND d.producer_dag_name = j.dag_name AND d.producer_job_name = j.name
  JOIN dag_version_datasets v ON v.dag_version_id = j.dag_version_id AND v.dataset_uuid = d.id
  WHERE j.id = %(job_id)s
)
INSERT INTO tasks (job_id, partitions, job_identity, fingerprint, unit_key, backfill, low)
SELECT j.id, ARRAY[k.key], j.identity, j.fingerprint, k.key, %(backfill)s, is_low(j.id, %(backfill)s)
FROM jobs j
JOIN working_jobs w ON w.job_id = j.id
CROSS JOIN unnest(%(keys)s::text[]) WITH ORDINALITY AS k (key, place)
WHERE j.id = %(job_id)s
  AND (%(again)s OR k.key = '*' OR NOT EXISTS (
    SELECT 1
    FROM made m
    CROSS JOIN LATERAL (
      SELECT 1 FROM partition_versions o
      WHERE o.dataset_uuid = m.dataset_uuid AND o.dataset_version = m.dataset_version AND o.partition_key = k.key OFFSET 0
    ) AS o))
  AND (%(again)s OR k.key = '*' OR NOT EXISTS (
    SELECT 1 FROM tasks t
    WHERE t.job_identity = j.identity AND t.fingerprint = j.fingerprint AND t.unit_key = k.key
      AND t.status = 'Running'))
  AND (%(again)s OR NOT EXISTS (
    SELECT 1 FROM unit_completions u
    WHERE u.job_identity = j.identity AND u.fingerprint = j.fingerprint AND u.unit_key = k.key
      AND cardinality(j.output_datasets) = 0 AND k.key <> '*'))
ORDER BY k.place
ON CONFLICT DO NOTHING;

-- name: consumers_told
-- The DAGs that are to look for work, oldest first.
SELECT org_id, dag_name AS dag FROM consumer_looks ORDER BY created_at LIMIT 200;

-- name: consumer_looked
-- This DAG has looked, in the same transaction.
DELETE FROM consumer_looks WHERE org_id = %(org_id)s AND dag_name = %(dag)s;

-- name: retry_failed
-- Units that failed for good, of the serving version and of the one being built, are queued again, in their old place
-- and with new budgets; those of one job, or of all, or one task. What has a newer task is left: that one decides. Where
-- a job or a task is named, so are those that a person canceled.
UPDATE tasks t
SET status = 'Queued', job_id = w.job_id, completed_at = NULL, forgiven = t.attempts, losses = 0, error_message = NULL,
    canceled_by = NULL
FROM working_jobs w
WHERE w.org_id = %(org_id)s AND w.dag_name = %(dag)s AND (%(job)s::text IS NULL OR w.name = %(job)s)
  AND (%(task)s::uuid IS NULL OR t.id = %(task)s) AND t.job_identity = w.identity AND t.fingerprint = w.fingerprint
  AND ((t.status = 'Failed' AND t.next_retry_at IS NULL)
       OR (t.canceled_by = 'user' AND coalesce(%(job)s, %(task)s::text) IS NOT NULL))
  AND NOT EXISTS (
    SELECT 1 FROM tasks n
    WHERE n.job_identity = t.job_identity AND n.fingerprint = t.fingerprint AND n.unit_key = t.unit_key
      AND n.params_digest = t.params_digest AND (n.status = 'Queued' OR n.next_retry_at IS NOT NULL))
  AND (%(task)s::uuid IS NOT NULL OR NOT EXISTS (
    SELECT 1 FROM tasks n
    WHERE n.job_identity = t.job_identity AND n.fingerprint = t.fingerprint AND n.unit_key = t.unit_key
      AND n.seq > t.seq AND (n.params_digest = t.params_digest OR n.status <> 'Canceled')));

-- name: revive_absent
-- The DAG's object is back: what its absence canceled is queued again, each unit once, in its old place.
UPDATE tasks t
SET status = 'Queued', canceled_by = NULL, job_id = w.job_id, completed_at = NULL, forgiven = t.attempts, losses = 0,
    error_message = NULL
FROM working_jobs w
WHERE w.org_id = %(org_id)s AND w.dag_name = %(dag)s
  AND t.job_identity = w.identity AND t.fingerprint = w.fingerprint AND t.canceled_by = 'absence'
  AND NOT EXISTS (
    SELECT 1 FROM tasks n
    WHERE n.job_identity = t.job_identity AND n.fingerprint = t.fingerprint AND n.unit_key = t.unit_key
      AND n.seq > t.seq AND n.params_digest = t.params_digest);
