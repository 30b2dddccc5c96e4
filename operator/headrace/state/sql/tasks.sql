-- name: create_missing
-- Units of reactive jobs that should be worked on and are not, of serving versions and of those being built, or of the
-- latter only.
INSERT INTO tasks (job_id, partitions, job_identity, fingerprint, unit_key, backfill)
SELECT m.job_id, ARRAY[m.key], m.identity, m.fingerprint, m.key, m.building OR %(backfill)s
FROM missing_units m
WHERE (m.org_id, m.dag_name) IN (SELECT * FROM unnest(%(org_ids)s::uuid[], %(dags)s::text[]))
  AND (m.building OR NOT %(building)s)
ORDER BY m.key, m.name
ON CONFLICT DO NOTHING;

-- name: create_downstream
-- The units that the outputs of these completed tasks make within their DAG, in the serving version and in the one being
-- built, once every `same` input has the key. A unit that waits already is locked, not left alone: its claim must see
-- the new inputs or wait for us. What a build makes is work of the build.
INSERT INTO tasks (job_id, partitions, job_identity, fingerprint, unit_key, backfill)
SELECT w.job_id, ARRAY[m.key], w.identity, w.fingerprint, m.key, bool_and(m.backfill)
FROM (
  SELECT (o ->> 'dataset_uuid')::uuid AS dataset_uuid, (o ->> 'version')::uuid AS dataset_version, p ->> 'key' AS key,
         t.backfill, j.org_id, j.dag_name
  FROM tasks t
  JOIN jobs j ON j.id = t.job_id
  CROSS JOIN jsonb_array_elements(t.outputs) AS o
  CROSS JOIN jsonb_array_elements(o -> 'partitions') AS p
  WHERE t.id = ANY (%(ids)s)
) AS m
JOIN job_inputs i ON i.dataset_uuid = m.dataset_uuid AND i.match = 'same' AND i.external_name IS NULL
JOIN working_jobs w ON w.job_id = i.job_id AND w.org_id = m.org_id AND w.dag_name = m.dag_name
JOIN dag_version_datasets s ON s.dag_version_id = w.dag_version_id
  AND s.dataset_uuid = m.dataset_uuid AND s.dataset_version = m.dataset_version
WHERE NOT EXISTS (
    SELECT 1
    FROM job_inputs n
    LEFT JOIN input_versions v ON v.job_id = n.job_id AND v.name = n.name
    LEFT JOIN partition_versions pv
      ON pv.dataset_uuid = v.dataset_uuid AND pv.dataset_version = v.dataset_version AND pv.partition_key = m.key
    WHERE n.job_id = w.job_id AND n.match = 'same' AND pv.partition_key IS NULL)
GROUP BY w.job_id, w.identity, w.fingerprint, m.key
ORDER BY m.key, w.job_id
ON CONFLICT (job_identity, fingerprint, unit_key)
  WHERE status = 'Queued' OR (status = 'Failed' AND next_retry_at IS NOT NULL)
DO UPDATE SET job_id = excluded.job_id;

-- name: tell_consumers
-- Other DAGs that read the outputs of these completed tasks are to look for work: in the outbox, without their locks. A
-- row that is there is locked: whoever deletes it now must see what we made, or wait for us.
INSERT INTO consumer_looks (org_id, dag_name)
SELECT DISTINCT w.org_id, w.dag_name
FROM tasks t
CROSS JOIN jsonb_array_elements(t.outputs) AS o
JOIN job_inputs i ON i.dataset_uuid = (o ->> 'dataset_uuid')::uuid AND i.external_name IS NOT NULL
JOIN working_jobs w ON w.job_id = i.job_id
WHERE t.id = ANY (%(ids)s)
ORDER BY w.org_id, w.dag_name
ON CONFLICT (org_id, dag_name) DO UPDATE SET created_at = excluded.created_at;

-- name: consumers_told
-- The DAGs that are to look for work, oldest first.
SELECT org_id, dag_name AS dag FROM consumer_looks ORDER BY created_at LIMIT 200;

-- name: consumer_looked
-- This DAG has looked, in the same transaction.
DELETE FROM consumer_looks WHERE org_id = %(org_id)s AND dag_name = %(dag)s;

