-- What is no longer needed: generations that nothing refers to, outputs that nothing points to any more, finished tasks.

-- Generations that were retired, until their owner says that what they had is deleted: what that was, and whether
-- anybody was shown it. `emptied`: the rows that describe it are gone; `forgotten`: it is not listed any more.
CREATE TABLE retired_generations (
  dataset_version uuid PRIMARY KEY REFERENCES dataset_versions ON DELETE CASCADE,
  partitions      bigint NOT NULL,
  row_count       bigint,
  bytes           bigint,
  listed_at       timestamptz,
  emptied         boolean NOT NULL DEFAULT false,
  forgotten       boolean NOT NULL DEFAULT false
);
CREATE INDEX retired_generations_full ON retired_generations (dataset_version) WHERE NOT emptied;

-- Locations, within generations that stay, that an attempt was given and nothing points to: it was never accepted, or
-- what it made was replaced since. The rows of tasks do not tell: the next attempt has other locations in them.
CREATE TABLE superseded_outputs (
  dataset_version uuid NOT NULL REFERENCES dataset_versions ON DELETE CASCADE,
  location        text NOT NULL,
  partition_key   text NOT NULL,
  superseded_at   timestamptz NOT NULL DEFAULT clock_timestamp(),
  listed_at       timestamptz,
  PRIMARY KEY (dataset_version, location)
);

-- They are written where an attempt ends and where a pointer moves, whatever statement does that. What was accepted, and
-- a first pointer, fire nothing, nor does an attempt that was postponed: it never had a pod. What a source that runs on and on made lies below the location of its attempt: that one
-- is never superseded as a whole.
CREATE FUNCTION attempt_is_over() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO superseded_outputs (dataset_version, location, partition_key)
  SELECT g.id, p ->> 'location', p ->> 'key'
  FROM jsonb_array_elements(OLD.outputs) AS o
  CROSS JOIN jsonb_array_elements(o -> 'partitions') AS p
  JOIN dataset_versions g ON g.id = (o ->> 'version')::uuid
  WHERE p ->> 'location' IS NOT NULL
  ON CONFLICT DO NOTHING;
  RETURN NULL;
END $$;
CREATE TRIGGER tasks_attempt_is_over AFTER UPDATE OF status ON tasks FOR EACH ROW
  WHEN (OLD.status = 'Running' AND NEW.status NOT IN ('Running', 'Completed') AND OLD.unit_key <> '@'
        AND NEW.forgiven <= OLD.forgiven)
  EXECUTE FUNCTION attempt_is_over();

CREATE FUNCTION pointer_has_moved() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO superseded_outputs (dataset_version, location, partition_key)
  VALUES (OLD.dataset_version, OLD.location, OLD.partition_key)
  ON CONFLICT DO NOTHING;
  RETURN NULL;
END $$;
CREATE TRIGGER partition_versions_pointer_has_moved AFTER UPDATE OF location ON partition_versions FOR EACH ROW
  WHEN (OLD.location IS NOT NULL AND OLD.location IS DISTINCT FROM NEW.location) EXECUTE FUNCTION pointer_has_moved();
CREATE TRIGGER partition_parts_pointer_has_moved AFTER UPDATE OF location ON partition_parts FOR EACH ROW
  WHEN (OLD.location IS NOT NULL AND OLD.location IS DISTINCT FROM NEW.location) EXECUTE FUNCTION pointer_has_moved();

-- Of attempts from before there was this record, the last of each task is known.
INSERT INTO superseded_outputs (dataset_version, location, partition_key)
SELECT g.id, p ->> 'location', p ->> 'key'
FROM tasks t
CROSS JOIN jsonb_array_elements(t.outputs) AS o
CROSS JOIN jsonb_array_elements(o -> 'partitions') AS p
JOIN dataset_versions g ON g.id = (o ->> 'version')::uuid
LEFT JOIN partition_versions v ON v.dataset_uuid = g.dataset_uuid AND v.dataset_version = g.id
  AND v.partition_key = p ->> 'key' AND v.location = p ->> 'location'
LEFT JOIN partition_parts a ON a.dataset_uuid = g.dataset_uuid AND a.dataset_version = g.id
  AND a.partition_key = p ->> 'key' AND a.location = p ->> 'location'
WHERE t.status <> 'Running' AND t.unit_key <> '@' AND p ->> 'location' IS NOT NULL
  AND v.location IS NULL AND a.location IS NULL
ON CONFLICT DO NOTHING;

