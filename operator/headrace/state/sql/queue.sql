-- name: work_left
-- Whether any task waits for its turn, whether any runs, any rollout is under way, any DAG is to look for work, any
-- attempt is due, any job has or keeps a worker, any news is to be sent: all that an idle operator asks.
SELECT EXISTS (SELECT 1 FROM tasks WHERE status = 'Queued') AS waiting,
       EXISTS (SELECT 1 FROM tasks WHERE next_retry_at <= now()) AS due,
       EXISTS (SELECT 1 FROM tasks WHERE status = 'Running') AS running,
       EXISTS (SELECT 1 FROM workers WHERE gone_at IS NULL)
         OR EXISTS (SELECT 1 FROM kept_workers) AS workers,
       EXISTS (SELECT 1 FROM rollouts WHERE state IN ('Building', 'Ready')) AS rollouts,
       EXISTS (SELECT 1 FROM consumer_looks) AS looks,
       EXISTS (SELECT 1 FROM notices WHERE due_at <= now()) AS notices;

-- name: requeue_due
-- What is due to be tried again waits in the queue, in its old place; whoever waits for work of a job is told once.
WITH due AS (
  UPDATE tasks SET status = 'Queued', next_retry_at = NULL WHERE next_retry_at <= now() RETURNING id, job_identity
)
SELECT d.id, CASE WHEN row_number() OVER (PARTITION BY d.job_identity) = 1
  THEN pg_notify('headrace_work', d.job_identity::text) IS NULL END AS told
FROM due d;

-- name: waiting_dispatched
-- Waiting tasks of the operator's own that may run, the oldest of each job: whose locks to take before they are picked.
SELECT k.id
FROM waiting_jobs x
JOIN jobs j ON j.id = x.job_id AND j.runtime = 'dispatcher'
JOIN dags p ON p.org_id = j.org_id AND p.name = j.dag_name AND p.absent_since IS NULL AND NOT p.suspended
CROSS JOIN LATERAL (
  SELECT t.id, t.seq FROM tasks t WHERE t.job_id = j.id AND t.status = 'Queued' ORDER BY t.low, t.seq LIMIT %(most)s
) AS k
ORDER BY k.seq
LIMIT %(most)s;

-- name: lock_claimable
-- The jobs with waiting work that may run: of a version that serves or is being built and not held for a cutover, its
-- DAG there and not suspended; `job`: that one alone. Each under its claim lock until the transaction ends: its room is
-- counted by one claim at a time. A job that another claim has just now is left to that one. A thousand at once: locks are
-- memory that all of Postgres shares.
SELECT c.id
FROM (
  SELECT j.id, j.identity, o.settings -> 'max_running_tasks' AS cap, o.id AS org_id
  FROM waiting_jobs x
  JOIN jobs j ON j.id = x.job_id AND j.runtime = %(runtime)s
  JOIN orgs o ON o.id = j.org_id
  JOIN dags p ON p.org_id = j.org_id AND p.name = j.dag_name AND NOT p.suspended
  CROSS JOIN LATERAL (SELECT w.building FROM working_jobs w WHERE w.job_id = j.id OFFSET 0) AS w
  WHERE (%(orgs)s::uuid[] IS NULL OR j.org_id = ANY (%(orgs)s)) AND (w.building OR NOT EXISTS (
    SELECT 1 FROM rollouts h
    WHERE h.org_id = j.org_id AND h.dag_name = j.dag_name AND h.state IN ('Building', 'Ready')
      AND h.held_until > now() AND NOT EXISTS (
        SELECT 1 FROM jobs b
        WHERE b.dag_version_id = h.dag_version_id AND b.identity = j.identity AND b.fingerprint = j.fingerprint)))
    AND (SELECT count(*) FROM tasks r WHERE r.job_identity = j.identity AND r.status = 'Running')
      < (j.scaling ->> 'max_concurrency')::int
  ORDER BY (SELECT min(t.seq) FROM tasks t WHERE t.job_id = j.id AND t.status = 'Queued' AND NOT t.low), j.id
  LIMIT 1000
) AS c
WHERE pg_try_advisory_xact_lock(hashtextextended('claim/' || c.identity, 3))
  AND (c.cap IS NULL OR pg_try_advisory_xact_lock(hashtextextended('claim-org/' || c.org_id, 3)));

