"""What the operator and the gateway tell Prometheus, in one place: names, labels and what each means (docs/metrics.md).

Nothing here tells of a tenant: no label has a namespace, a DAG, a job or a user, so that numbers may be read without
identity and are few however many tenants there are. Measured where it happens; nothing is written to tell it.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from typing import Final

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
_SHORT: Final = (0.001, 0.005, 0.025, 0.1, 0.5, 2.5, 10.0)
_LONG: Final = (0.01, 0.05, 0.25, 1.0, 5.0, 30.0, 120.0)

disable_created_metrics()  # type: ignore[no-untyped-call]

COMMON: Final = CollectorRegistry()
"""Of both programs."""
OPERATOR: Final = CollectorRegistry()
"""Of every operator, the one that leads and those that wait."""
LEADER: Final = CollectorRegistry()
"""Of the one that leads alone: what others would tell is not so."""
GATEWAY: Final = CollectorRegistry()

ProcessCollector(registry=COMMON)
BUILD: Final = Gauge("headrace_build_info", "1, with the version that runs.", ["version"], registry=COMMON)
SQL: Final = Histogram(
    "headrace_sql_duration_seconds", "Statements, until all rows are there.", ["statement"], registry=COMMON,
    buckets=_SHORT,
)  # fmt: skip
API: Final = Histogram(
    "headrace_api_request_duration_seconds",
    "Requests to the API server, until the head of the answer is there; code `error`: there was none.",
    ["verb", "code"], registry=COMMON, buckets=_SHORT,
)  # fmt: skip

LEADS: Final = Gauge("headrace_leader", "Whether this operator leads.", registry=OPERATOR)
EPOCH: Final = Gauge("headrace_leader_epoch", "The epoch that it leads by.", registry=LEADER)
RECONCILES: Final = Counter(
    "headrace_reconciles", "Reconciles of DAGs by result: success, temporary, permanent, defect.", ["result"],
    registry=LEADER,
)  # fmt: skip
RECONCILE: Final = Histogram(
    "headrace_reconcile_duration_seconds", "Reconciles of DAGs, whatever came of them.", registry=LEADER, buckets=_LONG
)
RECONCILE_QUEUE: Final = Gauge("headrace_reconcile_queue_dags", "DAGs that wait for a reconcile.", registry=LEADER)
DISPATCH_AGE: Final = Gauge(
    "headrace_dispatch_age_seconds", "Since the last turn of the dispatch loop that went well.", registry=LEADER
)
PASS_AGE: Final = Gauge("headrace_full_pass_age_seconds", "Since the last full pass that went well.", registry=LEADER)
WAITING: Final = Gauge(
    "headrace_tasks_waiting",
    "Tasks that wait, by kind: live, low (builds, ranged runs, backfills), retry. 10000 is that many or more.",
    ["kind"], registry=LEADER,
)  # fmt: skip
WAITING_AGE: Final = Gauge(
    "headrace_tasks_waiting_age_seconds", "Since the oldest task of the kind that waits was made.", ["kind"],
    registry=LEADER,
)  # fmt: skip
NOTICES: Final = Counter(
    "headrace_notices", "News for receivers (settings.notify) by result: sent, failed (a try), dropped (after a day).",
    ["result"], registry=LEADER,
)  # fmt: skip
RUNNING: Final = Gauge("headrace_tasks_running", "Tasks that run. 10000 is that many or more.", registry=LEADER)

REQUESTS: Final = Histogram(
    "headrace_gateway_request_duration_seconds",
    "Requests by the route's path as in /openapi.json (`other`: none of them) and code (`gone`: the client went away).",
    ["route", "method", "code"], registry=GATEWAY, buckets=_LONG,
)  # fmt: skip

try:
    BUILD.labels(version("headrace")).set(1)
except PackageNotFoundError:
    BUILD.labels("unknown").set(1)


def exposition(*registries: CollectorRegistry) -> bytes:
    """All metrics of these in the text format; no name is in two of them."""
    return b"".join(generate_latest(registry) for registry in registries)


@contextmanager
def timed(statement: str) -> Iterator[None]:
    """Measure a statement of SQL by its name, also one that fails."""
    began = time.perf_counter()
    try:
        yield
    finally:
        SQL.labels(statement).observe(time.perf_counter() - began)
