-- name: runnable_job
-- A job of the version that serves, as far as a run of it asks, its DAG's object being there.
SELECT j.id AS job_id, j.activation, j.source, j.document -> 'params_schema' AS params_schema, j.runtime, p.suspended
FROM dag_current_versions c
JOIN dags p ON p.org_id = c.org_id AND p.name = c.dag_name AND p.absent_since IS NULL
JOIN jobs j ON j.dag_version_id = c.dag_version_id AND j.name = %(job)s
WHERE c.org_id = %(org_id)s AND c.dag_name = %(dag)s;

-- name: is_known
-- Whether any version of a DAG is there, or has a job of this name.
SELECT EXISTS (
  SELECT 1 FROM dag_versions v
  WHERE v.org_id = %(org_id)s AND v.dag_name = %(dag)s
    AND (%(job)s::text IS NULL OR EXISTS (SELECT 1 FROM jobs j WHERE j.dag_version_id = v.id AND j.name = %(job)s))
) AS there;

-- name: ready_keys
-- Partitions that every `same` input of a reactive job has: of these, or of a range in the order of bytes, or all. One that
-- reads update by update can begin anew, with the whole.
SELECT k.key
FROM (
  SELECT r.key FROM ready_units(%(job_id)s) AS r (key)
  UNION ALL
  SELECT '*' FROM job_inputs i
  WHERE i.job_id = %(job_id)s AND i.on_change = 'update' AND NOT EXISTS (SELECT 1 FROM unmade_inputs(%(job_id)s))
) AS k
WHERE (%(keys)s::text[] IS NULL OR k.key = ANY (%(keys)s))
  AND (%(first)s::text IS NULL OR k.key COLLATE "C" BETWEEN %(first)s AND %(last)s)
ORDER BY k.key COLLATE "C"
LIMIT %(most)s;

-- name: absent_keys
-- Of these partitions of a job, those that are neither there nor on their way.
SELECT k.key
FROM jobs j
CROSS JOIN unnest(%(keys)s::text[]) WITH ORDINALITY AS k (key, place)
WHERE j.id = %(job_id)s
  AND NOT EXISTS (
    SELECT 1
    FROM datasets d
    JOIN dag_version_datasets v ON v.dag_version_id = j.dag_version_id AND v.dataset_uuid = d.id
    JOIN partition_versions o
      ON o.dataset_uuid = v.dataset_uuid AND o.dataset_version = v.dataset_version AND o.partition_key = k.key
    WHERE d.org_id = j.org_id AND d.producer_dag_name = j.dag_name AND d.producer_job_name = j.name)
  AND NOT EXISTS (
    SELECT 1 FROM tasks t
    WHERE t.job_identity = j.identity AND t.fingerprint = j.fingerprint AND t.unit_key = k.key
      AND (t.status IN ('Queued', 'Running') OR t.next_retry_at IS NOT NULL))
  AND NOT EXISTS (
    SELECT 1 FROM unit_completions u
    WHERE u.job_identity = j.identity AND u.fingerprint = j.fingerprint AND u.unit_key = k.key
      AND cardinality(j.output_datasets) = 0)
ORDER BY k.place;

-- name: run_units
-- A person wants these partitions of a job made, be they there or not. What waits already is joined: it is tried again
-- now, and is live work if this is.
INSERT INTO tasks AS t (
  job_id, partitions, job_identity, fingerprint, unit_key, params, params_digest, low, requested_by)
SELECT j.id, ARRAY[k.key], j.identity, j.fingerprint, k.key, %(params)s, %(digest)s, is_low(j.id, %(low)s), %(user)s
FROM jobs j
CROSS JOIN unnest(%(keys)s::text[]) WITH ORDINALITY AS k (key, place)
WHERE j.id = %(job_id)s
ORDER BY k.place
ON CONFLICT (job_identity, fingerprint, unit_key, params_digest)
  WHERE status = 'Queued' OR (status = 'Failed' AND next_retry_at IS NOT NULL)
DO UPDATE SET status = 'Queued', next_retry_at = NULL, low = t.low AND excluded.low,
              requested_by = coalesce(t.requested_by, excluded.requested_by)
RETURNING t.id, %(job)s AS job, t.unit_key AS partition, t.xmax <> 0 AS joined;

