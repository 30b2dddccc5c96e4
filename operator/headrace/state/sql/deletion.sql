-- name: spared_datasets
-- Outputs of the DAG that jobs of other DAGs read, or that their tasks have read.
SELECT d.id AS dataset_uuid, d.name
FROM datasets d
WHERE d.org_id = %(org_id)s AND d.producer_dag_name = %(dag)s AND (
  EXISTS (SELECT 1 FROM job_inputs i JOIN jobs j ON j.id = i.job_id
          WHERE i.dataset_uuid = d.id AND j.dag_name <> %(dag)s)
  OR EXISTS (SELECT 1 FROM task_inputs r JOIN tasks t ON t.id = r.task_id JOIN jobs j ON j.id = t.job_id
             WHERE r.input_dataset_uuid = d.id AND j.dag_name <> %(dag)s))
ORDER BY d.name;

-- name: delete_looks
-- Nothing is left to look for.
DELETE FROM consumer_looks WHERE org_id = %(org_id)s AND dag_name = %(dag)s;

-- name: delete_lineage
-- What its jobs said of columns, and others of what goes.
DELETE FROM column_lineage l
WHERE EXISTS (SELECT 1 FROM jobs j WHERE j.id = l.job_id AND j.org_id = %(org_id)s AND j.dag_name = %(dag)s)
  OR EXISTS (
    SELECT 1 FROM datasets d
    WHERE d.id IN (l.input_dataset_uuid, l.output_dataset_uuid) AND d.org_id = %(org_id)s
      AND d.producer_dag_name = %(dag)s AND d.id <> ALL (%(spared)s::uuid[]));

-- name: delete_reported
-- And what its tasks reported of them.
DELETE FROM reported_lineage r USING jobs j
WHERE j.identity = r.job_identity AND j.org_id = %(org_id)s AND j.dag_name = %(dag)s;

-- name: delete_cursors
-- How far its jobs have read, and others of what goes.
DELETE FROM dataset_cursors c
WHERE EXISTS (SELECT 1 FROM jobs j WHERE j.id = c.job_id AND j.org_id = %(org_id)s AND j.dag_name = %(dag)s)
  OR EXISTS (
    SELECT 1 FROM datasets d
    WHERE d.id = c.dataset_uuid AND d.org_id = %(org_id)s AND d.producer_dag_name = %(dag)s
      AND d.id <> ALL (%(spared)s::uuid[]));

-- name: delete_invalidations
-- Those of datasets that go.
DELETE FROM data_invalidations i USING datasets d
WHERE d.id = i.dataset_uuid AND d.org_id = %(org_id)s AND d.producer_dag_name = %(dag)s AND d.id <> ALL (%(spared)s::uuid[]);

-- name: delete_rollouts
-- Its history.
DELETE FROM rollouts WHERE org_id = %(org_id)s AND dag_name = %(dag)s;

-- name: delete_same_data
-- What was reused.
DELETE FROM same_data WHERE org_id = %(org_id)s AND dag_name = %(dag)s;

-- name: delete_commands
-- What it was told to do.
DELETE FROM commands WHERE org_id = %(org_id)s AND dag_name = %(dag)s;

-- name: delete_ticks
-- How far its cron sources have ticked.
DELETE FROM cron_ticks k USING jobs j
WHERE j.identity = k.job_identity AND j.org_id = %(org_id)s AND j.dag_name = %(dag)s;

-- name: delete_event_keys
-- The partitions of its webhooks' events.
DELETE FROM webhook_keys k USING jobs j
WHERE j.identity = k.job_identity AND j.org_id = %(org_id)s AND j.dag_name = %(dag)s;

-- name: delete_events
-- The events.
DELETE FROM webhook_events e USING jobs j
WHERE j.identity = e.job_identity AND j.org_id = %(org_id)s AND j.dag_name = %(dag)s;

-- name: delete_troubles
-- What was wrong with its webhooks.
DELETE FROM webhook_troubles t USING jobs j
WHERE j.identity = t.job_identity AND j.org_id = %(org_id)s AND j.dag_name = %(dag)s;

-- name: delete_turns
-- Whose turn it was.
DELETE FROM claim_turns t USING jobs j
WHERE j.identity = t.job_identity AND j.org_id = %(org_id)s AND j.dag_name = %(dag)s;

-- name: delete_units
-- Finished units of its jobs without outputs.
DELETE FROM unit_completions u USING jobs j
WHERE j.identity = u.job_identity AND j.org_id = %(org_id)s AND j.dag_name = %(dag)s;

-- name: delete_passed
-- What its jobs passed by.
DELETE FROM passed_inputs u USING jobs j
WHERE j.identity = u.job_identity AND j.org_id = %(org_id)s AND j.dag_name = %(dag)s;

-- name: delete_passed_keys
-- And what is history to them.
DELETE FROM passed_keys u USING jobs j
WHERE j.identity = u.job_identity AND j.org_id = %(org_id)s AND j.dag_name = %(dag)s;

