"""What the operator does when there is nothing to do: requests to the API server and transactions in Postgres.

The API server's audit log tells every request of the operator's account; Postgres tells how many transactions there
were and how many of them wrote (each takes a transaction id, be it only for a row lock).
"""

from __future__ import annotations

import argparse
import asyncio
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import msgspec
import psycopg
from psycopg.rows import tuple_row

from bench.place import Place
from bench.table import Row
from harness.console import HarnessError, Progress

ACCOUNT = "system:serviceaccount:headrace-system:headrace-operator"
WRITES = frozenset({"create", "update", "patch", "delete", "deletecollection"})
_SETTLE = 5.0
_SLICE = 20.0
# Autovacuum's transactions would be counted as the operator's.
_COUNTS = """
SELECT pg_snapshot_xmax(pg_current_snapshot())::text::bigint,
       (SELECT xact_commit + xact_rollback FROM pg_stat_database WHERE datname = current_database()),
       (SELECT coalesce(sum(autovacuum_count + autoanalyze_count), 0)::bigint FROM pg_stat_all_tables)
"""


class _User(msgspec.Struct, frozen=True):
    username: str


class _Ref(msgspec.Struct, frozen=True):
    resource: str = ""
    subresource: str = ""


class _Request(msgspec.Struct, frozen=True, rename="camel"):
    user: _User
    verb: str
    object_ref: _Ref = _Ref()


@dataclass(frozen=True)
class Seen:
    """What an interval held: the operator's requests by (verb, resource), transactions, and those that wrote."""

    requests: Counter[tuple[str, str]]
    transactions: int
    writes: int

    @property
    def api_writes(self) -> dict[str, int]:
        """Writes to the API server other than the Lease, `verb resource` to how many."""
        return {f"{v} {r}": n for (v, r), n in self.requests.items() if v in WRITES and r != "leases"}

    @property
    def lease_writes(self) -> int:
        """Renewals of the Lease."""
        return sum(n for (v, r), n in self.requests.items() if v in WRITES and r == "leases")

    @property
    def api_reads(self) -> int:
        """Gets, lists and watches."""
        return sum(n for (v, _), n in self.requests.items() if v not in WRITES)


async def look(url: str, audit: Path, seconds: float) -> Seen:
    """Look on for so many seconds, in slices; one into which Postgres' own housekeeping fell is not counted."""
    requests: Counter[tuple[str, str]] = Counter()
    transactions = writes = 0
    left, patience = seconds, 3 * seconds + 60
    async with await psycopg.AsyncConnection.connect(url, autocommit=True, row_factory=tuple_row) as connection:
        while left > 0:
            if patience <= 0:
                raise HarnessError("Postgres' housekeeping fell into nearly every moment: measure later")
            place = size(audit)
            before = await _counts(connection)
            await asyncio.sleep(slice_ := min(left, _SLICE))
            after = await _counts(connection)
            patience -= slice_
            if after[2] == before[2]:
                left -= slice_
                requests += requests_since(audit, place)
                # The second look is itself the one transaction that is not the operator's.
                transactions += after[1] - before[1] - 1
                writes += after[0] - before[0]
    return Seen(requests, transactions, writes)


async def _counts(connection: psycopg.AsyncConnection[tuple[int, int, int]]) -> tuple[int, int, int]:
    row = await (await connection.execute(_COUNTS)).fetchone()
    assert row is not None
    return row


def size(audit: Path) -> int:
    """How far the audit log goes, in bytes."""
    return audit.stat().st_size


def requests_since(audit: Path, start: int) -> Counter[tuple[str, str]]:
    """The requests of the operator's account from there on, by (verb, resource)."""
    if size(audit) < start:
        raise HarnessError("the audit log was begun anew meanwhile: measure again")
    found: Counter[tuple[str, str]] = Counter()
    with audit.open("rb") as log:
        log.seek(start)
        for line in log:
            if not line.endswith(b"\n") or ACCOUNT.encode() not in line:
                continue
            request = msgspec.json.decode(line, type=_Request)
            if request.user.username == ACCOUNT:
                sub = f"/{request.object_ref.subresource}" if request.object_ref.subresource else ""
                found[request.verb, request.object_ref.resource + sub] += 1
    return found


async def idle(there: Place, chosen: argparse.Namespace) -> list[Row]:
    """An interval in which nothing is to be done, with so many DAGs in the cluster, one of which has run."""
    if there.audit is None:
        return [Row("idle", "not measured", "", note="the provider has no audit log")]
    await there.apply("idle", {"kind": "manual", "partitions": {"values": ["a", "b"]}}, 2)
    await there.settled("idle", "Ready")
    await there.ask("idle")
    await there.settled("idle")
    await there.empty()
    await there.fill("idle", chosen.idle_dags, chosen.idle_jobs)
    await there.all_ready("idle", chosen.idle_dags)
    await asyncio.sleep(_SETTLE)  # the last status writes are on their way
    began = time.monotonic()
    with Progress(f"idle for {chosen.idle:.0f} s", lambda: f"{time.monotonic() - began:.0f} s"):
        seen = await look(there.env["HEADRACE_DATABASE_URL"], Path(there.audit), chosen.idle)
    note = f"in {chosen.idle:.0f} s, {chosen.idle_dags} DAGs of {chosen.idle_jobs} jobs"
    writes = seen.api_writes
    told = ", ".join(f"{what}: {count}" for what, count in writes.items())
    minutes = chosen.idle / 60
    return [
        Row("idle: API writes but the Lease", str(sum(writes.values())), "goal 0", note=told or note),
        Row("idle: Postgres transactions that write", str(seen.writes), "goal 0", note=note),
        Row(
            "idle: API reads a minute", f"{seen.api_reads / minutes:.1f}", "", note=f"Lease writes: {seen.lease_writes}"
        ),
        Row("idle: Postgres reads a minute", f"{seen.transactions / minutes:.1f}", "", note="transactions"),
    ]
