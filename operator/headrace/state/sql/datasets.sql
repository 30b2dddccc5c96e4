-- name: resolve_datasets
-- These datasets, as one who has these roles may read them: under the version that serves, or under an earlier one of the
-- DAG that has served; all of it from one snapshot. What does not fit on the first page is kept, as it is, under a pin.
-- Rows of nobody's, and of those who may not, are alike: none.
WITH named AS MATERIALIZED (
  SELECT d.id, d.name, d.producer_dag_name AS dag, v.yaml_hash AS dag_version, g.id AS version, g.storage_location AS location,
         g.schema_hash, g.unique_key, g.retired_at IS NOT NULL AS retired, gen_random_uuid() AS pin
  FROM datasets d
  LEFT JOIN LATERAL (
    SELECT c.dag_version_id AS id FROM dag_current_versions c
    WHERE %(at)s::text IS NULL AND c.org_id = d.org_id AND c.dag_name = d.producer_dag_name
    UNION ALL
    SELECT o.id FROM dag_versions o
    WHERE o.org_id = d.org_id AND o.dag_name = d.producer_dag_name
      AND (o.yaml_hash = %(at)s::text OR starts_with(split_part(o.yaml_hash, '-', 2), %(at)s::text))
      AND EXISTS (SELECT 1 FROM rollouts r WHERE r.dag_version_id = o.id AND r.state = 'Done')
  ) AS w ON true
  LEFT JOIN dag_versions v ON v.id = w.id
  LEFT JOIN dag_version_datasets p ON p.dag_version_id = w.id AND p.dataset_uuid = d.id
  LEFT JOIN dataset_versions g ON g.id = p.dataset_version
  WHERE d.org_id = %(org_id)s AND d.name = ANY (%(names)s) AND (d.read_roles = '{}' OR d.read_roles && %(roles)s)
), listed AS MATERIALIZED (
  SELECT n.id, n.pin, pv.one, (row_number() OVER (PARTITION BY n.pin ORDER BY pv.key) - 1) / %(most)s AS page
  FROM named n
  CROSS JOIN LATERAL (
    SELECT pv.partition_key COLLATE "C" AS key, given_partition(pv, n.unique_key IS NOT NULL)
             || jsonb_build_object('rows', pv.row_count, 'bytes', pv.bytes) AS one
    FROM partition_versions pv WHERE pv.dataset_uuid = n.id AND pv.dataset_version = n.version AND NOT n.retired
  ) AS pv
), pinned AS (
  INSERT INTO read_pins (id, org_id, user_name, dataset_uuid, dataset_version)
  SELECT n.pin, %(org_id)s, %(user)s, n.id, n.version FROM named n
  WHERE EXISTS (SELECT 1 FROM listed l WHERE l.pin = n.pin AND l.page > 0)
), kept AS (
  INSERT INTO read_pages (pin, page, partitions)
  SELECT l.pin, l.page, jsonb_agg(l.one ORDER BY l.one ->> 'key' COLLATE "C") FROM listed l WHERE l.page > 0 GROUP BY 1, 2
)
SELECT n.id AS uuid, n.name, n.dag, n.dag_version, n.version, n.location, n.schema_hash, s.columns, n.unique_key, n.retired,
       n.pin, coalesce(l.count, 0) AS count, coalesce(l.pages, 0) AS pages, coalesce(l.first, '[]')::text AS partitions,
       now() AS at
FROM named n
LEFT JOIN schemas s ON s.hash = n.schema_hash
LEFT JOIN LATERAL (
  SELECT count(*) AS count, max(l.page) + 1 AS pages,
         jsonb_agg(l.one ORDER BY l.one ->> 'key' COLLATE "C") FILTER (WHERE l.page = 0) AS first
  FROM listed l WHERE l.pin = n.pin
) AS l ON true
ORDER BY n.name;

-- name: read_page
-- A page of a pin of this user's, of a dataset of this name that one who has these roles may read now.
SELECT p.partitions::text AS partitions, r.dataset_version AS version,
       EXISTS (SELECT 1 FROM read_pages n WHERE n.pin = p.pin AND n.page = p.page + 1) AS more
FROM read_pins r
JOIN read_pages p ON p.pin = r.id AND p.page = %(page)s
JOIN datasets d ON d.id = r.dataset_uuid AND d.name = %(name)s AND (d.read_roles = '{}' OR d.read_roles && %(roles)s)
WHERE r.id = %(pin)s AND r.org_id = %(org_id)s AND r.user_name = %(user)s AND r.created_at > now() - interval '1 hour';

-- name: drop_pins
-- Of a user's pins the newest so many stay.
DELETE FROM read_pins r
WHERE r.id IN (
  SELECT o.id FROM read_pins o WHERE o.org_id = %(org_id)s AND o.user_name = %(user)s
  ORDER BY o.created_at DESC, o.id OFFSET %(most)s);

-- name: old_pins
-- Whether there are pins whose time is over.
SELECT EXISTS (SELECT 1 FROM read_pins WHERE created_at < now() - interval '1 hour') AS there;

-- name: delete_old_pins
-- Those.
DELETE FROM read_pins WHERE created_at < now() - interval '1 hour';
