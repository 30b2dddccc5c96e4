-- name: resolve_datasets
-- These datasets, as one who has these roles may read them: under the version that serves, or under an earlier one of the
-- DAG that has served; all of it from one snapshot. What does not fit on the first page is kept, as it is, under a pin.
-- Rows of nobody's, and of those who may not, are alike: none.
-- A name is what it was in that version, and open to whom it, and the dataset that had it, are open to now.
WITH named AS MATERIALIZED (
  SELECT d.id, n.name, n.dag_name AS dag, v.yaml_hash AS dag_version, g.id AS version, g.storage_location AS location,
         g.schema_hash, g.unique_key, g.retired_at IS NOT NULL AS retired, gen_random_uuid() AS pin
  FROM dataset_names n
  LEFT JOIN LATERAL (
    SELECT c.dag_version_id AS id FROM dag_current_versions c
    WHERE %(at)s::text IS NULL AND c.org_id = n.org_id AND c.dag_name = n.dag_name
    UNION ALL
    SELECT o.id FROM dag_versions o
    WHERE o.org_id = n.org_id AND o.dag_name = n.dag_name
      AND (starts_with(o.yaml_hash, %(at)s::text) OR starts_with(split_part(o.yaml_hash, '-', 2), %(at)s::text))
      AND EXISTS (SELECT 1 FROM rollouts r WHERE r.dag_version_id = o.id AND r.state = 'Done')
  ) AS w ON true
  LEFT JOIN dag_versions v ON v.id = w.id
  LEFT JOIN dag_version_datasets p ON p.dag_version_id = w.id AND p.name = n.name
  LEFT JOIN datasets d ON d.id = p.dataset_uuid
  LEFT JOIN dataset_versions g ON g.id = p.dataset_version
  WHERE n.org_id = %(org_id)s AND n.name = ANY (%(names)s) AND (n.read_roles = '{}' OR n.read_roles && %(roles)s)
    AND (d.id IS NULL OR d.read_roles = '{}' OR d.read_roles && %(roles)s)
), listed AS MATERIALIZED (
  SELECT n.id, n.pin, pv.one, (row_number() OVER (PARTITION BY n.pin ORDER BY pv.key) - 1) / %(most)s AS page
  FROM named n
  CROSS JOIN LATERAL (
    SELECT pv.partition_key COLLATE "C" AS key, given_partition(pv, n.unique_key IS NOT NULL)
             || jsonb_build_object('rows', pv.row_count, 'bytes', pv.bytes) AS one
    FROM partition_versions pv WHERE pv.dataset_uuid = n.id AND pv.dataset_version = n.version AND NOT n.retired
  ) AS pv
), pinned AS (
  INSERT INTO read_pins (id, org_id, user_name, name, dataset_uuid, dataset_version)
  SELECT n.pin, %(org_id)s, %(user)s, n.name, n.id, n.version FROM named n
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
-- A page of a pin of this user's, of this name, that one who has these roles may read now.
SELECT p.partitions::text AS partitions, r.dataset_version AS version,
       EXISTS (SELECT 1 FROM read_pages n WHERE n.pin = p.pin AND n.page = p.page + 1) AS more
FROM read_pins r
JOIN read_pages p ON p.pin = r.id AND p.page = %(page)s
JOIN datasets d ON d.id = r.dataset_uuid AND (d.read_roles = '{}' OR d.read_roles && %(roles)s)
JOIN dataset_names n ON n.org_id = r.org_id AND n.name = r.name AND (n.read_roles = '{}' OR n.read_roles && %(roles)s)
WHERE r.name = %(name)s AND r.id = %(pin)s AND r.org_id = %(org_id)s AND r.user_name = %(user)s AND r.created_at > now() - interval '1 hour';

-- name: drop_pins
-- Of a user's pins those of the newest so many answers stay: of one they are all of its moment.
DELETE FROM read_pins r
WHERE r.org_id = %(org_id)s AND r.user_name = %(user)s AND r.created_at < (
  SELECT min(n.created_at)
  FROM (
    SELECT DISTINCT o.created_at FROM read_pins o WHERE o.org_id = %(org_id)s AND o.user_name = %(user)s
    ORDER BY 1 DESC LIMIT %(most)s
  ) AS n);

-- name: old_pins
-- Whether there are pins whose time is over.
SELECT EXISTS (SELECT 1 FROM read_pins WHERE created_at < now() - interval '1 hour') AS there;

-- name: delete_old_pins
-- Those.
DELETE FROM read_pins WHERE created_at < now() - interval '1 hour';
