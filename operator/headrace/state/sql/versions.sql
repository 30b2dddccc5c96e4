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

-- name: claim_names
-- From now on these names are this DAG's; a name that another DAG owns is left, and the caller told by the count.
INSERT INTO dataset_names AS n (org_id, name, dag_name)
SELECT %(org_id)s, w.name, %(dag)s FROM unnest(%(names)s::text[]) AS w (name) ORDER BY w.name
ON CONFLICT (org_id, name) DO UPDATE SET dag_name = n.dag_name WHERE n.dag_name = excluded.dag_name;

-- name: switch_names
-- The outputs of the DAG have the names and the storage that the version gives them; others their default names. Whoever
-- may read goes with the name. In one statement, so that two outputs can trade names.
UPDATE datasets d SET name = n.name, storage = n.storage, read_roles = n.read_roles, updated_at = now()
FROM (
  SELECT d.id, coalesce(v.name, d.producer_dag_name || '.' || d.producer_job_name || '.' || d.producer_output_index)
           AS name, coalesce(v.storage, d.storage) AS storage, coalesce(o.read_roles, d.read_roles) AS read_roles
  FROM datasets d
  LEFT JOIN dag_version_datasets v ON v.dag_version_id = %(version)s AND v.dataset_uuid = d.id
  LEFT JOIN dataset_names o ON o.org_id = d.org_id AND o.name = v.name
  WHERE d.org_id = %(org_id)s AND d.producer_dag_name = %(dag)s
) AS n
WHERE n.id = d.id AND (n.name, n.storage, n.read_roles) IS DISTINCT FROM (d.name, d.storage, d.read_roles);

-- name: rebind_inputs
-- Whoever reads a dataset by name reads the output that has the name now.
UPDATE job_inputs i SET dataset_uuid = d.id
FROM datasets d, jobs j
WHERE d.org_id = %(org_id)s AND d.producer_dag_name = %(dag)s AND i.external_name = d.name
  AND j.id = i.job_id AND j.org_id = d.org_id AND i.dataset_uuid <> d.id;

-- name: tell_readers
-- Every DAG that reads what this one publishes is to look for work.
INSERT INTO consumer_looks (org_id, dag_name)
SELECT DISTINCT w.org_id, w.dag_name
FROM dataset_names n
JOIN job_inputs i ON i.external_name = n.name
CROSS JOIN LATERAL (SELECT * FROM working_jobs w WHERE w.job_id = i.job_id AND w.org_id = n.org_id OFFSET 0) AS w
WHERE n.org_id = %(org_id)s AND n.dag_name = %(dag)s
ORDER BY 1, 2
ON CONFLICT (org_id, dag_name) DO UPDATE SET created_at = excluded.created_at;

-- name: add_version
-- One document, one version: a second insert of the same one is none.
INSERT INTO dag_versions (org_id, dag_name, yaml_hash, document)
VALUES (%(org_id)s, %(dag)s, %(yaml_hash)s, %(document)s)
ON CONFLICT ON CONSTRAINT dag_versions_document_key DO NOTHING
RETURNING id;

-- name: version_of_hash
-- The version of a document.
SELECT id FROM dag_versions WHERE org_id = %(org_id)s AND dag_name = %(dag)s AND yaml_hash = %(yaml_hash)s;

-- name: current_version
-- The version that serves.
SELECT dag_version_id AS id FROM dag_current_versions WHERE org_id = %(org_id)s AND dag_name = %(dag)s;

-- name: add_datasets
-- The outputs of the document; those that exist keep their row. Names switch with the cutover.
INSERT INTO datasets (org_id, name, producer_dag_name, producer_job_name, producer_output_index, storage)
SELECT %(org_id)s, %(dag)s || '.' || n.job || '.' || n.output, %(dag)s, n.job, n.output,
       jsonb_strip_nulls(jsonb_build_object('base', n.storage_base))
FROM jsonb_to_recordset(%(datasets)s) AS n (job text, output int, storage_base text)
ON CONFLICT ON CONSTRAINT datasets_producer_key DO NOTHING;

-- name: dataset_ids
-- The outputs of a DAG, of jobs that are gone too. Read once for all that is written of a version: of rows made in this
-- transaction Postgres has no statistics, and would join them as if there was one.
SELECT id, producer_job_name AS job, producer_output_index AS output FROM datasets
WHERE org_id = %(org_id)s AND producer_dag_name = %(dag)s;

