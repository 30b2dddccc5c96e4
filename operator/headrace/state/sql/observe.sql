-- name: observe_dag
-- What serves, whether the object is known and a version pinned, what the wanted document is known as, the rollout under
-- way, and the last one if it failed or was given up.
SELECT p.object_uid, p.suspended, p.absent_since IS NOT NULL AS absent, p.pinned_hash,
       c.dag_version_id AS current_version, v.yaml_hash AS current_hash, w.id AS wanted_version,
       v.document -> 'publish' AS base_publish,
       EXISTS (SELECT 1 FROM rollouts s WHERE s.dag_version_id = w.id AND s.state = 'Done') AS served,
       NOT EXISTS (
         SELECT 1 FROM dag_version_datasets t JOIN dataset_versions x ON x.id = t.dataset_version
         WHERE t.dag_version_id = w.id AND x.retired_at IS NOT NULL) AS intact,
       EXISTS (
         SELECT 1
         FROM jsonb_array_elements(v.document -> 'publish') AS n
         JOIN dataset_names o ON o.org_id = %(org_id)s AND o.name = n ->> 'name' AND o.dag_name <> %(dag)s) AS taken,
       r.id AS rollout, rv.yaml_hash AS rollout_hash, r.base_version_id AS rollout_base, r.strategy AS rollout_strategy,
       r.planned_tasks AS rollout_tasks, r.build_approved_at IS NOT NULL AS rollout_builds,
       coalesce(NOT r.plan ? 'forgotten', true) AS rollout_bounded,
       extract(epoch FROM r.deadline_at - r.deadline_from)::int AS rollout_deadline,
       l.id AS failed, lv.yaml_hash AS failed_hash, l.cause AS failed_cause, coalesce(l.stopped, false) AS stopped
FROM (SELECT 1) AS one
LEFT JOIN dags p ON p.org_id = %(org_id)s AND p.name = %(dag)s
LEFT JOIN dag_current_versions c ON c.org_id = %(org_id)s AND c.dag_name = %(dag)s
LEFT JOIN dag_versions v ON v.id = c.dag_version_id
LEFT JOIN dag_versions w ON w.org_id = %(org_id)s AND w.dag_name = %(dag)s AND w.yaml_hash = %(yaml_hash)s
LEFT JOIN rollouts r ON r.org_id = %(org_id)s AND r.dag_name = %(dag)s AND r.state IN ('Building', 'Ready')
LEFT JOIN dag_versions rv ON rv.id = r.dag_version_id
LEFT JOIN LATERAL (
  SELECT * FROM rollouts n WHERE n.org_id = %(org_id)s AND n.dag_name = %(dag)s ORDER BY n.seq DESC LIMIT 1
) AS l ON l.state = 'Failed' OR l.stopped
LEFT JOIN dag_versions lv ON lv.id = l.dag_version_id;

-- name: observe_same_data
-- Which fingerprints of this DAG's jobs are the same data as others.
SELECT job_name AS job, fingerprint, same_as FROM same_data WHERE org_id = %(org_id)s AND dag_name = %(dag)s;

-- name: observe_reused
-- The fingerprints that these jobs serve with, and the form of what they make.
SELECT name, fingerprint, cardinality(output_datasets) AS outputs, activation
FROM jobs WHERE dag_version_id = %(version)s AND name = ANY (%(jobs)s);

-- name: observe_generations
-- Of these fingerprints of jobs, those that have served: they have data of their own, and stand for no others. What a
-- rollout has only begun to build does not count.
SELECT DISTINCT w.job
FROM unnest(%(jobs)s::text[], %(identities)s::uuid[], %(fingerprints)s::text[]) AS w (job, identity, fingerprint)
JOIN jobs j ON j.identity = w.identity AND j.fingerprint = w.fingerprint
JOIN rollouts r ON r.dag_version_id = j.dag_version_id AND r.state = 'Done';

