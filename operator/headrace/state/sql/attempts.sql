-- name: running_pods
-- Running tasks by the names of their pods, with all that a pod is made from. Read after commit.
SELECT t.id, t.attempts AS attempt, t.lease_token AS token, t.worker_id AS pod_name, t.partitions,
       t.input_versions AS inputs, t.outputs, o.id AS org_id, o.slug AS org, j.dag_name AS dag, j.name AS job,
       j.operator, j.config, t.params, j.pod, j.timeout_seconds, p.object_uid AS dag_uid, t.claimed_epoch AS epoch,
       coalesce(j.source ->> 'kind' = 'webhook', false) AS told, t.unit_key = '@' AS runs_on
FROM tasks t
JOIN jobs j ON j.id = t.job_id AND j.runtime <> 'dispatcher'
JOIN orgs o ON o.id = j.org_id
JOIN dags p ON p.org_id = j.org_id AND p.name = j.dag_name
WHERE t.status = 'Running' AND NOT t.in_worker AND t.worker_id = ANY (%(names)s)
ORDER BY t.seq;

-- name: running_names
-- The pods that should be there, with the namespace that each belongs to.
SELECT t.worker_id AS name, o.slug AS namespace
FROM tasks t JOIN jobs j ON j.id = t.job_id AND j.runtime <> 'dispatcher' JOIN orgs o ON o.id = j.org_id
WHERE t.status = 'Running' AND NOT t.in_worker
ORDER BY t.seq;

-- name: locate_tasks
-- The DAGs of tasks, for the locks of their completion.
SELECT DISTINCT j.org_id, j.dag_name AS dag FROM tasks t JOIN jobs j ON j.id = t.job_id WHERE t.id = ANY (%(ids)s);

-- name: accept_completions
-- The fence: only the attempt that holds the lease completes its task, once, and only by its own pod: whoever can make
-- pods in another namespace can copy labels. Finished units of jobs without outputs are recorded; `makes`: there is more
-- to publish, of these keys and so many outputs. Long lists of what was read are not kept: their versions are recorded
-- (task_inputs), and each task would have the whole of a dataset in it. `|| ''`: the rows are found by their ids; what runs is another number in
-- each moment, Postgres knows a former one, and would read all of it once for each.
WITH accepted AS (
  UPDATE tasks t
  SET status = 'Completed', completed_at = clock_timestamp(), last_heartbeat = clock_timestamp(), error_message = d.note,
      input_versions = CASE WHEN pg_column_size(t.input_versions) < 4096 THEN t.input_versions ELSE (
        SELECT jsonb_object_agg(i.name, i.given - 'partitions') FROM jsonb_each(t.input_versions) AS i (name, given)) END
  FROM jsonb_to_recordset(%(done)s) AS d (id uuid, attempt int, token uuid, namespace text, pod text, note text)
  JOIN orgs o ON o.slug = d.namespace
  WHERE t.id = d.id AND t.attempts = d.attempt AND t.lease_token = d.token AND t.status || '' = 'Running'
    AND t.worker_id = d.pod AND (SELECT j.org_id FROM jobs j WHERE j.id = t.job_id) = o.id
  RETURNING t.id, t.job_id, t.job_identity, t.fingerprint, t.unit_key, t.completed_at, t.outputs <> '[]' AS makes,
            t.outputs @? '$[*].uniqueKey[*]' AS adds, t.first_update IS NOT NULL AS reads,
            t.outputs @? '$[*].partitions[*].replaces[*] ? (exists(@.*))' AS corrects,
            (SELECT EXISTS (SELECT 1 FROM data_invalidations n WHERE n.processed_at IS NULL)) AND EXISTS (
              SELECT 1 FROM task_inputs r
              WHERE r.task_id = t.id AND EXISTS (
                SELECT 1 FROM data_invalidations n
                WHERE n.dataset_uuid = r.input_dataset_uuid AND n.dataset_version = r.input_dataset_version
                  AND n.processed_at IS NULL OFFSET 0)) AS answers, t.partitions,
            jsonb_array_length(t.outputs) AS outputs, extract(epoch FROM t.completed_at - t.started_at)::float8 AS ran
), recorded AS (
  INSERT INTO unit_completions (job_identity, fingerprint, unit_key, completed_at, task_id, made_from)
  SELECT a.job_identity, a.fingerprint, a.unit_key, a.completed_at, a.id, r.mark
  FROM accepted a
  CROSS JOIN LATERAL read_by(a.id, a.job_id) AS r
  WHERE NOT a.makes
  ON CONFLICT (job_identity, fingerprint, unit_key) DO UPDATE
  SET completed_at = excluded.completed_at, task_id = excluded.task_id, made_from = excluded.made_from
)
SELECT a.id, a.makes, a.adds, a.reads, a.corrects, a.answers, a.partitions, a.outputs,
       a.ran FROM accepted a;

