"""The metrics: names by convention, labels that have an end, a page that tells of each, and HTTP."""

from __future__ import annotations

import re
import socket
from pathlib import Path
from typing import cast

import aiohttp
import msgspec
import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.metrics_core import Metric
from prometheus_client.parser import text_string_to_metric_families

from headrace import health, metrics
from headrace.cluster.client import Client
from headrace.cluster.pods import Pod, Pods, start_seconds
from headrace.cluster.watch import Changed

ROOT = Path(__file__).parents[2]
REGISTRIES = (metrics.COMMON, metrics.OPERATOR, metrics.LEADER, metrics.GATEWAY)
LABELS = {"version", "statement", "verb", "code", "result", "kind", "route", "method", "outcome", "state", "resource"}
"""Each has an end that no tenant moves."""


def families(registry: CollectorRegistry) -> list[Metric]:
    return [family for family in registry.collect() if family.name.startswith("headrace_")]


def test_names_are_by_convention_and_in_one_registry() -> None:
    names = [family.name for registry in REGISTRIES for family in families(registry)]
    assert len(names) == len(set(names)) > 10
    for registry in REGISTRIES:
        for family in families(registry):
            assert re.fullmatch(r"headrace(_[a-z]+)+", family.name)
            assert family.documentation.endswith(".")
            assert family.type != "histogram" or family.name.endswith("_seconds")


def test_labels_have_an_end() -> None:
    assert {label for one in declared() for label in one[1]} == LABELS


def declared() -> list[tuple[str, tuple[str, ...]]]:
    found = []
    for value in vars(metrics).values():
        names = getattr(value, "_labelnames", None)
        if names is not None:
            (family,) = value.describe()
            found.append((family.name + ("_total" if family.type == "counter" else ""), tuple(names)))
    return found


def test_the_page_tells_of_each() -> None:
    page = (ROOT / "docs" / "metrics.md").read_text()
    told = dict(re.findall(r"^\| `(headrace_\w+)` \| ([^|]*) \|", page, re.MULTILINE))
    assert told == {name: ", ".join(f"`{label}`" for label in labels) for name, labels in declared()}


async def test_over_http() -> None:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port = one.getsockname()[1]

    async def told() -> bytes:
        return metrics.exposition(*REGISTRIES)

    runner = await health.serve_metrics(port, told)
    try:
        async with aiohttp.ClientSession() as session, session.get(f"http://127.0.0.1:{port}/metrics") as answer:
            assert answer.headers["Content-Type"] == metrics.CONTENT_TYPE
            found = {family.name for family in text_string_to_metric_families(await answer.text())}
        assert {"headrace_build_info", "headrace_leader", "process_resident_memory_bytes"} <= found
    finally:
        await runner.cleanup()


def pod(**state: object) -> Pod:
    """Of 08:00:00, its container in this state."""
    statuses = [{"name": "main", "state": state}] if state else []
    meta = {"name": "p", "namespace": "air", "creationTimestamp": "2026-11-29T08:00:00Z"}
    return msgspec.convert({"metadata": meta, "status": {"containerStatuses": statuses}}, Pod)


@pytest.mark.parametrize(("seen", "seconds"), [
    (pod(), None),
    (pod(waiting={"reason": "ContainerCreating"}), None),
    (pod(running={"startedAt": "2026-11-29T08:00:03Z"}), 3.0),
    (pod(terminated={"exitCode": 0, "startedAt": "2026-11-29T08:00:04Z"}), 4.0),
    (pod(terminated={"exitCode": 0}), None),
    (pod(running={"startedAt": "2026-11-29T07:59:59Z"}), 0.0),
])  # fmt: skip
def test_how_long_a_pod_took_to_begin(seen: Pod, seconds: float | None) -> None:
    assert start_seconds(seen) == seconds


def test_a_pod_is_measured_once_and_only_ours() -> None:
    def count() -> float:
        (family,) = metrics.POD_START.collect()
        return next(sample.value for sample in family.samples if sample.name.endswith("_count"))

    pods = Pods(cast("Client", None), lambda: None, lambda _: None)
    running = pod(running={"startedAt": "2026-11-29T08:00:03Z"})
    before = count()
    pods._note("air", Changed(running))
    assert count() == before
    pods._starting.add(("air", "p"))
    pods._note("air", Changed(pod()))
    assert count() == before
    pods._note("air", Changed(running))
    pods._note("air", Changed(running))
    assert count() == before + 1


def test_the_oldest_watch_of_a_resource_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr(metrics, "_heard", {})
    monkeypatch.setattr(metrics.time, "monotonic", lambda: now)

    def told() -> dict[str, float]:
        metrics.tell_watches()
        (family,) = metrics.WATCH_AGE.collect()
        return {sample.labels["resource"]: sample.value for sample in family.samples}

    metrics.heard("/api/v1/namespaces/air/pods")
    now = 130.0
    metrics.heard("/api/v1/namespaces/sea/pods")
    metrics.heard("/api/v1/namespaces")
    now = 140.0
    assert told() == {"pods": 40.0, "namespaces": 10.0}
    metrics.unheard("/api/v1/namespaces/air/pods")
    assert told() == {"pods": 10.0, "namespaces": 10.0}
