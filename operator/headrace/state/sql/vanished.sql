-- name: has_vanished
-- Whether the jobs of a DAG have made, or are to make, partitions of inputs from other DAGs which the generations that serve
-- there do not have: their DAG was changed, and they are gone.
SELECT EXISTS (
  SELECT 1
  FROM working_jobs w
  JOIN job_inputs i ON i.job_id = w.job_id AND i.external_name IS NOT NULL AND i.match = 'same'
  CROSS JOIN LATERAL (
    SELECT v.dataset_uuid, v.dataset_version FROM input_versions v WHERE v.job_id = w.job_id AND v.name = i.name OFFSET 0
  ) AS v
  CROSS JOIN LATERAL (
    SELECT pv.partition_key AS key
    FROM datasets d
    JOIN dag_version_datasets o ON o.dag_version_id = w.dag_version_id AND o.dataset_uuid = d.id
    JOIN partition_versions pv ON pv.dataset_uuid = o.dataset_uuid AND pv.dataset_version = o.dataset_version
    WHERE d.org_id = w.org_id AND d.producer_dag_name = w.dag_name AND d.producer_job_name = w.name
    UNION ALL
    SELECT t.unit_key FROM tasks t
    WHERE t.job_identity = w.identity AND t.fingerprint = w.fingerprint
      AND (t.status IN ('Queued', 'Running') OR t.next_retry_at IS NOT NULL)
  ) AS k
  WHERE w.org_id = %(org_id)s AND w.dag_name = %(dag)s AND NOT EXISTS (
    SELECT 1 FROM partition_versions pv
    WHERE pv.dataset_uuid = v.dataset_uuid AND pv.dataset_version = v.dataset_version AND pv.partition_key = k.key OFFSET 0)
) AS there;

-- name: drop_vanished
-- Partitions that jobs of a DAG have made of what is gone from their inputs are gone, too, and what was to make them ends:
-- of inputs from other DAGs, or, at the next levels, of those partitions (`datasets`, `versions`, `keys`) of its own.
WITH lost AS MATERIALIZED (
  SELECT DISTINCT w.job_id, w.identity, w.fingerprint, w.dag_version_id, w.org_id, w.dag_name, w.name, k.key
  FROM working_jobs w
  JOIN job_inputs i ON i.job_id = w.job_id AND i.match = 'same'
  CROSS JOIN LATERAL (
    SELECT v.dataset_uuid, v.dataset_version FROM input_versions v WHERE v.job_id = w.job_id AND v.name = i.name OFFSET 0
  ) AS v
  CROSS JOIN LATERAL (
    SELECT pv.partition_key AS key
    FROM datasets d
    JOIN dag_version_datasets o ON o.dag_version_id = w.dag_version_id AND o.dataset_uuid = d.id
    JOIN partition_versions pv ON pv.dataset_uuid = o.dataset_uuid AND pv.dataset_version = o.dataset_version
    WHERE %(keys)s::text[] IS NULL AND i.external_name IS NOT NULL
      AND d.org_id = w.org_id AND d.producer_dag_name = w.dag_name AND d.producer_job_name = w.name
    UNION
    SELECT t.unit_key FROM tasks t
    WHERE %(keys)s::text[] IS NULL AND i.external_name IS NOT NULL
      AND t.job_identity = w.identity AND t.fingerprint = w.fingerprint
      AND (t.status IN ('Queued', 'Running') OR t.next_retry_at IS NOT NULL)
    UNION
    SELECT g.key FROM unnest(%(datasets)s::uuid[], %(versions)s::uuid[], %(keys)s::text[]) AS g (dataset, version, key)
    WHERE i.external_name IS NULL AND g.dataset = v.dataset_uuid AND g.version = v.dataset_version
  ) AS k
  WHERE w.org_id = %(org_id)s AND w.dag_name = %(dag)s AND NOT EXISTS (
    SELECT 1 FROM partition_versions pv
    WHERE pv.dataset_uuid = v.dataset_uuid AND pv.dataset_version = v.dataset_version AND pv.partition_key = k.key OFFSET 0)
), ended AS (
  UPDATE tasks t
  SET status = 'Canceled', canceled_by = 'cutover', completed_at = clock_timestamp(), next_retry_at = NULL,
      error_message = 'what it is made from has no such partition any more'
  FROM lost l
  WHERE t.job_identity = l.identity AND t.fingerprint = l.fingerprint AND t.unit_key = l.key
    AND (t.status IN ('Queued', 'Running') OR t.next_retry_at IS NOT NULL)
), gone AS (
  DELETE FROM partition_versions pv
  USING lost l
  JOIN datasets d ON d.org_id = l.org_id AND d.producer_dag_name = l.dag_name AND d.producer_job_name = l.name
  JOIN dag_version_datasets o ON o.dag_version_id = l.dag_version_id AND o.dataset_uuid = d.id
  WHERE pv.dataset_uuid = o.dataset_uuid AND pv.dataset_version = o.dataset_version AND pv.partition_key = l.key
  RETURNING pv.dataset_uuid AS dataset, pv.dataset_version AS version, pv.partition_key AS key, pv.location
), superseded AS (
  INSERT INTO superseded_outputs (dataset_version, location, partition_key)
  SELECT g.version, g.location, g.key FROM gone g WHERE g.location IS NOT NULL
  UNION ALL
  SELECT g.version, a.location, g.key
  FROM gone g
  JOIN partition_parts a ON a.dataset_uuid = g.dataset AND a.dataset_version = g.version AND a.partition_key = g.key
  WHERE a.location IS NOT NULL
  ON CONFLICT DO NOTHING
)
SELECT g.dataset, g.version, g.key FROM gone g;