-- name: pick_tasks
-- What can run now of these jobs, whose claim locks are held: as far as the job has room over all its versions and its
-- org below its cap (what runs on and on is beside it), no older task of the key unsettled upstream nor any of what the job reads as a whole, none of the
-- job's own running or before it, and each `same` input with its partition. The oldest of each job in turn. Live work
-- comes first; low work has a quarter of a job's room, or every fourth turn of a job that runs one at a time, and what
-- live work leaves. `worker`: for this one, which holds at most `batch`. The rows are locked here; their inputs are read by
-- the next statement. `made`: by the same job from exactly these inputs, so that there is nothing to run; what a person
-- asked for is run anyway, and what reads update by update: its parts are of many tasks. OFFSET 0: asked by the unit's key, not of all that runs.
WITH room AS (
  SELECT j.id, j.identity, j.org_id, j.dag_name, c.most, r.running,
         bit_count(j.upstream) > 0 AS reads, CASE WHEN j.awaited IS NOT NULL THEN awaits(j.id) END AS awaits,
         least(%(most)s, %(batch)s::int - r.held) AS wanted,
         coalesce(j.source ->> 'kind' = 'webhook', false) AS told,
         j.activation = 'reactive' AND NOT EXISTS (
           SELECT 1 FROM job_inputs i WHERE i.job_id = j.id AND i.on_change = 'update' OFFSET 0) AS reactive,
         coalesce((j.document ->> 'coalesce')::bool, false) AS merges,
         j.fingerprint, j.dag_version_id, j.name, cardinality(j.output_datasets) > 0 AS makes,
         CASE WHEN c.most = 1 THEN (coalesce(u.live, 0) >= 3)::int
              ELSE greatest(greatest(least(c.most, c.cap) / 4, 1) - r.low, 0) END AS share,
         c.cap
  FROM jobs j
  JOIN orgs o ON o.id = j.org_id
  CROSS JOIN LATERAL (
    SELECT (j.scaling ->> 'max_concurrency')::int AS most, (o.settings ->> 'max_running_tasks')::int AS cap OFFSET 0
  ) AS c
  CROSS JOIN LATERAL (
    SELECT count(*) AS running, count(*) FILTER (WHERE t.low) AS low,
           count(*) FILTER (WHERE t.worker_id = %(worker)s::text) AS held
    FROM tasks t WHERE t.job_identity = j.identity AND t.status = 'Running'
  ) AS r
  LEFT JOIN claim_turns u ON u.job_identity = j.identity
  WHERE j.id = ANY (%(jobs)s) AND r.running < c.most
), inputs AS MATERIALIZED (
  SELECT r.id, i.match, v.dataset_uuid, v.dataset_version, w.revision
  FROM room r
  JOIN job_inputs i ON i.job_id = r.id
  LEFT JOIN LATERAL (
    SELECT v.dataset_uuid, v.dataset_version FROM input_versions v
    WHERE v.job_id = i.job_id AND v.name = i.name OFFSET 0
  ) AS v ON true
  LEFT JOIN dataset_revisions w ON i.match = 'latest'
    AND w.dataset_uuid = v.dataset_uuid AND w.dataset_version = v.dataset_version
), outputs AS MATERIALIZED (
  SELECT r.id, v.dataset_uuid, v.dataset_version
  FROM room r
  JOIN datasets d ON d.org_id = r.org_id AND d.producer_dag_name = r.dag_name AND d.producer_job_name = r.name
    AND d.producer_output_index = 0
  JOIN dag_version_datasets v ON v.dag_version_id = r.dag_version_id AND v.dataset_uuid = d.id
  WHERE r.reactive AND r.makes
), waiting AS (
  SELECT r.*, k.id AS task, k.low, k.seq, k.unit_key, k.forced, row_number() OVER (PARTITION BY r.identity, k.low ORDER BY k.seq) AS nth
  FROM room r
  CROSS JOIN (VALUES (false), (true)) AS b (low)
  CROSS JOIN LATERAL (
    SELECT t.id, t.low, t.seq, t.unit_key, t.requested_by IS NOT NULL OR t.params_digest <> '' AS forced
    FROM tasks t
    WHERE t.job_id = r.id AND t.status = 'Queued' AND t.low = b.low AND (r.awaits IS NULL OR t.seq < r.awaits)
      AND NOT EXISTS (
        SELECT 1 FROM tasks u
        WHERE u.job_identity = t.job_identity AND u.fingerprint = t.fingerprint AND u.unit_key = t.unit_key
          AND u.status = 'Running' OFFSET 0)
      AND NOT EXISTS (
        SELECT 1 FROM tasks u
        WHERE u.job_identity = t.job_identity AND u.fingerprint = t.fingerprint AND u.unit_key = t.unit_key
          AND u.params_digest <> t.params_digest AND u.seq < t.seq
          AND (u.status = 'Queued' OR (u.status = 'Failed' AND u.next_retry_at IS NOT NULL)) OFFSET 0)
      AND NOT (r.reads AND EXISTS (SELECT 1 FROM held_by(r.id, t.unit_key, t.seq)))
      AND NOT EXISTS (
        SELECT 1 FROM inputs i
        WHERE i.id = r.id AND i.match = 'same' AND NOT EXISTS (
          SELECT 1 FROM partition_versions pv
          WHERE pv.dataset_uuid = i.dataset_uuid AND pv.dataset_version = i.dataset_version
            AND pv.partition_key = t.unit_key OFFSET 0))
    ORDER BY t.seq
    LIMIT greatest(least(r.most - r.running, r.wanted), 0)
    FOR UPDATE SKIP LOCKED
  ) AS k
), placed AS (
  SELECT w.*, w.low AND w.nth > w.share AS gives_way,
         row_number() OVER (PARTITION BY w.identity ORDER BY w.low AND w.nth > w.share, NOT w.low, w.nth) AS place
  FROM waiting w
), ordered AS (
  SELECT p.*, row_number() OVER (PARTITION BY p.org_id, p.unit_key = '@' ORDER BY p.gives_way, p.place, p.seq) AS of_org
  FROM placed p
  WHERE p.place <= p.most - p.running
)
SELECT o.task AS id, o.id AS job, o.org_id, o.dag_name AS dag, o.low, o.told,
       o.reactive AND NOT o.forced AND EXISTS (
         SELECT 1
         FROM (
           SELECT pv.task_id FROM outputs m
           CROSS JOIN LATERAL (
             SELECT pv.task_id FROM partition_versions pv
             WHERE pv.dataset_uuid = m.dataset_uuid AND pv.dataset_version = m.dataset_version
               AND pv.partition_key = o.unit_key OFFSET 0
           ) AS pv
           WHERE m.id = o.id
           UNION ALL
           SELECT u.task_id FROM unit_completions u
           WHERE NOT o.makes AND u.job_identity = o.identity AND u.fingerprint = o.fingerprint
             AND u.unit_key = o.unit_key AND u.task_id IS NOT NULL
         ) AS s
         WHERE NOT EXISTS (
           SELECT 1
           FROM inputs i
           LEFT JOIN partition_versions pv ON i.match = 'same' AND pv.dataset_uuid = i.dataset_uuid
             AND pv.dataset_version = i.dataset_version AND pv.partition_key = o.unit_key
           LEFT JOIN task_inputs r ON r.task_id = s.task_id AND r.input_dataset_uuid = i.dataset_uuid
             AND r.input_partition_key = CASE WHEN i.match = 'same' THEN o.unit_key ELSE '*' END
           WHERE i.id = o.id AND (r.input_version, r.input_dataset_version)
             IS DISTINCT FROM (coalesce(pv.materialized_at, i.revision), i.dataset_version))) AS made,
       o.merges, CASE WHEN o.most = 1 AND EXISTS (SELECT 1 FROM waiting w WHERE w.identity = o.identity AND w.low)
         THEN o.identity END AS turn
