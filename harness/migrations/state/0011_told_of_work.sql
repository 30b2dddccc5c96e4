-- Whoever waits for work of a job is told when the first comes. Whether any waited before is asked of each job by itself:
-- a plan for all of them at once, made while Postgres knew of few tasks, would read every task that waits.
CREATE OR REPLACE FUNCTION tell_of_work() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  PERFORM pg_notify('headrace_work', m.job_identity::text)
  FROM (SELECT job_id, job_identity, min(seq) AS first FROM made WHERE status = 'Queued' GROUP BY 1, 2) AS m
  WHERE NOT EXISTS (
    SELECT 1 FROM tasks t WHERE t.job_id = m.job_id AND t.status = 'Queued' AND t.seq < m.first OFFSET 0);
  RETURN NULL;
END $$;
