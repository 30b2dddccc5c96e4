-- name: report_dag
-- What serves a DAG, whether its object is there and suspended, and how much its org runs where that has a cap.
SELECT v.id AS version, v.yaml_hash, c.updated_at AS since, p.suspended, p.absent_since IS NOT NULL AS absent,
       p.pinned_hash, now() AS now, l.cap, CASE WHEN l.cap IS NOT NULL THEN (
         SELECT count(*) FROM tasks t JOIN jobs j ON j.id = t.job_id
         WHERE t.status = 'Running' AND j.org_id = c.org_id AND t.unit_key <> '@') ELSE 0 END AS org_running
FROM dag_current_versions c
JOIN orgs o ON o.id = c.org_id
CROSS JOIN LATERAL (SELECT (o.settings ->> 'max_running_tasks')::int AS cap OFFSET 0) AS l
JOIN dag_versions v ON v.id = c.dag_version_id
JOIN dags p ON p.org_id = c.org_id AND p.name = c.dag_name
WHERE c.org_id = %(org_id)s AND c.dag_name = %(dag)s;

-- name: report_rollout
-- The last rollout of a DAG: where it stands, what its plan said, and how much of it is done.
SELECT v.yaml_hash, w.yaml_hash AS base_hash, r.state, r.cause, r.strategy, r.planned_tasks, r.plan, r.created_at,
       r.ready_at, r.finished_at, r.build_approved_at IS NOT NULL AS build_approved,
       r.cutover_approved_at IS NOT NULL AS cutover_approved, coalesce(r.held_until > now(), false) AS held,
       t.done, t.open, t.trouble, b.behind
FROM rollouts r
JOIN dag_versions v ON v.id = r.dag_version_id
LEFT JOIN dag_versions w ON w.id = r.base_version_id
CROSS JOIN LATERAL (
  SELECT coalesce(array_agg(n.name ORDER BY n.name), '{}') AS behind
  FROM jobs n
  JOIN jobs o ON o.dag_version_id = r.base_version_id AND o.identity = n.identity AND o.fingerprint <> n.fingerprint
  WHERE n.dag_version_id = r.dag_version_id AND r.state = 'Building' AND r.build_approved_at IS NOT NULL
    AND n.source ->> 'kind' = 'always_on' AND (n.source ->> 'replay')::boolean AND is_behind(n.id, o.id, now())
) AS b
CROSS JOIN LATERAL (
  SELECT count(*) FILTER (WHERE t.status = 'Completed' AND t.completed_at >= r.created_at AND t.event IS NULL) AS done,
         count(*) FILTER (WHERE t.unit_key <> '@' AND (t.status IN ('Queued', 'Running') OR t.next_retry_at IS NOT NULL))
           AS open,
         (array_agg(j.name || CASE WHEN t.unit_key = '@' THEN '' ELSE ', partition ' || t.unit_key END || ': '
                    || t.error_message ORDER BY t.seq)
            FILTER (WHERE t.next_retry_at IS NOT NULL))[1] AS trouble
  FROM jobs j JOIN tasks t ON t.job_id = j.id
  WHERE j.dag_version_id = r.dag_version_id AND r.state NOT IN ('Done', 'Superseded', 'Canceled')
) AS t
WHERE r.org_id = %(org_id)s AND r.dag_name = %(dag)s
ORDER BY r.seq DESC
LIMIT 1;

-- name: report_commands
-- The last request of each command.
SELECT DISTINCT ON (command) command, request_id, argument, outcome, handled_at
FROM commands
WHERE org_id = %(org_id)s AND dag_name = %(dag)s
ORDER BY command, handled_at DESC;

-- name: report_jobs
-- Each job that serves: what of it waits, runs, is held or failed for good, how many units are done, its last task; how
-- many of its workers there are, of any version.
SELECT j.name, j.activation, j.runtime, j.source, j.pod #>> '{container}' AS container, j.pod, j.scaling,
       u.waiting, u.running, u.failed, u.held, u.retry_at, u.failure, u.failed_key,
       CASE WHEN j.awaited IS NOT NULL THEN ARRAY(SELECT i.name FROM unmade_inputs(j.id) AS i ORDER BY i.position)
            ELSE '{}' END AS unmade,
       CASE WHEN EXISTS (SELECT 1 FROM job_inputs i WHERE i.job_id = j.id AND i.match = 'latest' AND i.on_change = 'stale')
         THEN (SELECT count(*) FROM stale_units(j.id)) ELSE 0 END AS stale, d.done, l.id AS last_id, l.status AS last_status, l.partition AS last_partition, l.at AS last_at,
       l.error_message AS last_message, l.worker_id AS last_pod, k.last_tick, h.reason AS trouble,
       coalesce(p.workers, 0) AS workers