-- name: run_downstream
-- And everything that is made from them within the DAG, where each `same` input has the partition or is about to: what
-- is upstream of it comes first, by the holds. Where a job reads nothing but a whole, that is its unit `*`; beside others a
-- whole sets nothing off here.
WITH RECURSIVE edges AS MATERIALIZED (
  SELECT p.id AS above, r.id AS below, i.match = 'latest' AS whole
  FROM jobs s
  JOIN jobs r ON r.dag_version_id = s.dag_version_id AND get_bit(r.upstream, s.position) = 1
  JOIN job_inputs i ON i.job_id = r.id AND i.external_name IS NULL AND (i.match = 'same' OR NOT EXISTS (
    SELECT 1 FROM job_inputs n WHERE n.job_id = r.id AND n.match = 'same'))
  JOIN datasets d ON d.id = i.dataset_uuid
  JOIN jobs p ON p.dag_version_id = s.dag_version_id AND p.name = d.producer_job_name
  WHERE s.id = %(job_id)s
), reached (id, key) AS (
  SELECT %(job_id)s::uuid, k.key FROM unnest(%(keys)s::text[]) AS k (key)
  UNION
  SELECT e.below, CASE WHEN e.whole THEN '*' ELSE r.key END FROM reached r JOIN edges e ON e.above = r.id
), below AS MATERIALIZED (
  SELECT j.id, j.identity, j.fingerprint, j.name, j.position, r.key
  FROM reached r JOIN jobs j ON j.id = r.id
  WHERE j.id <> %(job_id)s
), unready AS (
  SELECT b.id, b.key
  FROM below b
  JOIN job_inputs i ON i.job_id = b.id AND i.match = 'same'
  JOIN datasets d ON d.id = i.dataset_uuid
  LEFT JOIN input_versions v ON v.job_id = b.id AND v.name = i.name
  LEFT JOIN partition_versions pv
    ON pv.dataset_uuid = v.dataset_uuid AND pv.dataset_version = v.dataset_version AND pv.partition_key = b.key
  WHERE pv.partition_key IS NULL AND NOT (i.external_name IS NULL AND (
    d.producer_job_name = %(job)s
    OR EXISTS (SELECT 1 FROM below p WHERE p.name = d.producer_job_name AND p.key = b.key)))
  UNION
  SELECT b.id, b.key
  FROM unready u
  JOIN jobs p ON p.id = u.id
  JOIN datasets d ON d.org_id = p.org_id AND d.producer_dag_name = p.dag_name AND d.producer_job_name = p.name
  JOIN job_inputs i ON i.dataset_uuid = d.id AND i.match = 'same' AND i.external_name IS NULL
  JOIN below b ON b.id = i.job_id AND b.key = u.key
  WHERE NOT EXISTS (
    SELECT 1 FROM input_versions v
    JOIN partition_versions pv
      ON pv.dataset_uuid = v.dataset_uuid AND pv.dataset_version = v.dataset_version AND pv.partition_key = b.key
    WHERE v.job_id = b.id AND v.name = i.name)
), made AS (
  INSERT INTO tasks AS t (job_id, partitions, job_identity, fingerprint, unit_key, low, requested_by)
  SELECT b.id, ARRAY[b.key], b.identity, b.fingerprint, b.key, is_low(b.id, %(low)s), %(user)s
  FROM below b
  WHERE NOT EXISTS (SELECT 1 FROM unready u WHERE u.id = b.id AND u.key = b.key)
  ORDER BY (SELECT bit_count(j.upstream) FROM jobs j WHERE j.id = b.id), b.position, b.key
  ON CONFLICT (job_identity, fingerprint, unit_key, params_digest)
    WHERE status = 'Queued' OR (status = 'Failed' AND next_retry_at IS NOT NULL)
  DO UPDATE SET status = 'Queued', next_retry_at = NULL, low = t.low AND excluded.low,
                requested_by = coalesce(t.requested_by, excluded.requested_by)
  RETURNING t.id, t.job_id, t.unit_key AS partition, t.xmax <> 0 AS joined
)
SELECT m.id, j.name AS job, m.partition, m.joined FROM made m JOIN jobs j ON j.id = m.job_id;

-- name: count_downstream
-- How many jobs are downstream of one, at any distance.
SELECT count(*) AS jobs
FROM jobs s JOIN jobs j ON j.dag_version_id = s.dag_version_id AND get_bit(j.upstream, s.position) = 1
WHERE s.id = %(job_id)s;

