-- name: take_notices
-- News that is due, of each org some, to be sent now: due again when that would be tried once more, so that whoever
-- dies, or cannot write down what came of it, sends it twice, and not every second. `secret`: none where nobody wants it any
-- more; `old`: the last try. What is being added to is left to the next look.
UPDATE notices n
SET tries = n.tries + 1,
    due_at = now() + least(3600, 15 * 2 ^ least(n.tries, 10) * (0.75 + random() / 2)) * interval '1 second'
FROM (
  SELECT t.org_id, t.dag_name, t.job_name, t.kind, o.slug, o.namespace_uid, o.settings
  FROM (SELECT d.*, row_number() OVER (PARTITION BY d.org_id ORDER BY d.due_at) AS nth
        FROM notices d WHERE d.due_at <= now() AND d.org_id <> ALL (%(but)s)) AS d
  JOIN notices t USING (org_id, dag_name, job_name, kind)
  JOIN orgs o ON o.id = d.org_id
  WHERE d.nth <= %(of_each)s
  ORDER BY d.due_at
  LIMIT %(most)s
  FOR UPDATE OF t SKIP LOCKED
) AS d
WHERE n.org_id = d.org_id AND n.dag_name = d.dag_name AND n.job_name = d.job_name AND n.kind = d.kind
RETURNING n.org_id, d.slug AS namespace, d.namespace_uid, n.dag_name AS dag, n.job_name AS job, n.kind, n.message,
          n.times, n.yaml_hash AS version, n.rollout_id AS rollout, n.unit_key AS partition, n.error, n.last_at AS at,
          n.tries, n.created_at < now() - interval '24 hours' AS old, d.settings #>> '{notify,secret_name}' AS secret;

-- name: end_notice
-- It was sent, or is given up, and nothing has come to it since.
DELETE FROM notices
WHERE org_id = %(org_id)s AND dag_name = %(dag)s AND job_name = %(job)s AND kind = %(kind)s AND message = %(message)s;

-- name: renew_notice
-- What has come to it since it was taken is news.
UPDATE notices
SET times = greatest(times - %(times)s, 1), tries = 0, created_at = now(), due_at = now() + interval '10 seconds'
WHERE org_id = %(org_id)s AND dag_name = %(dag)s AND job_name = %(job)s AND kind = %(kind)s;
