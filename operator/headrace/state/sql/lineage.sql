-- name: contracts_of
-- What these tasks make must have these columns, by output: as the version says that their job belongs to now. Where
-- there are no contracts at all, nothing is read.
SELECT t.id, c.output::int AS output, d.name AS dataset, c.columns
FROM tasks t
JOIN jobs j ON j.id = t.job_id AND j.contracts IS NOT NULL
CROSS JOIN jsonb_each(j.contracts) AS c (output, columns)
JOIN dag_version_datasets d ON d.dag_version_id = j.dag_version_id AND d.dataset_uuid = (
  SELECT o.id FROM datasets o
  WHERE o.org_id = j.org_id AND o.producer_dag_name = j.dag_name AND o.producer_job_name = j.name
    AND o.producer_output_index = c.output::int)
WHERE t.id = ANY (%(ids)s) AND (SELECT EXISTS (SELECT 1 FROM jobs k WHERE k.contracts IS NOT NULL))
ORDER BY t.seq, c.output::int;

-- name: keep_schemas
-- The columns that hashes stand for, of those that are not known.
INSERT INTO schemas (hash, columns)
SELECT s.hash, s.columns FROM jsonb_to_recordset(%(schemas)s) AS s (hash text, columns jsonb)
WHERE NOT EXISTS (SELECT 1 FROM schemas k WHERE k.hash = s.hash)
ON CONFLICT DO NOTHING;

-- name: keep_lineage
-- What tasks report of columns, of the form of their job; what is known is not written again, and of what has more than
-- anybody could look at, no more.
INSERT INTO reported_lineage (job_identity, fingerprint, output, output_column, input, input_column)
SELECT DISTINCT t.job_identity, t.fingerprint, l.output, l.column, l.input, l.input_column
FROM jsonb_to_recordset(%(told)s) AS w (task uuid, lineage jsonb)
JOIN tasks t ON t.id = w.task
CROSS JOIN jsonb_to_recordset(w.lineage) AS l (output int, "column" text, input text, input_column text)
WHERE NOT EXISTS (
  SELECT 1 FROM reported_lineage k
  WHERE k.job_identity = t.job_identity AND k.fingerprint = t.fingerprint AND k.output = l.output
    AND k.output_column = l.column AND k.input = l.input AND k.input_column = l.input_column)
  AND (SELECT count(*) FROM reported_lineage m
       WHERE m.job_identity = t.job_identity AND m.fingerprint = t.fingerprint) < 20000
ORDER BY 1, 2, 3, 4, 5, 6
ON CONFLICT DO NOTHING;

-- name: add_lineage
-- It holds where the job serves.
INSERT INTO column_lineage (
  output_dataset_uuid, output_column, input_dataset_uuid, input_column, job_id, declared)
SELECT DISTINCT ON (l.output_dataset_uuid, l.output_column, l.input_dataset_uuid, l.input_column) l.*
FROM (SELECT DISTINCT t.job_id FROM tasks t WHERE t.id = ANY (%(tasks)s)) AS t
JOIN jobs j ON j.id = t.job_id
JOIN dag_current_versions c ON c.dag_version_id = j.dag_version_id
CROSS JOIN LATERAL lineage_of(j.id) AS l
ORDER BY l.output_dataset_uuid, l.output_column, l.input_dataset_uuid, l.input_column, l.declared DESC
ON CONFLICT DO NOTHING;

