-- Reading update by update (`PerUpdate` with `append`): what came to a dataset in its order, and how far each job has read.

-- `update`: the input sets its job off with each update, which is what the task is given of it.
ALTER TABLE job_inputs DROP CONSTRAINT job_inputs_on_change_check;
ALTER TABLE job_inputs ADD CONSTRAINT job_inputs_on_change_check CHECK (on_change IN ('stale', 'rerun', 'update'));

CREATE INDEX job_inputs_updates ON job_inputs (job_id, dataset_uuid) WHERE on_change = 'update';

-- How many updates came to a dataset, over all its generations: of datasets that somebody reads update by update, or whose
-- tasks report cursors. Whoever writes an update has this row until its transaction ends, so that numbers have no gaps and
-- none is seen before a smaller one.
CREATE TABLE update_counters (
  dataset_uuid uuid PRIMARY KEY REFERENCES datasets ON DELETE CASCADE,
  updates      bigint NOT NULL CHECK (updates >= 0)
) WITH (fillfactor = 50);

-- What one task brought to a dataset: the range (from, to] of the cursor that it reported, from null: from the beginning;
-- or, without a cursor, nobody knows which rows. Values in a form that is the same for the same value.
CREATE TABLE dataset_updates (
  dataset_uuid    uuid NOT NULL,
  number          bigint NOT NULL CHECK (number > 0),
  dataset_version uuid NOT NULL,
  partition_key   text NOT NULL,
  cursor_column   text,
  cursor_type     text CHECK (cursor_type IN ('bigint', 'timestamp', 'text')),
  from_value      text,
  to_value        text,
  task_id         uuid NOT NULL,
  published_at    timestamptz NOT NULL DEFAULT clock_timestamp(),
  PRIMARY KEY (dataset_uuid, number),
  CONSTRAINT dataset_updates_version_fkey
    FOREIGN KEY (dataset_version, dataset_uuid) REFERENCES dataset_versions (id, dataset_uuid),
  CONSTRAINT dataset_updates_cursor_check CHECK (
    (cursor_column IS NULL) = (to_value IS NULL) AND (cursor_type IS NULL) = (to_value IS NULL)
    AND (to_value IS NOT NULL OR from_value IS NULL))
);
CREATE INDEX dataset_updates_generation ON dataset_updates (dataset_uuid, dataset_version, number);

-- The range that a part has, as its update says.
ALTER TABLE partition_parts ADD COLUMN cursor_type text;
ALTER TABLE partition_parts ADD COLUMN from_value text;
ALTER TABLE partition_parts ADD COLUMN to_value text;

-- The updates that a task is about, by their numbers; of one that reads the whole (`*`), 0 and the last one at its claim.
ALTER TABLE tasks ADD COLUMN first_update bigint;
ALTER TABLE tasks ADD COLUMN last_update bigint;
ALTER TABLE tasks ADD CONSTRAINT tasks_updates_check CHECK (
  (first_update IS NULL) = (last_update IS NULL) AND first_update <= last_update AND first_update >= 0);

-- How far a job has read a generation: `settled`, the numbers of the updates that are done; the cursor, the end of what is
-- done without a gap from the beginning, null before that; `ahead`: ranges beyond a gap. `start_task`: what read the whole
-- at first; there is no row before that is done.
ALTER TABLE dataset_cursors ALTER COLUMN cursor_column DROP NOT NULL;
ALTER TABLE dataset_cursors ALTER COLUMN cursor_value DROP NOT NULL;
ALTER TABLE dataset_cursors ADD COLUMN cursor_type text;
ALTER TABLE dataset_cursors ADD COLUMN settled int8multirange NOT NULL DEFAULT '{}';
ALTER TABLE dataset_cursors ADD COLUMN ahead jsonb NOT NULL DEFAULT '[]';
ALTER TABLE dataset_cursors ADD COLUMN start_task uuid;
ALTER TABLE dataset_cursors ADD CONSTRAINT dataset_cursors_value_check CHECK (
  (cursor_column IS NULL) = (cursor_value IS NULL) AND (cursor_type IS NULL) = (cursor_value IS NULL));

-- Whether a cursor's value lies before another one; null is before every value.
CREATE FUNCTION cursor_before(kind text, a text, b text) RETURNS boolean LANGUAGE sql IMMUTABLE AS $$
  SELECT CASE WHEN b IS NULL THEN false WHEN a IS NULL THEN true
              WHEN kind = 'bigint' THEN a::bigint < b::bigint ELSE a COLLATE "C" < b COLLATE "C" END
$$;

-- A cursor's value as tasks are given it.
CREATE FUNCTION cursor_json(kind text, value text) RETURNS jsonb LANGUAGE sql IMMUTABLE AS $$
  SELECT CASE WHEN kind = 'bigint' THEN to_jsonb(value::bigint) ELSE to_jsonb(value) END
$$;