-- name: cancel_tasks
-- A person gives these up: what waits, runs, or has failed for good, of jobs that serve. They count as decided until
-- their inputs change, or `retry`. What of a build is not finished is the rollout's.
WITH chosen AS (
  SELECT t.id, t.status, t.next_retry_at
  FROM dag_current_versions c
  JOIN jobs j ON j.dag_version_id = c.dag_version_id AND (%(job)s::text IS NULL OR j.name = %(job)s)
  JOIN tasks t ON t.job_identity = j.identity AND t.fingerprint = j.fingerprint
    AND t.status IN ('Queued', 'Running', 'Failed')
  WHERE c.org_id = %(org_id)s AND c.dag_name = %(dag)s
    AND (%(keys)s::text[] IS NULL OR t.unit_key = ANY (%(keys)s)) AND (%(task)s::uuid IS NULL OR t.id = %(task)s)
    AND NOT (t.status = 'Failed' AND t.next_retry_at IS NULL AND EXISTS (
      SELECT 1 FROM tasks n
      WHERE n.job_identity = t.job_identity AND n.fingerprint = t.fingerprint AND n.unit_key = t.unit_key
        AND n.seq > t.seq AND (n.params_digest = t.params_digest OR n.status <> 'Canceled')))
  ORDER BY t.seq
  FOR UPDATE OF t
), given_up AS (
  UPDATE tasks t
  SET status = 'Canceled', canceled_by = 'user', completed_at = clock_timestamp(), next_retry_at = NULL,
      error_message = %(reason)s
  FROM chosen c
  WHERE t.id = c.id
  RETURNING c.status, c.next_retry_at
)
SELECT count(*) FILTER (WHERE status = 'Queued' OR next_retry_at IS NOT NULL) AS waiting,
       count(*) FILTER (WHERE status = 'Running') AS running,
       count(*) FILTER (WHERE status = 'Failed' AND next_retry_at IS NULL) AS failed
FROM given_up;

-- name: list_tasks
-- Tasks of a DAG, newest first: of one job, of one partition, in one of these states, before one in the order of
-- creation; or one task alone. What a newer task of its unit decides is not among the failed, and marked elsewhere.
SELECT t.id, j.dag_name AS dag, j.name AS job, t.unit_key AS partition,
       CASE WHEN t.next_retry_at IS NOT NULL THEN 'Retrying' ELSE t.status END AS state, t.attempts,
       t.created_at AS created, t.started_at AS started, t.completed_at AS ended, t.next_retry_at AS retry,
       t.worker_id AS worker, t.in_worker, j.pod #>> '{container}' AS container, t.error_message AS message, t.params,
       t.requested_by, v.yaml_hash AS version,
       t.status = 'Failed' AND t.next_retry_at IS NULL AND EXISTS (
         SELECT 1 FROM tasks n
         WHERE n.job_identity = t.job_identity AND n.fingerprint = t.fingerprint AND n.unit_key = t.unit_key
           AND n.seq > t.seq AND (n.params_digest = t.params_digest OR n.status <> 'Canceled')) AS superseded
FROM (
  SELECT DISTINCT j.identity FROM jobs j
  WHERE j.org_id = %(org_id)s AND j.dag_name = %(dag)s AND (%(job)s::text IS NULL OR j.name = %(job)s)
) AS i
CROSS JOIN LATERAL (
  (SELECT * FROM tasks t
   WHERE t.job_identity = i.identity AND t.completed_at IS NOT NULL
     AND (%(before)s::bigint IS NULL OR t.seq < %(before)s) AND (%(key)s::text IS NULL OR t.unit_key = %(key)s)
     AND (%(states)s::text[] IS NULL OR (t.status = ANY (%(states)s) AND NOT (t.status = 'Failed' AND EXISTS (
       SELECT 1 FROM tasks n
       WHERE n.job_identity = t.job_identity AND n.fingerprint = t.fingerprint AND n.unit_key = t.unit_key
         AND n.seq > t.seq AND (n.params_digest = t.params_digest OR n.status <> 'Canceled')))))
   ORDER BY t.seq DESC
   LIMIT %(most)s)
  UNION ALL
  (SELECT t.* FROM jobs o JOIN tasks t ON t.job_id = o.id AND t.status IN ('Queued', 'Running', 'Failed')
   WHERE o.identity = i.identity AND t.completed_at IS NULL
     AND (%(before)s::bigint IS NULL OR t.seq < %(before)s) AND (%(key)s::text IS NULL OR t.unit_key = %(key)s)
     AND (%(states)s::text[] IS NULL
          OR CASE WHEN t.next_retry_at IS NOT NULL THEN 'Retrying' ELSE t.status END = ANY (%(states)s))
   ORDER BY t.seq DESC
   LIMIT %(most)s)
) AS t
JOIN jobs j ON j.id = t.job_id
JOIN dag_versions v ON v.id = j.dag_version_id
ORDER BY t.seq DESC
LIMIT %(most)s;