-- name: create_source_tasks
-- A run of a source job: a task for each listed key that is neither there nor on its way (`again`, and the whole: also
-- for those that are).
INSERT INTO tasks (job_id, partitions, job_identity, fingerprint, unit_key, backfill)
SELECT j.id, ARRAY[k.key], j.identity, j.fingerprint, k.key, %(backfill)s
FROM jobs j
JOIN working_jobs w ON w.job_id = j.id
CROSS JOIN unnest(%(keys)s::text[]) WITH ORDINALITY AS k (key, place)
WHERE j.id = %(job_id)s
  AND (%(again)s OR k.key = '*' OR NOT EXISTS (
    SELECT 1
    FROM datasets d
    JOIN dag_version_datasets v ON v.dag_version_id = j.dag_version_id AND v.dataset_uuid = d.id
    JOIN partition_versions o
      ON o.dataset_uuid = v.dataset_uuid AND o.dataset_version = v.dataset_version AND o.partition_key = k.key
    WHERE d.org_id = j.org_id AND d.producer_dag_name = j.dag_name AND d.producer_job_name = j.name))
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

-- name: work_left
-- Whether any task waits for its turn, whether any runs, any rollout is under way, any DAG is to look for work: all that
-- an idle operator asks.
SELECT EXISTS (SELECT 1 FROM tasks WHERE status = 'Queued' OR (status = 'Failed' AND next_retry_at IS NOT NULL)) AS waiting,
       EXISTS (SELECT 1 FROM tasks WHERE status = 'Running') AS running,
       EXISTS (SELECT 1 FROM rollouts WHERE state IN ('Building', 'Ready')) AS rollouts,
       EXISTS (SELECT 1 FROM consumer_looks) AS looks;

-- name: waiting_dispatched
-- Waiting tasks of the operator's own that may run, oldest first: whose locks to take before they are picked.
SELECT t.id
FROM tasks t
JOIN jobs j ON j.id = t.job_id AND j.runtime = 'dispatcher'
JOIN dags p ON p.org_id = j.org_id AND p.name = j.dag_name AND p.absent_since IS NULL AND NOT p.suspended
WHERE t.status = 'Queued' OR (t.status = 'Failed' AND t.next_retry_at <= now())
ORDER BY t.seq
LIMIT %(most)s;

-- name: lock_claims
-- One claim at a time: concurrency limits count what runs.
SELECT pg_advisory_xact_lock(hashtextextended('claim', 3));

-- name: pick_tasks
-- What can run now: due, of a version that serves or is being built, its DAG there and not suspended, within the job's
-- concurrency over all its versions, no older task of its key unsettled upstream, no other task of its unit running, not
-- held for a cutover. Oldest first, where work of a build takes turns with a job's live work. The rows are locked here;
-- their inputs are read by the next statement, whose snapshot is later than the locks.
WITH running AS (
  SELECT job_identity, count(*) AS n FROM tasks WHERE status = 'Running' GROUP BY job_identity
), ready AS (
  SELECT t.id, t.seq, t.backfill, t.job_identity, j.org_id, j.dag_name AS dag,
         (j.scaling ->> 'max_concurrency')::int - coalesce(r.n, 0) AS free,
         row_number() OVER (PARTITION BY t.job_identity, t.backfill ORDER BY t.seq) AS turn
  FROM tasks t
  JOIN jobs j ON j.id = t.job_id
  JOIN working_jobs w ON w.job_id = j.id
  JOIN dags p ON p.org_id = j.org_id AND p.name = j.dag_name AND NOT p.suspended
  LEFT JOIN running r ON r.job_identity = t.job_identity
  WHERE (t.status = 'Queued' OR (t.status = 'Failed' AND t.next_retry_at <= now()))
    AND j.runtime = %(runtime)s AND (%(orgs)s::uuid[] IS NULL OR j.org_id = ANY (%(orgs)s))
    AND (%(among)s::uuid[] IS NULL OR t.id = ANY (%(among)s))
    AND (%(runtime)s = 'dispatcher' OR coalesce(r.n, 0) < (j.scaling ->> 'max_concurrency')::int)
    AND NOT EXISTS (
      SELECT 1 FROM tasks u
      WHERE u.job_identity = t.job_identity AND u.fingerprint = t.fingerprint AND u.unit_key = t.unit_key
        AND u.status = 'Running')
    AND NOT EXISTS (
      SELECT 1
      FROM tasks u
      JOIN jobs uj ON uj.dag_version_id = j.dag_version_id AND uj.identity = u.job_identity
        AND uj.fingerprint = u.fingerprint
      WHERE u.unit_key = t.unit_key AND u.seq < t.seq AND u.status IN ('Queued', 'Running', 'Failed')
        AND get_bit(j.upstream, uj.position) = 1
        AND NOT (u.status = 'Failed' AND u.next_retry_at IS NULL AND EXISTS (
          SELECT 1 FROM tasks n
          WHERE n.job_identity = u.job_identity AND n.fingerprint = u.fingerprint AND n.unit_key = u.unit_key
            AND n.seq > u.seq)))
    AND (w.building OR NOT EXISTS (
      SELECT 1 FROM rollouts h
      WHERE h.org_id = j.org_id AND h.dag_name = j.dag_name AND h.state IN ('Building', 'Ready')
        AND h.held_until > now() AND NOT EXISTS (
          SELECT 1 FROM jobs b
          WHERE b.dag_version_id = h.dag_version_id AND b.identity = j.identity AND b.fingerprint = j.fingerprint)))
), waiting AS (
  SELECT r.*, row_number() OVER (PARTITION BY r.job_identity ORDER BY r.turn, r.backfill, r.seq) AS place FROM ready r
)
SELECT t.id, w.org_id, w.dag
FROM tasks t JOIN waiting w ON w.id = t.id
WHERE (w.place <= w.free OR %(runtime)s = 'dispatcher')
  AND (t.status = 'Queued' OR (t.status = 'Failed' AND t.next_retry_at IS NOT NULL))
