-- name: start_rollout
-- A version begins to be built, or, with its state Done, has just become current without a build: whoever wants news
-- of the org is to hear of that, in the outbox.
WITH ended AS (
  INSERT INTO rollouts (
    org_id, dag_name, dag_version_id, base_version_id, state, strategy, planned_tasks, plan, build_approved_at,
    cutover_approved_at, deadline_at, ready_at, finished_at)
  SELECT %(org_id)s, %(dag)s, v.id, %(base)s, %(state)s, %(strategy)s, %(planned_tasks)s, %(plan)s,
         CASE WHEN %(build_approved)s THEN now() END, CASE WHEN %(cutover_approved)s THEN now() END,
         now() + make_interval(secs => %(deadline)s::int),
         CASE WHEN %(state)s = 'Done' THEN now() END, CASE WHEN %(state)s = 'Done' THEN now() END
  FROM dag_versions v
  WHERE v.org_id = %(org_id)s AND v.dag_name = %(dag)s AND v.yaml_hash = %(yaml_hash)s
  RETURNING id, org_id, dag_name, dag_version_id, state
), told AS (
  INSERT INTO notices AS n (org_id, dag_name, kind, yaml_hash, rollout_id)
  SELECT r.org_id, r.dag_name, CASE
           WHEN EXISTS (SELECT 1 FROM rollouts b WHERE b.dag_version_id = r.dag_version_id AND b.state = 'Done')
             THEN 'RolledBack' ELSE 'RolloutDone' END,
         v.yaml_hash, r.id
  FROM ended r
  JOIN orgs o ON o.id = r.org_id AND o.settings ? 'notify'
  JOIN dag_versions v ON v.id = r.dag_version_id
  WHERE r.state = 'Done'
  ON CONFLICT (org_id, dag_name, job_name, kind) DO UPDATE
  SET times = n.times + 1, message = excluded.message, yaml_hash = excluded.yaml_hash, rollout_id = excluded.rollout_id,
      last_at = excluded.last_at
)
SELECT r.dag_version_id, lower(r.state) AS state FROM ended r;

-- name: adjust_rollout
-- The object's rollout settings changed while it is under way.
UPDATE rollouts
SET strategy = %(strategy)s, deadline_at = deadline_from + make_interval(secs => %(deadline)s::int),
    build_approved_at = CASE WHEN %(build_approved)s THEN coalesce(build_approved_at, now()) ELSE build_approved_at END,
    cutover_approved_at = CASE WHEN %(strategy)s = 'WhenReady' OR approved THEN coalesce(cutover_approved_at, now()) END
WHERE id = %(id)s;

-- name: end_rollout
-- It is over, in this way; `stopped`: a person wants it so. Whoever wants news of the org is to hear how.
WITH ended AS (
  UPDATE rollouts
  SET state = %(state)s, stopped = %(stopped)s, cause = coalesce(%(cause)s::text, cause), finished_at = now(), held_until = NULL,
      ready_at = CASE WHEN %(state)s = 'Done' THEN coalesce(ready_at, now()) ELSE ready_at END
  WHERE id = %(id)s AND state <> %(state)s
  RETURNING id, org_id, dag_name, dag_version_id, state, cause,
            extract(epoch FROM finished_at - created_at)::float8 AS took
), told AS (
  INSERT INTO notices AS n (org_id, dag_name, kind, yaml_hash, rollout_id, error)
  SELECT r.org_id, r.dag_name, CASE
           WHEN r.state = 'Failed' THEN 'RolloutFailed'
           WHEN EXISTS (SELECT 1 FROM rollouts b WHERE b.dag_version_id = r.dag_version_id AND b.state = 'Done')
             THEN 'RolledBack' ELSE 'RolloutDone' END,
         v.yaml_hash, r.id, CASE WHEN r.state = 'Failed' THEN left(r.cause, 1024) END
  FROM ended r
  JOIN orgs o ON o.id = r.org_id AND o.settings ? 'notify'
  JOIN dag_versions v ON v.id = r.dag_version_id
  WHERE r.state IN ('Done', 'Failed')
  ON CONFLICT (org_id, dag_name, job_name, kind) DO UPDATE
  SET times = n.times + 1, message = excluded.message, yaml_hash = excluded.yaml_hash, rollout_id = excluded.rollout_id,
      error = excluded.error, last_at = excluded.last_at
)
SELECT r.dag_version_id, lower(r.state) AS state, r.took FROM ended r;

