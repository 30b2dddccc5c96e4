"""The metrics: names by convention, labels that have an end, a page that tells of each, and HTTP."""

from __future__ import annotations

import re
import socket
from pathlib import Path

import aiohttp
from prometheus_client import CollectorRegistry
from prometheus_client.metrics_core import Metric
from prometheus_client.parser import text_string_to_metric_families

from headrace import health, metrics

ROOT = Path(__file__).parents[2]
REGISTRIES = (metrics.COMMON, metrics.OPERATOR, metrics.LEADER, metrics.GATEWAY)
LABELS = {"version", "statement", "verb", "code", "result", "kind", "route", "method"}
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
