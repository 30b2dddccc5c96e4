"""The alerts: they name metrics and labels that are there, say how bad it is and what to do."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from headrace import metrics
from tests.observe.test_metrics import declared

ROOT = Path(__file__).parents[2]
MONITORING = ROOT / "deploy" / "monitoring"
PAGE = (ROOT / "docs" / "alerts.md").read_text()
HISTOGRAM = ("_bucket", "_count", "_sum")
BY_SCRAPE = {"container", "le"}


def rules() -> list[dict[str, Any]]:
    (group,) = yaml.safe_load((MONITORING / "rules.yaml").read_text())["spec"]["groups"]
    return list(group["rules"])


def named(rule: dict[str, Any]) -> list[tuple[str, set[str]]]:
    """The metrics of its expression, each with the labels that are asked for."""
    found = re.findall(r"\b(headrace_\w+)(?:\{([^}]*)\})?", rule["expr"])
    return [(name, set(re.findall(r"(\w+)\s*(?:=~|!~|!=|=)", labels))) for name, labels in found]


@pytest.mark.parametrize("rule", [pytest.param(rule, id=rule["alert"]) for rule in rules()])
def test_it_goes_by_what_is_told_and_says_what_to_do(rule: dict[str, Any]) -> None:
    told = {name: set(labels) for name, labels in declared()}
    assert named(rule)
    for name, labels in named(rule):
        base = next((name.removesuffix(end) for end in HISTOGRAM if name.endswith(end)), name)
        assert base in told, name
        assert labels <= told[base] | BY_SCRAPE, name
    for group in re.findall(r"by \(([^)]*)\)", rule["expr"]):
        allowed = set().union(*(told[re.sub("_(bucket|count|sum)$", "", n)] for n, _ in named(rule))) | BY_SCRAPE
        assert set(re.split(r",\s*", group)) <= allowed
    assert re.fullmatch(r"[1-9]\d*m", rule["for"])
    assert rule["labels"] == {"severity": rule["labels"]["severity"]}
    assert rule["labels"]["severity"] in {"critical", "warning"}
    assert set(rule["annotations"]) == {"summary", "runbook"}
    assert rule["annotations"]["summary"].endswith(".")
    assert rule["annotations"]["runbook"] == f"docs/alerts.md#{rule['alert'].lower()}"


def test_what_is_counted_is_there_before_the_first() -> None:
    """Of a series that begins with its first event Prometheus sees no increase."""
    told = metrics.exposition(metrics.COMMON, metrics.OPERATOR, metrics.LEADER).decode()
    asked = {found for rule in rules() for found in re.findall(r'headrace_\w+_total\{\w+="\w+"\}', rule["expr"])}
    assert len(asked) > 3
    assert [series for series in sorted(asked) if f"\n{series} " not in told] == []


def test_the_page_tells_of_each() -> None:
    assert re.findall(r"^## (\w+)$", PAGE, re.MULTILINE) == [rule["alert"] for rule in rules()]


def test_monitors_find_the_pods_and_their_ports() -> None:
    for monitor in yaml.safe_load_all((MONITORING / "pod-monitor.yaml").read_text()):
        name = monitor["metadata"]["name"]
        file = {"headrace-operator": "deployment.yaml", "headrace-gateway": "gateway.yaml"}[name]
        found = yaml.safe_load_all((ROOT / "deploy" / "base" / file).read_text())
        (pods,) = [one["spec"]["template"] for one in found if one["kind"] == "Deployment"]
        assert monitor["spec"]["selector"]["matchLabels"].items() <= pods["metadata"]["labels"].items()
        ports = {port["name"] for one in pods["spec"]["containers"] for port in one["ports"]}
        assert {end["port"] for end in monitor["spec"]["podMetricsEndpoints"]} <= ports


def test_the_component_has_every_file_and_the_base_has_none_of_it() -> None:
    component = yaml.safe_load((MONITORING / "kustomization.yaml").read_text())
    assert component["kind"] == "Component"
    files = {path.name for path in MONITORING.glob("*.yaml")} - {"kustomization.yaml"}
    assert set(component["resources"]) == files
    assert "monitoring" not in (ROOT / "deploy" / "base" / "kustomization.yaml").read_text()
