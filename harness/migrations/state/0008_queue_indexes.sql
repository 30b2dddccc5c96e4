-- Fewer index entries for each step of a task: what changes its state writes one into every index that has it.

-- The last task of a job that has ended: what waits or runs is found by the unit's two keys, and is little.
DROP INDEX tasks_recent;
CREATE INDEX tasks_ended ON tasks (job_identity, seq) WHERE completed_at IS NOT NULL;

-- What a worker holds is found among what runs of its job.
DROP INDEX tasks_of_worker;

-- The same rule of keys, without the counted repetition, which makes an expression of 128 states of it at every write.
ALTER TABLE tasks DROP CONSTRAINT tasks_unit_key_check;
ALTER TABLE tasks ADD CONSTRAINT tasks_unit_key_check
  CHECK (unit_key ~ '^(\*|[A-Za-z0-9][A-Za-z0-9._:=-]*)$' AND length(unit_key) <= 128);
ALTER TABLE task_inputs DROP CONSTRAINT task_inputs_input_partition_key_check;
ALTER TABLE task_inputs ADD CONSTRAINT task_inputs_input_partition_key_check
  CHECK (input_partition_key ~ '^(\*|[A-Za-z0-9][A-Za-z0-9._:=-]*)$' AND length(input_partition_key) <= 128);
ALTER TABLE partition_versions DROP CONSTRAINT partition_versions_partition_key_check;
ALTER TABLE partition_versions ADD CONSTRAINT partition_versions_partition_key_check
  CHECK (partition_key ~ '^(\*|[A-Za-z0-9][A-Za-z0-9._:=-]*)$' AND length(partition_key) <= 128);