-- name: add_dataset_versions
-- A generation for each fingerprint not there yet. Its location has its id in it and is never used again.
INSERT INTO dataset_versions (id, dataset_uuid, storage_location, config_hash, unique_key)
SELECT n.id, n.dataset, coalesce(n.storage_base, %(base)s) || '/' || %(slug)s || '/' || n.name || '/' || n.id,
       n.fingerprint, n.unique_key
FROM (
  SELECT gen_random_uuid() AS id, w.*
  FROM jsonb_to_recordset(%(datasets)s) AS w (
    dataset uuid, name text, storage_base text, fingerprint text, unique_key text[])
) AS n
ON CONFLICT (dataset_uuid, config_hash) WHERE retired_at IS NULL DO NOTHING;

-- name: add_pointers
-- The pointer set of the version: for each output the generation of its fingerprint, and its name there. A version that
-- is built anew (its data were retired, or others are reused) points to others than before.
INSERT INTO dag_version_datasets AS p (dag_version_id, dataset_uuid, dataset_version, name, storage)
SELECT %(version)s, w.dataset, v.id, w.name, jsonb_strip_nulls(jsonb_build_object('base', w.storage_base))
FROM jsonb_to_recordset(%(datasets)s) AS w (dataset uuid, name text, storage_base text, fingerprint text)
CROSS JOIN LATERAL (
  SELECT v.id FROM dataset_versions v
  WHERE v.dataset_uuid = w.dataset AND v.config_hash = w.fingerprint AND v.retired_at IS NULL OFFSET 0
) AS v
ON CONFLICT (dag_version_id, dataset_uuid) DO UPDATE SET dataset_version = excluded.dataset_version
WHERE p.dataset_version <> excluded.dataset_version;

-- name: set_fingerprints
-- The jobs of a version that is built anew, with the fingerprints that they have now.
UPDATE jobs j SET fingerprint = w.fingerprint, updated_at = now()
FROM unnest(string_to_array(%(names)s, ' '), string_to_array(%(fingerprints)s, ' ')) AS w (name, fingerprint)
WHERE j.dag_version_id = %(version)s AND j.name = w.name AND j.fingerprint <> w.fingerprint;

-- name: drop_stray_cursors
-- What was read for other data than the jobs of a version that is built anew make now is not read for these. Called when
-- fingerprints have changed: `updated_at` is of this transaction.
DELETE FROM dataset_cursors c USING jobs j
WHERE j.dag_version_id = %(version)s AND j.updated_at = now() AND c.job_id = j.id;

-- name: add_same_data
-- `rollout.reuse`: these fingerprints are the same data as those.
INSERT INTO same_data (org_id, dag_name, job_name, fingerprint, same_as)
SELECT %(org_id)s, %(dag)s, s.job, s.fingerprint, s.same_as
FROM unnest(%(jobs)s::text[], %(fingerprints)s::text[], %(same_as)s::text[]) AS s (job, fingerprint, same_as)
ON CONFLICT DO NOTHING;

-- name: add_jobs
-- The jobs of the version.
INSERT INTO jobs (
  org_id, name, dag_name, dag_version_id, activation, runtime, operator, source, execution_strategy, idle_timeout,
  config, config_hash, input_datasets, output_datasets, update_strategy, unique_key, scaling, timeout_seconds,
  heartbeat_timeout_seconds, max_attempts, identity, fingerprint, position, upstream, awaited, pod, document,
  document_hash, side_effects, contracts, lineage)
SELECT %(org_id)s, j.name, %(dag)s, %(version)s, j.activation, j.runtime, j.operator, j.source, j.execution_strategy,
       j.idle_timeout, j.config, j.config_hash, j.input_datasets, j.output_datasets, j.update_strategy, j.unique_key,
       j.scaling, j.timeout_seconds, j.heartbeat_timeout_seconds, j.max_attempts, j.identity, j.fingerprint,
       j.position, decode(j.upstream, 'base64'), decode(j.awaited, 'base64'), j.pod, j.document, j.document_hash, j.side_effects,
       nullif(j.contracts, 'null'), nullif(j.lineage, 'null')
FROM jsonb_to_recordset(%(jobs)s) AS j (
  name text, activation text, runtime text, operator text, source jsonb, execution_strategy text, idle_timeout text,
  config jsonb, config_hash text, input_datasets text[], output_datasets text[], update_strategy text,
  unique_key text[], scaling jsonb, timeout_seconds int, heartbeat_timeout_seconds int, max_attempts int,
  identity uuid, fingerprint text, position int, upstream text, awaited text, pod jsonb, document jsonb,
  document_hash text, side_effects bool, contracts jsonb, lineage jsonb)
RETURNING id, name;

