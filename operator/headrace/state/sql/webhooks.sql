-- name: find_webhook
-- A webhook source of the version that serves, its DAG there, by the name of its namespace or by its org; with that
-- namespace's uid, and what trouble it is known to have.
SELECT j.id AS job_id, j.identity, j.org_id, o.namespace_uid, j.source, t.reason AS trouble
FROM orgs o
JOIN dags p ON p.org_id = o.id AND p.name = %(dag)s AND p.absent_since IS NULL
JOIN dag_current_versions c ON c.org_id = o.id AND c.dag_name = p.name
JOIN jobs j ON j.dag_version_id = c.dag_version_id AND j.name = %(job)s AND j.source ->> 'kind' = 'webhook'
LEFT JOIN webhook_troubles t ON t.job_identity = j.identity
WHERE o.id = %(org_id)s::uuid OR o.slug = %(namespace)s::text;

-- name: tell_trouble
-- Why a webhook can take no delivery.
INSERT INTO webhook_troubles AS t (job_identity, reason) VALUES (%(identity)s, %(reason)s)
ON CONFLICT (job_identity) DO UPDATE SET reason = excluded.reason, since = now() WHERE t.reason <> excluded.reason;

-- name: end_trouble
-- It can.
DELETE FROM webhook_troubles WHERE job_identity = %(identity)s;

-- name: store_event
-- An event is accepted, with its partition by the pattern that serves; no row if its id was accepted before.
WITH event AS (
  INSERT INTO webhook_events (job_identity, webhook_id, sent_at, partition_key, body)
  VALUES (%(identity)s, %(id)s, %(sent)s, %(key)s, %(body)s)
  ON CONFLICT (job_identity, webhook_id) DO NOTHING
  RETURNING seq
)
INSERT INTO webhook_keys (job_identity, format, seq, partition_key)
SELECT %(identity)s, %(format)s, e.seq, %(key)s FROM event e;

-- name: stored_event
-- What an event was answered with.
SELECT webhook_id AS id, partition_key AS partition, received_at
FROM webhook_events WHERE job_identity = %(identity)s AND webhook_id = %(id)s;

-- name: create_event_task
-- The unit of an event is worked on. A task of it that waits already is locked, not left alone: its claim must see the
-- event, or wait for us.
INSERT INTO tasks (job_id, partitions, job_identity, fingerprint, unit_key, low)
SELECT j.id, ARRAY[%(key)s], j.identity, j.fingerprint, %(key)s, is_low(j.id, false)
FROM jobs j WHERE j.id = %(job_id)s
ON CONFLICT (job_identity, fingerprint, unit_key, params_digest)
  WHERE status = 'Queued' OR (status = 'Failed' AND next_retry_at IS NOT NULL)
DO UPDATE SET job_id = excluded.job_id;