-- The partitions in which the rows of a range may be, with the parts that may have them: those whose own range is not known,
-- or meets it.
CREATE FUNCTION given_range(dataset uuid, version uuid, kind text, after text, upto text) RETURNS jsonb LANGUAGE sql STABLE AS $$
  SELECT coalesce(jsonb_agg(p.told ORDER BY p.partition_key), '[]')
  FROM (
    SELECT pv.partition_key, given_partition(pv, false) || jsonb_build_object('parts', jsonb_agg(
             given_part(a) ORDER BY a.place)) AS told
    FROM partition_versions pv
    JOIN partition_parts a ON a.dataset_uuid = pv.dataset_uuid AND a.dataset_version = pv.dataset_version
      AND a.partition_key = pv.partition_key
    WHERE pv.dataset_uuid = dataset AND pv.dataset_version = version
      AND CASE WHEN a.to_value IS NULL OR a.cursor_type <> kind THEN true
               ELSE cursor_before(kind, a.from_value, upto) AND cursor_before(kind, after, a.to_value) END
    GROUP BY pv.dataset_uuid, pv.dataset_version, pv.partition_key
    UNION ALL
    SELECT pv.partition_key, given_partition(pv, false)
    FROM partition_versions pv
    JOIN dataset_versions g ON g.id = pv.dataset_version AND g.unique_key IS NULL
    WHERE pv.dataset_uuid = dataset AND pv.dataset_version = version AND EXISTS (
      SELECT 1 FROM dataset_updates u
      WHERE u.dataset_uuid = dataset AND u.dataset_version = version AND u.partition_key = pv.partition_key
        AND CASE WHEN u.to_value IS NULL OR u.cursor_type <> kind THEN true
                 ELSE cursor_before(kind, u.from_value, upto) AND cursor_before(kind, after, u.to_value) END)
  ) AS p
$$;

-- What jobs that read update by update should work on and do not: the whole (number 0), where they have not read this
-- generation yet, or were set off by another input since; else each update that is not done. Not what waits or runs, nor
-- what failed for good or was given up, until somebody tries again, or, of the whole, its inputs change. What acts on the
-- world never reads the whole: it begins with what comes (pass_updates).
CREATE VIEW missing_updates AS
SELECT w.org_id, w.dag_name, w.dag_version_id, w.job_id, w.name, w.identity, w.fingerprint, w.building, m.number
FROM working_jobs w
JOIN job_inputs i ON i.job_id = w.job_id AND i.on_change = 'update'
CROSS JOIN LATERAL (
  SELECT v.dataset_uuid, v.dataset_version FROM input_versions v WHERE v.job_id = w.job_id AND v.name = i.name OFFSET 0
) AS v
LEFT JOIN dataset_cursors c
  ON c.job_id = w.job_id AND c.dataset_uuid = v.dataset_uuid AND c.dataset_version = v.dataset_version
CROSS JOIN LATERAL (
  SELECT 0 AS number
  FROM jobs j
  WHERE j.id = w.job_id AND NOT j.side_effects
    AND NOT EXISTS (SELECT 1 FROM unmade_inputs(w.job_id)) AND (c.job_id IS NULL OR EXISTS (
    SELECT 1
    FROM unit_inputs(w.job_id, '*') AS n
    LEFT JOIN task_inputs r ON r.task_id = c.start_task AND r.input_dataset_uuid = n.dataset_uuid
      AND r.input_partition_key = n.input_key
    WHERE (r.input_version, r.input_dataset_version) IS DISTINCT FROM (n.version, n.dataset_version)))
  UNION ALL
  SELECT u.number FROM dataset_updates u
  WHERE c.job_id IS NOT NULL AND u.dataset_uuid = v.dataset_uuid AND u.dataset_version = v.dataset_version
    AND u.number >= coalesce((SELECT min(upper(r)) FROM unnest(c.settled) AS r), 1) AND NOT u.number <@ c.settled
) AS m
WHERE NOT EXISTS (
  SELECT 1 FROM tasks t
  WHERE t.job_identity = w.identity AND t.fingerprint = w.fingerprint
    AND CASE WHEN m.number = 0 THEN t.unit_key = '*' ELSE m.number BETWEEN t.first_update AND t.last_update END
    AND (t.status IN ('Queued', 'Running') OR t.next_retry_at IS NOT NULL
         OR ((t.status = 'Failed' OR t.canceled_by = 'user') AND NOT EXISTS (
             SELECT 1 FROM tasks n
             WHERE n.job_identity = t.job_identity AND n.fingerprint = t.fingerprint AND n.unit_key = t.unit_key
               AND n.seq > t.seq)
           AND (m.number > 0 OR NOT EXISTS (
             SELECT 1
             FROM input_versions x
             JOIN dataset_revisions e ON e.dataset_uuid = x.dataset_uuid AND e.dataset_version = x.dataset_version
             LEFT JOIN task_inputs r ON r.task_id = t.id AND r.input_dataset_uuid = x.dataset_uuid
               AND r.input_partition_key = '*'
             WHERE x.job_id = w.job_id AND x.on_change IN ('update', 'rerun') AND CASE t.status
               WHEN 'Failed' THEN (r.input_version, r.input_dataset_version) IS DISTINCT FROM (e.revision, e.dataset_version)
               ELSE e.revision > t.completed_at END)))));

-- The keys that a reactive job has units for: those that every `same` input has; the whole, where it reads nothing else, and
-- not update by update.
CREATE OR REPLACE FUNCTION ready_units(job uuid) RETURNS SETOF text LANGUAGE sql STABLE AS $$
  SELECT pv.partition_key
  FROM input_versions i
  JOIN partition_versions pv ON pv.dataset_uuid = i.dataset_uuid AND pv.dataset_version = i.dataset_version
  WHERE i.job_id = job AND i.match = 'same'
  GROUP BY pv.partition_key
  HAVING count(*) = (SELECT count(*) FROM job_inputs n WHERE n.job_id = job AND n.match = 'same')
  UNION ALL
  SELECT '*'
  WHERE EXISTS (SELECT 1 FROM job_inputs i WHERE i.job_id = job)
    AND NOT EXISTS (SELECT 1 FROM job_inputs i WHERE i.job_id = job AND (i.match = 'same' OR i.on_change = 'update'))
    AND NOT EXISTS (SELECT 1 FROM unmade_inputs(job))
$$;