-- name: observe_repoints
-- Whether a known version has other fingerprints than these.
SELECT EXISTS (
  SELECT 1
  FROM jobs j
  JOIN unnest(string_to_array(%(names)s, ' '), string_to_array(%(fingerprints)s, ' ')) AS w (name, fingerprint)
    ON w.name = j.name AND w.fingerprint <> j.fingerprint
  WHERE j.dag_version_id = %(version)s) AS differs;

-- name: observe_sources
-- How these jobs serve, how far they have ticked, which partitions they have, and which of these events stand for.
SELECT j.name, j.identity, j.source, k.last_tick, ARRAY(
    SELECT pv.partition_key
    FROM datasets d
    JOIN dag_version_datasets v ON v.dag_version_id = j.dag_version_id AND v.dataset_uuid = d.id
    JOIN partition_versions pv ON pv.dataset_uuid = v.dataset_uuid AND pv.dataset_version = v.dataset_version
    WHERE d.org_id = j.org_id AND d.producer_dag_name = j.dag_name AND d.producer_job_name = j.name
      AND d.producer_output_index = 0
    UNION
    SELECT u.unit_key FROM unit_completions u
    WHERE u.job_identity = j.identity AND u.fingerprint = j.fingerprint AND cardinality(j.output_datasets) = 0
  ) AS had, ARRAY(
    SELECT DISTINCT e.partition_key FROM webhook_keys e
    WHERE j.source ->> 'kind' = 'webhook' AND e.job_identity = j.identity
      AND e.format = coalesce(j.source #>> '{partition,format}', '')
  ) AS told
FROM jobs j LEFT JOIN cron_ticks k ON k.job_identity = j.identity
WHERE j.dag_version_id = %(version)s AND j.name = ANY (%(jobs)s);

-- name: observe_names
-- Who owns the names that this DAG asks for.
SELECT name, dag_name AS dag FROM dataset_names WHERE org_id = %(org_id)s AND name = ANY (%(names)s) ORDER BY name;

-- name: observe_readers
-- Jobs of other DAGs that read what this DAG publishes. They may still read another DAG's by a name that was given to it.
SELECT n.name AS dataset, d.producer_job_name AS job, d.producer_output_index AS output, w.dag_name AS dag,
       w.name AS reader
FROM dataset_names n
JOIN job_inputs i ON i.external_name = n.name
CROSS JOIN LATERAL (
  SELECT * FROM potential_jobs p
  WHERE p.job_id = i.job_id AND p.org_id = n.org_id AND p.present AND p.dag_name <> n.dag_name OFFSET 0
) AS w
JOIN datasets d ON d.id = i.dataset_uuid AND d.producer_dag_name = n.dag_name
WHERE n.org_id = %(org_id)s AND n.dag_name = %(dag)s
ORDER BY 1, 4, 5;

-- name: observe_absent
-- Of these datasets of other DAGs, those that no version publishes now.
SELECT w.name
FROM unnest(%(names)s::text[]) AS w (name)
WHERE NOT EXISTS (
  SELECT 1
  FROM datasets d
  JOIN dag_current_versions c ON c.org_id = d.org_id AND c.dag_name = d.producer_dag_name
  JOIN dag_version_datasets v ON v.dag_version_id = c.dag_version_id AND v.dataset_uuid = d.id
  WHERE d.org_id = %(org_id)s AND d.name = w.name)
ORDER BY 1;

-- name: observe_ancestry
-- Which jobs of this DAG the datasets of other DAGs that it reads are made from, over whatever DAGs lie between.
WITH RECURSIVE above AS (
  SELECT w.name AS dataset, d.producer_dag_name AS dag, d.producer_job_name AS job
  FROM unnest(%(names)s::text[]) AS w (name) JOIN datasets d ON d.org_id = %(org_id)s AND d.name = w.name
  UNION
  SELECT a.dataset, d.producer_dag_name, d.producer_job_name
  FROM above a
  JOIN potential_jobs w ON w.org_id = %(org_id)s AND w.dag_name = a.dag AND w.name = a.job
  JOIN job_inputs i ON i.job_id = w.job_id
  JOIN datasets d ON d.id = i.dataset_uuid
  WHERE a.dag <> %(dag)s
)
SELECT dataset, job FROM above WHERE dag = %(dag)s ORDER BY 1, 2;

-- name: observe_jobs
-- The jobs in which the wanted document and the version `base` differ: compared as sets of hashes, so that what is alike
-- is not read. The old document only where it is another, looked up after: carried through the join, ten thousand of them
-- would not fit into memory.
SELECT f.name, f.wanted, f.fingerprint, o.document
FROM (
  SELECT coalesce(w.name, o.name) AS name, w.name IS NOT NULL AS wanted, o.fingerprint,
         w.document_hash IS DISTINCT FROM o.document_hash AS other
  FROM unnest(string_to_array(%(names)s, ' '), string_to_array(%(fingerprints)s, ' '),
              string_to_array(%(documents)s, ' ')) AS w (name, fingerprint, document_hash)
  FULL JOIN (SELECT name, fingerprint, document_hash FROM jobs WHERE dag_version_id = %(base)s) AS o ON o.name = w.name
  WHERE w.fingerprint IS DISTINCT FROM o.fingerprint OR w.document_hash IS DISTINCT FROM o.document_hash
) AS f
LEFT JOIN LATERAL (
  SELECT j.document FROM jobs j WHERE f.other AND j.dag_version_id = %(base)s AND j.name = f.name OFFSET 0
) AS o ON true
ORDER BY 1;

-- name: observe_units
-- For each job to build: how many units its inputs give, and how many of these are done with inputs that are still the
-- same (none that was retired), or such as nothing is run again for. A frontier is the datasets of `base`, or of other
-- DAGs, that the keys come from. Datasets and pointers are looked up by their whole keys, since whole versions joined would
-- be compared each with each. A source that is built has those units, too, that failed for good.
WITH frontier AS (
  SELECT f.id, f.job, f.whole, v.dataset_uuid, v.dataset_version, count(*) OVER (PARTITION BY f.id) AS places
  FROM jsonb_to_recordset(%(frontiers)s) AS f (id int, job text, output int, dataset text, whole bool)
  LEFT JOIN LATERAL (
    SELECT d.id, %(base)s::uuid AS dag_version FROM datasets d
    WHERE f.dataset IS NULL AND d.org_id = %(org_id)s AND d.producer_dag_name = %(dag)s
      AND d.producer_job_name = f.job AND d.producer_output_index = f.output
    UNION ALL
    SELECT d.id, c.dag_version_id
    FROM datasets d JOIN dag_current_versions c ON c.org_id = d.org_id AND c.dag_name = d.producer_dag_name
    WHERE d.org_id = %(org_id)s AND d.name = f.dataset
    OFFSET 0
  ) AS d ON true
  LEFT JOIN LATERAL (
    SELECT p.dataset_uuid, p.dataset_version FROM dag_version_datasets p
    WHERE p.dag_version_id = d.dag_version AND p.dataset_uuid = d.id OFFSET 0
  ) AS v ON true
), present AS (
  SELECT k.id, k.places, k.key, count(*) AS present
  FROM (
    SELECT f.id, f.places, f.dataset_uuid, CASE WHEN f.whole THEN '*' ELSE pv.partition_key END AS key
    FROM frontier f
    JOIN partition_versions pv ON pv.dataset_uuid = f.dataset_uuid AND pv.dataset_version = f.dataset_version
    UNION
    SELECT f.id, f.places, f.dataset_uuid, CASE WHEN f.whole THEN '*' ELSE t.unit_key END
    FROM frontier f
    CROSS JOIN LATERAL (
      SELECT j.identity, j.fingerprint FROM jobs j
      WHERE j.dag_version_id = %(base)s AND j.name = f.job AND j.activation = 'source' OFFSET 0
    ) AS s
    JOIN tasks t ON t.job_identity = s.identity AND t.fingerprint = s.fingerprint AND t.status = 'Failed'
      AND t.next_retry_at IS NULL
    WHERE f.job IN (SELECT b.job FROM jsonb_to_recordset(%(questions)s) AS b (job text)) AND NOT EXISTS (
      SELECT 1 FROM tasks l
      WHERE l.job_identity = t.job_identity AND l.fingerprint = t.fingerprint AND l.unit_key = t.unit_key
        AND l.seq > t.seq)
  ) AS k
  GROUP BY k.id, k.places, k.key
)
SELECT q.job, count(k.key) AS units, count(k.key) FILTER (WHERE done.task_id IS NOT NULL AND NOT EXISTS (
    SELECT 1
    FROM task_inputs r
    LEFT JOIN dataset_versions o ON o.id = r.input_dataset_version AND o.retired_at IS NULL
    LEFT JOIN partition_versions pv ON pv.dataset_uuid = r.input_dataset_uuid
      AND pv.dataset_version = o.id AND pv.partition_key = r.input_partition_key
    LEFT JOIN dataset_revisions v ON r.input_partition_key = '*' AND v.dataset_uuid = r.input_dataset_uuid
      AND v.dataset_version = o.id
    WHERE r.task_id = done.task_id AND coalesce(v.revision, pv.materialized_at) IS DISTINCT FROM r.input_version
      AND NOT EXISTS (
        SELECT 1 FROM jobs j JOIN job_inputs i ON i.job_id = j.id
        WHERE j.identity = q.identity AND j.fingerprint = q.fingerprint AND i.dataset_uuid = r.input_dataset_uuid
          AND i.match = 'latest' AND i.on_change = 'stale'))) AS done
FROM jsonb_to_recordset(%(questions)s) AS q (job text, frontier int, identity uuid, fingerprint text, output text)
LEFT JOIN present k ON k.id = q.frontier AND k.present = k.places
LEFT JOIN datasets d ON q.output IS NOT NULL AND d.org_id = %(org_id)s AND d.producer_dag_name = %(dag)s
  AND d.producer_job_name = q.job AND d.producer_output_index = 0
LEFT JOIN dataset_versions g ON g.dataset_uuid = d.id AND g.config_hash = q.output AND g.retired_at IS NULL
LEFT JOIN LATERAL (
  SELECT pv.task_id FROM partition_versions pv
  WHERE pv.dataset_uuid = g.dataset_uuid AND pv.dataset_version = g.id AND pv.partition_key = k.key
  UNION ALL
  SELECT coalesce(u.task_id, '00000000-0000-0000-0000-000000000000') FROM unit_completions u
  WHERE q.output IS NULL AND u.job_identity = q.identity AND u.fingerprint = q.fingerprint AND u.unit_key = k.key
) AS done ON true
GROUP BY q.job
ORDER BY q.job;

-- name: observe_columns
-- The columns that were reported last of the generations that these outputs would point to.
SELECT p.name AS dataset, s.columns
FROM jsonb_to_recordset(%(published)s) AS p (name text, job text, output int, fingerprint text)
JOIN datasets d ON d.org_id = %(org_id)s AND d.producer_dag_name = %(dag)s AND d.producer_job_name = p.job
  AND d.producer_output_index = p.output
JOIN dataset_versions g ON g.dataset_uuid = d.id AND g.config_hash = p.fingerprint AND g.retired_at IS NULL
JOIN schemas s ON s.hash = g.schema_hash
ORDER BY 1;

-- name: observe_uses
-- Who uses which columns of these datasets, in the versions that serve.
SELECT DISTINCT d.name AS dataset, l.input_column AS "column", j.dag_name AS dag, j.name AS job
FROM datasets d
JOIN column_lineage l ON l.input_dataset_uuid = d.id
JOIN jobs j ON j.id = l.job_id
WHERE d.org_id = %(org_id)s AND d.name = ANY (%(names)s)
ORDER BY 1, 2, 3, 4;
