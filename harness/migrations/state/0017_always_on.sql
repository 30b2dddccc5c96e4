-- Sources that run on and on (`always_on`): one task each, of no partition, whose unit is `@`. What it reports while it runs
-- are events: tasks of their own, completed as they are made.
ALTER TABLE tasks DROP CONSTRAINT tasks_unit_key_check;
ALTER TABLE tasks ADD CONSTRAINT tasks_unit_key_check
  CHECK (unit_key ~ '^([*@]|[A-Za-z0-9][A-Za-z0-9._:=-]*)$' AND length(unit_key) <= 128);

-- The event that a task is, by the name that the source gave it: the same of the same form of a job is told once.
ALTER TABLE tasks ADD COLUMN event text;
ALTER TABLE tasks ADD CONSTRAINT tasks_event_check CHECK (event IS NULL OR status = 'Completed');
CREATE UNIQUE INDEX tasks_event ON tasks (job_identity, fingerprint, event) WHERE event IS NOT NULL;
CREATE INDEX tasks_last_event ON tasks (job_identity, fingerprint, seq) WHERE event IS NOT NULL;

-- The first of a job's tasks, by seq, that has to wait for what the job reads as a whole: 0, so all of them, while such an
-- input has nothing yet; else those newer than the oldest unfinished task of what makes them. Null: none. What runs on and
-- on is never finished, and is not waited for.
CREATE OR REPLACE FUNCTION awaits(job uuid) RETURNS bigint LANGUAGE sql STABLE AS $$
  SELECT CASE WHEN EXISTS (SELECT 1 FROM unmade_inputs(job)) THEN 0 ELSE (
    SELECT min(o.seq)
    FROM jobs j
    JOIN jobs u ON u.dag_version_id = j.dag_version_id AND get_bit(j.awaited, u.position) = 1
      AND u.source ->> 'kind' IS DISTINCT FROM 'always_on'
    CROSS JOIN LATERAL (
      SELECT (SELECT t.seq FROM tasks t WHERE t.job_id = w.id AND t.status = 'Queued' AND t.low = b.low
              ORDER BY t.seq LIMIT 1)
      FROM jobs w CROSS JOIN (VALUES (false), (true)) AS b (low)
      WHERE w.identity = u.identity AND w.fingerprint = u.fingerprint
      UNION ALL
      SELECT t.seq FROM tasks t
      WHERE t.job_identity = u.identity AND t.fingerprint = u.fingerprint AND t.status = 'Running'
      UNION ALL
      SELECT t.seq FROM tasks t
      WHERE t.next_retry_at IS NOT NULL AND t.job_identity = u.identity AND t.fingerprint = u.fingerprint
    ) AS o (seq)
    WHERE j.id = job) END
$$;

-- The last of the updates of a generation that its source has reported a cursor with, as it was at a time.
CREATE FUNCTION last_cursor(dataset uuid, version uuid, at timestamptz DEFAULT 'infinity')
RETURNS SETOF dataset_updates LANGUAGE sql STABLE AS $$
  SELECT u.* FROM dataset_updates u
  WHERE u.dataset_uuid = dataset AND u.dataset_version = version AND u.to_value IS NOT NULL AND u.published_at <= at
  ORDER BY u.number DESC LIMIT 1
$$;

-- Whether what a source that starts over has made is not yet as far as what it had made in its former form at a time: by the
-- cursors that both report, also while the one reports none yet; else by the partitions that are there.
CREATE FUNCTION is_behind(job uuid, former uuid, at timestamptz) RETURNS boolean LANGUAGE sql STABLE AS $$
  SELECT EXISTS (
    SELECT 1
    FROM jobs n
    JOIN jobs o ON o.id = former
    JOIN dag_version_datasets v ON v.dag_version_id = n.dag_version_id
    JOIN datasets d ON d.id = v.dataset_uuid AND d.org_id = n.org_id AND d.producer_dag_name = n.dag_name
      AND d.producer_job_name = n.name
    JOIN dag_version_datasets b ON b.dag_version_id = o.dag_version_id AND b.dataset_uuid = d.id
    LEFT JOIN LATERAL last_cursor(b.dataset_uuid, b.dataset_version, at) AS had ON true
    LEFT JOIN LATERAL last_cursor(v.dataset_uuid, v.dataset_version) AS has ON true
    WHERE n.id = job AND CASE
      WHEN had.number IS NOT NULL AND has.number IS NULL THEN true
      WHEN (had.cursor_column, had.cursor_type) = (has.cursor_column, has.cursor_type)
        THEN cursor_before(had.cursor_type, has.to_value, had.to_value)
      ELSE EXISTS (
        SELECT 1 FROM partition_versions p
        WHERE p.dataset_uuid = b.dataset_uuid AND p.dataset_version = b.dataset_version AND p.materialized_at <= at
          AND NOT EXISTS (
            SELECT 1 FROM partition_versions m
            WHERE m.dataset_uuid = v.dataset_uuid AND m.dataset_version = v.dataset_version
              AND m.partition_key = p.partition_key OFFSET 0)) END)
$$;
