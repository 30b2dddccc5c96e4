-- The run plane: a queue that is read job by job, and workers that claim from it.

-- Work that gives way to live work, but for a share: of builds, of ranged runs, and all of a job with `mode: backfill`.
-- Apart from `backfill`, which says what a rollout waits for.
ALTER TABLE tasks ADD COLUMN low boolean NOT NULL DEFAULT false;
UPDATE tasks SET low = backfill WHERE backfill;

-- Whether a job's new task is low, being `asked` to be or not.
CREATE FUNCTION is_low(job uuid, asked boolean) RETURNS boolean LANGUAGE sql STABLE AS $$
  SELECT asked OR EXISTS (SELECT 1 FROM jobs j WHERE j.id = job AND j.scaling ->> 'mode' = 'backfill')
$$;

-- Whether the attempt is held by a worker, or has a pod of its own: the job may change from one to the other meanwhile.
ALTER TABLE tasks ADD COLUMN in_worker boolean NOT NULL DEFAULT false;

-- What waits, by job and in its order: a claim reads the first few of a job, however many wait behind them.
CREATE INDEX tasks_waiting ON tasks (job_id, low, seq) WHERE status = 'Queued';
-- Which attempts are due to be tried again.
CREATE INDEX tasks_retry ON tasks (next_retry_at) WHERE next_retry_at IS NOT NULL;

-- Jobs with `maxConcurrency: 1` take turns between live and low work: how many live tasks began since the last low one.
CREATE TABLE claim_turns (
  job_identity uuid PRIMARY KEY,
  live         int NOT NULL CHECK (live >= 0)
);

-- The jobs with waiting work, each found with one look into the index.
CREATE VIEW waiting_jobs AS
WITH RECURSIVE found (job_id) AS (
  (SELECT t.job_id FROM tasks t WHERE t.status = 'Queued' ORDER BY t.job_id LIMIT 1)
  UNION ALL
  SELECT (SELECT t.job_id FROM tasks t WHERE t.status = 'Queued' AND t.job_id > f.job_id ORDER BY t.job_id LIMIT 1)
  FROM found f WHERE f.job_id IS NOT NULL
)
SELECT f.job_id FROM found f WHERE f.job_id IS NOT NULL;

-- Whoever waits for work of a job is told when the first comes: not of what joins a queue, since every NOTIFY that a
-- transaction commits is written by one at a time.
CREATE FUNCTION tell_of_work() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  PERFORM pg_notify('headrace_work', m.job_identity::text)
  FROM (SELECT job_id, job_identity, min(seq) AS first FROM made WHERE status = 'Queued' GROUP BY 1, 2) AS m
  WHERE NOT EXISTS (
    SELECT 1 FROM tasks t WHERE t.job_id = m.job_id AND t.status = 'Queued' AND t.seq < m.first);
  RETURN NULL;
END $$;
CREATE TRIGGER tasks_tell_of_work AFTER INSERT ON tasks
  REFERENCING NEW TABLE AS made FOR EACH STATEMENT EXECUTE FUNCTION tell_of_work();

-- Worker pods: the gateway lets a pod claim only when its uid is here, recorded by the operator that made it. A worker is
-- of one job in the form that it had then: another image or template is another worker's.
CREATE TABLE workers (
  pod_uid    text PRIMARY KEY,
  org_id     uuid NOT NULL REFERENCES orgs,
  pod_name   text NOT NULL,
  job_id     uuid NOT NULL REFERENCES jobs ON DELETE CASCADE,
  epoch      bigint NOT NULL,
  created_at timestamptz NOT NULL DEFAULT now(),
  -- When it last claimed, since when it takes no new work, and since when its pod is over.
  seen_at    timestamptz,
  retired_at timestamptz,
  gone_at    timestamptz,
  CONSTRAINT workers_pod_name_key UNIQUE (org_id, pod_name)
);
CREATE INDEX workers_job_id ON workers (job_id);
CREATE INDEX workers_here ON workers (org_id) WHERE gone_at IS NULL;

-- What a worker holds.
CREATE INDEX tasks_of_worker ON tasks (worker_id) WHERE status = 'Running';

-- The jobs that keep a worker also when there is nothing to do: few, and asked for every second.
CREATE INDEX jobs_keep_worker ON jobs (id) WHERE runtime = 'worker' AND idle_timeout = 'never';
CREATE VIEW kept_workers AS
SELECT j.id AS job_id
FROM jobs j
CROSS JOIN LATERAL (SELECT w.building FROM working_jobs w WHERE w.job_id = j.id OFFSET 0) AS w
WHERE j.runtime = 'worker' AND j.idle_timeout = 'never';