FROM dag_current_versions c
JOIN jobs j ON j.dag_version_id = c.dag_version_id
LEFT JOIN (
  SELECT m.identity, count(*) AS workers
  FROM workers w JOIN jobs m ON m.id = w.job_id
  WHERE w.org_id = %(org_id)s AND w.gone_at IS NULL AND m.dag_name = %(dag)s
  GROUP BY m.identity
) AS p ON p.identity = j.identity
LEFT JOIN cron_ticks k ON k.job_identity = j.identity
LEFT JOIN webhook_troubles h ON h.job_identity = j.identity
CROSS JOIN LATERAL (SELECT CASE WHEN j.awaited IS NOT NULL THEN awaits(j.id) END AS awaits OFFSET 0) AS a
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
           t.status = 'Failed' AND t.next_retry_at IS NULL AND NOT EXISTS (
             SELECT 1 FROM tasks n
             WHERE n.job_identity = t.job_identity AND n.fingerprint = t.fingerprint AND n.unit_key = t.unit_key
               AND n.seq > t.seq AND (n.params_digest = t.params_digest OR n.status <> 'Canceled')) AS final,
           coalesce(t.seq >= a.awaits, false) OR EXISTS (SELECT 1 FROM held_by(j.id, t.unit_key, t.seq))
             OR (t.status = 'Queued' AND EXISTS (SELECT 1 FROM lacking_inputs(j.id, t.unit_key))) AS held
    FROM tasks t
    WHERE t.job_identity = j.identity AND t.fingerprint = j.fingerprint AND t.status IN ('Queued', 'Running', 'Failed')
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
  (SELECT t.id, t.status, t.unit_key AS partition, t.error_message, t.worker_id,
          coalesce(t.completed_at, t.started_at, t.created_at) AS at
   FROM tasks t
   WHERE t.job_identity = j.identity AND t.fingerprint = j.fingerprint AND t.status <> 'Queued'
     AND j.source ->> 'kind' IS DISTINCT FROM 'always_on'
   ORDER BY t.seq DESC LIMIT 1)
  UNION ALL
  (SELECT t.id, t.status, NULL, t.error_message, t.worker_id, coalesce(t.completed_at, t.started_at, t.created_at)
   FROM tasks t
   WHERE t.job_identity = j.identity AND t.fingerprint = j.fingerprint AND t.unit_key = '@' AND t.status <> 'Queued'
     AND j.source ->> 'kind' = 'always_on'
   ORDER BY t.seq DESC LIMIT 1)
) AS l ON true
WHERE c.org_id = %(org_id)s AND c.dag_name = %(dag)s
ORDER BY j.name;

-- name: report_builds
-- Each job that the last rollout builds beside what serves, or built until it failed: its work that is not done.
SELECT j.name, v.yaml_hash, j.runtime,
       CASE WHEN j.runtime = 'worker' THEN (
         SELECT count(*) FROM workers w JOIN jobs m ON m.id = w.job_id
         WHERE w.org_id = j.org_id AND w.gone_at IS NULL AND m.identity = j.identity) ELSE 0 END AS workers,
       count(*) FILTER (WHERE t.status = 'Queued' OR t.next_retry_at IS NOT NULL) AS waiting,
       count(*) FILTER (WHERE t.status = 'Running') AS running,
       count(*) FILTER (WHERE t.status = 'Failed' AND t.next_retry_at IS NULL) AS failed,
       min(t.next_retry_at) AS retry_at,
       (array_agg(t.error_message ORDER BY t.seq DESC) FILTER (WHERE t.status = 'Failed'))[1] AS failure,
       (array_agg(t.unit_key ORDER BY t.seq DESC) FILTER (WHERE t.status = 'Failed'))[1] AS failed_key
FROM (
  SELECT r.dag_version_id, r.base_version_id, r.state FROM rollouts r
  WHERE r.org_id = %(org_id)s AND r.dag_name = %(dag)s ORDER BY r.seq DESC LIMIT 1
) AS r
JOIN dag_versions v ON v.id = r.dag_version_id
JOIN jobs j ON j.dag_version_id = r.dag_version_id
JOIN tasks t ON t.job_identity = j.identity AND t.fingerprint = j.fingerprint
  AND t.status IN ('Queued', 'Running', 'Failed')
WHERE r.state IN ('Building', 'Ready', 'Failed') AND NOT EXISTS (
  SELECT 1 FROM jobs s
  WHERE s.dag_version_id = r.base_version_id AND s.identity = j.identity AND s.fingerprint = j.fingerprint)
  AND NOT (t.status = 'Failed' AND t.next_retry_at IS NULL AND EXISTS (
    SELECT 1 FROM tasks n
    WHERE n.job_identity = t.job_identity AND n.fingerprint = t.fingerprint AND n.unit_key = t.unit_key
      AND n.seq > t.seq))
GROUP BY j.name, v.yaml_hash, j.runtime, j.org_id, j.identity
ORDER BY j.name;

-- name: report_gone
-- What jobs that serve read of other DAGs whose objects are gone.
SELECT j.name AS job, d.name AS dataset, p.name AS dag
FROM dag_current_versions c
JOIN jobs j ON j.dag_version_id = c.dag_version_id
JOIN job_inputs i ON i.job_id = j.id AND i.external_name IS NOT NULL
JOIN datasets d ON d.id = i.dataset_uuid
JOIN dags p ON p.org_id = d.org_id AND p.name = d.producer_dag_name AND p.absent_since IS NOT NULL
WHERE c.org_id = %(org_id)s AND c.dag_name = %(dag)s
ORDER BY j.name, d.name;

-- name: report_datasets
-- Each output that serves, with what it holds and who reads it.
SELECT d.name, d.producer_job_name AS job, d.producer_output_index AS output, v.dataset_version AS version,
       g.storage_location AS location, s.partitions, s.rows, s.bytes, s.updated, r.consumers, b.yaml_hash AS rebuilding
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
  JOIN working_jobs j ON j.job_id = i.job_id AND NOT j.building
  WHERE i.dataset_uuid = d.id
) AS r
LEFT JOIN LATERAL (
  SELECT n.yaml_hash
  FROM rollouts o
  JOIN dag_version_datasets w ON w.dag_version_id = o.dag_version_id AND w.dataset_uuid = d.id
  JOIN dag_versions n ON n.id = o.dag_version_id
  WHERE o.org_id = c.org_id AND o.dag_name = c.dag_name AND o.state IN ('Building', 'Ready')
    AND w.dataset_version <> v.dataset_version
) AS b ON true
WHERE c.org_id = %(org_id)s AND c.dag_name = %(dag)s
ORDER BY d.name;
