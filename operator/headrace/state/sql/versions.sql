-- name: find_org
-- The org of a namespace, if its uid was seen before.
SELECT id, slug FROM orgs WHERE namespace_uid = %(uid)s;

-- name: free_slug
-- A namespace made anew under an old name is another org: the old one keeps its rows under another slug.
UPDATE orgs SET slug = slug || '~' || left(namespace_uid, 8)
WHERE slug = %(slug)s AND namespace_uid <> %(uid)s;

-- name: make_org
-- The org of a namespace, made with the first object in it; two operators at once make one.
INSERT INTO orgs (name, slug, namespace_uid) VALUES (%(slug)s, %(slug)s, %(uid)s)
ON CONFLICT (namespace_uid) DO NOTHING;

-- name: observe_dag
-- What serves, whether the object is known, and whether the wanted document was seen before.
SELECT p.object_uid, p.suspended, p.absent_since IS NOT NULL AS absent,
       c.dag_version_id AS current_version, v.yaml_hash AS current_hash, w.id AS wanted_version
FROM (SELECT 1) AS one
LEFT JOIN dags p ON p.org_id = %(org_id)s AND p.name = %(dag)s
LEFT JOIN dag_current_versions c ON c.org_id = %(org_id)s AND c.dag_name = %(dag)s
LEFT JOIN dag_versions v ON v.id = c.dag_version_id
LEFT JOIN dag_versions w ON w.org_id = %(org_id)s AND w.dag_name = %(dag)s AND w.yaml_hash = %(yaml_hash)s;

-- name: observe_datasets
-- The outputs of this DAG, and the holders of the names that it asks for.
SELECT id, name, producer_dag_name AS dag, producer_job_name AS job, producer_output_index AS output,
       storage ->> 'base' AS storage_base
FROM datasets
WHERE org_id = %(org_id)s AND (producer_dag_name = %(dag)s OR name = ANY (%(names)s))
ORDER BY name;

-- name: observe_jobs
-- The jobs that serve, each with how many of its done units the wanted fingerprint of the same job has not done.
SELECT j.name, j.fingerprint, (
    SELECT count(*)
    FROM datasets d
    JOIN dag_version_datasets s ON s.dag_version_id = j.dag_version_id AND s.dataset_uuid = d.id
    JOIN partition_versions old ON old.dataset_uuid = d.id AND old.dataset_version = s.dataset_version
    LEFT JOIN unnest(%(jobs)s::text[], %(outputs)s::int[], %(fingerprints)s::text[])
      AS wanted (job, output, fingerprint) ON wanted.job = j.name AND wanted.output = d.producer_output_index
    LEFT JOIN dataset_versions n
      ON n.dataset_uuid = d.id AND n.config_hash = wanted.fingerprint AND n.retired_at IS NULL
    WHERE d.org_id = j.org_id AND d.producer_dag_name = j.dag_name AND d.producer_job_name = j.name
      AND NOT EXISTS (
        SELECT 1 FROM partition_versions new
        WHERE new.dataset_uuid = d.id AND new.dataset_version = n.id AND new.partition_key = old.partition_key)
  ) + (
    SELECT count(*)
    FROM unit_completions old
    JOIN unnest(%(own_jobs)s::text[], %(own)s::text[]) AS wanted (job, fingerprint) ON wanted.job = j.name
    WHERE old.job_identity = j.identity AND old.fingerprint = j.fingerprint
      AND NOT EXISTS (
        SELECT 1 FROM unit_completions new
        WHERE new.job_identity = j.identity AND new.fingerprint = wanted.fingerprint AND new.unit_key = old.unit_key)
  ) AS undone
FROM jobs j
WHERE j.dag_version_id = %(version)s
ORDER BY j.name;

-- name: mark_present
-- The DAG's object is there.
INSERT INTO dags (org_id, name, object_uid, suspended)
VALUES (%(org_id)s, %(dag)s, %(object_uid)s, %(suspended)s)
ON CONFLICT (org_id, name) DO UPDATE
SET object_uid = excluded.object_uid, suspended = excluded.suspended, absent_since = NULL;

-- name: mark_absent
-- The DAG's object is gone: its work stops, its rows stay.
-- This very object: its namesake that was made meanwhile is there.
UPDATE dags SET absent_since = now()
WHERE org_id = %(org_id)s AND name = %(dag)s AND object_uid = %(object_uid)s AND absent_since IS NULL;