-- name: add_notes
-- What their users should know of these tasks, beside what is said already.
UPDATE tasks t SET error_message = left(concat_ws('; ', t.error_message, n.note), 4096)
FROM jsonb_to_recordset(%(notes)s) AS n (id uuid, note text)
WHERE t.id = n.id;

-- name: publish_outputs
-- What completed tasks made becomes visible, `written`, but for parts that replace what filters match, see pass_on: the partition points to this attempt's location, or has one part more
-- (add_parts), at a time that never repeats for a key. Into the generation that the attempt was started for; where somebody reads that as a whole, its
-- revision goes on, too. `counted`: somebody reads it update by update.
WITH published AS (
  INSERT INTO partition_versions AS pv (
    dataset_uuid, dataset_version, partition_key, materialized_at, written_at, config_hash, schema_hash, location,
    row_count, bytes, task_id, made_from)
  SELECT DISTINCT ON (o ->> 'dataset_uuid', o ->> 'version', p ->> 'key')
         (o ->> 'dataset_uuid')::uuid, (o ->> 'version')::uuid, p ->> 'key', c.now,
         CASE WHEN p -> 'replaces' <> '[{}]' THEN '-infinity' ELSE c.now END, o ->> 'config_hash',
         s.hash, CASE WHEN jsonb_typeof(o -> 'uniqueKey') = 'array' THEN NULL ELSE p ->> 'location' END,
         CASE WHEN jsonb_typeof(o -> 'uniqueKey') = 'array' THEN NULL ELSE r.rows END,
         CASE WHEN jsonb_typeof(o -> 'uniqueKey') = 'array' THEN NULL ELSE r.bytes END, t.id, i.mark
  FROM tasks t
  CROSS JOIN LATERAL read_by(t.id, t.job_id) AS i
  CROSS JOIN jsonb_array_elements(t.outputs) AS o
  CROSS JOIN jsonb_array_elements(o -> 'partitions') AS p
  CROSS JOIN (SELECT clock_timestamp() AS now) AS c
  LEFT JOIN jsonb_to_recordset(%(reported)s) AS r (task uuid, output int, key text, rows bigint, bytes bigint)
    ON r.task = t.id AND r.output = (o ->> 'index')::int AND r.key = p ->> 'key'
  LEFT JOIN jsonb_to_recordset(%(schemas)s) AS s (task uuid, output int, hash text)
    ON s.task = t.id AND s.output = (o ->> 'index')::int
  WHERE t.id = ANY (%(ids)s)
  ORDER BY o ->> 'dataset_uuid', o ->> 'version', p ->> 'key', t.seq DESC
  ON CONFLICT (dataset_uuid, dataset_version, partition_key) DO UPDATE
  SET materialized_at = greatest(excluded.materialized_at, pv.materialized_at + interval '1 microsecond'),
      written_at = CASE WHEN excluded.written_at = '-infinity' THEN pv.written_at
                        ELSE greatest(excluded.materialized_at, pv.materialized_at + interval '1 microsecond') END,
      config_hash = excluded.config_hash, schema_hash = excluded.schema_hash, location = excluded.location,
      row_count = CASE WHEN (SELECT g.unique_key IS NOT NULL FROM dataset_versions g WHERE g.id = excluded.dataset_version)
        THEN pv.row_count ELSE excluded.row_count END,
      bytes = CASE WHEN (SELECT g.unique_key IS NOT NULL FROM dataset_versions g WHERE g.id = excluded.dataset_version)
        THEN pv.bytes ELSE excluded.bytes END,
      task_id = excluded.task_id, made_from = excluded.made_from
  RETURNING pv.dataset_uuid, pv.dataset_version, pv.materialized_at
), revised AS (
  SELECT r.dataset_uuid, r.dataset_version, p.at
  FROM (SELECT dataset_uuid, dataset_version, max(materialized_at) AS at FROM published GROUP BY 1, 2) AS p
  JOIN dataset_revisions r ON r.dataset_uuid = p.dataset_uuid AND r.dataset_version = p.dataset_version
  ORDER BY 1, 2
  FOR UPDATE OF r
), told AS (
  UPDATE dataset_revisions r SET revision = greatest(v.at, r.revision + interval '1 microsecond')
  FROM revised v
  WHERE r.dataset_uuid = v.dataset_uuid AND r.dataset_version = v.dataset_version
)
SELECT EXISTS (
  SELECT 1 FROM published p JOIN update_counters c ON c.dataset_uuid = p.dataset_uuid) AS counted;