-- name: record_events
-- How many events the attempts that have just begun are given.
INSERT INTO task_events (task_id, events)
SELECT t.id, (
  SELECT count(*) FROM webhook_keys k
  WHERE k.job_identity = t.job_identity AND k.format = coalesce(j.source #>> '{partition,format}', '')
    AND k.partition_key = t.unit_key)
FROM tasks t JOIN jobs j ON j.id = t.job_id
WHERE t.id = ANY (%(ids)s) AND j.source ->> 'kind' = 'webhook'
ON CONFLICT (task_id) DO UPDATE SET events = excluded.events;

-- name: events_of_tasks
-- The events that the present attempts of these tasks are given, in the order of their acceptance; of many bytes only the
-- number of these.
SELECT t.id AS task, b.bytes, e.ids, e.sent, e.bodies
FROM tasks t
JOIN jobs j ON j.id = t.job_id
JOIN task_events c ON c.task_id = t.id
CROSS JOIN LATERAL (SELECT ARRAY(
  SELECT k.seq FROM webhook_keys k
  WHERE k.job_identity = t.job_identity AND k.format = coalesce(j.source #>> '{partition,format}', '')
    AND k.partition_key = t.unit_key
  ORDER BY k.seq LIMIT c.events) AS seqs
) AS g
CROSS JOIN LATERAL (
  SELECT coalesce(sum(octet_length(v.body) + octet_length(v.webhook_id) + 64), 0)::bigint AS bytes
  FROM webhook_events v WHERE v.seq = ANY (g.seqs)
) AS b
CROSS JOIN LATERAL (
  SELECT coalesce(array_agg(v.webhook_id ORDER BY v.seq), '{}') AS ids,
         coalesce(array_agg(v.sent_at ORDER BY v.seq), '{}') AS sent,
         coalesce(array_agg(v.body ORDER BY v.seq), '{}') AS bodies
  FROM webhook_events v WHERE b.bytes <= %(most)s AND v.seq = ANY (g.seqs)
) AS e
WHERE t.id = ANY (%(ids)s);

-- name: unnamed_webhooks
-- Webhook sources of a version whose pattern has not named all events yet, and up to which it has.
SELECT j.identity, n.format, n.up_to
FROM jobs j
CROSS JOIN LATERAL (
  SELECT f.format, coalesce(
    (SELECT max(k.seq) FROM webhook_keys k WHERE k.job_identity = j.identity AND k.format = f.format), 0) AS up_to
  FROM (SELECT coalesce(j.source #>> '{partition,format}', '') AS format) AS f
) AS n
WHERE j.dag_version_id = %(version)s AND j.source ->> 'kind' = 'webhook' AND EXISTS (
  SELECT 1 FROM webhook_events e WHERE e.job_identity = j.identity AND e.seq > n.up_to)
ORDER BY j.identity;

-- name: events_after
-- When events of a source were sent, in the order of their acceptance, after a certain one.
SELECT seq, sent_at AS sent FROM webhook_events
WHERE job_identity = %(identity)s AND seq > %(up_to)s ORDER BY seq LIMIT %(most)s;

-- name: name_events
-- The partitions of events under a pattern.
INSERT INTO webhook_keys (job_identity, format, seq, partition_key)
SELECT %(identity)s, %(format)s, e.seq, e.key FROM unnest(%(seqs)s::bigint[], %(keys)s::text[]) AS e (seq, key);

-- name: catch_up_events
-- Units of changed webhook sources with events that `version` has not dealt with: as far as `base` has (its contents are
-- of them, or it failed for good), or, once `version` serves, all. A unit is of the first so many of its events: it
-- lacks none if these are enough. While it is built, what waits or runs is looked at again when it is done. At a cutover
-- there is no other look: what waits is locked, so that a claim that goes on, its events counted, is waited for.
WITH changed AS (
  SELECT n.id, n.identity, n.fingerprint, n.name, coalesce(n.source #>> '{partition,format}', '') AS format,
         o.id AS before, coalesce(o.source #>> '{partition,format}', '') AS before_format
  FROM jobs n
  LEFT JOIN LATERAL (
    SELECT * FROM jobs j WHERE j.dag_version_id = %(base)s AND j.identity = n.identity OFFSET 0
  ) AS o ON true
  WHERE n.dag_version_id = %(version)s AND n.source ->> 'kind' = 'webhook' AND NOT n.side_effects
    AND (n.source ? 'partition' OR NOT n.source ?| '{values,range}') AND o.fingerprint IS DISTINCT FROM n.fingerprint
), dealt AS (
  SELECT c.id, b.seq
  FROM changed c
  JOIN LATERAL (
    SELECT k.seq, k.partition_key AS key, row_number() OVER (PARTITION BY k.partition_key ORDER BY k.seq) AS nth
    FROM webhook_keys k WHERE k.job_identity = c.identity AND k.format = c.before_format
  ) AS b ON true
  JOIN LATERAL (
    SELECT u.key, max(u.events) AS events FROM unit_events u WHERE u.job_id = c.before GROUP BY u.key
  ) AS u ON u.key = b.key AND u.events >= b.nth
  WHERE NOT %(serves)s
), needed AS (
  SELECT c.id, k.key, max(k.nth) AS events, max(k.seq) AS last
  FROM changed c
  JOIN LATERAL (
    SELECT k.seq, k.partition_key AS key, row_number() OVER (PARTITION BY k.partition_key ORDER BY k.seq) AS nth
    FROM webhook_keys k WHERE k.job_identity = c.identity AND k.format = c.format
  ) AS k ON true
  WHERE %(serves)s OR EXISTS (SELECT 1 FROM dealt d WHERE d.id = c.id AND d.seq = k.seq)
  GROUP BY c.id, k.key
)
INSERT INTO tasks (job_id, partitions, job_identity, fingerprint, unit_key, backfill, low)
SELECT c.id, ARRAY[n.key], c.identity, c.fingerprint, n.key, true, true
FROM needed n
JOIN changed c ON c.id = n.id
JOIN webhook_events l ON l.seq = n.last
WHERE NOT EXISTS (SELECT 1 FROM unit_events u WHERE u.job_id = c.id AND u.key = n.key AND u.events >= n.events)
  AND NOT EXISTS (
    SELECT 1 FROM tasks t
    WHERE t.job_identity = c.identity AND t.fingerprint = c.fingerprint AND t.unit_key = n.key
      AND ((NOT %(serves)s AND (t.status IN ('Queued', 'Running') OR t.next_retry_at IS NOT NULL))
           OR (t.canceled_by = 'user' AND t.completed_at > l.received_at)))
ORDER BY c.name, n.key
ON CONFLICT (job_identity, fingerprint, unit_key, params_digest)
  WHERE status = 'Queued' OR (status = 'Failed' AND next_retry_at IS NOT NULL)
DO UPDATE SET job_id = excluded.job_id;