-- name: delete_tasks
-- Its tasks, and with them what they have read.
DELETE FROM tasks t USING jobs j WHERE j.id = t.job_id AND j.org_id = %(org_id)s AND j.dag_name = %(dag)s;

-- name: delete_notices
-- What was still to be told of it. After its tasks: none fails any more.
DELETE FROM notices WHERE org_id = %(org_id)s AND dag_name = %(dag)s;

-- name: delete_inputs
-- The inputs of its jobs.
DELETE FROM job_inputs i USING jobs j WHERE j.id = i.job_id AND j.org_id = %(org_id)s AND j.dag_name = %(dag)s;

-- name: delete_jobs
-- Its jobs, of all versions.
DELETE FROM jobs WHERE org_id = %(org_id)s AND dag_name = %(dag)s;

-- name: delete_pointers
-- Its pointer sets; of the one that serves, what others read stays.
DELETE FROM dag_version_datasets p USING dag_versions v
WHERE v.id = p.dag_version_id AND v.org_id = %(org_id)s AND v.dag_name = %(dag)s
  AND NOT (p.dataset_uuid = ANY (%(spared)s::uuid[]) AND EXISTS (
    SELECT 1 FROM dag_current_versions c WHERE c.dag_version_id = v.id));

-- name: delete_current
-- Nothing serves any more, unless others read of it.
DELETE FROM dag_current_versions
WHERE org_id = %(org_id)s AND dag_name = %(dag)s AND cardinality(%(spared)s::uuid[]) = 0;

-- name: delete_versions
-- Its versions, but for one that serves what others read.
DELETE FROM dag_versions v
WHERE v.org_id = %(org_id)s AND v.dag_name = %(dag)s
  AND NOT EXISTS (SELECT 1 FROM dag_current_versions c WHERE c.dag_version_id = v.id);

-- name: bury_version
-- A version that serves what others read stays without jobs: no document is that one any more, so that the same objects
-- applied again are a new version.
UPDATE dag_versions SET yaml_hash = 'deleted-' || id
WHERE org_id = %(org_id)s AND dag_name = %(dag)s AND cardinality(%(spared)s::uuid[]) > 0
  AND yaml_hash NOT LIKE 'deleted-%%';

-- name: delete_partitions
-- The partitions of datasets that go, and of generations that no longer serve what others read.
DELETE FROM partition_versions pv USING datasets d
WHERE d.id = pv.dataset_uuid AND d.org_id = %(org_id)s AND d.producer_dag_name = %(dag)s
  AND NOT EXISTS (SELECT 1 FROM dag_version_datasets p WHERE p.dataset_version = pv.dataset_version);

-- name: delete_revisions
-- Nor are their revisions followed any more.
DELETE FROM dataset_revisions r USING datasets d
WHERE d.id = r.dataset_uuid AND d.org_id = %(org_id)s AND d.producer_dag_name = %(dag)s
  AND NOT EXISTS (SELECT 1 FROM dag_version_datasets p WHERE p.dataset_version = r.dataset_version);

-- name: delete_updates
-- The updates that came to what goes.
DELETE FROM dataset_updates u USING datasets d
WHERE d.id = u.dataset_uuid AND d.org_id = %(org_id)s AND d.producer_dag_name = %(dag)s
  AND NOT EXISTS (SELECT 1 FROM dag_version_datasets p WHERE p.dataset_version = u.dataset_version);

-- name: delete_generations
-- Generations that nothing refers to any more.
DELETE FROM dataset_versions g USING datasets d
WHERE d.id = g.dataset_uuid AND d.org_id = %(org_id)s AND d.producer_dag_name = %(dag)s
  AND NOT EXISTS (SELECT 1 FROM dag_version_datasets p WHERE p.dataset_version = g.id)
  AND NOT EXISTS (
    SELECT 1 FROM task_inputs r WHERE r.input_dataset_uuid = g.dataset_uuid AND r.input_dataset_version = g.id)
  AND NOT EXISTS (
    SELECT 1 FROM data_invalidations i WHERE i.dataset_uuid = g.dataset_uuid AND i.dataset_version = g.id)
  AND NOT EXISTS (
    SELECT 1 FROM dataset_cursors c WHERE c.dataset_uuid = g.dataset_uuid AND c.dataset_version = g.id);

-- name: delete_datasets
-- The datasets that nobody else reads.
DELETE FROM datasets
WHERE org_id = %(org_id)s AND producer_dag_name = %(dag)s AND id <> ALL (%(spared)s::uuid[]);

-- name: delete_names
-- Its names are free again, but for those of what others read.
DELETE FROM dataset_names n
WHERE n.org_id = %(org_id)s AND n.dag_name = %(dag)s AND NOT EXISTS (
  SELECT 1 FROM datasets d WHERE d.org_id = n.org_id AND d.name = n.name AND d.id = ANY (%(spared)s::uuid[]));

-- name: delete_dag
-- The object's own row.
DELETE FROM dags WHERE org_id = %(org_id)s AND name = %(dag)s;