-- name: add_parts
-- What completed tasks have added to partitions, whose rows are there: in the order of the updates that they are about, the
-- others in that of their completion. What came before a part that replaces everything comes too late; of the same updates
-- the task counts that read them last.
INSERT INTO partition_parts AS a (
  dataset_uuid, dataset_version, partition_key, place, location, replaces, row_count, bytes, task_id, cursor_type,
  from_value, to_value)
SELECT DISTINCT ON (m.dataset_uuid, m.dataset_version, m.key, k.place)
       m.dataset_uuid, m.dataset_version, m.key, k.place, m.location, m.replaces, r.rows, r.bytes, m.task_id, c.type,
       c.from_value, c.to_value
FROM (
  SELECT (o ->> 'dataset_uuid')::uuid AS dataset_uuid, (o ->> 'version')::uuid AS dataset_version,
         (o ->> 'index')::int AS index, p ->> 'key' AS key, p ->> 'location' AS location, p -> 'replaces' AS replaces,
         (p ->> 'place')::bigint AS place, t.id AS task_id,
         row_number() OVER (PARTITION BY o ->> 'dataset_uuid', o ->> 'version', p ->> 'key' ORDER BY t.seq) AS nth
  FROM tasks t
  CROSS JOIN jsonb_array_elements(t.outputs) AS o
  CROSS JOIN jsonb_array_elements(o -> 'partitions') AS p
  WHERE t.id = ANY (%(ids)s) AND jsonb_typeof(o -> 'uniqueKey') = 'array'
) AS m
LEFT JOIN jsonb_to_recordset(%(reported)s) AS r (task uuid, output int, key text, rows bigint, bytes bigint)
  ON r.task = m.task_id AND r.output = m.index AND r.key = m.key
LEFT JOIN jsonb_to_recordset(%(cursors)s) AS c (
  task uuid, output int, type text, from_value text, to_value text) ON c.task = m.task_id AND c.output = m.index
CROSS JOIN LATERAL (
  SELECT coalesce(m.place, (
           SELECT a.place FROM partition_parts a
           WHERE a.dataset_uuid = m.dataset_uuid AND a.dataset_version = m.dataset_version AND a.partition_key = m.key
           ORDER BY a.place DESC LIMIT 1
         ) + m.nth, m.nth) AS place, (
           SELECT a.place FROM partition_parts a
           WHERE a.dataset_uuid = m.dataset_uuid AND a.dataset_version = m.dataset_version AND a.partition_key = m.key
             AND a.replaces = '[{}]'
           ORDER BY a.place DESC LIMIT 1
         ) AS whole
  OFFSET 0
) AS k
WHERE k.whole IS NULL OR k.whole < k.place OR (k.whole = k.place AND m.replaces = '[{}]')
ORDER BY m.dataset_uuid, m.dataset_version, m.key, k.place, m.replaces IS NOT DISTINCT FROM '[{}]' DESC
ON CONFLICT (dataset_uuid, dataset_version, partition_key, place) DO UPDATE
SET location = excluded.location, replaces = excluded.replaces, row_count = excluded.row_count, bytes = excluded.bytes,
    task_id = excluded.task_id, cursor_type = excluded.cursor_type, from_value = excluded.from_value,
    to_value = excluded.to_value, added_at = excluded.added_at