-- The generations of a DAG that are kept, each for the first reason that holds:
-- serves: of the version that serves; rollout: of one that is built, or whose build may be resumed; pinned;
-- task: something unfinished makes or reads it; recent: of one of the last so many versions, as the dataset's name says
-- (among those that have served, or among all); served: it was read by way of a version that served, after `since`;
-- read: somebody is reading an answer that has several pages;
-- sibling: what the same task made is kept.
-- Outputs of one job stay and go together: units are looked for by the first of them.
CREATE FUNCTION kept_generations(org uuid, dag text, since timestamptz)
RETURNS TABLE (dataset_version uuid, reason text) LANGUAGE sql STABLE AS $$
  WITH rolled AS MATERIALIZED (
    SELECT r.dag_version_id AS id, r.seq, r.state, r.stopped, coalesce(r.finished_at, 'infinity') AS finished_at,
           lead(r.finished_at, 1, 'infinity') OVER (PARTITION BY r.state = 'Done' ORDER BY r.finished_at, r.seq) AS until,
           r.seq = max(r.seq) OVER () AS newest
    FROM rollouts r
    WHERE r.org_id = org AND r.dag_name = dag
  ), versions AS MATERIALIZED (
    SELECT v.id, v.yaml_hash, c.dag_version_id IS NOT NULL AS serves,
           max(r.seq) AS last, max(r.seq) FILTER (WHERE r.state = 'Done') AS served,
           max(r.until) FILTER (WHERE r.state = 'Done') AS until,
           coalesce(bool_or(r.state IN ('Building', 'Ready') OR (r.newest AND (r.state = 'Failed' OR r.stopped))), false)
             AS building
    FROM dag_versions v
    LEFT JOIN dag_current_versions c ON c.dag_version_id = v.id
    LEFT JOIN rolled r ON r.id = v.id
    WHERE v.org_id = org AND v.dag_name = dag
    GROUP BY v.id, v.yaml_hash, c.dag_version_id
  ), ranked AS MATERIALIZED (
    SELECT v.*, least(
             row_number() OVER (ORDER BY v.serves DESC, v.last DESC NULLS LAST),
             CASE WHEN v.serves OR v.served IS NOT NULL
               THEN row_number() OVER (ORDER BY v.serves DESC, v.served DESC NULLS LAST) END) AS place
    FROM versions v
  ), pointers AS MATERIALIZED (
    SELECT p.dag_version_id, p.dataset_version, d.producer_job_name AS job,
           max(coalesce(n.retained_versions, 10)) OVER (PARTITION BY p.dag_version_id, d.producer_job_name) AS versions
    FROM ranked v
    JOIN dag_version_datasets p ON p.dag_version_id = v.id
    JOIN datasets d ON d.id = p.dataset_uuid
    LEFT JOIN dataset_names n ON n.org_id = org AND n.name = p.name AND n.dag_name = dag
  ), unfinished AS MATERIALIZED (
    SELECT t.job_id FROM tasks t WHERE t.status = 'Running'
    UNION
    SELECT t.job_id FROM tasks t WHERE t.next_retry_at IS NOT NULL
    UNION
    SELECT w.job_id FROM waiting_jobs w
  ), worked AS MATERIALIZED (
    SELECT DISTINCT j.dag_version_id AS id FROM unfinished u JOIN jobs j ON j.id = u.job_id
  ), mine AS MATERIALIZED (
    SELECT g.id
    FROM datasets d JOIN dataset_versions g ON g.dataset_uuid = d.id AND g.retired_at IS NULL
    WHERE d.org_id = org AND d.producer_dag_name = dag
  ), reasons AS MATERIALIZED (
    SELECT p.dataset_version, CASE
             WHEN v.serves THEN 1
             WHEN v.building THEN 2
             WHEN v.yaml_hash = (SELECT d.pinned_hash FROM dags d WHERE d.org_id = org AND d.name = dag) THEN 3
             WHEN v.id IN (SELECT w.id FROM worked w) THEN 4
             WHEN v.place <= p.versions THEN 5
             WHEN v.until > since THEN 6 END AS reason
    FROM ranked v
    JOIN pointers p ON p.dag_version_id = v.id
    UNION ALL
    SELECT (o ->> 'version')::uuid, 4
    FROM tasks t CROSS JOIN jsonb_array_elements(t.outputs) AS o
    WHERE t.status = 'Running'
    UNION ALL
    SELECT i.input_dataset_version, 4
    FROM tasks t JOIN task_inputs i ON i.task_id = t.id
    WHERE t.status = 'Running'
    UNION ALL
    -- What no version points to any more may have served until the last rollout.
    SELECT m.id, 6
    FROM mine m
    WHERE EXISTS (SELECT 1 FROM rolled r WHERE r.finished_at > since)
      AND NOT EXISTS (SELECT 1 FROM pointers p WHERE p.dataset_version = m.id)
    UNION ALL
    SELECT r.dataset_version, 7 FROM read_pins r WHERE r.created_at > now() - interval '1 hour'
  ), kept AS MATERIALIZED (
    SELECT m.id, min(r.reason) AS reason
    FROM mine m JOIN reasons r ON r.dataset_version = m.id AND r.reason IS NOT NULL
    GROUP BY m.id
  ), siblings AS (
    SELECT DISTINCT b.dataset_version AS id
    FROM kept k
    JOIN pointers a ON a.dataset_version = k.id
    JOIN pointers b ON b.dag_version_id = a.dag_version_id AND b.job = a.job
  )
  SELECT m.id, (ARRAY['serves', 'rollout', 'pinned', 'task', 'recent', 'served', 'read', 'sibling'])[coalesce(k.reason, 8)]
  FROM mine m
  LEFT JOIN kept k ON k.id = m.id
  WHERE k.id IS NOT NULL OR m.id IN (SELECT s.id FROM siblings s)
$$;

-- Finished tasks by their end: those of long ago leave the table. The one more entry that a completion writes is at the
-- right end of the index, where the one before was.
CREATE INDEX tasks_finished ON tasks (completed_at, seq) WHERE completed_at IS NOT NULL;
-- Which parts a task has made; and what an invalidation that goes takes with it.
CREATE INDEX partition_parts_task_id ON partition_parts (task_id);
CREATE INDEX dataset_updates_invalidation_id ON dataset_updates (invalidation_id) WHERE invalidation_id IS NOT NULL;

-- For how many days an org keeps finished tasks; whatever else its settings say is no number of days.
CREATE FUNCTION task_retention(settings jsonb) RETURNS int LANGUAGE sql IMMUTABLE AS $$
  SELECT CASE WHEN jsonb_typeof(settings -> 'task_retention_days') = 'number'
    THEN least(greatest((settings ->> 'task_retention_days')::numeric, 0), 36500)::int ELSE 30 END
$$;