-- name: rollout_under_way
-- The rollout of a DAG that builds, or waits to cut over.
SELECT r.id, r.dag_version_id AS version, r.base_version_id AS base, v.yaml_hash, r.state, r.strategy,
       r.build_approved_at IS NOT NULL AS build_approved, r.cutover_approved_at IS NOT NULL AS cutover_approved,
       coalesce(r.deadline_at <= now(), false) AS overdue, coalesce(r.held_until > now(), false) AS held,
       r.next_hold_at IS NOT NULL AS armed, coalesce(r.next_hold_at > now(), false) AS rests, c.dag_version_id AS current,
       coalesce(p.suspended, false) AS suspended
FROM rollouts r
JOIN dag_versions v ON v.id = r.dag_version_id
LEFT JOIN dag_current_versions c ON c.org_id = r.org_id AND c.dag_name = r.dag_name
LEFT JOIN dags p ON p.org_id = r.org_id AND p.name = r.dag_name
WHERE r.org_id = %(org_id)s AND r.dag_name = %(dag)s AND r.state IN ('Building', 'Ready');

-- name: rollouts_under_way
-- All of them whose DAG is there, with when to look at each though nothing happened: its deadline, the end of a hold.
SELECT r.org_id, r.dag_name AS dag, o.slug AS namespace,
       extract(epoch FROM least(r.deadline_at, r.held_until, r.next_hold_at) - now())::float8 AS due_in
FROM rollouts r
JOIN orgs o ON o.id = r.org_id
JOIN dags p ON p.org_id = r.org_id AND p.name = r.dag_name AND p.absent_since IS NULL
WHERE r.state IN ('Building', 'Ready')
ORDER BY r.seq;

-- name: build_left
-- What of a build is not done while it is done in the serving version: units that wait or run, units that failed for
-- good or wait for one upstream that did, with the first of these in words; how many tasks of the jobs that it builds may
-- run at once. What is open or failed in both does not count, nor live work of a job that serves in no form: it is left to
-- the next version. All of it does where the serving version has the partition, in this output or under its name, and the
-- new one lacks it: readers would lose it. A source that starts over is open until it has come as far as in its former
-- form; `far`: not even as far as that was a minute ago.
SELECT count(*) FILTER (WHERE u.failure IS NULL) AS open, count(u.failure) AS failed,
       (array_agg(u.name || ', partition ' || u.unit_key || ': ' || u.failure ORDER BY u.seq)
          FILTER (WHERE u.failure IS NOT NULL))[1] AS failure, coalesce(bool_or(u.far), false) AS far,
       (SELECT coalesce(sum((j.scaling ->> 'max_concurrency')::int), 0)
        FROM working_jobs b JOIN jobs j ON j.id = b.job_id
        WHERE b.building AND b.org_id = %(org_id)s AND b.dag_name = %(dag)s) AS concurrency
