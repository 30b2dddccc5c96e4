-- name: dag_history
-- The versions of a DAG, the newest so many: when each served last, and how its last rollout stands.
WITH served AS (
  SELECT DISTINCT ON (s.dag_version_id) s.dag_version_id, s.since, s.until
  FROM (
    SELECT dag_version_id, finished_at AS since, lead(finished_at) OVER (ORDER BY finished_at, seq) AS until
    FROM rollouts
    WHERE org_id = %(org_id)s AND dag_name = %(dag)s AND state = 'Done'
  ) AS s
  ORDER BY s.dag_version_id, s.since DESC
)
SELECT v.yaml_hash, v.created_at, c.dag_version_id IS NOT NULL AS current, s.since AS served_since,
       s.until AS served_until, r.state AS rollout, r.cause
FROM dag_versions v
LEFT JOIN dag_current_versions c ON c.dag_version_id = v.id
LEFT JOIN served s ON s.dag_version_id = v.id
LEFT JOIN LATERAL (
  SELECT n.state, n.cause FROM rollouts n WHERE n.dag_version_id = v.id ORDER BY n.seq DESC LIMIT 1
) AS r ON true
WHERE v.org_id = %(org_id)s AND v.dag_name = %(dag)s
ORDER BY v.created_at DESC, v.yaml_hash
LIMIT %(most)s;

-- name: schema_version
-- The newest migration that was applied.
SELECT max(version) AS version FROM schema_migrations;