-- name: switch_lineage
-- What holds is what the version of the DAG that serves says, and no other; only what differs is written.
WITH wanted AS MATERIALIZED (
  SELECT DISTINCT ON (k.output_dataset_uuid, k.output_column, k.input_dataset_uuid, k.input_column) k.*
  FROM dag_current_versions c
  JOIN jobs n ON n.dag_version_id = c.dag_version_id
  CROSS JOIN LATERAL lineage_of(n.id) AS k
  WHERE c.org_id = %(org_id)s AND c.dag_name = %(dag)s
    AND (n.lineage IS NOT NULL OR EXISTS (
      SELECT 1 FROM reported_lineage r WHERE r.job_identity = n.identity AND r.fingerprint = n.fingerprint))
  ORDER BY k.output_dataset_uuid, k.output_column, k.input_dataset_uuid, k.input_column, k.declared DESC
), dropped AS (
  DELETE FROM column_lineage l
  USING jobs j
  WHERE j.id = l.job_id AND j.org_id = %(org_id)s AND j.dag_name = %(dag)s
    AND (l.output_dataset_uuid, l.output_column, l.input_dataset_uuid, l.input_column) NOT IN (
      SELECT w.output_dataset_uuid, w.output_column, w.input_dataset_uuid, w.input_column FROM wanted w)
)
INSERT INTO column_lineage AS l (
  output_dataset_uuid, output_column, input_dataset_uuid, input_column, job_id, declared)
SELECT w.* FROM wanted w
ON CONFLICT (output_dataset_uuid, output_column, input_dataset_uuid, input_column) DO UPDATE
SET job_id = excluded.job_id, declared = excluded.declared
WHERE (l.job_id, l.declared) IS DISTINCT FROM (excluded.job_id, excluded.declared);

-- name: lineage_strays
-- Whether what holds of jobs that read other DAGs is about datasets that they do not read.
SELECT EXISTS (
  SELECT 1
  FROM dag_current_versions c
  JOIN jobs j ON j.dag_version_id = c.dag_version_id
  JOIN job_inputs e ON e.job_id = j.id AND e.external_name IS NOT NULL
  JOIN column_lineage l ON l.job_id = j.id
  WHERE c.org_id = %(org_id)s AND c.dag_name = %(dag)s
    AND NOT EXISTS (SELECT 1 FROM job_inputs i WHERE i.job_id = j.id AND i.dataset_uuid = l.input_dataset_uuid)
) AS there;

-- name: find_dataset
-- A dataset by its name.
SELECT id FROM datasets WHERE org_id = %(org_id)s AND name = %(name)s;

-- name: walk_lineage
-- From the columns of a dataset (`column`: of one) both ways, over all DAGs, each edge once; so many of each way. An org's
-- datasets are made from datasets of its own alone.
WITH RECURSIVE above AS (
  SELECT l.output_dataset_uuid, l.output_column, l.input_dataset_uuid, l.input_column, l.job_id, l.declared
  FROM column_lineage l
  WHERE l.output_dataset_uuid = %(dataset)s AND (%(column)s::text IS NULL OR l.output_column = %(column)s)
  UNION
  SELECT l.output_dataset_uuid, l.output_column, l.input_dataset_uuid, l.input_column, l.job_id, l.declared
  FROM above a
  JOIN column_lineage l ON l.output_dataset_uuid = a.input_dataset_uuid AND l.output_column = a.input_column
), below AS (
  SELECT l.output_dataset_uuid, l.output_column, l.input_dataset_uuid, l.input_column, l.job_id, l.declared
  FROM column_lineage l
  WHERE l.input_dataset_uuid = %(dataset)s AND (%(column)s::text IS NULL OR l.input_column = %(column)s)
  UNION
  SELECT l.output_dataset_uuid, l.output_column, l.input_dataset_uuid, l.input_column, l.job_id, l.declared
  FROM below b
  JOIN column_lineage l ON l.input_dataset_uuid = b.output_dataset_uuid AND l.input_column = b.output_column
)
SELECT e.up, o.name AS dataset, e.output_column AS "column", i.name AS from_dataset, e.input_column AS from_column,
       j.dag_name AS dag, j.name AS job, e.declared
FROM (
  (SELECT true AS up, a.* FROM above a LIMIT %(most)s)
  UNION ALL
  (SELECT false, b.* FROM below b LIMIT %(most)s)
) AS e
JOIN datasets o ON o.id = e.output_dataset_uuid
JOIN datasets i ON i.id = e.input_dataset_uuid
JOIN jobs j ON j.id = e.job_id
ORDER BY e.up, o.name, e.output_column, i.name, e.input_column;
