"""The generated definitions: that the files are what the types say, and what the API server cannot check for us."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from headrace.api.columns import COLUMNS
from headrace.api.crd import crds, render

CRDS = Path(__file__).parents[2] / "crds"
LONGEST = {"Dataset": 14, "Version": 8, "Status": 9, "Rows": 8, "Updated": 4, "Last": 4, "Age": 4}


def test_the_files_are_the_generated_ones() -> None:
    for name, document in crds().items():
        again = "run: PYTHONPATH=operator python -m headrace.api.crd crds/"
        assert (CRDS / name).read_text() == render(document), again


def nodes(node: Any, path: str) -> Iterator[tuple[str, dict[str, Any]]]:
    if isinstance(node, dict) and ("type" in node or "x-kubernetes-preserve-unknown-fields" in node):
        yield path, node
    if isinstance(node, dict):
        for name, child in node.get("properties", {}).items():
            yield from nodes(child, f"{path}.{name}")
        for key in ("items", "additionalProperties"):
            yield from nodes(node.get(key), f"{path}[]")


@pytest.mark.parametrize("file", crds())
def test_every_list_map_and_string_is_bounded_and_every_field_described(file: str) -> None:
    version: Any = crds()[file]
    properties = version["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]
    for path, node in (*nodes(properties["spec"], "spec"), *nodes(properties["status"], "status")):
        bounded = {"array": "maxItems", "string": "maxLength"}.get(node.get("type", ""))
        if bounded and "enum" not in node and node.get("format") != "date-time":
            assert bounded in node, path
        if node.get("type") == "object" and "properties" not in node:
            assert "maxProperties" in node, path
        assert "description" in node or path.endswith("[]"), path
        if path != "status":
            assert "default" not in node, path


@pytest.mark.parametrize("kind", COLUMNS)
def test_columns_fit_a_terminal(kind: str) -> None:
    shown = [column for column in COLUMNS[kind] if not column.wide]
    width = sum(max(len(column.name), LONGEST.get(column.name, 0)) + 3 for column in shown)
    assert len("flights.month") + 3 + width <= 80 + 3
