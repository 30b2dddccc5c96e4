"""Takes every statement away that writes one of the sixteen tables, one at a time, and shows the test that misses it.

    PYTHONPATH=operator:. python -m tests.state.table_writers [WORD ...]    # those whose names have one of the words

A line for each statement, with the tables that it writes (docs/tables.md says what these are for). It ends with 1 when
one is not missed. What a test sees is what users do: tasks, plans, histories, statuses, what readers are answered.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from headrace.state import queries
from tests.state.test_schema import seed

ROOT: Final = Path(__file__).parents[2]
WITHOUT: Final = "HEADRACE_WITHOUT"
_WRITES: Final = re.compile(r"(?:INSERT INTO|UPDATE|DELETE FROM)\s+(\w+)")

_BY_FILE: Final[Mapping[str, str]] = {
    "test_across_dags.py": "give_up_name",
    "test_adoption.py": "free_slug give_org move_people part_org",
    "test_always_on.py": "add_events create_always_on",
    "test_caps.py": "set_settings",
    "test_changed_sources.py": "catch_up_sources requeue_sources",
    "test_chunked_updates.py": "begin_in_chunks",
    "test_column_lineage.py": "add_lineage switch_lineage",
    "test_deleted_rows.py": (
        "delete_current delete_cursors delete_datasets delete_generations delete_invalidations "
        "delete_jobs delete_lineage delete_partitions delete_pointers delete_tasks delete_versions"
    ),
    "test_flow.py": (
        "accept_completions cancel_absent add_dataset_versions add_datasets add_jobs add_pointers add_version "
        "create_downstream create_source_tasks cut_over finish_dispatched make_org publish_outputs "
        "start_tasks"
    ),
    "test_invalidations.py": (
        "create_missing_jobs create_missing_keys invalidate pass_on settle_invalidations"
    ),
    "test_made_before.py": "settle_made",
    "test_obstacles.py": "bury_version",
    "test_old_tasks.py": "delete_old_tasks",
    "test_overdue_pods.py": "renew_leases",
    "test_parts.py": "sum_parts",
    "test_known_people.py": "delete_old_people record_person",
    "test_purge.py": (
        "drop_cursors_of_retired empty_cursors empty_invalidations empty_partitions forget_told retire"
    ),
    "test_rebound_updates.py": "end_rebound",
    "test_recovery.py": "fail_attempts requeue_due revive_absent",
    "test_requests.py": "cancel_tasks retry_failed run_downstream run_units",
    "test_restored.py": "void_attempts",
    "test_roles.py": "drop_members drop_roles drop_users put_members put_roles put_users",
    "test_rollout_controls.py": "drop_stray_build retry_build set_fingerprints",
    "test_rollouts.py": (
        "cancel_replaced create_missing drop_build keep_build move_tasks"
    ),
    "test_said_of_names.py": "say_of_datasets switch_names",
    "test_side_effects.py": "requeue_events",
    "test_stray_cursors.py": "drop_stray_cursors",
    "test_task_pods.py": "add_notes tell_schemas",
    "test_updates.py": (
        "adopt_cursors create_updates end_merged merge_updates move_cursor move_cursors "
        "pass_updates"
    ),
    "test_vanished.py": "drop_returned drop_vanished",
    "test_webhook_events.py": "create_event_task",
    "test_webhook_rollouts.py": "catch_up_events",
    "test_worker_calls.py": "release_held renew_held",
}  # fmt: skip
"""File of tests, below tests/state, to the statements that it misses."""
MISSED: Final = {statement: file for file, listed in _BY_FILE.items() for statement in listed.split()}


def writers() -> dict[str, tuple[str, ...]]:
    """Every statement that writes any of the sixteen tables, with these."""
    tables = set(seed())
    found = {name: tuple(sorted(tables & set(_WRITES.findall(text)))) for name, text in queries._statements().items()}
    return {name: written for name, written in found.items() if written}


def missed(statement: str, file: str) -> str | None:
    """The first test of a file that fails without a statement; None when all of them pass."""
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", f"tests/state/{file}"]
    environment = {**os.environ, WITHOUT: statement}
    try:
        done = subprocess.run(
            command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=180
        )
    except subprocess.TimeoutExpired:
        return "it never ends"
    if done.returncode == 0:
        return None
    failed = re.search(r"^(?:FAILED|ERROR) \S+::(\S+)", done.stdout, re.MULTILINE)
    assert failed, done.stdout[-2000:] + done.stderr[-2000:]
    return failed[1]


def main() -> int:
    """All of them."""
    chosen = [name for name in writers() if not sys.argv[1:] or any(word in name for word in sys.argv[1:])]
    every = True
    for name in sorted(chosen, key=lambda one: (writers()[one], one)):
        test = missed(name, MISSED[name])
        every &= test is not None
        how = "NOT MISSED" if test is None else f"missed by {MISSED[name]}: {test}"
        sys.stdout.write(f"{', '.join(writers()[name])}: {name}: {how}\n")
        sys.stdout.flush()
    return 0 if every else 1


if __name__ == "__main__":
    sys.exit(main())