-- name: present_dags
-- Every DAG that Postgres takes to be there, for the comparison with a full list.
SELECT o.slug AS namespace, o.namespace_uid, p.org_id, p.name, p.object_uid
FROM dags p JOIN orgs o ON o.id = p.org_id
WHERE p.absent_since IS NULL
ORDER BY o.slug, p.name;

-- name: rename_datasets
-- In one statement, so that two outputs can trade names.
UPDATE datasets d SET name = r.name, updated_at = now()
FROM unnest(%(ids)s::uuid[], %(names)s::text[]) AS r (id, name)
WHERE d.id = r.id;

-- name: add_version
-- One document, one version: a second insert of the same one is none.
INSERT INTO dag_versions (org_id, dag_name, yaml_hash, document)
VALUES (%(org_id)s, %(dag)s, %(yaml_hash)s, %(document)s)
ON CONFLICT ON CONSTRAINT dag_versions_document_key DO NOTHING
RETURNING id;

-- name: version_of_hash
-- The version of a document.
SELECT id FROM dag_versions WHERE org_id = %(org_id)s AND dag_name = %(dag)s AND yaml_hash = %(yaml_hash)s;

-- name: add_datasets
-- The outputs of the document; those that exist keep their row.
INSERT INTO datasets (org_id, name, producer_dag_name, producer_job_name, producer_output_index, storage)
SELECT %(org_id)s, n.name, %(dag)s, n.job, n.output, jsonb_strip_nulls(jsonb_build_object('base', n.storage_base))
FROM jsonb_to_recordset(%(datasets)s) AS n (job text, output int, name text, storage_base text)
ON CONFLICT ON CONSTRAINT datasets_producer_key DO UPDATE
SET storage = excluded.storage, updated_at = now()
WHERE datasets.storage <> excluded.storage;

-- name: add_dataset_versions
-- A generation for each fingerprint not there yet. Its location has its id in it and is never used again.
INSERT INTO dataset_versions (id, dataset_uuid, storage_location, config_hash)
SELECT n.id, n.dataset_uuid, n.base || '/' || %(slug)s || '/' || n.name || '/' || n.id, n.fingerprint
FROM (
  SELECT gen_random_uuid() AS id, d.id AS dataset_uuid, d.name, coalesce(d.storage ->> 'base', %(base)s) AS base,
         w.fingerprint
  FROM jsonb_to_recordset(%(datasets)s) AS w (job text, output int, fingerprint text)
  JOIN datasets d ON d.org_id = %(org_id)s AND d.producer_dag_name = %(dag)s
    AND d.producer_job_name = w.job AND d.producer_output_index = w.output
) AS n
ON CONFLICT (dataset_uuid, config_hash) WHERE retired_at IS NULL DO NOTHING;

-- name: add_pointers
-- The pointer set of the version: for each output the generation of its fingerprint.
INSERT INTO dag_version_datasets (dag_version_id, dataset_uuid, dataset_version)
SELECT %(version)s, d.id, v.id
FROM jsonb_to_recordset(%(datasets)s) AS w (job text, output int, fingerprint text)
JOIN datasets d ON d.org_id = %(org_id)s AND d.producer_dag_name = %(dag)s
  AND d.producer_job_name = w.job AND d.producer_output_index = w.output
JOIN dataset_versions v ON v.dataset_uuid = d.id AND v.config_hash = w.fingerprint AND v.retired_at IS NULL;

-- name: add_jobs
-- The jobs of the version.
INSERT INTO jobs (
  org_id, name, dag_name, dag_version_id, activation, runtime, operator, source, execution_strategy, idle_timeout,
  config, config_hash, input_datasets, output_datasets, update_strategy, unique_key, scaling, timeout_seconds,
  heartbeat_timeout_seconds, max_attempts, identity, fingerprint, upstream, pod)
SELECT %(org_id)s, j.name, %(dag)s, %(version)s, j.activation, j.runtime, j.operator, j.source, j.execution_strategy,
       j.idle_timeout, j.config, j.config_hash, j.input_datasets, j.output_datasets, j.update_strategy, j.unique_key,
       j.scaling, j.timeout_seconds, j.heartbeat_timeout_seconds, j.max_attempts, j.identity, j.fingerprint,
       j.upstream, j.pod
