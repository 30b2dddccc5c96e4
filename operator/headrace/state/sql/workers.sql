-- name: record_worker
-- The operator has made this pod for a job; twice is once.
INSERT INTO workers (pod_uid, org_id, pod_name, job_id, epoch)
SELECT %(pod_uid)s, j.org_id, %(pod_name)s, j.id, %(epoch)s FROM jobs j WHERE j.id = %(job_id)s
ON CONFLICT DO NOTHING;

-- name: worker_jobs
-- Jobs of these orgs that are worked on by workers and have work, or workers, or keep one: how many tasks wait and run,
-- how many workers take new work, or are to be ended since they never did; how many pods of the last hour ended without
-- having claimed anything.
SELECT j.id AS job_id, j.identity, j.org_id, o.slug AS org, j.dag_name AS dag, j.name AS job, j.operator, j.pod,
       j.idle_timeout, j.heartbeat_timeout_seconds, (j.scaling ->> 'max_concurrency')::int AS most,
       (j.scaling ->> 'batch')::int AS batch, p.object_uid AS dag_uid, p.suspended, t.waiting, r.running, w.workers,
       f.fruitless, f.last_fruitless
FROM (
  SELECT x.job_id FROM waiting_jobs x
  UNION
  SELECT k.job_id FROM kept_workers k
) AS x
JOIN jobs j ON j.id = x.job_id AND j.runtime = 'worker' AND j.org_id = ANY (%(orgs)s)
JOIN orgs o ON o.id = j.org_id
JOIN dags p ON p.org_id = j.org_id AND p.name = j.dag_name AND p.absent_since IS NULL
CROSS JOIN LATERAL (SELECT k.job_id FROM working_jobs k WHERE k.job_id = j.id OFFSET 0) AS k
CROSS JOIN LATERAL (
  SELECT count(*) AS waiting FROM (
    SELECT 1 FROM tasks t WHERE t.job_id = j.id AND t.status = 'Queued'
    LIMIT (j.scaling ->> 'max_concurrency')::int) AS first
) AS t
CROSS JOIN LATERAL (
  SELECT count(*) AS running FROM tasks t WHERE t.job_identity = j.identity AND t.status = 'Running'
) AS r
CROSS JOIN LATERAL (
  SELECT count(*) AS workers
  FROM workers w JOIN jobs m ON m.id = w.job_id
  WHERE m.identity = j.identity AND m.fingerprint = j.fingerprint AND m.pod = j.pod AND m.idle_timeout = j.idle_timeout
    AND w.gone_at IS NULL AND (w.retired_at IS NULL OR w.seen_at IS NULL)
) AS w
CROSS JOIN LATERAL (
  SELECT count(*) AS fruitless, max(w.gone_at) AS last_fruitless
  FROM workers w JOIN jobs m ON m.id = w.job_id
  WHERE m.identity = j.identity AND m.fingerprint = j.fingerprint AND m.pod = j.pod
    AND w.gone_at > now() - interval '1 hour' AND w.seen_at IS NULL
    AND NOT EXISTS (
      SELECT 1 FROM workers l JOIN jobs n ON n.id = l.job_id
      WHERE n.identity = j.identity AND n.fingerprint = j.fingerprint AND n.pod = j.pod AND l.created_at > w.created_at
        AND l.seen_at IS NOT NULL)
) AS f
ORDER BY o.slug, j.dag_name, j.name;

