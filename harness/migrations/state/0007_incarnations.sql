-- Where Postgres stands in its own history. The incarnation changes when it is found to be restored from a backup; the
-- mark rises every few seconds in which something changed. The leader writes all three on its Lease, so that a Postgres
-- of ten minutes ago is known to be that, also when the same operator has led since.
ALTER TABLE operator_epoch
  ADD COLUMN incarnation uuid NOT NULL DEFAULT gen_random_uuid(),
  ADD COLUMN mark bigint NOT NULL DEFAULT 0;
