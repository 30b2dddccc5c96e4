"""Column lineage of a report, pure: what is understood, what counts for nothing, and how it is said."""

from __future__ import annotations

import pytest
from msgspec import Raw

from headrace.run.reports import lineage_of
from headrace.run.verdict import read_report
from headrace.state.lineage import MadeFrom


def test_each_pair_counts_once() -> None:
    said = b"""[{"column": "b", "from": [{"input": "i", "column": "x"}, {"input": "i", "column": "x"}]},
               {"column": "a", "output": 1, "from": [{"input": "i", "column": "y\\u0000"}], "more": 1}]"""
    assert lineage_of(Raw(said)) == ((MadeFrom(0, "b", "i", "x"), MadeFrom(1, "a", "i", "y?")), "")
    assert lineage_of(Raw(b"")) == lineage_of(Raw(b"null")) == lineage_of(Raw(b"[]")) == ((), "")


@pytest.mark.parametrize("said", [
    b"1", b'[{"column": "a"}]', b'[{"column": "", "from": []}]',
    b'[{"column": "a", "from": [{"input": "A B", "column": "x"}]}]', b'[{"column": "a", "output": 16, "from": []}]',
])  # fmt: skip
def test_what_is_not_understood_counts_for_nothing(said: bytes) -> None:
    found, wrong = lineage_of(Raw(said))
    assert (found, wrong.startswith("its lineage was not understood and counts for nothing: ")) == ((), True)


def test_too_much_counts_for_nothing() -> None:
    sources = ",".join(f'{{"input": "i", "column": "c{n}"}}' for n in range(256))
    said = ",".join(f'{{"column": "o{n}", "from": [{sources}]}}' for n in range(40))
    assert lineage_of(Raw(f"[{said}]".encode())) == (
        (), "its lineage tells of more than 10000 pairs of columns and counts for nothing",
    )  # fmt: skip


def test_the_rest_of_a_report_counts() -> None:
    found = read_report('{"partitions": [{"key": "a", "rows": 1}], "lineage": {"a": "b"}}')
    assert ([p.rows for p in found.partitions], found.lineage) == ([1], ())
    assert found.note.startswith("its lineage was not understood")