-- name: add_job_inputs
-- The inputs of the version's jobs: outputs of this DAG, or datasets of other DAGs by name.
INSERT INTO job_inputs (job_id, name, position, dataset_uuid, match, external_name, filter, on_change)
SELECT i.job, i.name, i.position, d.id, i.match, i.external, nullif(i.filter, 'null'), i.on_change
FROM jsonb_to_recordset(%(inputs)s)
  AS i (job uuid, name text, position int, dataset uuid, external text, match text, filter jsonb, on_change text)
CROSS JOIN LATERAL (
  SELECT i.dataset AS id WHERE i.external IS NULL
  UNION ALL
  SELECT d.id FROM datasets d WHERE d.org_id = %(org_id)s AND d.name = i.external
  OFFSET 0
) AS d;

-- name: newly_whole
-- The datasets that are read as a whole and have generations whose revision is not followed yet: those that the DAG makes,
-- and those that its jobs read.
SELECT DISTINCT g.dataset_uuid AS id
FROM (
  SELECT d.id FROM datasets d
  WHERE d.org_id = %(org_id)s AND d.producer_dag_name = %(dag)s
    AND EXISTS (SELECT 1 FROM job_inputs i WHERE i.dataset_uuid = d.id AND i.match = 'latest')
  UNION
  SELECT i.dataset_uuid FROM jobs j JOIN job_inputs i ON i.job_id = j.id AND i.match = 'latest'
  WHERE j.org_id = %(org_id)s AND j.dag_name = %(dag)s
) AS d
JOIN dataset_versions g ON g.dataset_uuid = d.id AND g.retired_at IS NULL
WHERE NOT EXISTS (
    SELECT 1 FROM dataset_revisions r WHERE r.dataset_uuid = g.dataset_uuid AND r.dataset_version = g.id)
  OR (NOT EXISTS (SELECT 1 FROM update_counters c WHERE c.dataset_uuid = g.dataset_uuid) AND EXISTS (
    SELECT 1 FROM job_inputs i JOIN job_inputs u ON u.job_id = i.job_id AND u.on_change = 'update'
    WHERE i.dataset_uuid = g.dataset_uuid AND i.on_change <> 'stale'));

-- name: follow_whole
-- From now on the revisions of these datasets' generations are followed.
INSERT INTO dataset_revisions (dataset_uuid, dataset_version, revision)
SELECT g.dataset_uuid, g.id, coalesce((
  SELECT max(pv.materialized_at) FROM partition_versions pv
  WHERE pv.dataset_uuid = g.dataset_uuid AND pv.dataset_version = g.id), now())
FROM dataset_versions g
WHERE g.dataset_uuid = ANY (%(datasets)s) AND g.retired_at IS NULL
ON CONFLICT DO NOTHING;

-- name: follow_updates
-- And those that come to what is read update by update are counted, or to what sets off a job that reads so.
INSERT INTO update_counters (dataset_uuid, updates)
SELECT DISTINCT i.dataset_uuid, 0
FROM job_inputs i
JOIN job_inputs u ON u.job_id = i.job_id AND u.on_change = 'update'
WHERE i.dataset_uuid = ANY (%(datasets)s) AND i.on_change <> 'stale'
ORDER BY 1
ON CONFLICT DO NOTHING;

-- name: raise_counters
-- Where a name that is read update by update is another dataset's by now, that one's updates have greater numbers than the
-- former one's: parts are in their order.
UPDATE update_counters c SET updates = m.most
FROM (
  SELECT i.dataset_uuid, max(b.updates) AS most
  FROM job_inputs i
  JOIN dataset_cursors r ON r.job_id = i.job_id AND r.dataset_uuid <> i.dataset_uuid
  JOIN update_counters b ON b.dataset_uuid = r.dataset_uuid
  WHERE i.on_change = 'update'
  GROUP BY i.dataset_uuid
) AS m
WHERE c.dataset_uuid = m.dataset_uuid AND c.updates < m.most;

-- name: end_rebound
-- And what was to be done of the former one's updates ends: the whole of the other comes first.
UPDATE tasks t
SET status = 'Canceled', canceled_by = 'cutover', completed_at = clock_timestamp(), next_retry_at = NULL,
    error_message = 'its input is another dataset by now'
FROM job_inputs i
WHERE i.on_change = 'update' AND t.job_id = i.job_id AND t.first_update > 0
  AND (t.status IN ('Queued', 'Running') OR t.next_retry_at IS NOT NULL)
  AND NOT EXISTS (
    SELECT 1 FROM dataset_cursors c WHERE c.job_id = i.job_id AND c.dataset_uuid = i.dataset_uuid)
  AND EXISTS (SELECT 1 FROM dataset_cursors c WHERE c.job_id = i.job_id);

