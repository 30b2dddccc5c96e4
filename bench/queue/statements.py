"""The statements of a worker's turn as a pgbench script: what Postgres alone takes for them, without our process.

They are the shipped ones; only where pgbench has to keep what comes back, it is put into one row.
"""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
import tempfile
from pathlib import Path

from bench.queue.ground import DAG, NAMESPACE, Ground
from bench.queue.load import Load
from harness.console import HarnessError
from harness.node.postgres_programs import binaries
from headrace.state.queries import sql

_PARAMETER = re.compile(r"%\((\w+)\)s")
_BETWEEN = "SELECT extract(epoch FROM max(completed_at) - min(started_at)) FROM tasks WHERE job_id = %(job)s"
_PICKED = "SELECT coalesce(array_agg(p.id)::text, '{{}}') AS ids FROM (\n{statement}\n) AS p"
_STARTED = (
    "SELECT coalesce(json_agg(json_build_object('id', s.id, 'attempt', s.attempts, 'token', s.lease_token,"
    f" 'namespace', '{NAMESPACE}', 'pod', 'w')), '[]') AS done FROM started s"
)


async def drained(there: Ground, load: Load) -> float:
    """Seconds from the first start to the last completion of what waits, by `connections` clients of pgbench."""
    ((org,),) = await there.rows("SELECT org_id FROM jobs WHERE id = %(job)s", job=there.job)
    given = {
        "namespace": f"'{NAMESPACE}'", "pod_name": "'w'", "pod_uid": "'uid-w'", "worker": "'w'", "epoch": "NULL",
        "job": f"'{there.job}'", "jobs": f"'{{{there.job}}}'", "most": str(load.batch), "batch": "1000",
        "org_ids": f"'{{{org}}}'", "dags": f"'{{{DAG}}}'", "ids": ":ids", "done": ":done",
    }  # fmt: skip

    def filled(statement: str) -> str:
        text = "\n".join(line for line in statement.rstrip(";").splitlines() if not line.startswith("--"))
        return _PARAMETER.sub(lambda found: given[found[1]], text).replace("%%", "%")

    start = sql("start_tasks")
    script = [
        "BEGIN;",
        filled(sql("find_worker")) + ";",
        filled(sql("lock_dag_shared")) + ";",
        filled(sql("accept_completions")) + ";",
        filled(sql("lock_worker_job")) + ";",
        _PICKED.format(statement=filled(sql("pick_tasks"))) + " \\gset",
        filled(start[: start.rindex("\nSELECT s.id")]) + "\n" + _STARTED + " \\gset",
        "COMMIT;",
    ]
    turns = load.tasks // load.batch // load.connections
    with tempfile.TemporaryDirectory(prefix="headrace-pgbench-") as place:
        file = Path(place) / "turn.sql"
        file.write_text("\n".join(script) + "\n")
        # A third more than there is: clients that meet in a claim take less.
        argv = [str(binaries() / "pgbench"), "-n", "-M", "prepared", "-f", str(file), "-c", str(load.connections)]
        argv += ["-j", "1", "-t", str(turns + turns // 3 + 3), "-D", "done=[]", load.url]
        env = {**os.environ, "PGOPTIONS": "-c jit=off -c plan_cache_mode=force_generic_plan -c enable_seqscan=off"}
        done = await asyncio.to_thread(subprocess.run, argv, capture_output=True, text=True, env=env)
    left = load.tasks - await there.count("Completed")
    if done.returncode != 0 or left:
        raise HarnessError(f"pgbench left {left} tasks: {done.stderr[-500:]}")
    ((seconds,),) = await there.rows(_BETWEEN, job=there.job)
    return float(str(seconds))
