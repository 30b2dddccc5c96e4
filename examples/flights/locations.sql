-- The accepted partitions of what a DAG's current version publishes, as `flights result` takes them:
--
--   psql "$HEADRACE_DATABASE_URL" -X -A -t -v org=air -v dag=flights -f locations.sql > locations.json
SELECT coalesce(jsonb_object_agg(name, partitions), '{}')
FROM (
  SELECT
    d.name,
    jsonb_agg(jsonb_build_object('key', p.partition_key, 'location', p.location) ORDER BY p.partition_key)
      AS partitions
  FROM orgs AS o
  JOIN dag_current_versions AS c ON c.org_id = o.id
  JOIN dag_version_datasets AS v ON v.dag_version_id = c.dag_version_id
  JOIN datasets AS d ON d.id = v.dataset_uuid
  JOIN partition_versions AS p ON p.dataset_uuid = v.dataset_uuid AND p.dataset_version = v.dataset_version
  WHERE o.slug = :'org' AND c.dag_name = :'dag' AND d.name LIKE '%\_rank'
  GROUP BY d.name
) AS ranks;
