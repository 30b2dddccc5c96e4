-- name: generations_to_retire
-- The generations of a DAG that nothing refers to (kept_generations), with what they have and the versions that had them.
SELECT g.id, d.name AS dataset, g.storage_location AS location, s.partitions, s.rows, s.bytes, ARRAY(
    SELECT v.yaml_hash FROM dag_version_datasets p JOIN dag_versions v ON v.id = p.dag_version_id
    WHERE p.dataset_version = g.id ORDER BY v.created_at DESC, v.yaml_hash LIMIT 8) AS versions
FROM datasets d
JOIN dataset_versions g ON g.dataset_uuid = d.id AND g.retired_at IS NULL
CROSS JOIN LATERAL (
  SELECT count(*) AS partitions, sum(p.row_count)::bigint AS rows, sum(p.bytes)::bigint AS bytes
  FROM partition_versions p WHERE p.dataset_uuid = g.dataset_uuid AND p.dataset_version = g.id
) AS s
WHERE d.org_id = %(org_id)s AND d.producer_dag_name = %(dag)s AND g.id NOT IN (
  SELECT k.dataset_version FROM kept_generations(%(org_id)s, %(dag)s, now() - make_interval(secs => %(older_than)s)) AS k)
ORDER BY d.name, g.created_at, g.id;

-- name: count_kept
-- How many generations of a DAG are kept, by the reason.
SELECT k.reason, count(*) AS generations
FROM kept_generations(%(org_id)s, %(dag)s, now() - make_interval(secs => %(older_than)s)) AS k
GROUP BY k.reason;

-- name: retire
-- These generations are no more; what they had is on record until the owner has deleted it.
WITH gone AS (
  UPDATE dataset_versions g SET retired_at = now()
  FROM unnest(%(ids)s::uuid[], %(partitions)s::bigint[], %(rows)s::bigint[], %(bytes)s::bigint[])
    AS w (id, partitions, rows, bytes)
  WHERE g.id = w.id AND g.retired_at IS NULL
  RETURNING g.id, w.partitions, w.rows, w.bytes
)
INSERT INTO retired_generations (dataset_version, partitions, row_count, bytes)
SELECT id, partitions, rows, bytes FROM gone;

-- name: drop_cursors_of_retired
-- How far the jobs had read that made them: were they made again, they would be made from the beginning.
DELETE FROM dataset_cursors c
USING dag_version_datasets p
JOIN datasets d ON d.id = p.dataset_uuid
JOIN jobs j ON j.dag_version_id = p.dag_version_id AND j.name = d.producer_job_name
WHERE p.dataset_version = ANY (%(ids)s) AND c.job_id = j.id;

-- name: retired
-- The generations of a DAG that were retired and whose locations are to be deleted.
SELECT g.id, d.name AS dataset, g.storage_location AS location, r.partitions, r.row_count AS rows, r.bytes, ARRAY(
    SELECT v.yaml_hash FROM dag_version_datasets p JOIN dag_versions v ON v.id = p.dag_version_id
    WHERE p.dataset_version = g.id ORDER BY v.created_at DESC, v.yaml_hash LIMIT 8) AS versions, g.retired_at AS retired
FROM datasets d
JOIN dataset_versions g ON g.dataset_uuid = d.id AND g.retired_at IS NOT NULL
JOIN retired_generations r ON r.dataset_version = g.id AND NOT r.forgotten
WHERE d.org_id = %(org_id)s AND d.producer_dag_name = %(dag)s
ORDER BY g.retired_at, d.name, g.id
LIMIT %(most)s;

-- name: superseded
-- Locations, within generations that stay, that nothing has pointed to for so long; not what an attempt reads that began
-- before, or while, they were superseded, nor what a reader was answered then who reads on.
SELECT d.name AS dataset, s.partition_key AS partition, s.location, s.superseded_at AS superseded, g.id
FROM datasets d
JOIN dataset_versions g ON g.dataset_uuid = d.id AND g.retired_at IS NULL
JOIN superseded_outputs s ON s.dataset_version = g.id
LEFT JOIN (
  SELECT i.input_dataset_version AS id, min(t.started_at) AS began
  FROM tasks t JOIN task_inputs i ON i.task_id = t.id
  WHERE t.status = 'Running'
  GROUP BY 1
) AS r ON r.id = g.id
WHERE d.org_id = %(org_id)s AND d.producer_dag_name = %(dag)s
  AND s.superseded_at < now() - make_interval(secs => %(older_than)s)
  AND (r.id IS NULL OR s.superseded_at < r.began - interval '10 minutes')
  AND NOT EXISTS (
    SELECT 1 FROM read_pins p
    WHERE p.dataset_version = g.id AND p.created_at > now() - interval '1 hour' AND p.created_at <= s.superseded_at)
