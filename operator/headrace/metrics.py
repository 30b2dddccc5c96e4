"""What the operator and the gateway tell Prometheus, in one place: names, labels and what each means (docs/metrics.md).

Nothing here tells of a tenant: no label has a namespace, a DAG, a job or a user, so that numbers may be read without
identity and are few however many tenants there are. Measured where it happens; nothing is written to tell it.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
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
_WORK: Final = (1.0, 5.0, 15.0, 60.0, 300.0, 1800.0, 7200.0, 43200.0)
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

ATTEMPTS: Final = Counter(
    "headrace_attempts",
    "Attempts that ended, by outcome: completed, failed (for good), retried, lost (by infrastructure, to be tried"
    " again), postponed.",
    ["outcome"], registry=COMMON,
)  # fmt: skip
WAITED: Final = Histogram(
    "headrace_task_waiting_seconds", "Tasks, from when they were made until their first attempt began.",
    registry=COMMON, buckets=_WORK,
)  # fmt: skip
RAN: Final = Histogram(
    "headrace_task_running_seconds", "Attempts that completed, from their claim until that was accepted.",
    registry=COMMON, buckets=_WORK,
)  # fmt: skip
ROLLOUTS: Final = Counter(
    "headrace_rollouts", "Rollouts that ended, by state: done, failed, superseded, canceled.", ["state"],
    registry=COMMON,
)  # fmt: skip
ROLLOUT: Final = Histogram(
    "headrace_rollout_duration_seconds", "Rollouts that built something, from their start until it served.",
    registry=COMMON, buckets=_WORK,
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
POD_START: Final = Histogram(
    "headrace_pod_start_seconds",
    "Pods that this operator made, from their creation until a first container began, as the cluster says.",
    registry=LEADER, buckets=(1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0),
)  # fmt: skip
WATCH_AGE: Final = Gauge(
    "headrace_watch_age_seconds",
    "Since anything, a bookmark at least, was last heard of the watch that has heard nothing for longest; of those of"
    " kopf it is not known.",
    ["resource"], registry=LEADER,
)  # fmt: skip
NOTICES: Final = Counter(
    "headrace_notices", "News for receivers (settings.notify) by result: sent, failed (a try), dropped (after a day).",
    ["result"], registry=LEADER,
)  # fmt: skip
UNDER_WAY: Final = Gauge(
    "headrace_rollouts_under_way", "Rollouts under way, by state: building, ready.", ["state"], registry=LEADER
)
RUNNING: Final = Gauge("headrace_tasks_running", "Tasks that run. 10000 is that many or more.", registry=LEADER)

REQUESTS: Final = Histogram(
    "headrace_gateway_request_duration_seconds",
    "Requests by the route's path as in /openapi.json (`other`: none of them) and code (`gone`: the client went away).",
    ["route", "method", "code"], registry=GATEWAY, buckets=_LONG,
)  # fmt: skip

# There from the start: of a series that begins with its first event Prometheus sees no increase.
for _counter, _values in (
    (RECONCILES, ("success", "temporary", "permanent", "defect")),
    (ATTEMPTS, ("completed", "failed", "retried", "lost", "postponed")),
    (ROLLOUTS, ("done", "failed", "superseded", "canceled")),
    (NOTICES, ("sent", "failed", "dropped")),
):
    for _value in _values:
        _counter.labels(_value)

try:
    BUILD.labels(version("headrace")).set(1)
except PackageNotFoundError:
    BUILD.labels("unknown").set(1)


def exposition(*registries: CollectorRegistry) -> bytes:
    """All metrics of these in the text format; no name is in two of them."""
    return b"".join(generate_latest(registry) for registry in registries)


def tell_attempts(outcomes: Iterable[str], ran: Iterable[float] = ()) -> None:
    """Attempts have ended; those that completed after so many seconds."""
    for outcome in outcomes:
        ATTEMPTS.labels(outcome).inc()
    for seconds in ran:
        RAN.observe(seconds)


def tell_waited(waited: Iterable[float]) -> None:
    """First attempts have begun, after so many seconds."""
    for seconds in waited:
        WAITED.observe(seconds)


def tell_rollout(state: str, took: float | None = None) -> None:
    """A rollout has ended; after how many seconds, if it built something."""
    ROLLOUTS.labels(state).inc()
    if state == "done" and took is not None:
        ROLLOUT.observe(took)


_heard: dict[str, tuple[str, float]] = {}


def heard(path: str) -> None:
    """The watch of this path, whose last word is the resource, has heard of it."""
    _heard[path] = (path.rpartition("/")[2], time.monotonic())


def unheard(path: str) -> None:
    """It is over, or not allowed: nothing is to be heard."""
    _heard.pop(path, None)


def tell_watches() -> None:
    """Say for how long nothing was heard, of each resource the longest."""
    now, ages = time.monotonic(), dict[str, float]()
    for resource, at in _heard.values():
        ages[resource] = max(ages.get(resource, 0.0), now - at)
    WATCH_AGE.clear()
    for resource, age in ages.items():
        WATCH_AGE.labels(resource).set(age)


@contextmanager
def timed(statement: str) -> Iterator[None]:
    """Measure a statement of SQL by its name, also one that fails."""
    began = time.perf_counter()
    try:
        yield
    finally:
        SQL.labels(statement).observe(time.perf_counter() - began)