-- name: show_task
-- One task.
SELECT t.id, j.dag_name AS dag, j.name AS job, t.unit_key AS partition,
       CASE WHEN t.next_retry_at IS NOT NULL THEN 'Retrying' ELSE t.status END AS state, t.attempts,
       t.created_at AS created, t.started_at AS started, t.completed_at AS ended, t.next_retry_at AS retry,
       t.worker_id AS worker, t.in_worker, j.pod #>> '{container}' AS container, t.error_message AS message, t.params,
       t.requested_by, v.yaml_hash AS version,
       t.status = 'Failed' AND t.next_retry_at IS NULL AND EXISTS (
         SELECT 1 FROM tasks n
         WHERE n.job_identity = t.job_identity AND n.fingerprint = t.fingerprint AND n.unit_key = t.unit_key
           AND n.seq > t.seq AND (n.params_digest = t.params_digest OR n.status <> 'Canceled')) AS superseded
FROM tasks t JOIN jobs j ON j.id = t.job_id JOIN dag_versions v ON v.id = j.dag_version_id
WHERE t.id = %(task)s AND j.org_id = %(org_id)s;

-- name: failed_among
-- Of these tasks, the first that failed for good or were canceled.
SELECT t.id, j.dag_name AS dag, j.name AS job, t.unit_key AS partition,
       CASE WHEN t.next_retry_at IS NOT NULL THEN 'Retrying' ELSE t.status END AS state, t.attempts,
       t.created_at AS created, t.started_at AS started, t.completed_at AS ended, t.next_retry_at AS retry,
       t.worker_id AS worker, t.in_worker, j.pod #>> '{container}' AS container, t.error_message AS message, t.params,
       t.requested_by, v.yaml_hash AS version
FROM tasks t JOIN jobs j ON j.id = t.job_id JOIN dag_versions v ON v.id = j.dag_version_id
WHERE t.id = ANY (%(tasks)s) AND j.org_id = %(org_id)s
  AND (t.status = 'Canceled' OR (t.status = 'Failed' AND t.next_retry_at IS NULL))
ORDER BY t.completed_at
LIMIT 20;

-- name: count_states
-- How many of these tasks are in each state.
SELECT CASE WHEN t.next_retry_at IS NOT NULL THEN 'Retrying' ELSE t.status END AS state, count(*) AS tasks
FROM tasks t JOIN jobs j ON j.id = t.job_id
WHERE t.id = ANY (%(tasks)s) AND j.org_id = %(org_id)s
GROUP BY 1 ORDER BY 1;

-- name: place_of_task
-- Where a task stands in the order of creation.
SELECT t.seq FROM tasks t JOIN jobs j ON j.id = t.job_id WHERE t.id = %(task)s AND j.org_id = %(org_id)s;

-- name: begin_request
-- A request is taken on once; no row if one of this id was before.
INSERT INTO requests (org_id, request_id, kind, user_name, asked)
VALUES (%(org_id)s, %(request_id)s, %(kind)s, %(user)s, %(asked)s)
ON CONFLICT DO NOTHING;

-- name: old_requests
-- Whether there are requests that nobody repeats any more.
SELECT EXISTS (SELECT 1 FROM requests WHERE created_at < now() - interval '7 days') AS there;

-- name: delete_old_requests
-- Those of more than a week ago.
DELETE FROM requests WHERE created_at < now() - interval '7 days';

-- name: find_request
-- What a request asked for, and its answer.
SELECT kind, user_name, asked, answer FROM requests WHERE org_id = %(org_id)s AND request_id = %(request_id)s;

-- name: answer_request
-- What came of a request.
UPDATE requests SET answer = %(answer)s WHERE org_id = %(org_id)s AND request_id = %(request_id)s;
