-- name: shortest_retention
-- Of all orgs, the shortest time for which finished tasks are kept, in days.
SELECT coalesce(min(task_retention(o.settings)), 30) AS days FROM orgs o;

-- name: look_at_old_tasks
-- The next finished tasks, by their end, that are older than so many days: where the look ended, and which of them may go.
-- Not what a partition, a part, a finished unit or a reader's cursor points to, whose recorded inputs say whether that is
-- up to date; nor what is decided: a failure, or what was given up, until a newer task of its unit has come to an end. Such
-- a newer task stays until all older ones have gone: alone, they would stand for the unit again. Nor the last task of each
-- form of a job; of a source that runs on and on also its last event. OFFSET 0: each is looked up by its whole key;
-- `|| ''`: the next one is, in the order of creation, not all of its form.
WITH looked AS MATERIALIZED (
  SELECT t.id, t.job_id, t.job_identity, t.fingerprint, t.unit_key, t.params_digest, t.seq, t.status, t.canceled_by,
         t.completed_at, t.first_update, t.outputs
  FROM tasks t
  WHERE t.completed_at IS NOT NULL AND (t.completed_at, t.seq) > (%(after)s, %(seq)s)
    AND t.completed_at < now() - make_interval(days => %(days)s)
  ORDER BY t.completed_at, t.seq
  LIMIT %(most)s
)
SELECT l.completed_at AS at, l.seq, l.id, l.completed_at < now() - make_interval(days => (
    SELECT task_retention(o.settings) FROM jobs j JOIN orgs o ON o.id = j.org_id WHERE j.id = l.job_id))
  AND NOT EXISTS (SELECT 1 FROM partition_parts a WHERE a.task_id = l.id OFFSET 0)
  AND NOT EXISTS (
    SELECT 1
    FROM jsonb_array_elements(l.outputs) AS o
    CROSS JOIN jsonb_array_elements(o -> 'partitions') AS p
    CROSS JOIN LATERAL (
      SELECT 1 FROM partition_versions pv
      WHERE pv.dataset_uuid = (o ->> 'dataset_uuid')::uuid AND pv.dataset_version = (o ->> 'version')::uuid
        AND pv.partition_key = p ->> 'key' AND pv.task_id = l.id OFFSET 0) AS pv)
  AND NOT EXISTS (
    SELECT 1
    FROM (SELECT DISTINCT j.fingerprint FROM jobs j WHERE j.identity = l.job_identity) AS f
    CROSS JOIN LATERAL (
      SELECT 1 FROM unit_completions u
      WHERE u.job_identity = l.job_identity AND u.fingerprint = f.fingerprint AND u.unit_key = l.unit_key
        AND u.task_id = l.id OFFSET 0) AS u)
  AND (l.first_update IS NULL OR NOT EXISTS (
    SELECT 1 FROM jobs j
    CROSS JOIN LATERAL (
      SELECT 1 FROM dataset_cursors c WHERE c.job_id = j.id AND c.start_task = l.id OFFSET 0) AS c
    WHERE j.identity = l.job_identity))
  AND (l.status = 'Completed' OR coalesce(l.canceled_by IN ('cutover', 'join', 'rollout'), false) OR EXISTS (
    SELECT 1 FROM tasks n
    WHERE n.job_identity = l.job_identity AND n.fingerprint = l.fingerprint AND n.unit_key = l.unit_key AND n.seq > l.seq
      AND (n.status = 'Completed' OR (n.status = 'Failed' AND n.completed_at IS NOT NULL))
      AND (l.canceled_by IS DISTINCT FROM 'absence' OR n.params_digest = l.params_digest)))
  AND NOT EXISTS (
    SELECT 1 FROM tasks o
    WHERE o.job_identity = l.job_identity AND o.fingerprint = l.fingerprint AND o.unit_key = l.unit_key AND o.seq < l.seq
      AND (o.status IN ('Queued', 'Running', 'Failed') OR o.canceled_by IN ('absence', 'user')))
  AND EXISTS (
    SELECT 1 FROM (
      SELECT 1 FROM tasks n
      WHERE n.job_identity = l.job_identity AND n.completed_at IS NOT NULL AND n.seq > l.seq
        AND n.fingerprint || '' = l.fingerprint AND (n.unit_key = '@') = (l.unit_key = '@')
      ORDER BY n.seq LIMIT 1) AS n) AS goes
FROM looked l
ORDER BY l.completed_at, l.seq;

-- name: delete_old_tasks
-- These leave the table, with what they have read.
DELETE FROM tasks WHERE id = ANY (%(ids)s) AND completed_at IS NOT NULL;
