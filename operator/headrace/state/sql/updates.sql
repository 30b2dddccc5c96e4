-- name: record_updates
-- What these completed tasks brought to datasets that are read update by update, or that a cursor is reported of: numbered
-- in the order of their creation.
WITH made AS MATERIALIZED (
  SELECT (o ->> 'dataset_uuid')::uuid AS dataset_uuid, (o ->> 'version')::uuid AS dataset_version,
         o #>> '{partitions,0,key}' AS key, t.id AS task_id, c.*,
         CASE WHEN o #> '{partitions,0,replaces}' <> '[{}]' THEN o #> '{partitions,0,replaces}' END AS filters,
         row_number() OVER (PARTITION BY o ->> 'dataset_uuid' ORDER BY t.seq) AS nth,
         count(*) OVER (PARTITION BY o ->> 'dataset_uuid') AS many
  FROM tasks t
  CROSS JOIN jsonb_array_elements(t.outputs) AS o
  LEFT JOIN jsonb_to_recordset(%(cursors)s) AS c (
    task uuid, output int, "column" text, type text, from_value text, to_value text)
    ON c.task = t.id AND c.output = (o ->> 'index')::int
  WHERE t.id = ANY (%(ids)s) AND (c.task IS NOT NULL OR EXISTS (
    SELECT 1 FROM update_counters n WHERE n.dataset_uuid = (o ->> 'dataset_uuid')::uuid))
), counted AS (
  INSERT INTO update_counters AS c (dataset_uuid, updates)
  SELECT DISTINCT m.dataset_uuid, m.many FROM made m ORDER BY m.dataset_uuid
  ON CONFLICT (dataset_uuid) DO UPDATE SET updates = c.updates + excluded.updates
  RETURNING c.dataset_uuid, c.updates
)
INSERT INTO dataset_updates (
  dataset_uuid, number, dataset_version, partition_key, cursor_column, cursor_type, from_value, to_value, row_filters,
  task_id)
SELECT m.dataset_uuid, c.updates - m.many + m.nth, m.dataset_version, m.key, k."column", k.type, k.from_value, k.to_value,
       m.filters, m.task_id
FROM made m
JOIN counted c ON c.dataset_uuid = m.dataset_uuid
-- A correction goes back: it has no place in the order of what is new.
LEFT JOIN LATERAL (
  SELECT m."column", m.type, m.from_value, m.to_value WHERE m.filters IS NULL
) AS k ON true;

-- name: update_readers
-- The jobs that read update by update what these completed tasks made, or are set off by it in another way.
SELECT DISTINCT w.job_id AS id
FROM tasks t
CROSS JOIN jsonb_array_elements(t.outputs) AS o
JOIN job_inputs i ON i.dataset_uuid = (o ->> 'dataset_uuid')::uuid AND i.external_name IS NULL
  AND i.on_change IN ('rerun', 'update')
JOIN job_inputs u ON u.job_id = i.job_id AND u.on_change = 'update'
CROSS JOIN LATERAL (SELECT w.job_id FROM working_jobs w WHERE w.job_id = i.job_id OFFSET 0) AS w
WHERE t.id = ANY (%(ids)s);

-- name: adopt_cursors
-- Jobs of these DAGs that make the same as a job of a former version did go on where that one stopped, as long as what it
-- made is there.
INSERT INTO dataset_cursors (
  dataset_uuid, dataset_version, job_id, cursor_column, cursor_type, cursor_value, ahead, settled, start_task, updated_at)
SELECT b.dataset_uuid, b.dataset_version, w.job_id, b.cursor_column, b.cursor_type, b.cursor_value, b.ahead, b.settled,
       b.start_task, b.updated_at
