"""One plan of a SQLMesh project, told as JSON. Run by SQLMesh's own interpreter (see `bench.peer`), never imported.

`sqlmesh_plan.py PROJECT plan`: load and plan, as `sqlmesh plan` does before it asks; nothing is applied.
`sqlmesh_plan.py PROJECT apply`: make the project's state what later plans are made against, without running models.
"""

from __future__ import annotations

import importlib
import json
import resource
import sys
import time


def main(project: str, act: str) -> None:
    """Do it, and print seconds by step, how many models the plan touches, and the peak of resident memory in KiB."""
    began = time.perf_counter()
    # By name: the checks of types run where SQLMesh is not installed.
    sqlmesh = importlib.import_module("sqlmesh")
    console = importlib.import_module("sqlmesh.core.console")
    console.set_console(console.NoopConsole())
    imported = time.perf_counter()
    context = sqlmesh.Context(paths=project)
    loaded = time.perf_counter()
    plan = context.plan_builder("prod", skip_tests=True, skip_linter=True, empty_backfill=act == "apply").build()
    touched = len(plan.context_diff.modified_snapshots) + len(plan.context_diff.added)
    planned = time.perf_counter()
    if act == "apply":
        context.apply(plan)
    context.close()
    told = {
        "import": imported - began,
        "load": loaded - imported,
        "plan": planned - loaded,
        "touched": touched,
        "peak_kib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss,
    }
    print(json.dumps(told))


if __name__ == "__main__":
    main(*sys.argv[1:])
