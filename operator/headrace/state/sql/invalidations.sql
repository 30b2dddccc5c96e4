-- name: invalidated_dataset
-- A dataset of an org by its name, with how rows come to partitions in the version that serves.
SELECT d.id AS dataset, d.producer_dag_name AS dag, j.document -> 'partition_by' AS partition_by
FROM datasets d
LEFT JOIN dag_current_versions c ON c.org_id = d.org_id AND c.dag_name = d.producer_dag_name
LEFT JOIN jobs j ON j.dag_version_id = c.dag_version_id AND j.name = d.producer_job_name
WHERE d.org_id = %(org_id)s AND d.name = %(name)s;

-- name: keys_of_dataset
-- The partitions of a dataset, over all of its generations that are kept; `serves`: in the one that serves.
SELECT pv.partition_key AS key, bool_or(v.dataset_version IS NOT NULL) AS serves
FROM partition_versions pv
JOIN dataset_versions g ON g.id = pv.dataset_version AND g.retired_at IS NULL
JOIN datasets d ON d.id = pv.dataset_uuid
LEFT JOIN dag_current_versions c ON c.org_id = d.org_id AND c.dag_name = d.producer_dag_name
LEFT JOIN dag_version_datasets v ON v.dag_version_id = c.dag_version_id AND v.dataset_uuid = d.id
  AND v.dataset_version = g.id
WHERE pv.dataset_uuid = %(dataset)s
GROUP BY pv.partition_key
ORDER BY pv.partition_key COLLATE "C";

-- name: invalidate
-- What is made from these partitions, in every generation that is kept, is out of date: they have another time, one for all,
-- which was none before. One row for each generation says why, and what of it; updates of what is read so say it, too.
WITH hit AS MATERIALIZED (
  SELECT pv.dataset_version, pv.partition_key, pv.materialized_at
  FROM partition_versions pv
  JOIN dataset_versions g ON g.id = pv.dataset_version AND g.retired_at IS NULL
  WHERE pv.dataset_uuid = %(dataset)s AND pv.partition_key = ANY (%(keys)s)
  ORDER BY pv.dataset_version, pv.partition_key
  FOR UPDATE OF pv
), moment AS MATERIALIZED (
  SELECT greatest(clock_timestamp(), max(h.materialized_at) + interval '1 microsecond', (
    SELECT max(r.revision) + interval '1 microsecond' FROM dataset_revisions r WHERE r.dataset_uuid = %(dataset)s)) AS at
  FROM hit h
), moved AS (
  UPDATE partition_versions pv SET materialized_at = m.at
  FROM hit h, moment m
  WHERE pv.dataset_uuid = %(dataset)s AND pv.dataset_version = h.dataset_version AND pv.partition_key = h.partition_key
), revised AS (
  UPDATE dataset_revisions r SET revision = m.at
  FROM moment m
  WHERE r.dataset_uuid = %(dataset)s AND EXISTS (SELECT 1 FROM hit h WHERE h.dataset_version = r.dataset_version)
), noted AS (
  INSERT INTO data_invalidations (
    dataset_uuid, dataset_version, scope, partition_key, row_filter, reason, source_event, created_at)
  SELECT g.dataset_uuid, g.id, CASE WHEN %(filter)s::jsonb IS NULL THEN 'partition' ELSE 'row_range' END, %(key)s::text,
         %(filter)s, %(reason)s, %(event)s, m.at
  FROM dataset_versions g, moment m
  WHERE g.dataset_uuid = %(dataset)s AND g.retired_at IS NULL
  RETURNING id, dataset_version
), counted AS (
  UPDATE update_counters c SET updates = c.updates + (SELECT count(DISTINCT h.dataset_version) FROM hit h)
  WHERE c.dataset_uuid = %(dataset)s
  RETURNING c.updates
), told AS (
  INSERT INTO dataset_updates (
    dataset_uuid, number, dataset_version, partition_key, row_filters, invalidation_id)
  SELECT %(dataset)s, c.updates + 1 - row_number() OVER (ORDER BY n.dataset_version), n.dataset_version,
         coalesce(%(key)s::text, '*'),
         CASE WHEN %(filter)s::jsonb IS NOT NULL THEN jsonb_build_array(%(filter)s::jsonb) END, n.id
  FROM noted n, counted c
  WHERE EXISTS (SELECT 1 FROM hit h WHERE h.dataset_version = n.dataset_version)
)
SELECT id FROM noted;