ORDER BY w.turn, w.seq
LIMIT %(most)s
FOR UPDATE OF t SKIP LOCKED;

-- name: start_tasks
-- The picked tasks begin an attempt: lease, token, the inputs as they are now, an output location of this attempt
-- alone. What the inputs were is recorded row by row.
WITH fresh AS (
  SELECT t.id, gen_random_uuid() AS token, t.attempts + 1 AS attempt
  FROM tasks t WHERE t.id = ANY (%(ids)s)
), started AS (
  UPDATE tasks t
  SET status = 'Running', attempts = f.attempt, lease_token = f.token, claimed_epoch = %(epoch)s, next_retry_at = NULL, error_message = NULL,
      started_at = clock_timestamp(), last_heartbeat = clock_timestamp(),
      lease_expires_at = clock_timestamp() + make_interval(secs => j.heartbeat_timeout_seconds),
      worker_id = rtrim(left(replace(j.dag_name || '-' || j.name, '_', '-'), 30), '-')
                  || '-' || replace(f.token::text, '-', ''),
      input_versions = coalesce((
        SELECT jsonb_object_agg(v.name, jsonb_build_object(
          'dataset', v.dataset, 'dataset_uuid', v.dataset_uuid, 'version', v.dataset_version, 'partitions', (
            SELECT coalesce(jsonb_agg(jsonb_build_object(
              'key', pv.partition_key, 'location', pv.location, 'materialized_at', pv.materialized_at
            ) ORDER BY pv.partition_key), '[]')
            FROM partition_versions pv
            WHERE pv.dataset_uuid = v.dataset_uuid AND pv.dataset_version = v.dataset_version
              AND pv.partition_key = ANY (t.partitions))))
        FROM input_versions v
        WHERE v.job_id = j.id), '{}'),
      outputs = coalesce((
        SELECT jsonb_agg(jsonb_build_object(
          'index', d.producer_output_index, 'dataset', v.name, 'dataset_uuid', d.id, 'version', v.dataset_version,
          'config_hash', g.config_hash, 'partitions', (
            SELECT jsonb_agg(jsonb_build_object(
              'key', k.key,
              'location', CASE WHEN j.runtime <> 'dispatcher' THEN
                g.storage_location || '/' || replace(k.key, '*', '_') || '/' || t.id || '-' || f.attempt END
            ) ORDER BY k.place)
            FROM unnest(t.partitions) WITH ORDINALITY AS k (key, place))
        ) ORDER BY d.producer_output_index)
        FROM datasets d
        JOIN dag_version_datasets v ON v.dag_version_id = j.dag_version_id AND v.dataset_uuid = d.id
        JOIN dataset_versions g ON g.id = v.dataset_version
        WHERE d.org_id = j.org_id AND d.producer_dag_name = j.dag_name AND d.producer_job_name = j.name), '[]')
  FROM fresh f, jobs j
  WHERE t.id = f.id AND j.id = t.job_id
  RETURNING t.*
), recorded AS (
  INSERT INTO task_inputs (
    task_id, input_dataset_uuid, input_dataset_version, input_partition_key, input_version)
  SELECT DISTINCT s.id, (i.value ->> 'dataset_uuid')::uuid, (i.value ->> 'version')::uuid, p ->> 'key',
         (p ->> 'materialized_at')::timestamptz
  FROM started s, jsonb_each(s.input_versions) AS i, jsonb_array_elements(i.value -> 'partitions') AS p
  ON CONFLICT (task_id, input_dataset_uuid, input_partition_key) DO UPDATE
  SET input_version = excluded.input_version, input_dataset_version = excluded.input_dataset_version
)
SELECT s.id FROM started s ORDER BY s.seq;

