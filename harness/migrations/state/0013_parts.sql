-- What `append` makes: partitions of parts.

-- The columns that tell rows apart, of a generation that tasks add parts to; null where they rewrite partitions.
ALTER TABLE dataset_versions ADD COLUMN unique_key text[] CHECK (cardinality(unique_key) > 0);

-- The parts of a partition, in the order of `place`: of rows that are the same by the unique key the one in the last part
-- counts. `replaces`: filters; what of the parts before matches one of them is no more there, `{}` matches everything.
-- Null: it adds. The partition's row sums up what its parts have.
CREATE TABLE partition_parts (
  dataset_uuid    uuid NOT NULL,
  dataset_version uuid NOT NULL,
  partition_key   text NOT NULL,
  place           bigint NOT NULL CHECK (place >= 0),
  location        text,
  replaces        jsonb CHECK (jsonb_typeof(replaces) = 'array'),
  row_count       bigint CHECK (row_count >= 0),
  bytes           bigint CHECK (bytes >= 0),
  task_id         uuid NOT NULL,
  added_at        timestamptz NOT NULL DEFAULT clock_timestamp(),
  PRIMARY KEY (dataset_uuid, dataset_version, partition_key, place),
  CONSTRAINT partition_parts_partition_fkey FOREIGN KEY (dataset_uuid, dataset_version, partition_key)
    REFERENCES partition_versions (dataset_uuid, dataset_version, partition_key) ON DELETE CASCADE
);

-- A part, and a partition, as tasks are given them.
CREATE FUNCTION given_part(a partition_parts) RETURNS jsonb LANGUAGE sql STABLE AS $$
  SELECT jsonb_build_object('location', a.location)
    || CASE WHEN a.replaces IS NULL THEN '{}' ELSE jsonb_build_object('replaces', a.replaces) END
$$;

CREATE FUNCTION given_partition(pv partition_versions, parts boolean) RETURNS jsonb LANGUAGE sql STABLE AS $$
  SELECT jsonb_build_object('key', pv.partition_key, 'location', pv.location, 'materialized_at', pv.materialized_at)
    || CASE WHEN NOT parts THEN '{}' ELSE jsonb_build_object('parts', (
      SELECT coalesce(jsonb_agg(given_part(a) ORDER BY a.place), '[]')
      FROM partition_parts a
      WHERE a.dataset_uuid = pv.dataset_uuid AND a.dataset_version = pv.dataset_version
        AND a.partition_key = pv.partition_key)) END
$$;