FROM (
  SELECT w.name, t.unit_key, t.seq, false AS far, CASE
    WHEN t.status = 'Failed' AND t.next_retry_at IS NULL THEN coalesce(t.error_message, 'no reason is known')
    WHEN t.status <> 'Running' THEN (
      SELECT 'it waits for job ' || uj.name || ', which failed for good there: ' || coalesce(p.error_message, '')
      FROM jobs j
      JOIN tasks p ON p.unit_key = t.unit_key AND p.seq < t.seq AND p.status = 'Failed' AND p.next_retry_at IS NULL
      JOIN jobs uj ON uj.dag_version_id = j.dag_version_id AND uj.identity = p.job_identity
        AND uj.fingerprint = p.fingerprint
      WHERE j.id = w.job_id AND get_bit(j.upstream, uj.position) = 1 AND NOT EXISTS (
        SELECT 1 FROM tasks n
        WHERE n.job_identity = p.job_identity AND n.fingerprint = p.fingerprint AND n.unit_key = p.unit_key
          AND n.seq > p.seq)
      ORDER BY p.seq LIMIT 1) END AS failure
  FROM working_jobs w
  JOIN tasks t ON t.job_identity = w.identity AND t.fingerprint = w.fingerprint
    AND t.status IN ('Queued', 'Running', 'Failed')
  LEFT JOIN LATERAL (
    SELECT * FROM jobs j WHERE j.dag_version_id = %(base)s AND j.identity = w.identity OFFSET 0
  ) AS o ON true
  WHERE w.building AND w.org_id = %(org_id)s AND w.dag_name = %(dag)s AND t.unit_key <> '@'
    AND (t.status <> 'Failed' OR t.next_retry_at IS NOT NULL OR NOT EXISTS (
      SELECT 1 FROM tasks n
      WHERE n.job_identity = t.job_identity AND n.fingerprint = t.fingerprint AND n.unit_key = t.unit_key
        AND n.seq > t.seq))
    AND (CASE WHEN o.id IS NULL THEN t.backfill ELSE NOT EXISTS (
        SELECT 1 FROM tasks s
        WHERE s.job_identity = o.identity AND s.fingerprint = o.fingerprint AND s.unit_key = t.unit_key
          AND s.status IN ('Queued', 'Running', 'Failed')
          AND (s.status <> 'Failed' OR s.next_retry_at IS NOT NULL OR NOT EXISTS (
            SELECT 1 FROM tasks n
            WHERE n.job_identity = s.job_identity AND n.fingerprint = s.fingerprint AND n.unit_key = s.unit_key
              AND n.seq > s.seq))) END
      OR EXISTS (
        SELECT 1
        FROM datasets d
        JOIN dag_version_datasets v ON v.dag_version_id = w.dag_version_id AND v.dataset_uuid = d.id
        CROSS JOIN LATERAL (
          SELECT b.dataset_uuid, b.dataset_version FROM dag_version_datasets b
          WHERE b.dag_version_id = %(base)s AND b.dataset_uuid = v.dataset_uuid
          UNION
          SELECT b.dataset_uuid, b.dataset_version FROM dag_version_datasets b
          WHERE b.dag_version_id = %(base)s AND b.name = v.name) AS b
        JOIN partition_versions had ON had.dataset_uuid = b.dataset_uuid AND had.dataset_version = b.dataset_version
          AND had.partition_key = t.unit_key
        WHERE d.org_id = w.org_id AND d.producer_dag_name = w.dag_name AND d.producer_job_name = w.name
          AND NOT EXISTS (
            SELECT 1 FROM partition_versions has
            WHERE has.dataset_uuid = v.dataset_uuid AND has.dataset_version = v.dataset_version
              AND has.partition_key = t.unit_key)))
  UNION ALL
  SELECT w.name, '@', 0, is_behind(n.id, o.id, now() - interval '1 minute'), NULL
  FROM working_jobs w
  JOIN jobs n ON n.id = w.job_id AND n.source ->> 'kind' = 'always_on' AND (n.source ->> 'replay')::boolean
  JOIN jobs o ON o.dag_version_id = %(base)s AND o.identity = w.identity
  WHERE w.building AND w.org_id = %(org_id)s AND w.dag_name = %(dag)s AND is_behind(n.id, o.id, now())
) AS u;