-- name: claimable_work
-- Of these jobs how many waiting tasks a worker could begin, at most as many as a job may run at once: none while the job
-- is held for a cutover or its org is at its cap, none that waits for older work
-- of its key or of what is read as a whole, and none whose inputs lack its partition. Nothing is locked.
SELECT j.id AS job_id, count(t.id) AS tasks
FROM jobs j
JOIN orgs o ON o.id = j.org_id
JOIN dags p ON p.org_id = j.org_id AND p.name = j.dag_name AND p.absent_since IS NULL AND NOT p.suspended
CROSS JOIN LATERAL (SELECT w.building FROM working_jobs w WHERE w.job_id = j.id OFFSET 0) AS w
CROSS JOIN LATERAL (SELECT CASE WHEN j.awaited IS NOT NULL THEN awaits(j.id) END AS awaits OFFSET 0) AS a
CROSS JOIN LATERAL (
  SELECT t.id
  FROM tasks t
  WHERE t.job_id = j.id AND t.status = 'Queued' AND (a.awaits IS NULL OR t.seq < a.awaits)
    AND NOT EXISTS (
      SELECT 1 FROM tasks u
      WHERE u.job_identity = t.job_identity AND u.fingerprint = t.fingerprint AND u.unit_key = t.unit_key
        AND u.status = 'Running' OFFSET 0)
    AND NOT EXISTS (
      SELECT 1 FROM tasks u
      WHERE u.job_identity = t.job_identity AND u.fingerprint = t.fingerprint AND u.unit_key = t.unit_key
        AND u.params_digest <> t.params_digest AND u.seq < t.seq
        AND (u.status = 'Queued' OR (u.status = 'Failed' AND u.next_retry_at IS NOT NULL)) OFFSET 0)
    AND NOT (bit_count(j.upstream) > 0 AND EXISTS (SELECT 1 FROM held_by(j.id, t.unit_key, t.seq)))
    AND NOT EXISTS (SELECT 1 FROM lacking_inputs(j.id, t.unit_key))
  LIMIT (j.scaling ->> 'max_concurrency')::int
) AS t
WHERE j.id = ANY (%(jobs)s)
  AND (o.settings -> 'max_running_tasks' IS NULL OR (o.settings ->> 'max_running_tasks')::int > (
    SELECT count(*) FROM tasks r JOIN jobs m ON m.id = r.job_id
    WHERE r.status = 'Running' AND m.org_id = o.id AND r.unit_key <> '@'))
  AND (w.building OR NOT EXISTS (
    SELECT 1 FROM rollouts h
    WHERE h.org_id = j.org_id AND h.dag_name = j.dag_name AND h.state IN ('Building', 'Ready')
      AND h.held_until > now() AND NOT EXISTS (
        SELECT 1 FROM jobs b
        WHERE b.dag_version_id = h.dag_version_id AND b.identity = j.identity AND b.fingerprint = j.fingerprint)))
GROUP BY j.id;

-- name: stale_workers
-- Whether there are workers of DAGs that are long gone, which nobody follows, or rows of workers long over.
SELECT EXISTS (
    SELECT 1 FROM workers w JOIN jobs j ON j.id = w.job_id
    JOIN dags p ON p.org_id = j.org_id AND p.name = j.dag_name AND p.absent_since < now() - interval '10 minutes'
    WHERE w.gone_at IS NULL) AS absent,
  EXISTS (SELECT 1 FROM workers WHERE gone_at < now() - interval '1 day') AS old;

-- name: end_absent_workers
-- A DAG that is gone has no pods: its workers are over, and hold nothing.
UPDATE workers w SET gone_at = now()
FROM jobs j
JOIN dags p ON p.org_id = j.org_id AND p.name = j.dag_name AND p.absent_since < now() - interval '10 minutes'
WHERE j.id = w.job_id AND w.gone_at IS NULL
  AND NOT EXISTS (SELECT 1 FROM tasks t WHERE t.job_id = j.id AND t.status = 'Running');

-- name: delete_old_workers
-- Workers that were over a day ago.
DELETE FROM workers WHERE gone_at < now() - interval '1 day';

