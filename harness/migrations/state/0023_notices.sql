-- News for the receivers that orgs name (settings.notify): an outbox, written with what it tells of, and only where the
-- org names one. What happens again before it was told is told with it, by one row: `times` more, the last of them in
-- words. `message` is another one with each, so that whoever has told it knows whether there is more to tell.
CREATE TABLE notices (
  org_id     uuid NOT NULL REFERENCES orgs,
  dag_name   text NOT NULL,
  -- Empty for what is about the DAG.
  job_name   text NOT NULL DEFAULT '',
  kind       text NOT NULL CONSTRAINT notices_kind_check
    CHECK (kind IN ('TaskFailed', 'RolloutDone', 'RolloutFailed', 'RolledBack')),
  message    uuid NOT NULL DEFAULT gen_random_uuid(),
  times      bigint NOT NULL DEFAULT 1 CONSTRAINT notices_times_check CHECK (times > 0),
  yaml_hash  text NOT NULL,
  rollout_id uuid,
  unit_key   text,
  error      text,
  created_at timestamptz NOT NULL DEFAULT now(),
  last_at    timestamptz NOT NULL DEFAULT now(),
  -- When it is to be sent, at first or again; whoever takes it to send it sets this to when it is sent again.
  due_at     timestamptz NOT NULL DEFAULT now() + interval '10 seconds',
  tries      int NOT NULL DEFAULT 0 CONSTRAINT notices_tries_check CHECK (tries >= 0),
  PRIMARY KEY (org_id, dag_name, job_name, kind),
  CONSTRAINT notices_job_check CHECK ((kind = 'TaskFailed') = (job_name <> '')),
  CONSTRAINT notices_rollout_check CHECK ((kind = 'TaskFailed') = (rollout_id IS NULL))
);
CREATE INDEX notices_due ON notices (due_at);
