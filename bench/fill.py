"""A DAG that serves for long: everything of it made, by tasks that are done, of the inputs as they are."""

from __future__ import annotations

from collections.abc import Sequence

from headrace.state.database import Transaction

_FILL = """
WITH made AS (
  INSERT INTO tasks (job_id, status, partitions, job_identity, fingerprint, unit_key, attempts, completed_at)
  SELECT j.id, 'Completed', ARRAY[k], j.identity, j.fingerprint, k, 1, now()
  FROM jobs j CROSS JOIN unnest(%(keys)s::text[]) AS k
  WHERE j.dag_version_id = (SELECT dag_version_id FROM dag_current_versions WHERE dag_name = %(dag)s)
  RETURNING id, job_id, unit_key
)
INSERT INTO task_inputs (task_id, input_dataset_uuid, input_partition_key, input_version, input_dataset_version)
SELECT m.id, i.dataset_uuid, m.unit_key, now(), v.dataset_version
FROM made m
JOIN jobs j ON j.id = m.job_id
JOIN job_inputs i ON i.job_id = j.id
JOIN dag_version_datasets v ON v.dag_version_id = j.dag_version_id AND v.dataset_uuid = i.dataset_uuid
"""

_PUBLISH = """
INSERT INTO partition_versions (
  dataset_uuid, dataset_version, partition_key, materialized_at, config_hash, task_id, made_from)
SELECT d.id, v.dataset_version, t.unit_key, now(), j.fingerprint, t.id, r.mark
FROM tasks t
JOIN jobs j ON j.id = t.job_id
JOIN datasets d ON d.org_id = j.org_id AND d.producer_dag_name = j.dag_name AND d.producer_job_name = j.name
JOIN dag_version_datasets v ON v.dag_version_id = j.dag_version_id AND v.dataset_uuid = d.id
CROSS JOIN LATERAL read_by(t.id, t.job_id) AS r
WHERE t.completed_at = now() AND j.dag_name = %(dag)s AND t.unit_key = ANY (%(keys)s)
"""


async def fill(tx: Transaction, dag: str, keys: Sequence[str]) -> None:
    """Give every dataset of the DAG these partitions."""
    for statement in (_FILL, _PUBLISH):
        await tx._connection.execute(statement.encode(), {"keys": list(keys), "dag": dag})


async def analyze(tx: Transaction) -> None:
    """As autovacuum does within a minute."""
    await tx._connection.execute(b"ANALYZE")
