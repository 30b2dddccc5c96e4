-- name: lock_dag
-- One reconcile, commit or cutover of a DAG at a time. Advisory, so that taking it writes nothing.
SELECT pg_advisory_xact_lock(hashtextextended('dag/' || %(org_id)s || '/' || %(dag)s, 0));

-- name: wait_briefly
-- This transaction waits for no lock longer than that. In the queue all the same, so that many short holders that overlap
-- do not keep it out for ever.
SELECT set_config('lock_timeout', '250ms', true);

-- name: lock_dag_shared
-- Completions of a DAG go side by side, and never beside its cutover. Many at once, in the order of their names.
SELECT pg_advisory_xact_lock_shared(hashtextextended(k.name, 0))
FROM (SELECT DISTINCT 'dag/' || d.org_id || '/' || d.dag AS name
      FROM unnest(%(org_ids)s::uuid[], %(dags)s::text[]) AS d (org_id, dag) ORDER BY 1) AS k;

-- name: try_lock_dag_shared
-- The same for one DAG, without waiting for its cutover; false if there is one.
SELECT pg_try_advisory_xact_lock_shared(hashtextextended('dag/' || %(org_id)s || '/' || %(dag)s, 0)) AS held;

-- name: lock_keys
-- Completions of one key of a DAG go one after the other: the last of a unit's inputs to arrive sees all the others. And
-- nobody begins meanwhile to read what they make as a whole, see follow_whole.
SELECT CASE WHEN k.shared THEN pg_advisory_xact_lock_shared(hashtextextended(k.name, 1)) IS NULL
            ELSE pg_advisory_xact_lock(hashtextextended(k.name, 1)) IS NULL END AS locked
FROM (SELECT 'key/' || j.org_id || '/' || j.dag_name || '/' || p.key AS name, false AS shared
      FROM tasks t JOIN jobs j ON j.id = t.job_id CROSS JOIN unnest(t.partitions) AS p (key)
      WHERE t.id = ANY (%(ids)s)
      UNION
      SELECT 'whole/' || (o ->> 'dataset_uuid'), true
      FROM tasks t CROSS JOIN jsonb_array_elements(t.outputs) AS o
      WHERE t.id = ANY (%(ids)s)
      ORDER BY 1) AS k;

-- name: lock_whole
-- No completion of what these datasets have until the transaction ends.
SELECT pg_advisory_xact_lock(hashtextextended(k.name, 1))
FROM (SELECT DISTINCT 'whole/' || d.id AS name FROM unnest(%(datasets)s::uuid[]) AS d (id) ORDER BY 1) AS k;

-- name: lock_events
-- Events of one partition of a source are accepted one after the other.
SELECT pg_advisory_xact_lock(hashtextextended('events/' || %(identity)s || '/' || %(key)s, 4));

-- name: lock_org
-- Names of an org's datasets are given out under this lock.
SELECT pg_advisory_xact_lock(hashtextextended('org/' || %(org_id)s, 2));

-- name: lock_tenant
-- Commits of an org go side by side, and never beside its adoption by another namespace.
SELECT pg_advisory_xact_lock_shared(hashtextextended('tenant/' || %(org_id)s, 5));

-- name: lock_tenants
-- No commit of these orgs until the transaction ends.
SELECT pg_advisory_xact_lock(hashtextextended(k.name, 5))
FROM (SELECT DISTINCT 'tenant/' || o.id AS name FROM unnest(%(org_ids)s::uuid[]) AS o (id) ORDER BY 1) AS k;

-- name: lock_dags
-- The locks of several DAGs, exclusively, in the order in which others take them.
SELECT pg_advisory_xact_lock(hashtextextended(k.name, 0))
FROM (SELECT DISTINCT 'dag/' || d.org_id || '/' || d.dag AS name
      FROM unnest(%(org_ids)s::uuid[], %(dags)s::text[]) AS d (org_id, dag) ORDER BY 1) AS k;

-- name: lock_roles
-- Roles of an org are read in the cluster and mirrored by one at a time.
SELECT pg_advisory_xact_lock(hashtextextended('roles/' || %(org_id)s, 5));

-- name: lock_users
-- Users are given roles, and dropped, by one at a time: a user that one org drops may be named in another.
SELECT pg_advisory_xact_lock(hashtextextended('users', 5));

-- name: fence
-- The epoch this process leads by, held until the end of the transaction; no row if another process leads now.
SELECT epoch FROM operator_epoch WHERE epoch = %(epoch)s FOR SHARE;

-- name: session_settings
-- For each connection. Statements here are short and many: just-in-time compilation makes them slower by far, and to plan
-- one takes longer than to run it, so one plan serves all parameters, and the sizes that a table will have: what is read
-- whole while it is small would be so for long after. A leader that was lost must not hold its locks until
-- the network notices; times are told in UTC.
SELECT set_config('jit', 'off', false), set_config('plan_cache_mode', 'force_generic_plan', false),
       set_config('enable_seqscan', 'off', false), set_config('TimeZone', 'UTC', false),
       set_config('idle_in_transaction_session_timeout', '30s', false), set_config('statement_timeout', '120s', false),
       set_config('tcp_keepalives_idle', '10', false), set_config('tcp_keepalives_interval', '5', false),
       set_config('tcp_keepalives_count', '3', false);