FROM working_jobs w
JOIN jobs j ON j.id = w.job_id
JOIN job_inputs i ON i.job_id = w.job_id AND i.on_change = 'update'
CROSS JOIN LATERAL (
  SELECT v.dataset_uuid, v.dataset_version FROM input_versions v WHERE v.job_id = w.job_id AND v.name = i.name OFFSET 0
) AS v
CROSS JOIN LATERAL (
  SELECT c.* FROM jobs o
  JOIN dataset_cursors c ON c.job_id = o.id AND c.dataset_uuid = v.dataset_uuid AND c.dataset_version = v.dataset_version
  WHERE o.identity = w.identity AND o.fingerprint = w.fingerprint
  ORDER BY c.updated_at DESC
  LIMIT 1
) AS b
WHERE (w.org_id, w.dag_name) IN (SELECT * FROM unnest(%(org_ids)s::uuid[], %(dags)s::text[]))
  AND NOT EXISTS (
    SELECT 1 FROM dataset_cursors o
    WHERE o.job_id = w.job_id AND o.dataset_uuid = v.dataset_uuid AND o.dataset_version = v.dataset_version)
  AND (cardinality(j.output_datasets) = 0 OR EXISTS (SELECT 1 FROM made_by(w.job_id, '*')))
ON CONFLICT DO NOTHING;

-- name: pass_updates
-- Jobs of these DAGs that act on the world and read update by update begin with what comes: what came before is passed by,
-- but for what their former form was to act on when the cutover, just now, ended that.
INSERT INTO dataset_cursors (dataset_uuid, dataset_version, job_id, settled)
SELECT v.dataset_uuid, v.dataset_version, w.job_id,
       int8multirange(int8range(1, coalesce(c.updates, 0) + 1)) - coalesce((
         SELECT range_agg(int8range(t.first_update, t.last_update + 1)) FROM tasks t
         WHERE t.job_identity = w.identity AND t.canceled_by = 'cutover' AND t.completed_at = now() AND t.first_update > 0
       ), '{}')
FROM working_jobs w
JOIN jobs j ON j.id = w.job_id AND j.side_effects
JOIN job_inputs i ON i.job_id = w.job_id AND i.on_change = 'update'
CROSS JOIN LATERAL (
  SELECT v.dataset_uuid, v.dataset_version FROM input_versions v WHERE v.job_id = w.job_id AND v.name = i.name OFFSET 0
) AS v
LEFT JOIN update_counters c ON c.dataset_uuid = v.dataset_uuid
WHERE (w.org_id, w.dag_name) IN (SELECT * FROM unnest(%(org_ids)s::uuid[], %(dags)s::text[]))
  AND NOT EXISTS (
    SELECT 1 FROM dataset_cursors o
    WHERE o.job_id = w.job_id AND o.dataset_uuid = v.dataset_uuid AND o.dataset_version = v.dataset_version)
ON CONFLICT DO NOTHING;

-- name: begin_in_chunks
-- Jobs that have not read this generation yet begin without the whole, where that is long: where what came to it is known
-- from the beginning without a gap, each task is about so many updates that follow on each other. Nothing of theirs is
-- there that would have to be replaced, and no other input sets them off.
WITH begun AS (
  INSERT INTO dataset_cursors (dataset_uuid, dataset_version, job_id)
  SELECT v.dataset_uuid, v.dataset_version, w.job_id
  FROM working_jobs w
  JOIN jobs j ON j.id = w.job_id AND NOT j.side_effects
  JOIN job_inputs i ON i.job_id = w.job_id AND i.on_change = 'update'
  CROSS JOIN LATERAL (
    SELECT v.dataset_uuid, v.dataset_version FROM input_versions v WHERE v.job_id = w.job_id AND v.name = i.name OFFSET 0
  ) AS v
  CROSS JOIN LATERAL (
    SELECT count(*) AS updates, bool_and(
             u.row_filters IS NULL AND u.cursor_type IS NOT NULL AND u.from_value IS NOT DISTINCT FROM u.before
             AND (u.cursor_column, u.cursor_type) IS NOT DISTINCT FROM (u.first_column, u.first_type)) AS follow
    FROM (
      SELECT u.*, lag(u.to_value) OVER (ORDER BY u.number) AS before,
             first_value(u.cursor_column) OVER (ORDER BY u.number) AS first_column,
             first_value(u.cursor_type) OVER (ORDER BY u.number) AS first_type
      FROM dataset_updates u
      WHERE u.dataset_uuid = v.dataset_uuid AND u.dataset_version = v.dataset_version
    ) AS u
  ) AS h
  WHERE CASE WHEN %(jobs)s::uuid[] IS NULL
      THEN (w.org_id, w.dag_name) IN (SELECT * FROM unnest(%(org_ids)s::uuid[], %(dags)s::text[]))
        AND (w.building OR NOT %(building)s)
      ELSE w.job_id = ANY (%(jobs)s::uuid[]) END
    AND h.updates > %(chunk)s AND h.follow
    AND NOT EXISTS (SELECT 1 FROM job_inputs n WHERE n.job_id = w.job_id AND n.on_change = 'rerun')
    AND NOT EXISTS (SELECT 1 FROM unmade_inputs(w.job_id)) AND NOT EXISTS (SELECT 1 FROM made_by(w.job_id, '*'))
    AND NOT EXISTS (
      SELECT 1 FROM tasks t
      WHERE t.job_identity = w.identity AND t.fingerprint = w.fingerprint AND t.unit_key = '*'
        AND t.status IN ('Queued', 'Running', 'Failed'))
  ON CONFLICT DO NOTHING
  RETURNING dataset_uuid, dataset_version, job_id
)
INSERT INTO tasks (job_id, partitions, job_identity, fingerprint, unit_key, backfill, low, first_update, last_update)
SELECT j.id, ARRAY['*'], j.identity, j.fingerprint, 'update:' || c.first, w.building OR %(backfill)s,
       is_low(j.id, w.building OR %(backfill)s), c.first, c.last
