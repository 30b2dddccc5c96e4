-- name: record_task_pods
-- These pods, by namespace and name, are attempts that run, and may speak to the gateway. The first of a name is the one:
-- another that takes its name later is somebody else's.
INSERT INTO task_pods (task_id, attempt, pod_uid)
SELECT t.id, t.attempts, p.uid
FROM unnest(%(namespaces)s::text[], %(pods)s::text[], %(uids)s::text[]) AS p (namespace, pod, uid)
JOIN orgs o ON o.slug = p.namespace
JOIN tasks t ON t.worker_id = p.pod AND t.status = 'Running' AND NOT t.in_worker
JOIN jobs j ON j.id = t.job_id AND j.org_id = o.id
ON CONFLICT DO NOTHING;

-- name: lock_task_pod
-- The attempt that a pod is, by the uid that its token is bound to, with its keys and how many outputs it has. No completion of it goes on meanwhile.
SELECT p.task_id AS id, p.attempt, t.partitions, jsonb_array_length(t.outputs) AS outputs
FROM task_pods p
JOIN tasks t ON t.id = p.task_id
JOIN jobs j ON j.id = t.job_id
JOIN orgs o ON o.id = j.org_id
WHERE p.pod_uid = %(pod_uid)s AND o.slug = %(namespace)s
FOR UPDATE OF p;

-- name: keep_report
-- What the attempt says it made, in place of what it said before, as long as it runs.
UPDATE task_pods p SET reported = %(reported)s
FROM tasks t
WHERE p.task_id = %(id)s AND p.attempt = %(attempt)s AND t.id = p.task_id AND t.attempts = p.attempt
  AND t.worker_id = %(pod)s AND t.status = 'Running' AND NOT t.in_worker
RETURNING t.id;

-- name: told_by_pods
-- What pods of these attempts told the gateway; locked, so that nothing more is told while they are completed.
SELECT p.task_id AS id, p.reported
FROM jsonb_to_recordset(%(done)s) AS d (id uuid, attempt int)
JOIN task_pods p ON p.task_id = d.id AND p.attempt = d.attempt
ORDER BY p.task_id
FOR UPDATE OF p;

-- name: tell_schemas
-- The columns of a dataset's generation are those that were reported last.
UPDATE dataset_versions g SET schema_hash = s.hash
FROM (
  SELECT DISTINCT ON (o ->> 'version') (o ->> 'version')::uuid AS version, r.hash
  FROM tasks t
  CROSS JOIN jsonb_array_elements(t.outputs) AS o
  JOIN jsonb_to_recordset(%(schemas)s) AS r (task uuid, output int, hash text)
    ON r.task = t.id AND r.output = (o ->> 'index')::int
  WHERE t.id = ANY (%(ids)s)
  ORDER BY o ->> 'version', t.completed_at DESC, t.seq DESC
) AS s
WHERE g.id = s.version AND g.schema_hash IS DISTINCT FROM s.hash;

-- name: speaks_for
-- Whether a pod is known: a worker, or an attempt's own.
SELECT EXISTS (
  SELECT 1 FROM workers w JOIN orgs o ON o.id = w.org_id
  WHERE w.pod_uid = %(pod_uid)s AND w.pod_name = %(pod)s AND o.slug = %(namespace)s
) OR EXISTS (
  SELECT 1
  FROM task_pods p
  JOIN tasks t ON t.id = p.task_id
  JOIN jobs j ON j.id = t.job_id
  JOIN orgs o ON o.id = j.org_id
  WHERE p.pod_uid = %(pod_uid)s AND o.slug = %(namespace)s
) AS known;

-- name: manifest_page
-- A part of an input of an attempt that this pod runs, itself or as a worker: as the input was recorded at the claim. No
-- partitions: the task has no such input.
SELECT jsonb_array_length(g.partitions) AS count, (
    SELECT coalesce(jsonb_agg(p.one - 'materialized_at' ORDER BY p.nth), '[]')::text
    FROM jsonb_array_elements(g.partitions) WITH ORDINALITY AS p (one, nth)
    WHERE p.nth > %(first)s AND p.nth <= %(first)s + %(most)s
  ) AS partitions
FROM tasks t
JOIN jobs j ON j.id = t.job_id
JOIN orgs o ON o.id = j.org_id
CROSS JOIN LATERAL (SELECT t.input_versions -> %(input)s::text -> 'partitions' AS partitions) AS g
WHERE t.id = %(task)s AND t.attempts = %(attempt)s AND t.status = 'Running' AND t.worker_id = %(pod)s
  AND o.slug = %(namespace)s
  AND (EXISTS (
    SELECT 1 FROM workers w WHERE t.in_worker AND w.pod_uid = %(pod_uid)s AND w.pod_name = %(pod)s AND w.org_id = o.id
  ) OR EXISTS (
    SELECT 1 FROM task_pods p
    WHERE NOT t.in_worker AND p.task_id = t.id AND p.attempt = t.attempts AND p.pod_uid = %(pod_uid)s));
