-- name: standing
-- Where Postgres stands.
SELECT incarnation, epoch, mark FROM operator_epoch;

-- name: raise_epoch
-- A takeover: from here on every write of an older epoch fails.
UPDATE operator_epoch SET epoch = epoch + 1, holder = %(holder)s, since = now() RETURNING incarnation, epoch, mark;

-- name: raise_mark
-- Something has changed since the last mark; no row if Postgres does not stand where this leader knows it to.
UPDATE operator_epoch SET mark = mark + 1
WHERE incarnation = %(incarnation)s AND epoch = %(epoch)s AND mark >= %(mark)s
RETURNING incarnation, epoch, mark;

-- name: begin_incarnation
-- Postgres was restored: its history goes on as another one, beyond all that the lost one has said. By a hundred, since
-- a leader may have raised the epoch and died before it wrote that on the Lease.
UPDATE operator_epoch
SET incarnation = gen_random_uuid(), epoch = greatest(epoch, %(epoch)s) + 100, mark = greatest(mark, %(mark)s) + 1,
    holder = %(holder)s, since = now()
RETURNING incarnation, epoch, mark;

-- name: void_attempts
-- What ran in the backup: nobody knows what became of it since. Each is tried again, at no cost; one whose unit has a
-- waiting task joins that.
UPDATE tasks t
SET status = CASE WHEN w.joins THEN 'Canceled' ELSE 'Failed' END,
    canceled_by = CASE WHEN w.joins THEN 'join' END,
    completed_at = CASE WHEN w.joins THEN clock_timestamp() END,
    next_retry_at = CASE WHEN NOT w.joins THEN clock_timestamp() END,
    forgiven = t.forgiven + 1,
    error_message = %(reason)s
FROM tasks u
CROSS JOIN LATERAL (SELECT EXISTS (
  SELECT 1 FROM tasks n
  WHERE n.job_identity = u.job_identity AND n.fingerprint = u.fingerprint AND n.unit_key = u.unit_key
    AND n.params_digest = u.params_digest AND (n.status = 'Queued' OR n.next_retry_at IS NOT NULL)) AS joins) AS w
WHERE t.id = u.id AND t.status = 'Running';

-- name: void_workers
-- The workers of the backup get no more work, and their pods are deleted. They count as having claimed: that they ended
-- says nothing about their image.
UPDATE workers SET retired_at = coalesce(retired_at, now()), seen_at = coalesce(seen_at, now()), gone_at = now()
WHERE gone_at IS NULL;