FROM begun b
JOIN jobs j ON j.id = b.job_id
CROSS JOIN LATERAL (SELECT w.building FROM working_jobs w WHERE w.job_id = b.job_id OFFSET 0) AS w
CROSS JOIN LATERAL (
  SELECT min(u.number) AS first, max(u.number) AS last
  FROM (
    SELECT u.number, (row_number() OVER (ORDER BY u.number) - 1) / %(chunk)s AS chunk
    FROM dataset_updates u
    WHERE u.dataset_uuid = b.dataset_uuid AND u.dataset_version = b.dataset_version
  ) AS u
  GROUP BY u.chunk
) AS c
ORDER BY c.first, j.name
ON CONFLICT DO NOTHING;

-- name: create_updates
-- Tasks for what these jobs are to read and do not: a number each, or the whole. `jobs` null: all jobs of these DAGs.
INSERT INTO tasks (job_id, partitions, job_identity, fingerprint, unit_key, backfill, low, first_update, last_update)
SELECT m.job_id, ARRAY['*'], m.identity, m.fingerprint, CASE WHEN m.number = 0 THEN '*' ELSE 'update:' || m.number END,
       m.building OR %(backfill)s, is_low(m.job_id, m.building OR %(backfill)s),
       nullif(m.number, 0), nullif(m.number, 0)
FROM missing_updates m
WHERE CASE WHEN %(jobs)s::uuid[] IS NULL
  THEN (m.org_id, m.dag_name) IN (SELECT * FROM unnest(%(org_ids)s::uuid[], %(dags)s::text[]))
    AND (m.building OR NOT %(building)s)
  ELSE m.job_id = ANY (%(jobs)s::uuid[]) END
ORDER BY m.number, m.name
ON CONFLICT DO NOTHING;

-- name: settling
-- What completed tasks have read, of jobs that read update by update: for each its updates, of `whole` all those that were
-- there at its claim; `version`: of which generation. An update of another one than was read is nothing that is done.
SELECT t.id, t.job_id AS job, t.unit_key = '*' AS whole, i.dataset_uuid AS dataset, g.version, t.first_update AS first,
       t.last_update AS last, coalesce((
         SELECT jsonb_agg(jsonb_build_object(
           'column', u.cursor_column, 'type', u.cursor_type, 'from_value', u.from_value, 'to_value', u.to_value
         ) ORDER BY u.number)
         FROM dataset_updates u
         WHERE u.dataset_uuid = i.dataset_uuid AND u.dataset_version = g.version AND u.to_value IS NOT NULL
           AND u.number BETWEEN t.first_update AND t.last_update
       ), '[]') AS ranges
FROM tasks t
JOIN job_inputs i ON i.job_id = t.job_id AND i.on_change = 'update'
CROSS JOIN LATERAL (SELECT (t.input_versions -> i.name ->> 'version')::uuid AS version) AS g
WHERE t.id = ANY (%(ids)s) AND (t.unit_key = '*' OR EXISTS (
  SELECT 1 FROM dataset_updates u
  WHERE u.dataset_uuid = i.dataset_uuid AND u.number = t.first_update AND u.dataset_version = g.version))