-- name: finish_dispatched
-- Tasks of the operator's own are done in the transaction that starts them.
UPDATE tasks SET status = 'Completed', completed_at = clock_timestamp() WHERE id = ANY (%(ids)s);

-- name: running_pods
-- Running tasks by the names of their pods, with all that a pod is made from. Read after commit.
SELECT t.id, t.attempts AS attempt, t.lease_token AS token, t.worker_id AS pod_name, t.partitions,
       t.input_versions AS inputs, t.outputs, o.id AS org_id, o.slug AS org, j.dag_name AS dag, j.name AS job,
       j.operator, j.config, j.pod, j.timeout_seconds, p.object_uid AS dag_uid, t.claimed_epoch AS epoch
FROM tasks t
JOIN jobs j ON j.id = t.job_id AND j.runtime = 'pod'
JOIN orgs o ON o.id = j.org_id
JOIN dags p ON p.org_id = j.org_id AND p.name = j.dag_name
WHERE t.status = 'Running' AND t.worker_id = ANY (%(names)s)
ORDER BY t.seq;

-- name: running_names
-- The pods that should be there, with the namespace that each belongs to.
SELECT t.worker_id AS name, o.slug AS namespace
FROM tasks t JOIN jobs j ON j.id = t.job_id AND j.runtime = 'pod' JOIN orgs o ON o.id = j.org_id
WHERE t.status = 'Running'
ORDER BY t.seq;

-- name: locate_tasks
-- The DAG and the keys of tasks, for the locks of their completion.
SELECT t.id, j.org_id, j.dag_name AS dag, k.key
FROM tasks t JOIN jobs j ON j.id = t.job_id CROSS JOIN unnest(t.partitions) AS k (key)
WHERE t.id = ANY (%(ids)s)
ORDER BY t.id, k.key;

-- name: accept_completions
-- The fence: only the attempt that holds the lease completes its task, once, and only by its own pod: whoever can make
-- pods in another namespace can copy labels.
UPDATE tasks t
SET status = 'Completed', completed_at = clock_timestamp(), last_heartbeat = clock_timestamp(), error_message = d.note
FROM jsonb_to_recordset(%(done)s) AS d (id uuid, attempt int, token uuid, namespace text, pod text, note text)
JOIN orgs o ON o.slug = d.namespace
JOIN jobs j ON j.org_id = o.id
WHERE t.id = d.id AND t.attempts = d.attempt AND t.lease_token = d.token AND t.status = 'Running'
  AND t.job_id = j.id AND t.worker_id = d.pod
RETURNING t.id;

-- name: publish_outputs
-- What completed tasks made becomes visible: the partition points to this attempt's location, at a time that never
-- repeats for a key. Into the generation that the attempt was started for.
INSERT INTO partition_versions AS pv (
  dataset_uuid, dataset_version, partition_key, materialized_at, config_hash, location, row_count, bytes, task_id)
SELECT (o ->> 'dataset_uuid')::uuid, (o ->> 'version')::uuid, p ->> 'key', clock_timestamp(), o ->> 'config_hash',
       p ->> 'location', r.rows, r.bytes, t.id
FROM tasks t
CROSS JOIN jsonb_array_elements(t.outputs) AS o
CROSS JOIN jsonb_array_elements(o -> 'partitions') AS p
LEFT JOIN jsonb_to_recordset(%(reported)s) AS r (task uuid, output int, key text, rows bigint, bytes bigint)
  ON r.task = t.id AND r.output = (o ->> 'index')::int AND r.key = p ->> 'key'
WHERE t.id = ANY (%(ids)s)
ORDER BY t.seq
ON CONFLICT (dataset_uuid, dataset_version, partition_key) DO UPDATE
SET materialized_at = greatest(excluded.materialized_at, pv.materialized_at + interval '1 microsecond'),
    config_hash = excluded.config_hash, schema_hash = excluded.schema_hash, location = excluded.location,
    row_count = excluded.row_count, bytes = excluded.bytes, task_id = excluded.task_id;

-- name: record_units
-- Finished units of jobs without outputs.
INSERT INTO unit_completions (job_identity, fingerprint, unit_key, completed_at, task_id)
SELECT t.job_identity, t.fingerprint, t.unit_key, t.completed_at, t.id
FROM tasks t
WHERE t.id = ANY (%(ids)s) AND t.outputs = '[]'
ON CONFLICT (job_identity, fingerprint, unit_key) DO UPDATE
SET completed_at = excluded.completed_at, task_id = excluded.task_id;

