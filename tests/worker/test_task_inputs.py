"""A task as its code sees it: parts in their order, ranges and rows that it is about, and none where there are none."""

from __future__ import annotations

from typing import Any

import pytest

from headrace.worker.task import Part, Task

WHOLE: dict[str, Any] = {"dataset": "d", "version": "v", "partitions": [{"key": "a", "location": "file:///a"}]}
PARTS: dict[str, Any] = {
    "dataset": "d", "version": "v", "uniqueKey": ["id"], "partitions": [
        {"key": "a", "location": None, "parts": [
            {"location": "file:///1"}, {"location": "file:///2", "replaces": [{"id": {"gte": 5}}]}]}],
}  # fmt: skip


def task(**inputs: dict[str, Any]) -> Task:
    document = {
        "org": "o", "dag": "d", "job": "j", "operator": "container", "partitions": ["a"], "config": {}, "params": {},
        "inputs": inputs, "outputs": [{**PARTS, "index": 0, "partitions": [
            {"key": "a", "location": "file:///3", "replaces": [{}]}]}],
    }  # fmt: skip
    return Task({"task": document, "id": "t", "attempt": 1, "token": "x", "timeout_seconds": 1})


def test_parts_come_in_their_order_with_what_they_replace() -> None:
    given = task(rows=PARTS).inputs["rows"]
    assert given.unique_key == ("id",)
    assert given.partitions[0].parts == (Part("file:///1"), Part("file:///2", ({"id": {"gte": 5}},)))
    with pytest.raises(ValueError, match="has parts"):
        _ = given.location
    output = task(rows=PARTS).outputs[0]
    assert (output.location, output.unique_key, output.partitions[0].replaces) == ("file:///3", ("id",), ({},))


def test_ranges_and_rows_are_there_where_the_task_is_about_them() -> None:
    range_ = {"column": "id", "type": "bigint", "from": 5, "to": 9}
    assert task(rows={**PARTS, "range": range_}).inputs["rows"].range == range_
    assert task(rows={**PARTS, "filters": [{"id": {"eq": 5}}]}).inputs["rows"].filters == ({"id": {"eq": 5}},)
    plain = task(rows=WHOLE).inputs["rows"]
    assert (plain.range, plain.filters, plain.unique_key, plain.location) == (None, (), (), "file:///a")


def test_the_whole_document_keeps_all_that_is_said_of_an_input() -> None:
    pages = {"/p": {"partitions": PARTS["partitions"], "next": None}}
    apart = {"dataset": "d", "version": "v", "uniqueKey": ["id"], "where": {"x": 1}, "count": 1, "manifest": "/p"}
    document = task(rows=apart).document
    made = Task({"task": document, "id": "t", "attempt": 1, "token": "x", "timeout_seconds": 1}, pages.get)
    assert made.whole["inputs"]["rows"] == {**PARTS, "where": {"x": 1}}
