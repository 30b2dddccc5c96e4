-- name: cron_sources
-- The cron sources of every current version whose DAG is there, or one of them by its identity, with how far each has
-- ticked, and Postgres' time.
SELECT j.id AS job_id, j.org_id, j.dag_name AS dag, j.name AS job, j.identity, j.source, k.last_tick, now() AS now
FROM dag_current_versions c
JOIN dags p ON p.org_id = c.org_id AND p.name = c.dag_name AND p.absent_since IS NULL
JOIN jobs j ON j.dag_version_id = c.dag_version_id AND j.source ->> 'kind' = 'cron'
LEFT JOIN cron_ticks k ON k.job_identity = j.identity
WHERE %(identity)s::uuid IS NULL OR j.identity = %(identity)s
ORDER BY j.org_id, j.dag_name, j.name;

-- name: register_tick
-- A cron source is known from here on; no row if it was before.
INSERT INTO cron_ticks (job_identity, last_tick, since)
SELECT %(identity)s, t.at, t.at FROM (SELECT coalesce(%(from)s::timestamptz, now()) AS at) AS t
ON CONFLICT (job_identity) DO NOTHING;

-- name: advance_tick
-- These instants are decided; nothing is touched if another process was first.
UPDATE cron_ticks SET last_tick = %(to)s WHERE job_identity = %(identity)s AND last_tick = %(from)s;

-- name: record_command
-- A command is handled once; no row if this request was before.
INSERT INTO commands (org_id, dag_name, command, request_id, argument, outcome)
VALUES (%(org_id)s, %(dag)s, %(command)s, %(request_id)s, %(argument)s, '')
ON CONFLICT DO NOTHING;

-- name: find_command
-- Whether this request was handled, and what came of it.
SELECT outcome FROM commands
WHERE org_id = %(org_id)s AND dag_name = %(dag)s AND command = %(command)s AND request_id = %(request_id)s;

-- name: settle_command
-- What came of a command, in words.
UPDATE commands SET outcome = %(outcome)s
WHERE org_id = %(org_id)s AND dag_name = %(dag)s AND command = %(command)s AND request_id = %(request_id)s;

-- name: listed_sources
-- The registered cron sources of a DAG's current version that list partitions.
SELECT j.id AS job_id, j.source
FROM dag_current_versions c
JOIN jobs j ON j.dag_version_id = c.dag_version_id AND j.source ->> 'kind' = 'cron'
  AND (j.source ? 'values' OR j.source ? 'range')
JOIN cron_ticks k ON k.job_identity = j.identity
WHERE c.org_id = %(org_id)s AND c.dag_name = %(dag)s
ORDER BY j.name;