FROM ordered o
WHERE o.cap IS NULL OR o.unit_key = '@' OR o.of_org <= o.cap - (
  SELECT count(*) FROM tasks t JOIN jobs j ON j.id = t.job_id
  WHERE t.status = 'Running' AND j.org_id = o.org_id AND t.unit_key <> '@')
ORDER BY o.gives_way, o.place, o.seq
LIMIT (SELECT max(r.wanted) FROM room r);

-- name: settle_made
-- What these tasks were to make is there, made from the same: they are done without an attempt.
UPDATE tasks t SET status = 'Completed', completed_at = clock_timestamp(), outputs = '[]', error_message =
  'nothing was run: it was made before from exactly the same inputs'
WHERE t.id = ANY (%(ids)s);

-- name: take_turns
-- Which kind of work had its turn, of jobs that run one at a time and have both.
INSERT INTO claim_turns AS c (job_identity, live)
SELECT t.identity, (NOT t.low)::int FROM unnest(%(identities)s::uuid[], %(low)s::bool[]) AS t (identity, low)
ON CONFLICT (job_identity) DO UPDATE SET live = CASE WHEN excluded.live = 0 THEN 0 ELSE c.live + 1 END;

-- name: pick_dispatched
-- Of these tasks of the operator's own, those that still wait, the oldest of a key that does not run; locked.
SELECT t.id, t.job_id AS job, j.org_id, j.dag_name AS dag,
       coalesce(j.source ->> 'kind' = 'webhook', false) AS told