-- name: workers_here
-- The worker pods that are not known to be over. Those that should have ended a minute ago and hold nothing are stuck, and
-- those that get nothing and never had anything. Unneeded: never claimed, and for a minute or more there was nothing to
-- claim for one of its form.
SELECT w.pod_uid, w.pod_name AS name, o.slug AS namespace, m.dag_name AS dag, w.created_at, w.seen_at IS NOT NULL AS seen,
       w.retired_at IS NOT NULL AS retired, m.heartbeat_timeout_seconds,
       coalesce(w.retired_at < now() - interval '60 seconds' OR w.seen_at IS NULL AND w.retired_at IS NOT NULL, false)
         AND NOT EXISTS (
           SELECT 1 FROM tasks t
           WHERE t.job_identity = m.identity AND t.status = 'Running' AND t.worker_id = w.pod_name) AS stuck,
       w.seen_at IS NULL AND w.created_at < now() - interval '60 seconds' AND NOT EXISTS (
         SELECT 1
         FROM working_jobs k JOIN jobs j ON j.id = k.job_id
         WHERE k.identity = m.identity AND k.fingerprint = m.fingerprint AND j.pod = m.pod
           AND j.idle_timeout = m.idle_timeout AND j.runtime = 'worker'
           AND (j.idle_timeout = 'never' OR EXISTS (
             SELECT 1 FROM tasks t
             WHERE t.job_id = j.id AND (t.status = 'Queued' OR (t.status = 'Failed' AND t.next_retry_at IS NOT NULL))))) AS unneeded
FROM workers w JOIN orgs o ON o.id = w.org_id JOIN jobs m ON m.id = w.job_id
WHERE w.gone_at IS NULL;

-- name: find_worker
-- Who a pod is, by the uid that its token is bound to, and by name and namespace; the job that it may work on now, in the
-- form that it was made for, if that still works. And where Postgres stands.
SELECT e.incarnation, e.epoch, e.mark, w.pod_uid, w.pod_name, w.org_id, o.slug AS org, m.identity, m.dag_name AS dag,
       m.name AS job, (m.scaling ->> 'batch')::int AS batch,
       w.retired_at IS NOT NULL OR w.gone_at IS NOT NULL AS retired, w.seen_at IS NOT NULL AS seen, c.job_id
FROM workers w
JOIN orgs o ON o.id = w.org_id AND o.slug = %(namespace)s
JOIN jobs m ON m.id = w.job_id
LEFT JOIN LATERAL (
  SELECT k.job_id
  FROM working_jobs k JOIN jobs j ON j.id = k.job_id
  WHERE k.identity = m.identity AND k.fingerprint = m.fingerprint AND j.pod = m.pod AND j.idle_timeout = m.idle_timeout
    AND j.runtime = 'worker'
  LIMIT 1
) AS c ON true
CROSS JOIN operator_epoch e
WHERE w.pod_uid = %(pod_uid)s AND w.pod_name = %(pod_name)s;

-- name: lock_worker_job
-- The claim lock of a worker's job, waited for: others of the job are quick. No row while the job may start nothing:
-- its DAG is suspended or gone, or the job is held for a cutover. With what its tasks are told of it.
SELECT j.id, o.slug AS org, j.dag_name AS dag, j.name AS job, j.operator, j.config::text AS config, j.timeout_seconds,
       pg_advisory_xact_lock(hashtextextended('claim/' || j.identity, 3)) IS NULL AS locked,
       CASE WHEN o.settings ? 'max_running_tasks'
         THEN pg_advisory_xact_lock(hashtextextended('claim-org/' || o.id, 3)) IS NULL END AS capped
FROM jobs j
JOIN orgs o ON o.id = j.org_id
JOIN dags p ON p.org_id = j.org_id AND p.name = j.dag_name AND p.absent_since IS NULL AND NOT p.suspended
CROSS JOIN LATERAL (SELECT w.building FROM working_jobs w WHERE w.job_id = j.id OFFSET 0) AS w
WHERE j.id = %(job)s AND (w.building OR NOT EXISTS (
  SELECT 1 FROM rollouts h
  WHERE h.org_id = j.org_id AND h.dag_name = j.dag_name AND h.state IN ('Building', 'Ready')
    AND h.held_until > now() AND NOT EXISTS (
      SELECT 1 FROM jobs b
      WHERE b.dag_version_id = h.dag_version_id AND b.identity = j.identity AND b.fingerprint = j.fingerprint)));

