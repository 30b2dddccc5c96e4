"""That each statement which writes one of the sixteen tables has its test (`python -m tests.state.table_writers`)."""

from __future__ import annotations

import re
from pathlib import Path

from tests.state import table_writers
from tests.state.test_schema import seed

DOCS = Path(__file__).parents[2] / "docs" / "tables.md"


def test_no_writer_is_left_out() -> None:
    assert table_writers.MISSED.keys() == table_writers.writers().keys()
    here = Path(__file__).parent
    assert [file for file in set(table_writers.MISSED.values()) if not (here / file).exists()] == []


def test_every_table_has_a_writer_and_a_line() -> None:
    written = {table for tables in table_writers.writers().values() for table in tables}
    rows = re.findall(r"^\| `(\w+)` \|", DOCS.read_text(), re.MULTILINE)
    assert (written, set(rows)) == (set(seed()), set(seed()))


def test_the_page_names_what_is_there() -> None:
    text, root = DOCS.read_text(), DOCS.parents[1]
    tests = re.findall(r"`(tests/\S+\.py)`", text)
    assert [path for path in tests if not (root / path).exists()] == []
    named = {name for name in re.findall(r"`([a-z_]+)`", text) if "_" in name} - set(seed()) - {"table_writers"}
    assert named - set(table_writers.queries._statements()) == set()