WHERE (SELECT t.started_at FROM tasks t WHERE t.id = excluded.task_id)
  >= coalesce((SELECT t.started_at FROM tasks t WHERE t.id = a.task_id), '-infinity');

-- name: pass_on
-- What is there anew for filters alone is told as such to those that read it, in words of these tasks' own: all that they
-- have made besides is as it was.
WITH corrected AS MATERIALIZED (
  SELECT (o ->> 'dataset_uuid')::uuid AS dataset_uuid, (o ->> 'version')::uuid AS dataset_version, p ->> 'key' AS key,
         f AS filter, t.id AS task
  FROM tasks t
  CROSS JOIN jsonb_array_elements(t.outputs) AS o
  CROSS JOIN jsonb_array_elements(o -> 'partitions') AS p
  CROSS JOIN jsonb_array_elements(p -> 'replaces') AS f
  WHERE t.id = ANY (%(ids)s) AND jsonb_typeof(o -> 'uniqueKey') = 'array' AND p -> 'replaces' <> '[{}]'
)
INSERT INTO data_invalidations (
  dataset_uuid, dataset_version, scope, partition_key, row_filter, reason, source_event, created_at)
SELECT c.dataset_uuid, c.dataset_version, 'row_range', c.key, c.filter, 'correction',
       jsonb_build_object('task', c.task), pv.materialized_at
FROM corrected c
JOIN partition_versions pv ON pv.dataset_uuid = c.dataset_uuid AND pv.dataset_version = c.dataset_version
  AND pv.partition_key = c.key;

-- name: sum_parts
-- Of the partitions that these tasks have added to: what a part replaces as a whole is not there any more, nor is a part
-- that came too late (both superseded); the row of the partition has what is left, all together. A part that only comes to
-- the others is added to their sum.
WITH told AS MATERIALIZED (
  SELECT t.id, (o ->> 'dataset_uuid')::uuid AS dataset_uuid, (o ->> 'version')::uuid AS dataset_version,
         (o ->> 'index')::int AS output, p ->> 'key' AS key, p AS part
  FROM tasks t
  CROSS JOIN jsonb_array_elements(t.outputs) AS o
  CROSS JOIN jsonb_array_elements(o -> 'partitions') AS p
  WHERE t.id = ANY (%(ids)s) AND jsonb_typeof(o -> 'uniqueKey') = 'array'
), added AS MATERIALIZED (
  SELECT t.dataset_uuid, t.dataset_version, t.key, bool_or(t.part ? 'place' OR t.part -> 'replaces' = '[{}]') AS anew,
         sum(r.rows)::bigint AS rows, sum(r.bytes)::bigint AS bytes
  FROM told t
  LEFT JOIN jsonb_to_recordset(%(reported)s) AS r (task uuid, output int, key text, rows bigint, bytes bigint)
    ON r.task = t.id AND r.output = t.output AND r.key = t.key
  GROUP BY 1, 2, 3
), first AS MATERIALIZED (
  SELECT a.*, coalesce((
    SELECT p.place FROM partition_parts p
    WHERE p.dataset_uuid = a.dataset_uuid AND p.dataset_version = a.dataset_version AND p.partition_key = a.key
      AND p.replaces = '[{}]'
    ORDER BY p.place DESC LIMIT 1
  ), 0) AS place
  FROM added a
), gone AS (
  DELETE FROM partition_parts p USING first f
  WHERE p.dataset_uuid = f.dataset_uuid AND p.dataset_version = f.dataset_version AND p.partition_key = f.key
    AND p.place < f.place
  RETURNING p.dataset_version, p.location, p.partition_key
), superseded AS (
  INSERT INTO superseded_outputs (dataset_version, location, partition_key)
  SELECT g.dataset_version, g.location, g.partition_key FROM gone g WHERE g.location IS NOT NULL
  UNION
  SELECT t.dataset_version, t.part ->> 'location', t.key
  FROM told t
  WHERE t.part ->> 'location' IS NOT NULL
    AND NOT EXISTS (
      SELECT 1 FROM partition_parts a
      WHERE a.task_id = t.id AND a.dataset_version = t.dataset_version AND a.partition_key = t.key OFFSET 0)
  ON CONFLICT DO NOTHING
)
UPDATE partition_versions pv
SET row_count = CASE WHEN f.anew THEN s.rows ELSE coalesce(pv.row_count + f.rows, pv.row_count, f.rows) END,
    bytes = CASE WHEN f.anew THEN s.bytes ELSE coalesce(pv.bytes + f.bytes, pv.bytes, f.bytes) END