ORDER BY t.job_id, t.seq;

-- name: lock_counters
-- Nothing more comes, until the transaction ends, to what these tasks have read update by update, or made: in one order.
SELECT c.dataset_uuid FROM update_counters c
WHERE c.dataset_uuid IN (
  SELECT i.dataset_uuid FROM tasks t JOIN job_inputs i ON i.job_id = t.job_id AND i.on_change = 'update'
  WHERE t.id = ANY (%(ids)s)
  UNION
  SELECT (o ->> 'dataset_uuid')::uuid FROM tasks t CROSS JOIN jsonb_array_elements(t.outputs) AS o
  WHERE t.id = ANY (%(ids)s))
ORDER BY c.dataset_uuid
FOR NO KEY UPDATE;

-- name: lock_cursors
-- How far these jobs have read; in the order of their ids.
SELECT c.job_id AS job, c.dataset_uuid AS dataset, c.dataset_version AS version, c.cursor_column AS "column",
       c.cursor_type AS type, c.cursor_value AS value, c.ahead
FROM dataset_cursors c
WHERE c.job_id = ANY (%(jobs)s)
ORDER BY c.job_id, c.dataset_uuid, c.dataset_version
FOR UPDATE;

-- name: move_cursor
-- This far a job has read by now; updates of other generations in between are none of its own. Only a whole is where a job
-- begins, or its first chunks (begin_in_chunks).
INSERT INTO dataset_cursors AS c (
  dataset_uuid, dataset_version, job_id, cursor_column, cursor_type, cursor_value, ahead, settled, start_task)
SELECT %(dataset)s, %(version)s, %(job)s, %(column)s, %(type)s, %(value)s, %(ahead)s,
       int8multirange(int8range(coalesce((
         SELECT max(u.number) FROM dataset_updates u
         WHERE u.dataset_uuid = %(dataset)s AND u.dataset_version = %(version)s AND u.number < %(first)s
       ), 0) + 1, %(last)s + 1)), %(start)s::uuid
WHERE %(start)s::uuid IS NOT NULL OR EXISTS (
  SELECT 1 FROM dataset_cursors o
  WHERE o.dataset_uuid = %(dataset)s AND o.dataset_version = %(version)s AND o.job_id = %(job)s)
ON CONFLICT (dataset_uuid, dataset_version, job_id) DO UPDATE
SET cursor_column = coalesce(excluded.cursor_column, c.cursor_column),
    cursor_type = coalesce(excluded.cursor_type, c.cursor_type), cursor_value = excluded.cursor_value,
    ahead = excluded.ahead, settled = c.settled + excluded.settled, start_task = coalesce(excluded.start_task, c.start_task),
    updated_at = now();

-- name: waiting_updates
-- The waiting tasks of these jobs that are about updates whose ranges are known, and that may be merged; locked.
SELECT t.id, t.job_id AS job, t.first_update AS first, t.last_update AS last, a.cursor_column AS column,
       a.cursor_type AS type, a.from_value, b.to_value
FROM tasks t
JOIN job_inputs i ON i.job_id = t.job_id AND i.on_change = 'update'
JOIN dataset_updates a ON a.dataset_uuid = i.dataset_uuid AND a.number = t.first_update AND a.to_value IS NOT NULL
JOIN dataset_updates b ON b.dataset_uuid = i.dataset_uuid AND b.number = t.last_update
  AND b.dataset_version = a.dataset_version
WHERE t.job_id = ANY (%(jobs)s) AND t.status = 'Queued' AND t.unit_key <> '*'
ORDER BY t.job_id, t.first_update
LIMIT 10000
FOR UPDATE OF t SKIP LOCKED;

-- name: merge_updates
-- These tasks are about all of that, too.
UPDATE tasks t SET last_update = m.last
FROM unnest(%(ids)s::uuid[], %(lasts)s::bigint[]) AS m (id, last) WHERE t.id = m.id;

-- name: end_merged
-- What another task is about by now is not waited for.
UPDATE tasks t
SET status = 'Canceled', canceled_by = 'join', completed_at = clock_timestamp(),
    error_message = 'its update was merged into that of another task'
WHERE t.id = ANY (%(ids)s);