FROM jsonb_to_recordset(%(jobs)s) AS j (
  name text, activation text, runtime text, operator text, source jsonb, execution_strategy text, idle_timeout text,
  config jsonb, config_hash text, input_datasets text[], output_datasets text[], update_strategy text,
  unique_key text[], scaling jsonb, timeout_seconds int, heartbeat_timeout_seconds int, max_attempts int,
  identity uuid, fingerprint text, upstream uuid[], pod jsonb);

-- name: add_job_inputs
-- The inputs of the version's jobs.
INSERT INTO job_inputs (job_id, name, position, dataset_uuid, match)
SELECT j.id, i.name, i.position, d.id, i.match
FROM jsonb_to_recordset(%(inputs)s) AS i (job text, name text, position int, from_job text, output int, match text)
JOIN jobs j ON j.dag_version_id = %(version)s AND j.name = i.job
JOIN datasets d ON d.org_id = %(org_id)s AND d.producer_dag_name = %(dag)s
  AND d.producer_job_name = i.from_job AND d.producer_output_index = i.output;

-- name: cut_over
-- Compare-and-swap on the version that the plan was made against; no row if another one serves by now.
INSERT INTO dag_current_versions AS c (org_id, dag_name, dag_version_id)
VALUES (%(org_id)s, %(dag)s, %(version)s)
ON CONFLICT (org_id, dag_name) DO UPDATE SET dag_version_id = excluded.dag_version_id, updated_at = now()
WHERE c.dag_version_id = %(base)s::uuid
RETURNING dag_version_id;

-- name: move_tasks
-- Unfinished work of unchanged jobs goes on under the new version's rows; Running ones keep spec, token and outputs.
UPDATE tasks t SET job_id = n.id
FROM jobs o, jobs n
WHERE o.dag_version_id = %(base)s AND n.dag_version_id = %(version)s
  AND o.identity = n.identity AND o.fingerprint = n.fingerprint
  AND t.job_id = o.id AND (t.status IN ('Queued', 'Running') OR (t.status = 'Failed' AND t.next_retry_at IS NOT NULL));

-- name: cancel_replaced
-- Unfinished work of replaced and removed jobs ends; what the new jobs need is made after.
UPDATE tasks t
SET status = 'Canceled', canceled_by = 'cutover', completed_at = now(), next_retry_at = NULL,
    error_message = 'its job was changed or removed by a newer version of the DAG'
FROM jobs o
WHERE o.dag_version_id = %(base)s AND t.job_id = o.id
  AND (t.status IN ('Queued', 'Running') OR (t.status = 'Failed' AND t.next_retry_at IS NOT NULL));

-- name: requeue_sources
-- A canceled unit of a replaced source is made for the new job: nothing else would make it again.
INSERT INTO tasks (job_id, partitions, job_identity, fingerprint, unit_key)
SELECT DISTINCT ON (n.id, t.unit_key) n.id, t.partitions, n.identity, n.fingerprint, t.unit_key
FROM tasks t
JOIN jobs o ON o.id = t.job_id AND o.dag_version_id = %(base)s
JOIN jobs n ON n.dag_version_id = %(version)s AND n.identity = o.identity AND n.activation = 'source'
WHERE t.canceled_by = 'cutover' AND t.completed_at = now()
ON CONFLICT DO NOTHING;

-- name: cancel_absent
-- The DAG's object is gone: its unfinished tasks end.
UPDATE tasks t
SET status = 'Canceled', canceled_by = 'absence', completed_at = now(), next_retry_at = NULL,
    error_message = 'the DAG was deleted'
FROM jobs j
WHERE j.org_id = %(org_id)s AND j.dag_name = %(dag)s AND t.job_id = j.id
  AND (t.status IN ('Queued', 'Running') OR (t.status = 'Failed' AND t.next_retry_at IS NOT NULL));

-- name: restart_ticks
-- A schedule that changed holds from now on: its instants of the past were never promised.
UPDATE cron_ticks k SET last_tick = now()
FROM jobs o JOIN jobs n ON n.identity = o.identity AND n.dag_version_id = %(version)s
WHERE o.dag_version_id = %(base)s AND k.job_identity = n.identity
  AND (o.source #>> '{cron,schedule}', o.source #>> '{cron,time_zone}')
    IS DISTINCT FROM (n.source #>> '{cron,schedule}', n.source #>> '{cron,time_zone}');
