-- name: dag_history
-- The versions of a DAG, the newest so many.
SELECT v.yaml_hash, v.created_at, c.dag_version_id IS NOT NULL AS current, c.updated_at AS served_since
FROM dag_versions v
LEFT JOIN dag_current_versions c ON c.dag_version_id = v.id
WHERE v.org_id = %(org_id)s AND v.dag_name = %(dag)s
ORDER BY v.created_at DESC, v.yaml_hash
LIMIT %(most)s;

-- name: schema_version
-- The newest migration that was applied.
SELECT max(version) AS version FROM schema_migrations;