-- name: catch_up_sources
-- Units of changed sources that are done in `base` and not in `version`: never made, or made before the present one came
-- in live. Those that failed for good in `base`, too: nothing else would make them again, and the change may mend them.
-- Where partitions have other names, see renamed_sources.
INSERT INTO tasks (job_id, partitions, job_identity, fingerprint, unit_key, backfill, low)
SELECT n.id, ARRAY[had.key], n.identity, n.fingerprint, had.key, true, true
FROM jobs n
JOIN jobs o ON o.dag_version_id = %(base)s AND o.identity = n.identity AND o.fingerprint <> n.fingerprint
CROSS JOIN LATERAL (
  SELECT pv.partition_key AS key, CASE WHEN NOT t.backfill THEN pv.written_at END AS arrived
  FROM datasets d
  JOIN dag_version_datasets v ON v.dag_version_id = o.dag_version_id AND v.dataset_uuid = d.id
  JOIN partition_versions pv ON pv.dataset_uuid = v.dataset_uuid AND pv.dataset_version = v.dataset_version
  LEFT JOIN tasks t ON t.id = pv.task_id
  WHERE d.org_id = o.org_id AND d.producer_dag_name = o.dag_name AND d.producer_job_name = o.name
    AND d.producer_output_index = 0
  UNION ALL
  SELECT u.unit_key, CASE WHEN NOT t.backfill THEN u.completed_at END
  FROM unit_completions u
  LEFT JOIN tasks t ON t.id = u.task_id
  WHERE u.job_identity = o.identity AND u.fingerprint = o.fingerprint AND cardinality(o.output_datasets) = 0
  UNION ALL
  SELECT t.unit_key, NULL
  FROM tasks t
  WHERE t.job_identity = o.identity AND t.fingerprint = o.fingerprint AND t.status = 'Failed' AND t.next_retry_at IS NULL
    AND NOT EXISTS (
      SELECT 1 FROM tasks l
      WHERE l.job_identity = t.job_identity AND l.fingerprint = t.fingerprint AND l.unit_key = t.unit_key
        AND l.seq > t.seq)
) AS had
WHERE n.dag_version_id = %(version)s AND n.activation = 'source' AND o.activation = 'source' AND NOT n.side_effects
  AND 'always_on' NOT IN (n.source ->> 'kind', o.source ->> 'kind')
  AND n.source -> 'partition' IS NOT DISTINCT FROM o.source -> 'partition'
  AND (n.source ? 'partition' OR (n.source ?| '{values,range}') = (o.source ?| '{values,range}'))
  AND NOT EXISTS (
    SELECT 1 FROM tasks t
    WHERE t.job_identity = n.identity AND t.fingerprint = n.fingerprint AND t.unit_key = had.key
      AND (t.status IN ('Queued', 'Running') OR t.next_retry_at IS NOT NULL
           OR ((t.status = 'Failed' OR t.canceled_by = 'user') AND t.completed_at > coalesce(had.arrived, '-infinity'))))
  AND NOT EXISTS (
    SELECT 1
    FROM datasets d
    JOIN dag_version_datasets v ON v.dag_version_id = n.dag_version_id AND v.dataset_uuid = d.id
    JOIN partition_versions pv
      ON pv.dataset_uuid = v.dataset_uuid AND pv.dataset_version = v.dataset_version AND pv.partition_key = had.key
    WHERE d.org_id = n.org_id AND d.producer_dag_name = n.dag_name AND d.producer_job_name = n.name
      AND d.producer_output_index = 0 AND pv.written_at >= coalesce(had.arrived, '-infinity'))
  AND NOT EXISTS (
    SELECT 1 FROM unit_completions u
    WHERE u.job_identity = n.identity AND u.fingerprint = n.fingerprint AND u.unit_key = had.key
      AND cardinality(n.output_datasets) = 0 AND u.completed_at >= coalesce(had.arrived, '-infinity'))
ORDER BY n.name, had.key
ON CONFLICT DO NOTHING;

