-- A look for missing work compares what a unit was made from with what is there now, of all units at once: by a sum that is
-- kept beside what it made.

-- One input in such a sum: a partition, or a whole dataset's revision. The same wherever it is computed; sums are `bit_xor`.
CREATE FUNCTION input_mark(dataset uuid, version uuid, at timestamptz) RETURNS bigint LANGUAGE sql IMMUTABLE AS $$
  SELECT hash_array_extended(ARRAY[at], uuid_hash_extended(version, uuid_hash_extended(dataset, 0)))
$$;

-- What a task of a job has read of all that its unit is made again for (unit_inputs); null: nothing.
CREATE FUNCTION read_by(task uuid, job uuid) RETURNS TABLE (mark bigint) LANGUAGE sql STABLE AS $$
  SELECT bit_xor(input_mark(r.input_dataset_uuid, r.input_dataset_version, r.input_version))
  FROM (
    SELECT DISTINCT i.dataset_uuid FROM job_inputs i WHERE i.job_id = job AND (i.match = 'same' OR i.on_change = 'rerun')
  ) AS i
  JOIN task_inputs r ON r.task_id = task AND r.input_dataset_uuid = i.dataset_uuid
$$;

-- The sum of what it was made from. Null: not known, or of nothing; such a unit is looked at by itself.
ALTER TABLE partition_versions ADD COLUMN made_from bigint;
ALTER TABLE unit_completions ADD COLUMN made_from bigint;
UPDATE partition_versions pv SET made_from = r.mark
FROM tasks t CROSS JOIN LATERAL read_by(t.id, t.job_id) AS r
WHERE t.id = pv.task_id AND r.mark IS NOT NULL;
UPDATE unit_completions u SET made_from = r.mark
FROM tasks t CROSS JOIN LATERAL read_by(t.id, t.job_id) AS r
WHERE t.id = u.task_id AND r.mark IS NOT NULL;

-- The units of a reactive job that what stands for them does not vouch for: what they made, or, of a job that acts on the
-- world, what it has passed by. All that are missing are among them. One pass over all keys, without a join: however small
-- Postgres takes the tables to be.
CREATE FUNCTION doubtful_units(job uuid) RETURNS SETOF text LANGUAGE sql STABLE AS $$
  SELECT u.key
  FROM (
    SELECT pv.partition_key COLLATE "C" AS key,
           input_mark(pv.dataset_uuid, pv.dataset_version, pv.materialized_at) AS read, null::bigint AS made,
           null::bigint AS passed
    FROM (
      SELECT DISTINCT i.dataset_uuid, i.dataset_version FROM input_versions i WHERE i.job_id = job AND i.match = 'same'
    ) AS i
    JOIN partition_versions pv ON pv.dataset_uuid = i.dataset_uuid AND pv.dataset_version = i.dataset_version
    UNION ALL
    SELECT '*', 0, null, null WHERE NOT EXISTS (SELECT 1 FROM job_inputs i WHERE i.job_id = job AND i.match = 'same')
    UNION ALL
    SELECT pv.partition_key, null, pv.made_from, null
    FROM jobs j
    JOIN datasets d ON d.org_id = j.org_id AND d.producer_dag_name = j.dag_name AND d.producer_job_name = j.name
      AND d.producer_output_index = 0
    JOIN dag_version_datasets v ON v.dag_version_id = j.dag_version_id AND v.dataset_uuid = d.id
    JOIN partition_versions pv ON pv.dataset_uuid = v.dataset_uuid AND pv.dataset_version = v.dataset_version
    WHERE j.id = job
    UNION ALL
    SELECT u.unit_key, null, u.made_from, null
    FROM jobs j
    JOIN unit_completions u ON u.job_identity = j.identity AND u.fingerprint = j.fingerprint
    WHERE j.id = job AND cardinality(j.output_datasets) = 0
    UNION ALL
    SELECT p.unit_key, null, null, input_mark(p.input_dataset_uuid, p.input_dataset_version, p.input_version)
    FROM jobs j
    JOIN passed_inputs p ON p.job_identity = j.identity AND p.fingerprint = j.fingerprint
    WHERE j.id = job AND j.side_effects
  ) AS u
  CROSS JOIN (
    SELECT coalesce(bit_xor(input_mark(r.dataset_uuid, r.dataset_version, r.revision)), 0) AS mark, (
             SELECT count(DISTINCT i.dataset_uuid) FROM job_inputs i WHERE i.job_id = job AND i.match = 'same') AS same
    FROM (
      SELECT DISTINCT i.dataset_uuid, i.dataset_version FROM input_versions i
      WHERE i.job_id = job AND i.match = 'latest' AND i.on_change = 'rerun'
    ) AS i
    JOIN dataset_revisions r ON r.dataset_uuid = i.dataset_uuid AND r.dataset_version = i.dataset_version
  ) AS w
  GROUP BY u.key
  HAVING count(u.read) = greatest(1, min(w.same))
    AND bit_xor(u.read) IS DISTINCT FROM bit_xor(u.made) # min(w.mark)
    AND bit_xor(u.read) IS DISTINCT FROM bit_xor(u.passed) # min(w.mark)
$$;