FROM tasks t
JOIN jobs j ON j.id = t.job_id
JOIN dags p ON p.org_id = j.org_id AND p.name = j.dag_name AND NOT p.suspended
CROSS JOIN LATERAL (SELECT w.building FROM working_jobs w WHERE w.job_id = j.id OFFSET 0) AS w
WHERE t.id = ANY (%(among)s) AND t.status = 'Queued'
  AND NOT EXISTS (
    SELECT 1 FROM tasks u
    WHERE u.job_identity = t.job_identity AND u.fingerprint = t.fingerprint AND u.unit_key = t.unit_key
      AND (u.status = 'Running' OR (u.seq < t.seq AND (
        u.status = 'Queued' OR (u.status = 'Failed' AND u.next_retry_at IS NOT NULL)))))
  AND (w.building OR NOT EXISTS (
    SELECT 1 FROM rollouts h
    WHERE h.org_id = j.org_id AND h.dag_name = j.dag_name AND h.state IN ('Building', 'Ready')
      AND h.held_until > now() AND NOT EXISTS (
        SELECT 1 FROM jobs b
        WHERE b.dag_version_id = h.dag_version_id AND b.identity = j.identity AND b.fingerprint = j.fingerprint)))
ORDER BY t.seq
FOR UPDATE OF t SKIP LOCKED;