-- name: see_worker
-- It has claimed: whoever made it knows that its image works. No row: meanwhile it was found to be of no use.
UPDATE workers SET seen_at = coalesce(seen_at, now())
WHERE pod_uid = %(pod_uid)s AND retired_at IS NULL AND gone_at IS NULL;

-- name: retire_silent
-- These run and have never claimed: they get nothing from now on. Not those that claim at this moment.
UPDATE workers SET retired_at = now()
WHERE pod_uid = ANY (%(uids)s) AND seen_at IS NULL AND retired_at IS NULL AND gone_at IS NULL;

-- name: forget_unneeded
-- These have never claimed and need not: they are nobody's, and their pods are deleted like others that are not known. Not
-- those that claim at this moment.
DELETE FROM workers WHERE pod_uid = ANY (%(uids)s) AND seen_at IS NULL AND gone_at IS NULL;

-- name: retire_idle
-- Work of this job has been left lying: of its workers that have claimed before and have room, the oldest gets nothing
-- more, since it may hang. What it holds it finishes.
UPDATE workers SET retired_at = now()
WHERE pod_uid = (
  SELECT w.pod_uid
  FROM jobs j
  JOIN jobs m ON m.identity = j.identity AND m.fingerprint = j.fingerprint AND m.pod = j.pod
    AND m.idle_timeout = j.idle_timeout
  JOIN workers w ON w.job_id = m.id AND w.gone_at IS NULL AND w.retired_at IS NULL AND w.seen_at IS NOT NULL
  WHERE j.id = %(job)s AND (j.scaling ->> 'batch')::int > (
    SELECT count(*) FROM tasks t WHERE t.status = 'Running' AND t.worker_id = w.pod_name AND t.job_identity = j.identity)
  ORDER BY w.created_at
  LIMIT 1);

-- name: kept_worker
-- This worker, if its job keeps one and no other of its form takes work; one that has not claimed yet may never do.
SELECT w.pod_uid
FROM workers w JOIN jobs m ON m.id = w.job_id
WHERE w.pod_uid = %(pod_uid)s AND m.idle_timeout = 'never' AND NOT EXISTS (
  SELECT 1
  FROM workers o JOIN jobs n ON n.id = o.job_id
  WHERE n.identity = m.identity AND n.fingerprint = m.fingerprint AND n.pod = m.pod AND n.idle_timeout = m.idle_timeout
    AND o.pod_uid <> w.pod_uid AND o.gone_at IS NULL AND o.retired_at IS NULL AND o.seen_at IS NOT NULL);

-- name: retire_worker
-- It takes no more work; what it holds it finishes.
UPDATE workers SET retired_at = now() WHERE pod_uid = %(pod_uid)s AND retired_at IS NULL;

-- name: retire_workers
-- These do not renew what they hold: they get nothing more, and others are made in their place.
UPDATE workers w SET retired_at = now()
FROM unnest(%(namespaces)s::text[], %(pods)s::text[]) AS a (namespace, pod)
JOIN orgs o ON o.slug = a.namespace
WHERE w.org_id = o.id AND w.pod_name = a.pod AND w.retired_at IS NULL;

-- name: job_of_worker
-- What the tasks of a worker are told of their job.
SELECT j.id, o.slug AS org, j.dag_name AS dag, j.name AS job, j.operator, j.config::text AS config, j.timeout_seconds
FROM workers w JOIN jobs j ON j.id = w.job_id JOIN orgs o ON o.id = j.org_id
WHERE w.pod_uid = %(pod_uid)s;