-- name: renamed_sources
-- Sources whose partitions have other names than in `base`, or that were no sources there: how they were, and which
-- partitions they had, those that were still to come when the cutover canceled them just now included; those that stored
-- events stand for.
SELECT n.id AS job_id, n.source, o.source AS before, k.last_tick, ARRAY(
    SELECT pv.partition_key
    FROM datasets d
    JOIN dag_version_datasets v ON v.dag_version_id = o.dag_version_id AND v.dataset_uuid = d.id
    JOIN partition_versions pv ON pv.dataset_uuid = v.dataset_uuid AND pv.dataset_version = v.dataset_version
    WHERE d.org_id = o.org_id AND d.producer_dag_name = o.dag_name AND d.producer_job_name = o.name
      AND d.producer_output_index = 0
    UNION
    SELECT u.unit_key FROM unit_completions u
    WHERE u.job_identity = o.identity AND u.fingerprint = o.fingerprint AND cardinality(o.output_datasets) = 0
    UNION
    SELECT t.unit_key FROM tasks t
    WHERE t.job_identity = o.identity AND t.fingerprint = o.fingerprint AND t.canceled_by = 'cutover'
      AND t.completed_at = now() AND t.unit_key <> '@'
  ) AS had, ARRAY(
    SELECT DISTINCT e.partition_key FROM webhook_keys e
    WHERE o.source ->> 'kind' = 'webhook' AND e.job_identity = o.identity
      AND e.format = coalesce(o.source #>> '{partition,format}', '')
  ) AS told
FROM jobs n
CROSS JOIN LATERAL (
  SELECT * FROM jobs j
  WHERE j.dag_version_id = %(base)s AND j.identity = n.identity AND j.fingerprint <> n.fingerprint OFFSET 0
) AS o
LEFT JOIN cron_ticks k ON k.job_identity = n.identity
WHERE n.dag_version_id = %(version)s AND n.activation = 'source' AND NOT n.side_effects
  AND (o.source IS NULL OR 'always_on' IN (n.source ->> 'kind', o.source ->> 'kind')
       OR NOT (n.source -> 'partition' IS NOT DISTINCT FROM o.source -> 'partition'
       AND (n.source ? 'partition' OR (n.source ?| '{values,range}') = (o.source ?| '{values,range}'))))
ORDER BY n.name;

-- name: obstacles
-- Why a version may not serve: names that other DAGs own, datasets of the DAG that others read by names which it does not
-- publish (a name that it was given and has never published is no such), datasets of
-- others that nobody publishes, and what it reads that is made, over other DAGs, from what the reader makes.
WITH RECURSIVE above AS (
  SELECT i.job_id AS reader, i.external_name AS dataset, d.producer_dag_name AS dag, d.producer_job_name AS job
  FROM jobs j
  JOIN job_inputs i ON i.job_id = j.id AND i.external_name IS NOT NULL
  JOIN datasets d ON d.org_id = %(org_id)s AND d.name = i.external_name
  WHERE j.dag_version_id = %(version)s
  UNION
  SELECT a.reader, a.dataset, d.producer_dag_name, d.producer_job_name
  FROM above a
  JOIN potential_jobs p ON p.org_id = %(org_id)s AND p.dag_name = a.dag AND p.name = a.job
  JOIN job_inputs i ON i.job_id = p.job_id
  JOIN datasets d ON d.id = i.dataset_uuid
  WHERE a.dag <> %(dag)s
)
SELECT 'NameTaken' AS reason, v.name || ' (of DAG ' || n.dag_name || ')' AS what
FROM dag_version_datasets v
JOIN dataset_names n ON n.org_id = %(org_id)s AND n.name = v.name AND n.dag_name <> %(dag)s
WHERE v.dag_version_id = %(version)s
UNION
SELECT 'ConsumersExist', n.name || ' (read by ' || p.dag_name || '/' || p.name || ')'
FROM dataset_names n
JOIN job_inputs i ON i.external_name = n.name
CROSS JOIN LATERAL (
  SELECT * FROM potential_jobs w
  WHERE w.job_id = i.job_id AND w.org_id = n.org_id AND w.present AND w.dag_name <> n.dag_name OFFSET 0
) AS p
JOIN datasets d ON d.id = i.dataset_uuid AND d.producer_dag_name = n.dag_name
WHERE n.org_id = %(org_id)s AND n.dag_name = %(dag)s AND NOT EXISTS (
  SELECT 1 FROM dag_version_datasets v WHERE v.dag_version_id = %(version)s AND v.name = n.name)
UNION
SELECT 'InputsMissing', i.external_name
FROM jobs j
JOIN job_inputs i ON i.job_id = j.id AND i.external_name IS NOT NULL
WHERE j.dag_version_id = %(version)s AND NOT EXISTS (
  SELECT 1
  FROM datasets d
  JOIN dag_current_versions c ON c.org_id = d.org_id AND c.dag_name = d.producer_dag_name
  JOIN dag_version_datasets v ON v.dag_version_id = c.dag_version_id AND v.dataset_uuid = d.id
  WHERE d.org_id = %(org_id)s AND d.name = i.external_name)
UNION
SELECT 'CycleAcrossDAGs', a.dataset || ' (read by ' || w.name || ', made from ' || r.name || ')'
FROM above a
JOIN jobs w ON w.id = a.reader
JOIN jobs r ON r.dag_version_id = %(version)s AND r.name = a.job AND a.dag = %(dag)s
WHERE r.id = w.id OR get_bit(r.upstream, w.position) = 1
ORDER BY 1, 2;

-- name: retry_build
-- Units of jobs that the version `base` has in no such form, and that failed for good, are tried again: a person wants it.
UPDATE tasks t
SET status = 'Queued', job_id = j.id, completed_at = NULL, forgiven = t.attempts, losses = 0, error_message = NULL
FROM jobs j
WHERE j.dag_version_id = %(version)s AND t.job_identity = j.identity AND t.fingerprint = j.fingerprint
  AND t.status = 'Failed' AND t.next_retry_at IS NULL
  AND NOT EXISTS (
    SELECT 1 FROM (SELECT * FROM jobs b WHERE b.dag_version_id = %(base)s AND b.identity = j.identity OFFSET 0) AS o
    WHERE o.fingerprint = j.fingerprint)
  AND NOT EXISTS (
    SELECT 1 FROM tasks n
    WHERE n.job_identity = t.job_identity AND n.fingerprint = t.fingerprint AND n.unit_key = t.unit_key
      AND n.seq > t.seq);

-- name: become_ready
-- Everything that the serving version has done is done in the new one.
UPDATE rollouts SET state = 'Ready', ready_at = coalesce(ready_at, now()) WHERE id = %(id)s AND state = 'Building';

-- name: hold_live
-- Live work of the jobs being replaced is held for so long, and then has its turn for as long.
UPDATE rollouts
SET held_until = now() + make_interval(secs => %(seconds)s), next_hold_at = now() + make_interval(secs => 2 * %(seconds)s)
WHERE id = %(id)s;

-- name: arm_hold
-- Live work may be held after so long.
UPDATE rollouts SET next_hold_at = now() + make_interval(secs => %(seconds)s) WHERE id = %(id)s;

-- name: drop_build
-- Unfinished work of a rollout that is over ends, but for what the version `keep`, or the serving one, has too.
UPDATE tasks t
SET status = 'Canceled', canceled_by = 'rollout', completed_at = now(), next_retry_at = NULL,
    error_message = 'the version that it was to build was given up'
FROM jobs b
WHERE b.dag_version_id = %(version)s AND t.job_id = b.id
  AND (t.status IN ('Queued', 'Running') OR (t.status = 'Failed' AND t.next_retry_at IS NOT NULL));

-- name: drop_stray_build
-- Unfinished work of a version whose jobs have other fingerprints by now ends.
UPDATE tasks t
SET status = 'Canceled', canceled_by = 'rollout', completed_at = now(), next_retry_at = NULL,
    error_message = 'its data are reused from another version now'
FROM jobs b
WHERE b.dag_version_id = %(version)s AND t.job_id = b.id AND t.fingerprint <> b.fingerprint
  AND (t.status IN ('Queued', 'Running') OR (t.status = 'Failed' AND t.next_retry_at IS NOT NULL));

-- name: keep_build
-- Unfinished work of `version` that another one has too, by identity and fingerprint, goes over to it.
UPDATE tasks t SET job_id = n.id
FROM jobs b JOIN jobs n ON n.dag_version_id = %(keep)s AND n.identity = b.identity AND n.fingerprint = b.fingerprint
WHERE b.dag_version_id = %(version)s AND t.job_id = b.id
  AND (t.status IN ('Queued', 'Running') OR (t.status = 'Failed' AND t.next_retry_at IS NOT NULL));

-- name: approve_rollout
-- A person approves: first that it is built, if that waits, else that it cuts over.
UPDATE rollouts
SET cutover_approved_at = CASE WHEN build_approved_at IS NULL THEN cutover_approved_at
                               ELSE coalesce(cutover_approved_at, now()) END,
    approved = approved OR build_approved_at IS NOT NULL,
    build_approved_at = coalesce(build_approved_at, now())
WHERE org_id = %(org_id)s AND dag_name = %(dag)s AND state IN ('Building', 'Ready')
  AND (build_approved_at IS NULL OR cutover_approved_at IS NULL)
  AND dag_version_id = (
    SELECT id FROM dag_versions WHERE org_id = %(org_id)s AND dag_name = %(dag)s AND yaml_hash = %(yaml_hash)s)
RETURNING id;

-- name: failed_rollout
-- The DAG's last rollout, if it failed, or a person gave it up.
SELECT r.id, v.yaml_hash
FROM (SELECT * FROM rollouts WHERE org_id = %(org_id)s AND dag_name = %(dag)s ORDER BY seq DESC LIMIT 1) AS r
JOIN dag_versions v ON v.id = r.dag_version_id
WHERE r.state = 'Failed' OR r.stopped;

-- name: resume_rollout
-- A rollout that failed or was given up goes on; its deadline counts from now.
UPDATE rollouts
SET state = 'Building', stopped = false, cause = NULL, finished_at = NULL, deadline_at = now() + (deadline_at - deadline_from),
    deadline_from = now()
WHERE id = %(id)s AND (state = 'Failed' OR stopped);

-- name: restorable_version
-- A version that has served and whose data are all kept, and the one that serves; no row if it is none.
SELECT v.id AS version, c.dag_version_id AS current, cv.yaml_hash AS current_hash
FROM dag_versions v
JOIN dag_current_versions c ON c.org_id = v.org_id AND c.dag_name = v.dag_name
JOIN dag_versions cv ON cv.id = c.dag_version_id
WHERE v.org_id = %(org_id)s AND v.dag_name = %(dag)s AND v.yaml_hash = %(yaml_hash)s
  AND EXISTS (SELECT 1 FROM rollouts r WHERE r.dag_version_id = v.id AND r.state = 'Done')
  AND NOT EXISTS (
    SELECT 1 FROM dag_version_datasets p JOIN dataset_versions g ON g.id = p.dataset_version
    WHERE p.dag_version_id = v.id AND g.retired_at IS NOT NULL);

-- name: pin_version
-- The DAG stays at this version until it is unpinned.
UPDATE dags SET pinned_hash = %(yaml_hash)s WHERE org_id = %(org_id)s AND name = %(dag)s;

-- name: unpin_version
-- The object's own document is wanted again.
UPDATE dags SET pinned_hash = NULL WHERE org_id = %(org_id)s AND name = %(dag)s AND pinned_hash IS NOT NULL;