-- name: cut_over
-- Compare-and-swap on the version that the plan was made against; no row if another one serves by now.
INSERT INTO dag_current_versions AS c (org_id, dag_name, dag_version_id)
VALUES (%(org_id)s, %(dag)s, %(version)s)
ON CONFLICT (org_id, dag_name) DO UPDATE SET dag_version_id = excluded.dag_version_id, updated_at = now()
WHERE c.dag_version_id = %(base)s::uuid
RETURNING dag_version_id;

-- name: move_tasks
-- Unfinished work of unchanged jobs goes on under the new version's rows; Running ones keep spec, token and outputs. Each
-- job is looked up by its whole key (OFFSET keeps that from being made a join): of a version just made Postgres knows no
-- size, and would compare all jobs of the one with all of the other.
UPDATE tasks t SET job_id = n.id
FROM jobs o
CROSS JOIN LATERAL (
  SELECT j.id FROM jobs j
  WHERE j.dag_version_id = %(version)s AND j.identity = o.identity AND j.fingerprint = o.fingerprint OFFSET 0
) AS n
WHERE o.dag_version_id = %(base)s AND t.job_id = o.id
  AND (t.status IN ('Queued', 'Running') OR (t.status = 'Failed' AND t.next_retry_at IS NOT NULL));

-- name: move_cursors
-- How far unchanged jobs have read goes over, too.
INSERT INTO dataset_cursors (
  dataset_uuid, dataset_version, job_id, cursor_column, cursor_type, cursor_value, ahead, settled, start_task, updated_at)
SELECT c.dataset_uuid, c.dataset_version, n.id, c.cursor_column, c.cursor_type, c.cursor_value, c.ahead, c.settled,
       c.start_task, c.updated_at
FROM jobs o
JOIN dataset_cursors c ON c.job_id = o.id
CROSS JOIN LATERAL (
  SELECT j.id FROM jobs j
  WHERE j.dag_version_id = %(version)s AND j.identity = o.identity AND j.fingerprint = o.fingerprint OFFSET 0
) AS n
WHERE o.dag_version_id = %(base)s
ON CONFLICT (dataset_uuid, dataset_version, job_id) DO UPDATE
SET cursor_column = excluded.cursor_column, cursor_type = excluded.cursor_type, cursor_value = excluded.cursor_value,
    ahead = excluded.ahead, settled = excluded.settled, start_task = excluded.start_task, updated_at = excluded.updated_at;

-- name: cancel_replaced
-- Unfinished work of replaced and removed jobs ends; what the new jobs need is made after.
UPDATE tasks t
SET status = 'Canceled', canceled_by = 'cutover', completed_at = now(), next_retry_at = NULL,
    error_message = 'its job was changed or removed by a newer version of the DAG'
FROM jobs o
WHERE o.dag_version_id = %(base)s AND t.job_id = o.id
  AND (t.status IN ('Queued', 'Running') OR (t.status = 'Failed' AND t.next_retry_at IS NOT NULL));

-- name: requeue_sources
-- A live unit of a replaced source, canceled just now, is made for the new job: nothing else would make it again. Not
-- where partitions have another pattern by now: those instants are built, but for sources that act on the world. A run
-- with parameters is made again also of a job that reads, where these are still what the job takes.
INSERT INTO tasks (
  job_id, partitions, job_identity, fingerprint, unit_key, low, params, params_digest, requested_by)
SELECT DISTINCT ON (n.id, t.unit_key, p.digest)
       n.id, t.partitions, n.identity, n.fingerprint, t.unit_key, is_low(n.id, false), p.params, p.digest, t.requested_by
FROM tasks t
JOIN jobs o ON o.id = t.job_id AND o.dag_version_id = %(base)s
JOIN jobs n ON n.dag_version_id = %(version)s AND n.identity = o.identity
CROSS JOIN LATERAL (
  SELECT n.runtime <> 'dispatcher'
    AND n.document -> 'params_schema' IS NOT DISTINCT FROM o.document -> 'params_schema' AS takes
) AS s
CROSS JOIN LATERAL (
  SELECT CASE WHEN s.takes THEN t.params ELSE '{}' END AS params,
         CASE WHEN s.takes THEN t.params_digest ELSE '' END AS digest
) AS p
WHERE t.canceled_by = 'cutover' AND t.completed_at = now() AND t.unit_key <> '@'
  AND n.source ->> 'kind' IS DISTINCT FROM 'always_on'
  AND CASE n.activation
    WHEN 'source' THEN n.source -> 'partition' IS NOT DISTINCT FROM o.source -> 'partition'
      OR (n.side_effects AND n.source ->> 'kind' <> 'webhook')
    ELSE o.activation = n.activation AND s.takes AND t.params <> '{}' END
