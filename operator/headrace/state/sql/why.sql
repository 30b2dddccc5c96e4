-- name: why_unit
-- The task of a job that stands for a partition, or that is the next in its turn, with how much its org runs.
SELECT t.id, t.unit_key AS partition,
       CASE WHEN t.next_retry_at IS NOT NULL THEN 'Retrying' ELSE t.status END AS state,
       t.error_message AS message, t.next_retry_at AS retry, t.completed_at AS ended, t.worker_id AS worker
FROM dag_current_versions c
JOIN jobs j ON j.dag_version_id = c.dag_version_id AND j.name = %(job)s
JOIN tasks t ON t.job_identity = j.identity AND t.fingerprint = j.fingerprint
  AND (t.unit_key = %(key)s OR (%(key)s::text IS NULL AND (t.status = 'Queued' OR t.next_retry_at IS NOT NULL)))
WHERE c.org_id = %(org_id)s AND c.dag_name = %(dag)s
ORDER BY t.status IN ('Queued', 'Running') OR t.next_retry_at IS NOT NULL DESC,
         CASE WHEN %(key)s::text IS NULL THEN t.seq ELSE -t.seq END
LIMIT 1;

-- name: why_blockers
-- What a waiting task waits for: older work upstream of its key, or of what it reads as a whole, the farthest upstream
-- first; and its own job's work of the same key, with other parameters or still running.
SELECT j.name AS job, o.unit_key AS partition,
       CASE WHEN o.next_retry_at IS NOT NULL THEN 'Retrying' ELSE o.status END AS state, o.error_message AS message
FROM tasks t
JOIN jobs j ON j.id = t.job_id
JOIN tasks o ON o.job_identity = t.job_identity AND o.fingerprint = t.fingerprint AND o.unit_key = t.unit_key
WHERE t.id = %(task)s AND t.status <> 'Running'
  AND (o.status = 'Running' OR (o.params_digest <> t.params_digest AND o.seq < t.seq
    AND (o.status = 'Queued' OR o.next_retry_at IS NOT NULL)))
UNION ALL
(SELECT u.name AS job, o.unit_key AS partition,
       CASE WHEN o.next_retry_at IS NOT NULL THEN 'Retrying' ELSE o.status END AS state, o.error_message AS message
FROM tasks t
JOIN jobs j ON j.id = t.job_id
CROSS JOIN LATERAL (
  SELECT h.* FROM held_by(j.id, t.unit_key, t.seq) AS h
  UNION
  SELECT o.*
  FROM jobs u
  JOIN tasks o ON o.job_identity = u.identity AND o.fingerprint = u.fingerprint AND o.seq < t.seq AND o.unit_key <> '@'
    AND (o.status IN ('Queued', 'Running') OR o.next_retry_at IS NOT NULL)
  WHERE u.dag_version_id = j.dag_version_id AND get_bit(j.awaited, u.position) = 1
) AS o
JOIN jobs u ON u.dag_version_id = j.dag_version_id AND u.identity = o.job_identity AND u.fingerprint = o.fingerprint
WHERE t.id = %(task)s AND t.status <> 'Running'
ORDER BY bit_count(u.upstream), o.seq
LIMIT 20);

-- name: why_inputs
-- The inputs of a job that do not have a partition, or have nothing where they are read as a whole.
SELECT i.name AS input, d.name AS dataset, i.match = 'latest' AS whole,
       d.producer_dag_name AS dag, d.producer_job_name AS job
FROM dag_current_versions c
JOIN jobs j ON j.dag_version_id = c.dag_version_id AND j.name = %(job)s
JOIN job_inputs i ON i.job_id = j.id
JOIN datasets d ON d.id = i.dataset_uuid
WHERE c.org_id = %(org_id)s AND c.dag_name = %(dag)s AND NOT EXISTS (
  SELECT 1
  FROM input_versions v
  JOIN partition_versions pv ON pv.dataset_uuid = v.dataset_uuid AND pv.dataset_version = v.dataset_version
  WHERE v.job_id = j.id AND v.name = i.name AND (i.match = 'latest' OR pv.partition_key = %(key)s))
ORDER BY i.position;

-- name: why_done
-- When a partition of a job was made last, or its work was done last where it makes none.
SELECT max(m.at) AS at
FROM dag_current_versions c
JOIN jobs j ON j.dag_version_id = c.dag_version_id AND j.name = %(job)s
CROSS JOIN LATERAL (
  SELECT pv.materialized_at AS at
  FROM datasets d
  JOIN dag_version_datasets v ON v.dag_version_id = j.dag_version_id AND v.dataset_uuid = d.id
  JOIN partition_versions pv
    ON pv.dataset_uuid = v.dataset_uuid AND pv.dataset_version = v.dataset_version AND pv.partition_key = %(key)s
  WHERE d.org_id = j.org_id AND d.producer_dag_name = j.dag_name AND d.producer_job_name = j.name
  UNION ALL
  SELECT u.completed_at FROM unit_completions u
  WHERE u.job_identity = j.identity AND u.fingerprint = j.fingerprint AND u.unit_key = %(key)s
) AS m
WHERE c.org_id = %(org_id)s AND c.dag_name = %(dag)s;

-- name: why_sources
-- The sources upstream of a job, within its DAG.
SELECT u.name
FROM dag_current_versions c
JOIN jobs j ON j.dag_version_id = c.dag_version_id AND j.name = %(job)s
JOIN jobs u ON u.dag_version_id = j.dag_version_id AND u.activation = 'source' AND get_bit(j.upstream, u.position) = 1
WHERE c.org_id = %(org_id)s AND c.dag_name = %(dag)s
ORDER BY u.position;

-- name: why_org
-- How many tasks an org runs, and how many it may.
SELECT count(*) AS running, (o.settings ->> 'max_running_tasks')::int AS cap
FROM orgs o
JOIN jobs j ON j.org_id = o.id
JOIN tasks t ON t.job_id = j.id AND t.status = 'Running' AND t.unit_key <> '@'
WHERE o.id = %(org_id)s
GROUP BY o.id;
