-- name: find_owner
-- Whose a published name is, and whether that DAG is there and publishes it, in the version that serves or in one that
-- is being built, or would be again by a retry.
SELECT n.dag_name AS dag, EXISTS (
    SELECT 1
    FROM dags p
    JOIN (
      SELECT org_id, dag_name, dag_version_id FROM dag_current_versions
      UNION ALL
      SELECT org_id, dag_name, dag_version_id FROM rollouts WHERE state IN ('Building', 'Ready')
      UNION ALL
      SELECT r.org_id, r.dag_name, r.dag_version_id FROM rollouts r
      WHERE r.state = 'Failed' AND NOT EXISTS (
        SELECT 1 FROM rollouts l WHERE l.org_id = r.org_id AND l.dag_name = r.dag_name AND l.seq > r.seq)
    ) AS w ON w.org_id = p.org_id AND w.dag_name = p.name
    JOIN dag_version_datasets v ON v.dag_version_id = w.dag_version_id AND v.name = n.name
    WHERE p.org_id = n.org_id AND p.name = n.dag_name AND p.absent_since IS NULL) AS published
FROM dataset_names n
WHERE n.org_id = %(org_id)s AND n.name = %(name)s
FOR UPDATE OF n;

-- name: give_up_name
-- The dataset that has the name gets the one made of its producer; whoever reads it goes on reading it.
UPDATE datasets
SET name = producer_dag_name || '.' || producer_job_name || '.' || producer_output_index, updated_at = now()
WHERE org_id = %(org_id)s AND name = %(name)s;

-- name: tell_owner
-- The DAG that may publish the name now is to look.
INSERT INTO consumer_looks (org_id, dag_name) VALUES (%(org_id)s, %(to)s)
ON CONFLICT (org_id, dag_name) DO UPDATE SET created_at = excluded.created_at;

-- name: give_name
-- The name is another DAG's.
UPDATE dataset_names SET dag_name = %(to)s WHERE org_id = %(org_id)s AND name = %(name)s;

-- name: say_of_names
-- What a DAG says of names that are its own.
UPDATE dataset_names n SET read_roles = w.read_roles, retained_versions = w.versions
FROM jsonb_to_recordset(%(settings)s) AS w (name text, read_roles text[], versions int)
WHERE n.org_id = %(org_id)s AND n.dag_name = %(dag)s AND n.name = w.name
  AND (n.read_roles, n.retained_versions) IS DISTINCT FROM (w.read_roles, w.versions);

-- name: say_of_datasets
-- The datasets that have the names have their roles.
UPDATE datasets d SET read_roles = n.read_roles, updated_at = now()
FROM dataset_names n
WHERE n.org_id = %(org_id)s AND n.dag_name = %(dag)s AND d.org_id = n.org_id AND d.name = n.name
  AND d.producer_dag_name = n.dag_name AND d.read_roles <> n.read_roles;