-- name: start_tasks
-- The picked tasks begin an attempt: lease, token, the inputs as they are now, an output location of this attempt
-- alone, also if Postgres is restored and the same attempt is begun again: its token will be another. What the inputs
-- were is recorded row by row, of one read as a whole its revision. Nothing begins in a worker that is found to be over, nor is one found so before this
-- transaction ends. Partitions are looked up key by key: by a list of keys, a dataset that has grown since Postgres last
-- analysed it would be read whole for each task.
WITH alive AS (
  SELECT w.pod_uid FROM workers w WHERE w.pod_uid = %(pod_uid)s::text AND w.gone_at IS NULL FOR SHARE
), fresh AS MATERIALIZED (
  SELECT u.id, gen_random_uuid() AS token
  FROM unnest(%(ids)s::uuid[]) AS u (id)
  WHERE %(pod_uid)s::text IS NULL OR EXISTS (SELECT 1 FROM alive)
), begun AS (
  SELECT DISTINCT u.job_id FROM unnest(%(jobs)s::uuid[]) AS u (job_id)
), given AS MATERIALIZED (
  SELECT b.job_id, v.name, v.match, v.on_change, v.filter, v.dataset, v.dataset_uuid, v.dataset_version, g.unique_key,
         r.revision, p.partitions, EXISTS (
           SELECT 1 FROM data_invalidations n
           WHERE n.dataset_uuid = v.dataset_uuid AND n.dataset_version = v.dataset_version AND n.processed_at IS NULL
         ) AS invalidated
  FROM begun b
  CROSS JOIN LATERAL (SELECT * FROM input_versions v WHERE v.job_id = b.job_id OFFSET 0) AS v
  JOIN dataset_versions g ON g.id = v.dataset_version
  LEFT JOIN dataset_revisions r ON v.match = 'latest'
    AND r.dataset_uuid = v.dataset_uuid AND r.dataset_version = v.dataset_version
  CROSS JOIN LATERAL (
    SELECT jsonb_agg(given_partition(p, g.unique_key IS NOT NULL) ORDER BY p.partition_key) AS partitions
    FROM partition_versions p
    WHERE v.match = 'latest' AND p.dataset_uuid = v.dataset_uuid AND p.dataset_version = v.dataset_version
      AND (v.on_change <> 'update' OR EXISTS (
        SELECT 1 FROM fresh f JOIN tasks t ON t.id = f.id
        LEFT JOIN dataset_updates u ON u.dataset_uuid = v.dataset_uuid AND u.number = t.first_update
        WHERE t.job_id = b.job_id AND (t.unit_key = '*' OR u.to_value IS NULL)))
  ) AS p
), hinted AS MATERIALIZED (
  SELECT h.id, h.rows, maps_filters(h.job_id, (
           SELECT jsonb_agg(f) FROM jsonb_each(h.rows) AS r (name, filters) CROSS JOIN jsonb_array_elements(r.filters) AS f)
         ) AS mapped, (
           SELECT jsonb_agg(DISTINCT f) FROM jsonb_each(h.rows) AS r (name, filters)
           CROSS JOIN jsonb_array_elements(r.filters) AS f) AS filters
  FROM (
    SELECT t.id, t.job_id, CASE WHEN t.first_update IS NULL THEN row_hints(t.job_id, t.unit_key)
             ELSE jsonb_build_object(g.name, u.row_filters) END AS rows
    FROM fresh f
    JOIN tasks t ON t.id = f.id
    LEFT JOIN given g ON g.job_id = t.job_id AND g.on_change = 'update'
    LEFT JOIN dataset_updates u ON u.dataset_uuid = g.dataset_uuid AND u.number = t.first_update
    WHERE t.requested_by IS NULL AND t.params_digest = '' AND (u.row_filters IS NOT NULL OR (
      g.name IS NULL AND EXISTS (
        SELECT 1 FROM given n WHERE n.job_id = t.job_id AND n.match = 'same' AND n.invalidated)))
  ) AS h
  WHERE h.rows IS NOT NULL
), brought AS MATERIALIZED (
  SELECT t.id, g.name, CASE WHEN t.unit_key = '*' THEN 0 ELSE t.first_update END AS first,
         CASE WHEN t.unit_key = '*' THEN coalesce(c.updates, 0) ELSE t.last_update END AS last,
         t.unit_key <> '*' AND a.to_value IS NOT NULL AS ranged, a.cursor_type, a.from_value, b.to_value,
         jsonb_build_object('column', a.cursor_column, 'type', a.cursor_type,
           'from', cursor_json(a.cursor_type, a.from_value), 'to', cursor_json(a.cursor_type, b.to_value)) AS range
  FROM fresh f
  JOIN tasks t ON t.id = f.id
  JOIN given g ON g.job_id = t.job_id AND g.on_change = 'update'
  LEFT JOIN update_counters c ON c.dataset_uuid = g.dataset_uuid
  LEFT JOIN dataset_updates a ON a.dataset_uuid = g.dataset_uuid AND a.number = t.first_update
  LEFT JOIN dataset_updates b ON b.dataset_uuid = g.dataset_uuid AND b.number = t.last_update
), made AS MATERIALIZED (
  SELECT b.job_id, d.producer_output_index AS index, v.name AS dataset, d.id AS dataset_uuid, v.dataset_version,
         g.config_hash, g.unique_key, CASE WHEN j.runtime <> 'dispatcher' THEN g.storage_location END AS place,
         j.activation = 'reactive' AS replaces
  FROM begun b
  JOIN jobs j ON j.id = b.job_id
  JOIN datasets d ON d.org_id = j.org_id AND d.producer_dag_name = j.dag_name AND d.producer_job_name = j.name
  JOIN dag_version_datasets v ON v.dag_version_id = j.dag_version_id AND v.dataset_uuid = d.id
  JOIN dataset_versions g ON g.id = v.dataset_version
), started AS (
  UPDATE tasks t
  SET status = 'Running', in_worker = %(worker)s::text IS NOT NULL, attempts = t.attempts + 1, lease_token = f.token,
      claimed_epoch = coalesce(%(epoch)s, (SELECT epoch FROM operator_epoch)), next_retry_at = NULL,
      error_message = NULL, first_update = w.first, last_update = w.last, started_at = clock_timestamp(), last_heartbeat = clock_timestamp(),
      lease_expires_at = clock_timestamp() + make_interval(secs => j.heartbeat_timeout_seconds),
      worker_id = coalesce(%(worker)s::text, rtrim(left(replace(j.dag_name || '-' || j.name, '_', '-'), 30), '-')
                  || '-' || replace(f.token::text, '-', '')),
      input_versions = coalesce((
        SELECT jsonb_object_agg(g.name, jsonb_build_object(
          'dataset', g.dataset, 'dataset_uuid', g.dataset_uuid, 'version', g.dataset_version, 'where', g.filter,
          'uniqueKey', g.unique_key, 'range', CASE WHEN w.ranged AND w.name = g.name THEN w.range END,
          'filters', CASE WHEN h.mapped OR j.update_strategy = 'replace' THEN h.rows -> g.name END,
          'partitions', CASE
            WHEN w.ranged AND w.name = g.name
              THEN given_range(g.dataset_uuid, g.dataset_version, w.cursor_type, w.from_value, w.to_value)
            WHEN g.match = 'latest' THEN coalesce(g.partitions, '[]') ELSE (
            SELECT coalesce(jsonb_agg(given_partition(pv.found, g.unique_key IS NOT NULL)
                                      ORDER BY (pv.found).partition_key), '[]')
            FROM unnest(t.partitions) AS k (key)
            CROSS JOIN LATERAL (
              SELECT p AS found FROM partition_versions p
              WHERE p.dataset_uuid = g.dataset_uuid AND p.dataset_version = g.dataset_version
                AND p.partition_key = k.key OFFSET 0
            ) AS pv) END))
        FROM given g
        WHERE g.job_id = j.id), '{}'),
      outputs = coalesce((
        SELECT jsonb_agg(jsonb_build_object(
          'index', m.index, 'dataset', m.dataset, 'dataset_uuid', m.dataset_uuid, 'version', m.dataset_version,
          'config_hash', m.config_hash, 'uniqueKey', m.unique_key, 'partitions', (
            SELECT jsonb_agg(jsonb_build_object(
              'key', k.key,
              'location', m.place || '/' || replace(k.key, '*', '_') || '/' || t.id || '-' || (t.attempts + 1)
                || '-' || right(f.token::text, 12)
            ) || CASE WHEN m.unique_key IS NULL OR NOT m.replaces OR w.ranged THEN '{}'::jsonb
                      WHEN h.mapped THEN jsonb_build_object('replaces', h.filters) ELSE '{"replaces": [{}]}' END
              || CASE WHEN m.unique_key IS NULL OR w.id IS NULL THEN '{}' ELSE jsonb_build_object('place', w.last) END
              ORDER BY k.place)
            FROM unnest(t.partitions) WITH ORDINALITY AS k (key, place))
        ) ORDER BY m.index)
        FROM made m
        WHERE m.job_id = j.id), '[]')
  FROM fresh f
  LEFT JOIN brought w ON w.id = f.id
  LEFT JOIN hinted h ON h.id = f.id, jobs j
  WHERE t.id = f.id AND j.id = t.job_id
  RETURNING t.id, t.job_id, t.seq, t.attempts, t.lease_token, t.partitions, t.input_versions, t.outputs, t.params,
            extract(epoch FROM t.started_at - t.created_at)::float8 AS waited
), recorded AS (
  INSERT INTO task_inputs (
    task_id, input_dataset_uuid, input_dataset_version, input_partition_key, input_version)
  SELECT s.id, g.dataset_uuid, g.dataset_version, '*', g.revision
  FROM started s
  JOIN given g ON g.job_id = s.job_id AND g.match = 'latest'
  UNION
  SELECT s.id, g.dataset_uuid, g.dataset_version, pv.partition_key, pv.materialized_at
  FROM started s
  JOIN given g ON g.job_id = s.job_id AND g.match = 'same'
  CROSS JOIN LATERAL unnest(s.partitions) AS k (key)
  CROSS JOIN LATERAL (
    SELECT p.partition_key, p.materialized_at FROM partition_versions p
    WHERE p.dataset_uuid = g.dataset_uuid AND p.dataset_version = g.dataset_version AND p.partition_key = k.key
    OFFSET 0
  ) AS pv
  ON CONFLICT (task_id, input_dataset_uuid, input_partition_key) DO UPDATE
  SET input_version = excluded.input_version, input_dataset_version = excluded.input_dataset_version
)
SELECT s.id, s.attempts AS attempt, s.lease_token AS token, s.partitions, s.input_versions::text AS inputs,
       s.outputs::text AS outputs, s.params, CASE WHEN s.attempts = 1 THEN s.waited END AS waited
