-- The units of a job that were made from a whole input as it was before, which are not run again for that: of a partition
-- with parts, each of these has its task.
CREATE OR REPLACE FUNCTION stale_units(job uuid) RETURNS SETOF text LANGUAGE sql STABLE AS $$
  SELECT DISTINCT m.key
  FROM jobs j
  CROSS JOIN LATERAL (
    SELECT pv.partition_key AS key, pv.task_id
    FROM datasets d
    JOIN dag_version_datasets v ON v.dag_version_id = j.dag_version_id AND v.dataset_uuid = d.id
    JOIN partition_versions pv ON pv.dataset_uuid = v.dataset_uuid AND pv.dataset_version = v.dataset_version
    WHERE d.org_id = j.org_id AND d.producer_dag_name = j.dag_name AND d.producer_job_name = j.name
      AND d.producer_output_index = 0
    UNION ALL
    SELECT a.partition_key, a.task_id
    FROM datasets d
    JOIN dag_version_datasets v ON v.dag_version_id = j.dag_version_id AND v.dataset_uuid = d.id
    JOIN partition_parts a ON a.dataset_uuid = v.dataset_uuid AND a.dataset_version = v.dataset_version
    WHERE d.org_id = j.org_id AND d.producer_dag_name = j.dag_name AND d.producer_job_name = j.name
      AND d.producer_output_index = 0
    UNION ALL
    SELECT u.unit_key, u.task_id FROM unit_completions u
    WHERE u.job_identity = j.identity AND u.fingerprint = j.fingerprint AND cardinality(j.output_datasets) = 0
  ) AS m
  WHERE j.id = job AND EXISTS (
    SELECT 1
    FROM input_versions v
    JOIN dataset_revisions r ON r.dataset_uuid = v.dataset_uuid AND r.dataset_version = v.dataset_version
    LEFT JOIN task_inputs i
      ON i.task_id = m.task_id AND i.input_dataset_uuid = v.dataset_uuid AND i.input_partition_key = '*'
    WHERE v.job_id = job AND v.match = 'latest' AND v.on_change = 'stale'
      AND (i.input_version, i.input_dataset_version) IS DISTINCT FROM (r.revision, r.dataset_version))
$$;

-- The last part that replaces everything, of very many; and how far a job has read, by the job.
CREATE INDEX partition_parts_whole ON partition_parts (dataset_uuid, dataset_version, partition_key, place)
  WHERE replaces = '[{}]';
CREATE INDEX dataset_cursors_job ON dataset_cursors (job_id);
