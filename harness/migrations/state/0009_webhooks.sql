-- Webhook sources: events are stored before they are acknowledged, and tasks are made from them.

-- What was accepted, once for each id of a sender's; kept, since a partition is made from all of its events. `sent_at` is
-- the time that the first accepted delivery was signed with, `partition_key` what it was answered with. The body stays as
-- it was sent: text, since jsonb keeps neither every number nor every character.
CREATE TABLE webhook_events (
  seq           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  job_identity  uuid NOT NULL,
  webhook_id    text NOT NULL CONSTRAINT webhook_events_webhook_id_form_check
                CHECK (webhook_id ~ '^[A-Za-z0-9_:=+/@~-]{1,255}$'),
  sent_at       timestamptz NOT NULL,
  received_at   timestamptz NOT NULL DEFAULT clock_timestamp(),
  partition_key text NOT NULL,
  body          text NOT NULL CONSTRAINT webhook_events_body_size_check CHECK (octet_length(body) <= 65536),
  CONSTRAINT webhook_events_webhook_id_key UNIQUE (job_identity, webhook_id)
);
CREATE INDEX webhook_events_of_job ON webhook_events (job_identity, seq);

-- The partition of each event under each pattern that its source has had (empty: none, the whole). Of the pattern that
-- serves every event has its row; of another, those up to a certain one: the rest is added under the DAG's exclusive lock.
CREATE TABLE webhook_keys (
  job_identity  uuid NOT NULL,
  format        text NOT NULL,
  seq           bigint NOT NULL REFERENCES webhook_events,
  partition_key text NOT NULL CHECK (partition_key ~ '^(\*|[A-Za-z0-9][A-Za-z0-9._:=-]{0,127})$'),
  PRIMARY KEY (job_identity, format, seq)
);
CREATE INDEX webhook_keys_of_partition ON webhook_keys (job_identity, format, partition_key, seq);
CREATE INDEX webhook_keys_seq ON webhook_keys (seq);

-- How many events of its partition the present attempt of a task was given: the first so many, since events of a partition
-- are accepted one after the other. Events are never taken away, so the number says whether all of them were seen.
CREATE TABLE task_events (
  task_id uuid PRIMARY KEY REFERENCES tasks ON DELETE CASCADE,
  events  bigint NOT NULL CHECK (events >= 0)
);

-- Why a webhook can take no delivery, as the gateway last saw it: the operator reads no Secret and could not say.
CREATE TABLE webhook_troubles (
  job_identity uuid PRIMARY KEY,
  reason       text NOT NULL,
  since        timestamptz NOT NULL DEFAULT now()
);

-- What stands for a unit of a webhook source, and of how many events it is: contents, or a failure for good.
CREATE VIEW unit_events AS
SELECT j.id AS job_id, pv.partition_key AS key, e.events
FROM jobs j
JOIN datasets d ON d.org_id = j.org_id AND d.producer_dag_name = j.dag_name AND d.producer_job_name = j.name
  AND d.producer_output_index = 0
JOIN dag_version_datasets v ON v.dag_version_id = j.dag_version_id AND v.dataset_uuid = d.id
JOIN partition_versions pv ON pv.dataset_uuid = v.dataset_uuid AND pv.dataset_version = v.dataset_version
JOIN task_events e ON e.task_id = pv.task_id
UNION ALL
SELECT j.id, u.unit_key, e.events
FROM jobs j
JOIN unit_completions u ON u.job_identity = j.identity AND u.fingerprint = j.fingerprint
JOIN task_events e ON e.task_id = u.task_id
WHERE cardinality(j.output_datasets) = 0
UNION ALL
SELECT j.id, t.unit_key, e.events
FROM jobs j
JOIN tasks t ON t.job_identity = j.identity AND t.fingerprint = j.fingerprint AND t.status = 'Failed'
  AND t.next_retry_at IS NULL
JOIN task_events e ON e.task_id = t.id;