-- name: held_besides
-- What a worker holds beside these attempts, as it was claimed.
SELECT t.id, t.attempts AS attempt, t.lease_token AS token, t.partitions, t.input_versions::text AS inputs,
       t.outputs::text AS outputs, t.params
FROM tasks t
WHERE t.job_identity = %(identity)s AND t.status = 'Running' AND t.worker_id = %(pod_name)s
  AND NOT EXISTS (
    SELECT 1 FROM jsonb_to_recordset(%(held)s) AS h (id uuid, attempt int, token uuid)
    WHERE h.id = t.id AND h.attempt = t.attempts AND h.token = t.lease_token)
ORDER BY t.seq;

-- name: renew_held
-- A worker lives and still works on these attempts: their leases are renewed. Who is not among the answers is lost to it.
UPDATE tasks t
SET lease_expires_at = clock_timestamp() + make_interval(secs => j.heartbeat_timeout_seconds),
    last_heartbeat = clock_timestamp()
FROM jsonb_to_recordset(%(held)s) AS h (id uuid, attempt int, token uuid), jobs j
WHERE t.id = h.id AND t.attempts = h.attempt AND t.lease_token = h.token AND t.status || '' = 'Running'
  AND t.worker_id = %(pod_name)s AND j.id = t.job_id AND j.org_id = %(org_id)s
RETURNING t.id;

-- name: release_held
-- A worker gives back what it has not begun; a waiting twin of the unit takes it over.
UPDATE tasks t
SET status = CASE WHEN w.joins THEN 'Canceled' ELSE 'Queued' END, canceled_by = CASE WHEN w.joins THEN 'join' END,
    completed_at = CASE WHEN w.joins THEN clock_timestamp() END, forgiven = t.forgiven + 1
FROM jsonb_to_recordset(%(held)s) AS h (id uuid, attempt int, token uuid)
JOIN tasks u ON u.id = h.id
JOIN jobs j ON j.id = u.job_id AND j.org_id = %(org_id)s
CROSS JOIN LATERAL (SELECT EXISTS (
  SELECT 1 FROM tasks n
  WHERE n.job_identity = u.job_identity AND n.fingerprint = u.fingerprint AND n.unit_key = u.unit_key
    AND n.params_digest = u.params_digest AND (n.status = 'Queued' OR n.next_retry_at IS NOT NULL)) AS joins) AS w
WHERE t.id = h.id AND t.attempts = h.attempt AND t.lease_token = h.token AND t.status || '' = 'Running'
  AND t.worker_id = %(pod_name)s
RETURNING t.id;

-- name: answered_before
-- Of these attempts those that ended already, and how: whoever repeats a call gets the first answer.
SELECT t.id, t.status
FROM tasks t
JOIN jsonb_to_recordset(%(attempts)s) AS h (id uuid, attempt int, token uuid) ON h.id = t.id
JOIN jobs j ON j.id = t.job_id AND j.org_id = %(org_id)s
WHERE t.attempts = h.attempt AND t.lease_token = h.token AND t.worker_id = %(pod_name)s AND t.status <> 'Running';

-- name: bury_workers
-- These pods are over: what they still hold is named for its end.
WITH over AS (
  UPDATE workers w SET gone_at = now()
  FROM jsonb_to_recordset(%(over)s) AS g (pod_uid text)
  WHERE w.pod_uid = g.pod_uid AND w.gone_at IS NULL
  RETURNING w.pod_uid, w.pod_name, w.org_id, w.job_id
)
SELECT t.id, t.attempts AS attempt, t.lease_token AS token, o.slug AS namespace, t.worker_id AS pod, v.pod_uid
FROM over v
JOIN orgs o ON o.id = v.org_id
JOIN jobs m ON m.id = v.job_id
JOIN tasks t ON t.job_identity = m.identity AND t.status = 'Running' AND t.worker_id = v.pod_name;