FROM started s ORDER BY s.seq;

-- name: finish_dispatched
-- Tasks of the operator's own are done in the transaction that starts them; those that make nothing are recorded.
WITH finished AS (
  UPDATE tasks t SET status = 'Completed', completed_at = clock_timestamp()
  WHERE t.id = ANY (%(ids)s)
  RETURNING t.id, t.job_identity, t.fingerprint, t.unit_key, t.completed_at, t.outputs <> '[]' AS makes
)
INSERT INTO unit_completions (job_identity, fingerprint, unit_key, completed_at, task_id)
SELECT f.job_identity, f.fingerprint, f.unit_key, f.completed_at, f.id
FROM finished f
WHERE NOT f.makes
ON CONFLICT (job_identity, fingerprint, unit_key) DO UPDATE
SET completed_at = excluded.completed_at, task_id = excluded.task_id, made_from = NULL;

-- name: listen_for_work
-- Which jobs have work that they had not.
LISTEN headrace_work;

-- name: listen_for_touched
-- Which DAGs workers have done something of.
LISTEN headrace_touched;

-- name: tell_touched
-- Workers have done something of these DAGs.
SELECT pg_notify('headrace_touched', d.name) FROM unnest(%(dags)s::text[]) AS d (name);

-- name: waiting_among
-- Of these jobs, by identity, those that have waiting work.
SELECT w.identity
FROM unnest(%(identities)s::uuid[]) AS w (identity)
WHERE EXISTS (
  SELECT 1 FROM jobs j JOIN tasks t ON t.job_id = j.id AND t.status = 'Queued' WHERE j.identity = w.identity);
