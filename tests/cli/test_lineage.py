"""`headrace lineage` as text and as a picture's source: trees both ways, what is known already, names that steer."""

from __future__ import annotations

import pytest

from headrace.api.datasets import ColumnEdge, ColumnLineage
from headrace.cli.lineage import mermaid, show_lineage
from headrace.cli.parser import parser


def edge(source: str, target: str, job: str = "flights/sum", *, declared: bool = True) -> ColumnEdge:
    (of, _, column), (to, _, made), (dag, _, name) = source.rpartition("."), target.rpartition("."), job.partition("/")
    return ColumnEdge(
        dataset=to, column=made, from_dataset=of, from_column=column, dag=dag, job=name, declared=declared
    )


UP = (edge("clean.late", "totals.total"), edge("raw.arr", "clean.late", "flights/clean"),
      edge("raw.dep", "clean.late", "flights/clean", declared=False))  # fmt: skip
DOWN = (edge("totals.total", "shown.total", "reports/report"),)
TOLD = ColumnLineage(dataset="totals", column="total", upstream=UP, downstream=DOWN)


def test_a_tree_each_way() -> None:
    assert (
        show_lineage(TOLD)
        == """\
totals.total
  made from
  └─ clean.late  flights/sum
     ├─ raw.arr  flights/clean
     └─ raw.dep  flights/clean, as its tasks say
  used for
  └─ shown.total  reports/report
"""
    )


def test_what_was_shown_is_marked() -> None:
    """A diamond: what is above is not told again, so that a wide graph stays a page."""
    up = (edge("a.x", "d.x"), edge("b.x", "d.x"), edge("r.x", "a.x"), edge("a.x", "b.x"))
    assert show_lineage(ColumnLineage(dataset="d", column="x", upstream=up)).splitlines()[2:] == [
        "  ├─ a.x  flights/sum", "  │  └─ r.x  flights/sum", "  └─ b.x  flights/sum",
        "     └─ a.x (above)  flights/sum",
    ]  # fmt: skip


def test_long_chains_and_circles_end() -> None:
    chain = tuple(edge(f"d{n + 1}.x", f"d{n}.x") for n in range(1500))
    assert len(show_lineage(ColumnLineage(dataset="d0", column="x", upstream=chain)).splitlines()) == 1502
    circle = (edge("b.x", "a.x"), edge("a.x", "b.x"))
    assert "a.x (above)" in show_lineage(ColumnLineage(dataset="a", column="x", upstream=circle))


def test_every_column_and_none() -> None:
    told = ColumnLineage(dataset="totals", upstream=(*UP, edge("clean.day", "totals.day")), downstream=DOWN)
    assert [line for line in show_lineage(told).splitlines() if not line.startswith(" ")] == [
        "totals.day",
        "totals.total",
    ]
    assert "nobody has said" in show_lineage(ColumnLineage(dataset="totals", column="x"))
    assert show_lineage(ColumnLineage(dataset="t", upstream=UP, cut=True)).endswith("ask for one column, or for JSON\n")


def test_a_picture() -> None:
    assert (
        mermaid(ColumnLineage(dataset="totals", column="total", upstream=UP[:1], downstream=DOWN))
        == """\
flowchart LR
  subgraph d0["clean"]
    c0["late"]
  end
  subgraph d1["shown"]
    c1["total"]
  end
  subgraph d2["totals"]
    c2["total"]
  end
  c0 -->|flights/sum| c2
  c2 -->|reports/report| c1
"""
    )


def test_names_steer_nothing() -> None:
    evil = (edge('a.x"]; click c0 "javascript:1"\x1b[2J', "b.y"),)
    told = ColumnLineage(dataset="b", column="y", upstream=evil)
    assert "\x1b" not in show_lineage(told)
    assert '"javascript' not in mermaid(told)


@pytest.mark.parametrize(("text", "meant"), [
    ("totals", ("totals", None)), ("totals.total", ("totals", "total")), ("totals.a.b", ("totals", "a.b")),
    ("flights.clean.0", ("flights.clean.0", None)), ("flights.cl-ean.0.late", ("flights.cl-ean.0", "late")),
    ("totals.Größe 1", ("totals", "Größe 1")),
])  # fmt: skip
def test_addresses(text: str, meant: tuple[str, str | None]) -> None:
    assert parser("headrace").parse_args(["lineage", text, "-o", "mermaid"]).column == meant


@pytest.mark.parametrize("arguments", [["Totals"], ["totals."], [""], ["totals", "-o", "xml"]])
def test_no_addresses(arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        parser("headrace").parse_args(["lineage", *arguments])
    assert caught.value.code == 64