ON CONFLICT DO NOTHING;

-- name: requeue_events
-- The same of webhooks that act on the world, under another pattern: their events have other partitions now.
INSERT INTO tasks (job_id, partitions, job_identity, fingerprint, unit_key, low)
SELECT DISTINCT n.id, ARRAY[k.partition_key], n.identity, n.fingerprint, k.partition_key, is_low(n.id, false)
FROM tasks t
JOIN jobs o ON o.id = t.job_id AND o.dag_version_id = %(base)s AND o.source ->> 'kind' = 'webhook'
JOIN jobs n ON n.dag_version_id = %(version)s AND n.identity = o.identity AND n.side_effects
  AND n.source ->> 'kind' = 'webhook' AND n.source -> 'partition' IS DISTINCT FROM o.source -> 'partition'
JOIN webhook_keys b ON b.job_identity = o.identity AND b.format = coalesce(o.source #>> '{partition,format}', '')
  AND b.partition_key = t.unit_key
JOIN webhook_keys k ON k.job_identity = n.identity AND k.format = coalesce(n.source #>> '{partition,format}', '')
  AND k.seq = b.seq
WHERE t.canceled_by = 'cutover' AND t.completed_at = now()
ON CONFLICT DO NOTHING;

-- name: pass_by
-- Jobs that act on the world and did not serve in this form begin with what comes: they pass by the inputs that are
-- there, but for keys of which live work, their own or upstream of them, was canceled just now.
INSERT INTO passed_inputs (
  job_identity, fingerprint, unit_key, input_dataset_uuid, input_key, input_version, input_dataset_version)
SELECT DISTINCT n.identity, n.fingerprint, k.key, i.dataset_uuid, i.input_key, i.version, i.dataset_version
FROM jobs n
CROSS JOIN LATERAL ready_units(n.id) AS k (key)
CROSS JOIN LATERAL unit_inputs(n.id, k.key) AS i
WHERE n.dag_version_id = %(version)s AND n.side_effects AND n.activation = 'reactive'
  AND NOT EXISTS (
    SELECT 1 FROM jobs o
    WHERE o.dag_version_id = %(base)s::uuid AND o.identity = n.identity AND o.fingerprint = n.fingerprint)
  AND k.key NOT IN (SELECT live_at_cutover(n.id))
ON CONFLICT (job_identity, fingerprint, unit_key, input_dataset_uuid, input_key) DO UPDATE
SET input_version = excluded.input_version, input_dataset_version = excluded.input_dataset_version;

-- name: pass_keys
-- What their former form had acted on, or passed by, is history, whatever a catch-up makes of it again.
INSERT INTO passed_keys (job_identity, fingerprint, unit_key)
SELECT n.identity, n.fingerprint, k.key
FROM jobs n
JOIN jobs o ON o.dag_version_id = %(base)s::uuid AND o.identity = n.identity AND o.fingerprint <> n.fingerprint
CROSS JOIN LATERAL (
  SELECT u.unit_key AS key FROM unit_completions u
  WHERE u.job_identity = o.identity AND u.fingerprint = o.fingerprint
  UNION
  SELECT p.unit_key FROM passed_inputs p WHERE p.job_identity = o.identity AND p.fingerprint = o.fingerprint
  UNION
  SELECT p.unit_key FROM passed_keys p WHERE p.job_identity = o.identity AND p.fingerprint = o.fingerprint
) AS k
WHERE n.dag_version_id = %(version)s AND n.side_effects AND n.activation = 'reactive'
  AND k.key NOT IN (SELECT live_at_cutover(n.id))
ON CONFLICT DO NOTHING;

-- name: keep_units
-- What a source that acts on the world has done in its former form is done.
INSERT INTO unit_completions (job_identity, fingerprint, unit_key, completed_at, task_id)
SELECT u.job_identity, n.fingerprint, u.unit_key, u.completed_at, u.task_id
FROM jobs n
JOIN jobs o ON o.dag_version_id = %(base)s AND o.identity = n.identity AND o.fingerprint <> n.fingerprint
JOIN unit_completions u ON u.job_identity = o.identity AND u.fingerprint = o.fingerprint
WHERE n.dag_version_id = %(version)s AND n.side_effects AND n.activation = 'source' AND o.activation = 'source'
ON CONFLICT (job_identity, fingerprint, unit_key) DO UPDATE
SET completed_at = excluded.completed_at, task_id = excluded.task_id, made_from = NULL;

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
