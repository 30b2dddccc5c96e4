-- name: fail_attempts
-- An attempt ends without a result: the task will retry with backoff and jitter, joins its waiting twin, or has failed
-- for good. Losses of infrastructure have a budget of their own, the first is tried again at once; what was postponed
-- costs nothing. What runs on and on is always started again, and after a run of ten minutes as if for the first time.
-- Whoever wants news of the org is to hear of those that failed for good: of each job at once, in the outbox.
WITH ended AS (
  UPDATE tasks t
  SET status = CASE WHEN v.joins THEN 'Canceled' ELSE 'Failed' END,
      canceled_by = CASE WHEN v.joins THEN 'join' END,
      losses = v.losses,
      forgiven = v.forgiven + v.postponed::int,
      error_message = v.reason,
      next_retry_at = CASE WHEN v.again AND NOT v.joins THEN
        clock_timestamp() + CASE WHEN v.postponed THEN 15 ELSE least(300, v.first * 2 ^ least(v.nth, 20)) END
          * (0.5 + random()) * interval '1 second' END,
      completed_at = CASE WHEN v.joins OR NOT v.again THEN clock_timestamp() END
  FROM (
    SELECT f.id, f.attempt, f.token, left(f.reason, 4096) AS reason, l.losses, b.forgiven, f.postponed, f.lost,
           CASE WHEN f.lost THEN (l.losses > 1)::int ELSE %(backoff)s END AS first,
           CASE WHEN f.lost THEN l.losses - 1 ELSE f.attempt - b.forgiven - l.losses - 1 END AS nth,
           CASE WHEN f.postponed OR t.unit_key = '@' THEN true WHEN f.lost THEN l.losses < 10
                ELSE f.attempt - b.forgiven - l.losses < j.max_attempts END AS again,
           EXISTS (
             SELECT 1 FROM tasks w
             WHERE w.job_identity = t.job_identity AND w.fingerprint = t.fingerprint AND w.unit_key = t.unit_key
               AND w.params_digest = t.params_digest AND (w.status = 'Queued' OR (w.status = 'Failed' AND w.next_retry_at IS NOT NULL))) AS joins
    FROM jsonb_to_recordset(%(failed)s) AS f (
      id uuid, attempt int, token uuid, namespace text, pod text, reason text, lost boolean, postponed boolean)
    JOIN tasks t ON t.id = f.id AND t.worker_id = f.pod
    JOIN jobs j ON j.id = t.job_id
    JOIN orgs o ON o.id = j.org_id AND o.slug = f.namespace
    CROSS JOIN LATERAL (
      SELECT t.unit_key = '@' AND t.started_at < clock_timestamp() - interval '10 minutes' AS long OFFSET 0
    ) AS r
    CROSS JOIN LATERAL (
      SELECT CASE WHEN r.long THEN f.attempt - 1 ELSE t.forgiven END AS forgiven,
             CASE WHEN r.long THEN 0 ELSE t.losses END AS losses
    ) AS b
    CROSS JOIN LATERAL (SELECT b.losses + (f.lost AND NOT f.postponed)::int AS losses) AS l
  ) AS v
  WHERE t.id = v.id AND t.attempts = v.attempt AND t.lease_token = v.token AND t.status || '' = 'Running'
  RETURNING t.id, t.job_id, t.seq, t.unit_key, t.error_message,
            t.status = 'Failed' AND t.next_retry_at IS NULL AS final, v.lost, v.postponed
), told AS (
  INSERT INTO notices AS n (org_id, dag_name, job_name, kind, times, yaml_hash, unit_key, error)
  SELECT j.org_id, j.dag_name, j.name, 'TaskFailed', count(*), (array_agg(v.yaml_hash ORDER BY e.seq DESC))[1],
         (array_agg(e.unit_key ORDER BY e.seq DESC))[1], left((array_agg(e.error_message ORDER BY e.seq DESC))[1], 1024)
  FROM ended e
  JOIN jobs j ON j.id = e.job_id
  JOIN orgs o ON o.id = j.org_id AND o.settings ? 'notify'
  JOIN dag_versions v ON v.id = j.dag_version_id
  WHERE e.final
  GROUP BY 1, 2, 3
  ORDER BY 1, 2, 3
  ON CONFLICT (org_id, dag_name, job_name, kind) DO UPDATE
  SET times = n.times + excluded.times, message = excluded.message, yaml_hash = excluded.yaml_hash,
      unit_key = excluded.unit_key, error = excluded.error, last_at = excluded.last_at
)
SELECT e.id, CASE WHEN e.postponed THEN 'postponed' WHEN e.final THEN 'failed' WHEN e.lost THEN 'lost'
             ELSE 'retried' END AS outcome
FROM ended e;

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
-- Running attempts, in pods of their own or of workers, whose lease has run out, or that are a minute beyond their
-- timeout, counted from the claim: a kubelet that is gone, and a pod that no node takes, end none.
SELECT t.id, t.attempts AS attempt, t.lease_token AS token, o.slug AS namespace, t.worker_id AS pod,
       t.lease_expires_at >= now() AS late
FROM tasks t JOIN jobs j ON j.id = t.job_id JOIN orgs o ON o.id = j.org_id
WHERE t.status = 'Running' AND t.in_worker = %(workers)s
  AND (t.lease_expires_at < now() OR t.unit_key <> '@' AND t.started_at + make_interval(secs => j.timeout_seconds + 60) < now())
ORDER BY t.seq;