-- name: tell_of_invalidation
-- Other DAGs that read it are to look for work.
INSERT INTO consumer_looks (org_id, dag_name)
SELECT DISTINCT w.org_id, w.dag_name
FROM job_inputs i
JOIN working_jobs w ON w.job_id = i.job_id
WHERE i.dataset_uuid = %(dataset)s AND i.external_name IS NOT NULL
ORDER BY w.org_id, w.dag_name
ON CONFLICT (org_id, dag_name) DO UPDATE SET created_at = excluded.created_at;

-- name: invalidated_consumers
-- The jobs that read it, and how many units each has to make again for these partitions; `mapped`: its parts can be made for
-- the filter alone; `own`: of the DAG that makes it.
SELECT w.job_id AS id, w.dag_name AS dag, w.name AS job, w.building, i.external_name IS NULL AS own,
       CASE WHEN i.match = 'same' THEN 'keys' ELSE i.on_change END AS how, CASE
         WHEN i.match = 'same' THEN (
           SELECT count(*) FROM unnest(%(keys)s::text[]) AS k (key)
           WHERE NOT EXISTS (SELECT 1 FROM lacking_inputs(w.job_id, k.key)))
         WHEN i.on_change = 'update' THEN 1
         WHEN i.on_change = 'rerun' THEN (SELECT count(*) FROM ready_units(w.job_id))
         ELSE 0 END AS units, j.update_strategy = 'append' AS adds,
       %(filter)s::jsonb IS NULL OR maps_filters(w.job_id, jsonb_build_array(%(filter)s::jsonb)) AS mapped
FROM job_inputs i
JOIN working_jobs w ON w.job_id = i.job_id
JOIN jobs j ON j.id = w.job_id
WHERE i.dataset_uuid = %(dataset)s
ORDER BY 1, 2, i.position;

-- name: settle_invalidations
-- Of open invalidations (of what these tasks have read, or of all that these DAGs make), who is done with them: by an id that
-- is the same for the same job and what it makes. Once all that read it now are, they are over; at once, where no version of
-- any DAG reads it.
WITH open AS MATERIALIZED (
  SELECT n.id, n AS whole FROM data_invalidations n
  WHERE n.processed_at IS NULL AND CASE WHEN %(dags)s::text[] IS NULL
    THEN EXISTS (
      SELECT 1 FROM task_inputs r
      WHERE r.task_id = ANY (%(tasks)s::uuid[]) AND r.input_dataset_uuid = n.dataset_uuid
        AND r.input_dataset_version = n.dataset_version)
    ELSE EXISTS (
      SELECT 1 FROM datasets d
      WHERE d.id = n.dataset_uuid
        AND (d.org_id, d.producer_dag_name) IN (SELECT * FROM unnest(%(org_ids)s::uuid[], %(dags)s::text[]))) END
), readers AS MATERIALIZED (
  SELECT o.id, md5(w.identity || '/' || w.fingerprint)::uuid AS consumer, bool_or(waits_for(o.whole, w.job_id, i.name)) AS waits
  FROM open o
  JOIN job_inputs i ON i.dataset_uuid = (o.whole).dataset_uuid
  JOIN working_jobs w ON w.job_id = i.job_id
  JOIN input_versions v ON v.job_id = w.job_id AND v.name = i.name AND v.dataset_version = (o.whole).dataset_version
  GROUP BY 1, 2
), done AS (
  SELECT r.id, coalesce(array_agg(r.consumer) FILTER (WHERE NOT r.waits), '{}') AS who, bool_or(r.waits) AS waits
  FROM readers r
  GROUP BY r.id
  UNION ALL
  SELECT o.id, '{}', false
  FROM open o
  WHERE NOT EXISTS (SELECT 1 FROM job_inputs i WHERE i.dataset_uuid = (o.whole).dataset_uuid)
)
UPDATE data_invalidations n
SET processed_by = (SELECT coalesce(array_agg(DISTINCT w ORDER BY w), '{}') FROM unnest(n.processed_by || d.who) AS w),
    processed_at = CASE WHEN NOT d.waits THEN clock_timestamp() END
FROM done d
WHERE n.id = d.id AND n.processed_at IS NULL AND NOT (d.waits AND n.processed_by @> d.who);
