-- name: backlog
-- What waits, by kind, and what runs, with the age of the oldest, and rollouts under way: at most so many tasks, and jobs, are looked at, however
-- many there are. What is to be tried again has no age: its time has not come.
SELECT k.kind,
       (SELECT count(*)
        FROM (
          SELECT 1
          FROM (SELECT w.job_id FROM waiting_jobs w LIMIT 1000) AS w
          CROSS JOIN LATERAL (
            SELECT 1 FROM tasks t
            WHERE t.job_id = w.job_id AND t.status = 'Queued' AND t.low = k.low LIMIT %(most)s
          ) AS x
          LIMIT %(most)s
        ) AS c) AS tasks,
       coalesce((
         SELECT greatest(extract(epoch FROM now() - min(f.created_at)), 0)
         FROM (SELECT w.job_id FROM waiting_jobs w LIMIT 1000) AS w
         CROSS JOIN LATERAL (
           SELECT t.created_at FROM tasks t
           WHERE t.job_id = w.job_id AND t.status = 'Queued' AND t.low = k.low ORDER BY t.seq LIMIT 1
         ) AS f), 0)::float8 AS oldest
FROM (VALUES ('live', false), ('low', true)) AS k (kind, low)
UNION ALL
SELECT 'retry', (
  SELECT count(*) FROM (SELECT 1 FROM tasks WHERE next_retry_at IS NOT NULL LIMIT %(most)s) AS c), 0
UNION ALL
SELECT 'running', (SELECT count(*) FROM (SELECT 1 FROM tasks WHERE status = 'Running' LIMIT %(most)s) AS c), 0
UNION ALL
SELECT s.kind, (SELECT count(*) FROM rollouts r WHERE r.state = s.state AND r.state IN ('Building', 'Ready')), 0
FROM (VALUES ('building', 'Building'), ('ready', 'Ready')) AS s (kind, state);
