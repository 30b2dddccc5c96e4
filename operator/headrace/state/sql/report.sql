-- name: report_dag
-- What serves a DAG, and whether its object is there and suspended.
SELECT v.id AS version, v.yaml_hash, c.updated_at AS since, p.suspended, p.absent_since IS NOT NULL AS absent,
       now() AS now
FROM dag_current_versions c
JOIN dag_versions v ON v.id = c.dag_version_id
JOIN dags p ON p.org_id = c.org_id AND p.name = c.dag_name
WHERE c.org_id = %(org_id)s AND c.dag_name = %(dag)s;

-- name: report_commands
-- The last request of each command.
SELECT DISTINCT ON (command) command, request_id, argument, outcome
FROM commands
WHERE org_id = %(org_id)s AND dag_name = %(dag)s
ORDER BY command, handled_at DESC;

-- name: report_jobs
-- Each job that serves: what of it waits, runs, is held or failed for good, how many units are done, its last task.
SELECT j.name, j.activation, j.runtime, j.source, j.pod #>> '{container}' AS container, j.pod, j.scaling,
       u.waiting, u.running, u.failed, u.held, u.retry_at, u.failure, u.failed_key,
       d.done, l.id AS last_id, l.status AS last_status, l.partition AS last_partition, l.at AS last_at,
       l.error_message AS last_message, l.worker_id AS last_pod, k.last_tick
FROM dag_current_versions c
JOIN jobs j ON j.dag_version_id = c.dag_version_id
LEFT JOIN cron_ticks k ON k.job_identity = j.identity
CROSS JOIN LATERAL (
  SELECT count(*) FILTER (WHERE w.waiting) AS waiting,
         count(*) FILTER (WHERE w.status = 'Running') AS running,
         count(*) FILTER (WHERE w.final) AS failed,
         count(*) FILTER (WHERE w.waiting AND w.held) AS held,
         min(w.next_retry_at) AS retry_at,
         (array_agg(w.error_message ORDER BY w.seq DESC) FILTER (WHERE w.final OR w.next_retry_at IS NOT NULL))[1]
           AS failure,
         (array_agg(w.unit_key ORDER BY w.seq DESC) FILTER (WHERE w.final OR w.next_retry_at IS NOT NULL))[1]
           AS failed_key
  FROM (
    SELECT t.*, t.status = 'Queued' OR t.next_retry_at IS NOT NULL AS waiting,
           t.status = 'Failed' AND t.next_retry_at IS NULL AND t.fingerprint = j.fingerprint AND NOT EXISTS (
             SELECT 1 FROM tasks n
             WHERE n.job_identity = t.job_identity AND n.unit_key = t.unit_key AND n.seq > t.seq) AS final,
           EXISTS (
             SELECT 1 FROM tasks o
             WHERE o.unit_key = t.unit_key AND o.job_identity = ANY (j.upstream) AND o.seq < t.seq
               AND o.status IN ('Queued', 'Running', 'Failed')
               AND NOT (o.status = 'Failed' AND o.next_retry_at IS NULL AND EXISTS (
                 SELECT 1 FROM tasks n
                 WHERE n.job_identity = o.job_identity AND n.unit_key = o.unit_key AND n.seq > o.seq))) AS held
    FROM tasks t
    WHERE t.job_identity = j.identity AND t.status IN ('Queued', 'Running', 'Failed')
  ) AS w
) AS u
CROSS JOIN LATERAL (
  SELECT CASE WHEN cardinality(j.output_datasets) = 0 THEN (
    SELECT count(*) FROM unit_completions f WHERE f.job_identity = j.identity AND f.fingerprint = j.fingerprint)
  ELSE (
    SELECT count(*)
    FROM datasets o
    JOIN dag_version_datasets v ON v.dag_version_id = c.dag_version_id AND v.dataset_uuid = o.id
    JOIN partition_versions pv ON pv.dataset_uuid = v.dataset_uuid AND pv.dataset_version = v.dataset_version
    WHERE o.org_id = j.org_id AND o.producer_dag_name = j.dag_name AND o.producer_job_name = j.name
      AND o.producer_output_index = 0) END AS done
) AS d
LEFT JOIN LATERAL (
  SELECT t.id, t.status, t.unit_key AS partition, t.error_message, t.worker_id,
         coalesce(t.completed_at, t.started_at, t.created_at) AS at
  FROM tasks t
  WHERE t.job_identity = j.identity AND t.status <> 'Queued'
  ORDER BY t.seq DESC LIMIT 1
) AS l ON true
WHERE c.org_id = %(org_id)s AND c.dag_name = %(dag)s
ORDER BY j.name;

-- name: report_datasets
-- Each output that serves, with what it holds and who reads it.
SELECT d.name, d.producer_job_name AS job, d.producer_output_index AS output, v.dataset_version AS version,
       g.storage_location AS location, s.partitions, s.rows, s.bytes, s.updated, r.consumers
FROM dag_current_versions c
JOIN dag_version_datasets v ON v.dag_version_id = c.dag_version_id
JOIN datasets d ON d.id = v.dataset_uuid
JOIN dataset_versions g ON g.id = v.dataset_version
CROSS JOIN LATERAL (
  SELECT count(*) AS partitions, sum(row_count)::bigint AS rows, sum(bytes)::bigint AS bytes,
         max(materialized_at) AS updated
  FROM partition_versions p
  WHERE p.dataset_uuid = v.dataset_uuid AND p.dataset_version = v.dataset_version
) AS s
CROSS JOIN LATERAL (
  SELECT coalesce(array_agg(DISTINCT j.dag_name || '/' || j.name ORDER BY j.dag_name || '/' || j.name), '{}')
           AS consumers
  FROM job_inputs i
  JOIN jobs j ON j.id = i.job_id
  JOIN dag_current_versions n ON n.dag_version_id = j.dag_version_id
  WHERE i.dataset_uuid = d.id
) AS r
WHERE c.org_id = %(org_id)s AND c.dag_name = %(dag)s
ORDER BY d.name;