FROM first f
CROSS JOIN LATERAL (
  SELECT sum(p.row_count) AS rows, sum(p.bytes) AS bytes FROM partition_parts p
  WHERE f.anew AND p.dataset_uuid = f.dataset_uuid AND p.dataset_version = f.dataset_version AND p.partition_key = f.key
    AND p.place >= f.place
) AS s
WHERE pv.dataset_uuid = f.dataset_uuid AND pv.dataset_version = f.dataset_version AND pv.partition_key = f.key;

-- name: create_downstream
-- The units that the outputs of these completed tasks make within their DAG, in the serving version and in the one being
-- built, once every `same` input has the key; all units of a job that reads what they made as a whole and is run again
-- for it. A unit that waits already is locked, not left alone: its claim must see the new inputs or wait for us. What a
-- build makes is work of the build.
-- A job that acts on the world passes by what a catch-up made again of keys that are history to it.
WITH done AS MATERIALIZED (
  SELECT t.job_id, t.backfill, t.outputs FROM tasks t WHERE t.id = ANY (%(ids)s)
), made AS MATERIALIZED (
  SELECT (o ->> 'dataset_uuid')::uuid AS dataset_uuid, (o ->> 'version')::uuid AS dataset_version, p ->> 'key' AS key,
         d.backfill, j.org_id, j.dag_name
  FROM done d
  JOIN jobs j ON j.id = d.job_id
  CROSS JOIN jsonb_array_elements(d.outputs) AS o
  CROSS JOIN jsonb_array_elements(o -> 'partitions') AS p
), readers AS MATERIALIZED (
  SELECT m.dataset_uuid, m.dataset_version, i.match, w.job_id, w.identity, w.fingerprint, e.side_effects
  FROM (SELECT DISTINCT m.dataset_uuid, m.dataset_version, m.org_id, m.dag_name FROM made m) AS m
  JOIN job_inputs i ON i.dataset_uuid = m.dataset_uuid AND i.external_name IS NULL
    AND (i.match = 'same' OR i.on_change = 'rerun')
  CROSS JOIN LATERAL (
    SELECT w.* FROM working_jobs w
    WHERE w.job_id = i.job_id AND w.org_id = m.org_id AND w.dag_name = m.dag_name OFFSET 0
  ) AS w
  JOIN jobs e ON e.id = w.job_id
  JOIN dag_version_datasets s ON s.dag_version_id = w.dag_version_id
    AND s.dataset_uuid = m.dataset_uuid AND s.dataset_version = m.dataset_version
), needed AS MATERIALIZED (
  SELECT r.job_id, v.dataset_uuid, v.dataset_version
  FROM (SELECT DISTINCT r.job_id FROM readers r) AS r
  JOIN job_inputs n ON n.job_id = r.job_id AND n.match = 'same'
  LEFT JOIN LATERAL (
    SELECT v.dataset_uuid, v.dataset_version FROM input_versions v
    WHERE v.job_id = n.job_id AND v.name = n.name OFFSET 0
  ) AS v ON true
), units AS (
  SELECT u.*, u.side_effects AND u.backfill AND EXISTS (
           SELECT 1 FROM passed_keys p
           WHERE p.job_identity = u.identity AND p.fingerprint = u.fingerprint AND p.unit_key = u.key) AS passes
  FROM (
    SELECT k.job_id, k.identity, k.fingerprint, k.side_effects, k.key, bool_and(k.backfill) AS backfill
    FROM (
      SELECT r.job_id, r.identity, r.fingerprint, r.side_effects, m.key, m.backfill
      FROM readers r
      JOIN made m ON m.dataset_uuid = r.dataset_uuid AND m.dataset_version = r.dataset_version
      WHERE r.match = 'same'
      UNION ALL
      SELECT r.job_id, r.identity, r.fingerprint, r.side_effects, k.key, r.backfill
      FROM (
        SELECT r.job_id, r.identity, r.fingerprint, r.side_effects, bool_and(m.backfill) AS backfill
        FROM readers r
        JOIN made m ON m.dataset_uuid = r.dataset_uuid AND m.dataset_version = r.dataset_version
        WHERE r.match = 'latest'
        GROUP BY r.job_id, r.identity, r.fingerprint, r.side_effects
      ) AS r
      CROSS JOIN LATERAL ready_units(r.job_id) AS k (key)
    ) AS k
    GROUP BY k.job_id, k.identity, k.fingerprint, k.side_effects, k.key
  ) AS u
  WHERE NOT EXISTS (
    SELECT 1 FROM needed n
    WHERE n.job_id = u.job_id AND NOT EXISTS (
      SELECT 1 FROM partition_versions pv
      WHERE pv.dataset_uuid = n.dataset_uuid AND pv.dataset_version = n.dataset_version AND pv.partition_key = u.key
      OFFSET 0))
), passed AS (
  INSERT INTO passed_inputs (
    job_identity, fingerprint, unit_key, input_dataset_uuid, input_key, input_version, input_dataset_version)
  SELECT u.identity, u.fingerprint, u.key, i.dataset_uuid, i.input_key, i.version, i.dataset_version
  FROM units u
  CROSS JOIN LATERAL unit_inputs(u.job_id, u.key) AS i
  WHERE u.passes
  ON CONFLICT (job_identity, fingerprint, unit_key, input_dataset_uuid, input_key) DO UPDATE
  SET input_version = excluded.input_version, input_dataset_version = excluded.input_dataset_version
)
INSERT INTO tasks (job_id, partitions, job_identity, fingerprint, unit_key, backfill, low)
SELECT u.job_id, ARRAY[u.key], u.identity, u.fingerprint, u.key, u.backfill, is_low(u.job_id, u.backfill)
FROM units u
WHERE NOT u.passes
ORDER BY u.key, u.job_id
ON CONFLICT (job_identity, fingerprint, unit_key, params_digest)
  WHERE status = 'Queued' OR (status = 'Failed' AND next_retry_at IS NOT NULL)
DO UPDATE SET job_id = excluded.job_id;

-- name: tell_consumers
-- Other DAGs that read the outputs of these completed tasks are to look for work: in the outbox, without their locks. A
-- row that is there is locked: whoever deletes it now must see what we made, or wait for us.
INSERT INTO consumer_looks (org_id, dag_name)
SELECT DISTINCT w.org_id, w.dag_name
FROM tasks t
CROSS JOIN jsonb_array_elements(t.outputs) AS o
JOIN job_inputs i ON i.dataset_uuid = (o ->> 'dataset_uuid')::uuid AND i.external_name IS NOT NULL
JOIN working_jobs w ON w.job_id = i.job_id
WHERE t.id = ANY (%(ids)s)
ORDER BY w.org_id, w.dag_name
ON CONFLICT (org_id, dag_name) DO UPDATE SET created_at = excluded.created_at;