ORDER BY s.superseded_at, s.location
LIMIT %(most)s;

-- name: mark_listed
-- The owner has been told of these.
WITH retired AS (
  UPDATE retired_generations r SET listed_at = now() WHERE r.dataset_version = ANY (%(generations)s)
)
UPDATE superseded_outputs s SET listed_at = now()
FROM unnest(%(versions)s::uuid[], %(locations)s::text[]) AS w (version, location)
WHERE s.dataset_version = w.version AND s.location = w.location;

-- name: transaction_time
-- What is written now is as of this time.
SELECT now() AS now;

-- name: forget_superseded
-- The owner has deleted what was listed up to then.
DELETE FROM superseded_outputs s USING datasets d JOIN dataset_versions g ON g.dataset_uuid = d.id
WHERE s.dataset_version = g.id AND d.org_id = %(org_id)s AND d.producer_dag_name = %(dag)s AND s.listed_at <= %(upto)s;

-- name: forget_retired
-- The same of generations; their tombstones stay, so that no version takes them for its data.
UPDATE retired_generations r SET forgotten = true
FROM datasets d JOIN dataset_versions g ON g.dataset_uuid = d.id
WHERE r.dataset_version = g.id AND d.org_id = %(org_id)s AND d.producer_dag_name = %(dag)s AND r.listed_at <= %(upto)s
  AND NOT r.forgotten;

-- name: drop_forgotten
-- Whose rows are gone, too, is no more on record.
DELETE FROM retired_generations WHERE forgotten AND emptied;

-- name: full_generation
-- A retired generation whose rows are still there.
SELECT r.dataset_version AS id, g.dataset_uuid AS dataset
FROM retired_generations r JOIN dataset_versions g ON g.id = r.dataset_version
WHERE NOT r.emptied
LIMIT 1;

-- name: empty_parts
-- So many rows of a retired generation go; parts first, which would all go at once with their partition.
DELETE FROM partition_parts WHERE ctid = ANY (ARRAY(
  SELECT a.ctid FROM partition_parts a
  WHERE a.dataset_uuid = %(dataset)s AND a.dataset_version = %(id)s LIMIT %(most)s));

-- name: empty_partitions
-- Its partitions.
DELETE FROM partition_versions WHERE ctid = ANY (ARRAY(
  SELECT a.ctid FROM partition_versions a
  WHERE a.dataset_uuid = %(dataset)s AND a.dataset_version = %(id)s LIMIT %(most)s));

-- name: empty_updates
-- What came to it.
DELETE FROM dataset_updates WHERE ctid = ANY (ARRAY(
  SELECT a.ctid FROM dataset_updates a
  WHERE a.dataset_uuid = %(dataset)s AND a.dataset_version = %(id)s LIMIT %(most)s));

-- name: empty_invalidations
-- What was wrong with it.
DELETE FROM data_invalidations WHERE ctid = ANY (ARRAY(
  SELECT a.ctid FROM data_invalidations a
  WHERE a.dataset_uuid = %(dataset)s AND a.dataset_version = %(id)s LIMIT %(most)s));

-- name: empty_cursors
-- How far it was read.
DELETE FROM dataset_cursors WHERE ctid = ANY (ARRAY(
  SELECT a.ctid FROM dataset_cursors a
  WHERE a.dataset_uuid = %(dataset)s AND a.dataset_version = %(id)s LIMIT %(most)s));

-- name: empty_superseded
-- What was superseded in it lies below its location.
DELETE FROM superseded_outputs WHERE ctid = ANY (ARRAY(
  SELECT a.ctid FROM superseded_outputs a WHERE a.dataset_version = %(id)s LIMIT %(most)s));

-- name: empty_revision
-- When it changed.
DELETE FROM dataset_revisions WHERE dataset_uuid = %(dataset)s AND dataset_version = %(id)s;

-- name: is_emptied
-- Its rows are gone.
UPDATE retired_generations SET emptied = true WHERE dataset_version = %(id)s;

-- name: forget_told
-- What a source that runs on and on told of data that were retired counts as not told, where they are made again now.
DELETE FROM tasks t
USING jobs j, datasets d, dag_version_datasets p, dataset_versions g
WHERE j.dag_version_id = %(version)s AND j.source ->> 'kind' = 'always_on'
  AND d.org_id = j.org_id AND d.producer_dag_name = j.dag_name AND d.producer_job_name = j.name
  AND p.dag_version_id = j.dag_version_id AND p.dataset_uuid = d.id AND g.id = p.dataset_version AND g.created_at = now()
  AND t.job_identity = j.identity AND t.fingerprint = j.fingerprint AND t.event IS NOT NULL;
