-- name: speaking_source
-- The source that runs on and on whose attempt a pod is, by the uid that its token is bound to.
SELECT t.id, p.attempt, j.org_id, j.dag_name AS dag
FROM task_pods p
JOIN tasks t ON t.id = p.task_id AND t.unit_key = '@'
JOIN jobs j ON j.id = t.job_id
JOIN orgs o ON o.id = j.org_id
WHERE p.pod_uid = %(pod_uid)s AND o.slug = %(namespace)s;

-- name: lock_source
-- It, as long as this attempt runs and its job works: no other attempt begins meanwhile. `held`: it serves, and a build that
-- replaces it is about to take its place.
SELECT jsonb_array_length(t.outputs) AS outputs, EXISTS (
         SELECT 1 FROM jobs j WHERE j.id = t.job_id AND j.update_strategy = 'append') AS adds,
       NOT w.building AND EXISTS (
         SELECT 1 FROM rollouts h
         WHERE h.org_id = w.org_id AND h.dag_name = w.dag_name AND h.state IN ('Building', 'Ready')
           AND h.held_until > now() AND NOT EXISTS (
             SELECT 1 FROM jobs b
             WHERE b.dag_version_id = h.dag_version_id AND b.identity = w.identity AND b.fingerprint = w.fingerprint)
       ) AS held
FROM tasks t
CROSS JOIN LATERAL (SELECT * FROM working_jobs w WHERE w.job_id = t.job_id OFFSET 0) AS w
WHERE t.id = %(id)s AND t.attempts = %(attempt)s AND t.worker_id = %(pod)s AND t.status = 'Running'
FOR NO KEY UPDATE OF t;

-- name: add_events
-- What the source reports, each a task that is done, in this order; not those that were told before. What it made is below
-- the location of the attempt, by the event's name. What a build makes is work of the build.
INSERT INTO tasks (
  job_id, status, partitions, job_identity, fingerprint, unit_key, attempts, started_at, completed_at, outputs, backfill,
  event, error_message)
SELECT t.job_id, 'Completed', ARRAY[e.key], t.job_identity, t.fingerprint, e.key, 1, now(), clock_timestamp(), (
         SELECT coalesce(jsonb_agg((o - 'partitions') || jsonb_build_object('partitions', jsonb_build_array(
           jsonb_build_object('key', e.key, 'location', o #>> '{partitions,0,location}' || '/' || e.id)
             || CASE WHEN e.replaces IS NULL THEN '{}' ELSE jsonb_build_object('replaces', e.replaces) END
         )) ORDER BY o -> 'index'), '[]')
         FROM jsonb_array_elements(t.outputs) AS o
         WHERE (o ->> 'index')::int = ANY (e.outputs)
       ), w.building, e.id, 'event ' || e.id
FROM tasks t
CROSS JOIN LATERAL (SELECT w.building FROM working_jobs w WHERE w.job_id = t.job_id OFFSET 0) AS w
CROSS JOIN ROWS FROM (
  jsonb_to_recordset(%(events)s) AS (id text, key text, outputs int[], replaces jsonb)
) WITH ORDINALITY AS e (id, key, outputs, replaces, nth)
WHERE t.id = %(id)s
ORDER BY e.nth
ON CONFLICT (job_identity, fingerprint, event) WHERE event IS NOT NULL DO NOTHING
RETURNING id, event;

-- name: last_event
-- The last event that is known of a source.
SELECT e.event
FROM tasks t
JOIN tasks e ON e.job_identity = t.job_identity AND e.fingerprint = t.fingerprint AND e.event IS NOT NULL
WHERE t.id = %(id)s
ORDER BY e.seq DESC
LIMIT 1;

-- name: known_event
-- This event of a source, if it was told.
SELECT e.event
FROM tasks t
JOIN tasks e ON e.job_identity = t.job_identity AND e.fingerprint = t.fingerprint AND e.event = %(event)s
WHERE t.id = %(id)s;

-- name: last_events
-- Where sources that run on and on have come to: the last event of each, and how far its outputs go, by their cursors.
SELECT t.id AS task, l.event, l.partition, (
    SELECT coalesce(jsonb_agg(jsonb_build_object(
      'output', o -> 'index', 'column', c.cursor_column, 'type', c.cursor_type, 'to', cursor_json(c.cursor_type, c.to_value)
    ) ORDER BY o -> 'index'), '[]')
    FROM jsonb_array_elements(t.outputs) AS o
    CROSS JOIN LATERAL last_cursor((o ->> 'dataset_uuid')::uuid, (o ->> 'version')::uuid) AS c
  ) AS cursors
FROM tasks t
LEFT JOIN LATERAL (
  SELECT e.event, e.unit_key AS partition FROM tasks e
  WHERE e.job_identity = t.job_identity AND e.fingerprint = t.fingerprint AND e.event IS NOT NULL
  ORDER BY e.seq DESC LIMIT 1
) AS l ON true
WHERE t.id = ANY (%(ids)s);

-- name: paused_sources
-- Running attempts of sources that run on and on whose DAG is suspended: they do not end by themselves.
SELECT t.id, t.attempts AS attempt, t.lease_token AS token, o.slug AS namespace, t.worker_id AS pod
FROM tasks t
JOIN jobs j ON j.id = t.job_id
JOIN orgs o ON o.id = j.org_id
JOIN dags p ON p.org_id = j.org_id AND p.name = j.dag_name AND p.suspended
WHERE t.status = 'Running' AND t.unit_key = '@'
ORDER BY t.seq;