-- name: drop_returned
-- The same of a version that has come to serve again, of what it did not make meanwhile: one level, of inputs from other
-- DAGs, and of its own where what it was made from was of the generation that lacks it now.
WITH gone AS (
  DELETE FROM partition_versions pv
  USING jobs n
  JOIN job_inputs i ON i.job_id = n.id AND i.match = 'same'
  CROSS JOIN LATERAL (
    SELECT v.dataset_uuid, v.dataset_version FROM input_versions v WHERE v.job_id = n.id AND v.name = i.name OFFSET 0
  ) AS v
  JOIN datasets d ON d.org_id = n.org_id AND d.producer_dag_name = n.dag_name AND d.producer_job_name = n.name
  JOIN dag_version_datasets o ON o.dag_version_id = n.dag_version_id AND o.dataset_uuid = d.id
  WHERE n.dag_version_id = %(version)s
    AND NOT EXISTS (
      SELECT 1 FROM jobs b
      WHERE b.dag_version_id = %(base)s AND b.identity = n.identity AND b.fingerprint = n.fingerprint)
    AND pv.dataset_uuid = o.dataset_uuid AND pv.dataset_version = o.dataset_version AND NOT EXISTS (
      SELECT 1 FROM partition_versions p
      WHERE p.dataset_uuid = v.dataset_uuid AND p.dataset_version = v.dataset_version
        AND p.partition_key = pv.partition_key OFFSET 0)
    AND (i.external_name IS NOT NULL OR EXISTS (
      SELECT 1 FROM task_inputs r
      WHERE r.task_id = pv.task_id AND r.input_dataset_uuid = v.dataset_uuid
        AND r.input_partition_key = pv.partition_key AND r.input_dataset_version = v.dataset_version))
  RETURNING pv.dataset_uuid AS dataset, pv.dataset_version AS version, pv.partition_key AS key, pv.location
), superseded AS (
  INSERT INTO superseded_outputs (dataset_version, location, partition_key)
  SELECT g.version, g.location, g.key FROM gone g WHERE g.location IS NOT NULL
  UNION ALL
  SELECT g.version, a.location, g.key
  FROM gone g
  JOIN partition_parts a ON a.dataset_uuid = g.dataset AND a.dataset_version = g.version AND a.partition_key = g.key
  WHERE a.location IS NOT NULL
  ON CONFLICT DO NOTHING
)
SELECT g.dataset, g.version, g.key FROM gone g;

-- name: tell_dropped
-- What is read as a whole or update by update has changed by that; other DAGs are told.
WITH dropped AS MATERIALIZED (
  SELECT DISTINCT g.dataset, g.version FROM unnest(%(datasets)s::uuid[], %(versions)s::uuid[]) AS g (dataset, version)
), revised AS (
  UPDATE dataset_revisions r SET revision = greatest(clock_timestamp(), r.revision + interval '1 microsecond')
  FROM dropped g WHERE r.dataset_uuid = g.dataset AND r.dataset_version = g.version
), counted AS (
  UPDATE update_counters c SET updates = c.updates + g.many
  FROM (SELECT dataset, count(*) AS many FROM dropped GROUP BY dataset) AS g
  WHERE c.dataset_uuid = g.dataset
  RETURNING c.dataset_uuid, c.updates
), numbered AS (
  INSERT INTO dataset_updates (dataset_uuid, number, dataset_version, partition_key)
  SELECT g.dataset, c.updates + 1 - row_number() OVER (PARTITION BY g.dataset ORDER BY g.version), g.version, '*'
  FROM dropped g JOIN counted c ON c.dataset_uuid = g.dataset
)
INSERT INTO consumer_looks (org_id, dag_name)
SELECT DISTINCT w.org_id, w.dag_name
FROM dropped g
JOIN job_inputs i ON i.dataset_uuid = g.dataset AND i.external_name IS NOT NULL
JOIN working_jobs w ON w.job_id = i.job_id
ORDER BY w.org_id, w.dag_name
ON CONFLICT (org_id, dag_name) DO UPDATE SET created_at = excluded.created_at;
