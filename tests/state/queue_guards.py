"""Takes the queue's guards away, one at a time, and shows that the model misses each.

    PYTHONPATH=operator:. python -m tests.state.queue_guards [WORD ...]     # those whose names have one of the words

A line for each guard: how the histories went wrong without it. It ends with 1 when one is not missed.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import LiteralString, cast

import psycopg
from hypothesis.errors import HypothesisException

from harness.node.postgres import temporary
from headrace.state import queries
from headrace.state.migrate import migrate
from tests.conftest import database_url

MOST = 300


@dataclass(frozen=True)
class Guard:
    """What is taken away: (statement, text, what stands for it then), and statements for the database."""

    name: str
    texts: Sequence[tuple[str, str, str]]
    database: Sequence[LiteralString] = ()


_ON_CONFLICT = """ON CONFLICT (job_identity, fingerprint, unit_key, params_digest)
  WHERE status = 'Queued' OR (status = 'Failed' AND next_retry_at IS NOT NULL)
DO UPDATE SET job_id = excluded.job_id"""
GUARDS = (
    Guard("the fence: attempt and token of a completion",
          [("accept_completions", "t.attempts = d.attempt AND t.lease_token = d.token AND", "")]),
    Guard("the fence: attempt and token of a failure",
          [("fail_attempts", "t.attempts = v.attempt AND t.lease_token = v.token AND", "")]),
    Guard("the fence: attempt and token of a renewal",
          [("renew_held", "t.attempts = h.attempt AND t.lease_token = h.token AND", "")]),
    Guard("the unit: one waits", [("create_downstream", _ON_CONFLICT, "")], ["DROP INDEX tasks_one_waiting_key"]),
    Guard("the unit: one runs", [("pick_tasks", "AND u.status = 'Running' OFFSET 0)", "AND false)")],
          ["DROP INDEX tasks_one_running_key"]),
    Guard("the hold on older work upstream", [("pick_tasks", "AND NOT (r.reads AND", "AND NOT (false AND")]),
    Guard("the epoch", [("fence", "epoch = %(epoch)s", "%(epoch)s::bigint IS NOT NULL")]),
    Guard("the room of a job", [("pick_tasks", "WHERE p.place <= p.most - p.running", ""),
                                ("pick_tasks", "AND r.running < c.most", ""),
                                ("pick_tasks", "least(r.most - r.running, r.wanted)", "r.wanted")]),
    Guard("the lock of a job's claims",
          [("lock_worker_job", "pg_advisory_xact_lock(hashtextextended('claim/' || j.identity, 3)) IS NULL", "true")]),
    Guard("what is lost is tried again", [("requeue_due", "next_retry_at <= now()", "false")]),
)  # fmt: skip


def without(guard: Guard, server: str, number: int) -> str | None:
    """How histories go wrong without it; None when they do not."""
    url = database_url(server, f"guard_{number}")
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE guard_{number}")  # type: ignore[arg-type]
    asyncio.run(migrate(url))
    with psycopg.connect(url, autocommit=True) as connection:
        for statement in guard.database:
            connection.execute(statement)
    statements = queries._statements()
    before = dict(statements)
    for name, text, other in guard.texts:
        assert text in statements[name], f"{name} has no longer {text!r}"
        statements[name] = cast("LiteralString", statements[name].replace(text, other))
    from tests.state.test_queue_model import histories  # noqa: PLC0415  which looks at what is taken away here

    try:
        histories(url, MOST)
    except Exception as error:
        return _cause(error)
    finally:
        statements.update(before)
    return None


def _cause(error: BaseException) -> str:
    """The first line of what went wrong: hypothesis wraps it when a second run, with other ids, goes another way."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    while isinstance(error, HypothesisException) and (error.__cause__ or error.__context__) is not None:
        error = cast("BaseException", error.__cause__ or error.__context__)
    return f"{type(error).__name__}: {error}".partition("\n")[0][:160]


def main() -> int:
    """All of them."""
    missed = True
    chosen = [guard for guard in GUARDS if not sys.argv[1:] or any(word in guard.name for word in sys.argv[1:])]
    with temporary() as server:
        for number, guard in enumerate(chosen):
            how = without(guard, server.url, number)
            missed &= how is not None
            sys.stdout.write(f"{guard.name}: {'NOT MISSED' if how is None else f'missed: {how}'}\n")
            sys.stdout.flush()
    return 0 if missed else 1


if __name__ == "__main__":
    sys.exit(main())