-- name: fail_attempts
-- An attempt ends without a result: the task will retry with backoff and jitter, joins its waiting twin, or has failed
-- for good. Losses of infrastructure have a budget of their own; what was postponed costs nothing.
UPDATE tasks t
SET status = CASE WHEN v.joins THEN 'Canceled' ELSE 'Failed' END,
    canceled_by = CASE WHEN v.joins THEN 'join' END,
    losses = v.losses,
    forgiven = t.forgiven + v.postponed::int,
    error_message = v.reason,
    next_retry_at = CASE WHEN v.again AND NOT v.joins THEN
      clock_timestamp() + CASE WHEN v.postponed THEN 15 ELSE least(300, v.first * 2 ^ least(v.nth, 20)) END
        * (0.5 + random()) * interval '1 second' END,
    completed_at = CASE WHEN v.joins OR NOT v.again THEN clock_timestamp() END
FROM (
  SELECT f.id, f.attempt, f.token, left(f.reason, 4096) AS reason, l.losses, f.postponed,
         CASE WHEN f.lost THEN 1 ELSE %(backoff)s END AS first,
         CASE WHEN f.lost THEN l.losses - 1 ELSE f.attempt - t.forgiven - l.losses - 1 END AS nth,
         CASE WHEN f.postponed THEN true WHEN f.lost THEN l.losses < 10 ELSE f.attempt - t.forgiven - l.losses < j.max_attempts END AS again,
         EXISTS (
           SELECT 1 FROM tasks w
           WHERE w.job_identity = t.job_identity AND w.fingerprint = t.fingerprint AND w.unit_key = t.unit_key
             AND (w.status = 'Queued' OR (w.status = 'Failed' AND w.next_retry_at IS NOT NULL))) AS joins
  FROM jsonb_to_recordset(%(failed)s) AS f (
    id uuid, attempt int, token uuid, namespace text, pod text, reason text, lost boolean, postponed boolean)
  JOIN tasks t ON t.id = f.id AND t.worker_id = f.pod
  JOIN jobs j ON j.id = t.job_id
  JOIN orgs o ON o.id = j.org_id AND o.slug = f.namespace
  CROSS JOIN LATERAL (SELECT t.losses + (f.lost AND NOT f.postponed)::int AS losses) AS l
) AS v
WHERE t.id = v.id AND t.attempts = v.attempt AND t.lease_token = v.token AND t.status = 'Running'
RETURNING t.id;

-- name: renew_leases
-- These pods, by namespace and name, live. A name ends in the lease token, so it is an attempt's own.
UPDATE tasks t
SET lease_expires_at = clock_timestamp() + make_interval(secs => j.heartbeat_timeout_seconds),
    last_heartbeat = clock_timestamp()
FROM unnest(%(namespaces)s::text[], %(pods)s::text[]) AS a (namespace, pod)
JOIN orgs o ON o.slug = a.namespace
JOIN jobs j ON j.org_id = o.id
WHERE j.id = t.job_id AND t.status = 'Running' AND t.worker_id = a.pod;

-- name: expired_leases
-- Running attempts whose lease has run out, or that are a minute beyond their timeout: a kubelet that is gone, and a pod
-- that no node takes, end none.
SELECT t.id, t.attempts AS attempt, t.lease_token AS token, o.slug AS namespace, t.worker_id AS pod,
       t.lease_expires_at >= now() AS late
FROM tasks t JOIN jobs j ON j.id = t.job_id JOIN orgs o ON o.id = j.org_id
WHERE t.status = 'Running'
  AND (t.lease_expires_at < now() OR t.started_at + make_interval(secs => j.timeout_seconds + 60) < now())
ORDER BY t.seq;

-- name: retry_failed
-- Units that failed for good, of the serving version and of the one being built, are queued again, in their old place
-- and with new budgets; those of one job, or of all. What has a newer task is left: that one decides.
UPDATE tasks t
SET status = 'Queued', job_id = w.job_id, completed_at = NULL, forgiven = t.attempts, losses = 0, error_message = NULL
FROM working_jobs w
WHERE w.org_id = %(org_id)s AND w.dag_name = %(dag)s AND (%(job)s::text IS NULL OR w.name = %(job)s)
  AND t.job_identity = w.identity AND t.fingerprint = w.fingerprint
  AND t.status = 'Failed' AND t.next_retry_at IS NULL
  AND NOT EXISTS (
    SELECT 1 FROM tasks n
    WHERE n.job_identity = t.job_identity AND n.fingerprint = t.fingerprint AND n.unit_key = t.unit_key
      AND n.seq > t.seq);

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
      AND n.seq > t.seq);
