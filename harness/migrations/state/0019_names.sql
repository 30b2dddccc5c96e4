-- What the owner of a name says beside the document, and what tasks say of columns.

-- It holds at once, for every version: who may read, and how many versions of the DAG keep their contents.
ALTER TABLE dataset_names ADD COLUMN read_roles text[] NOT NULL DEFAULT '{}';
ALTER TABLE dataset_names ADD COLUMN retained_versions int NOT NULL DEFAULT 10
  CONSTRAINT dataset_names_retained_versions_check CHECK (retained_versions BETWEEN 1 AND 1000);

-- The columns that were reported, by schema_hash: the same for whoever reports the same.
CREATE TABLE schemas (
  hash    text PRIMARY KEY,
  columns jsonb NOT NULL CONSTRAINT schemas_columns_check CHECK (jsonb_typeof(columns) = 'array')
);

-- Of a version's job, apart from its document, which is large: by output, the columns that what it makes must have; and
-- what it declares of columns. Null: nothing.
ALTER TABLE jobs ADD COLUMN contracts jsonb CONSTRAINT jobs_contracts_check CHECK (jsonb_typeof(contracts) = 'object');
ALTER TABLE jobs ADD COLUMN lineage jsonb CONSTRAINT jobs_lineage_check CHECK (jsonb_typeof(lineage) = 'array');

CREATE INDEX jobs_with_contracts ON jobs (id) WHERE contracts IS NOT NULL;

-- What tasks reported of columns, by the form of their job: whenever that serves, it holds.
CREATE TABLE reported_lineage (
  job_identity  uuid NOT NULL,
  fingerprint   text NOT NULL,
  output        int NOT NULL CONSTRAINT reported_lineage_output_check CHECK (output BETWEEN 0 AND 15),
  output_column text NOT NULL,
  input         text NOT NULL,
  input_column  text NOT NULL,
  PRIMARY KEY (job_identity, fingerprint, output, output_column, input, input_column)
);

-- Whether its author said so, or a task.
ALTER TABLE column_lineage ADD COLUMN declared boolean NOT NULL DEFAULT true;
CREATE INDEX column_lineage_job_id ON column_lineage (job_id);

-- What a job says of its columns, declared or reported in this form: between datasets, as its inputs are now.
CREATE FUNCTION lineage_of(job uuid) RETURNS TABLE (
  output_dataset_uuid uuid, output_column text, input_dataset_uuid uuid, input_column text, job_id uuid, declared boolean
) LANGUAGE sql STABLE AS $$
  SELECT d.id, l.output_column, i.dataset_uuid, l.input_column, j.id, l.declared
  FROM jobs j
  CROSS JOIN LATERAL (
    SELECT coalesce((o ->> 'output')::int, 0) AS output, o ->> 'column' AS output_column, f ->> 'input' AS input,
           f ->> 'column' AS input_column, true AS declared
    FROM jsonb_array_elements(j.lineage) AS o CROSS JOIN jsonb_array_elements(o -> 'from') AS f
    UNION ALL
    SELECT r.output, r.output_column, r.input, r.input_column, false
    FROM reported_lineage r WHERE r.job_identity = j.identity AND r.fingerprint = j.fingerprint
  ) AS l
  JOIN job_inputs i ON i.job_id = j.id AND i.name = l.input
  JOIN datasets d ON d.org_id = j.org_id AND d.producer_dag_name = j.dag_name AND d.producer_job_name = j.name
    AND d.producer_output_index = l.output
  WHERE j.id = job
$$;
