"""Contracts of columns, pure: what breaks one, in words; what a plan says of one that is given up, and to whom."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest

from headrace.compile.document import ColumnDocument as Column
from headrace.compile.document import Compiled
from headrace.plan.contracts import breaks, difference
from headrace.plan.explain import explain
from headrace.plan.explanation import Explanation
from headrace.plan.observed import LastColumns, Observed, Reader, Use
from tests.compile.documents import compiled, step

ID, DAY = Column("id", "bigint", False), Column("day", "date")


@pytest.mark.parametrize(("reported", "words"), [
    ((ID, DAY), ""),
    ((DAY, Column("more", "text"), ID), ""),
    ((Column("id", "INT8", False), Column("day", " Date ")), ""),
    ((ID,), "day date is not there"),
    ((Column("id", "text", False), DAY), "id is text, not bigint"),
    ((Column("id", "bigint"), DAY), "id may be null"),
    ((), "the task reported no columns"),
    ((Column("Id", "bigint", False), DAY), "id bigint not null is not there"),
    ((Column("id", "te\nxt\u202e", False),), "day date is not there, id is te?xt?, not bigint"),
])  # fmt: skip
def test_what_breaks_a_contract(reported: tuple[Column, ...], words: str) -> None:
    assert difference((ID, DAY), reported) == words


@pytest.mark.parametrize(("one", "other"), [
    ("int", "INTEGER"), ("varchar(10)", "character varying (10)"), ("decimal(10, 2)", "numeric(10,2)"),
    ("timestamptz", "timestamp with time zone"), ("timestamp(3) with time zone", "TIMESTAMPTZ(3)"),
    ("double", "float8"), ("bool", "boolean"), ("text[]", "TEXT[]"),
])  # fmt: skip
def test_names_of_one_type(one: str, other: str) -> None:
    assert list(breaks([Column("a", one)], [Column("a", other)])) == []


@pytest.mark.parametrize(("one", "other"), [
    ("int", "bigint"), ("varchar(10)", "varchar(20)"), ("varchar", "text"), ("numeric(10,2)", "numeric(10,3)"),
    ("timestamp", "timestamptz"),
])  # fmt: skip
def test_other_types(one: str, other: str) -> None:
    assert [b.change for b in breaks([Column("a", one)], [Column("a", other)])] == ["type"]


def test_many_differences_are_cut() -> None:
    wide = tuple(Column(f"c{n:02}", "int") for n in range(20))
    assert difference(wide, (DAY,)).endswith("c07 int is not there, and 12 more")


def document(*columns: dict[str, Any], published: bool = True) -> Compiled:
    day = {"name": "day", "image": "i", "source": {"kind": "manual", "partitions": {"values": ["a"]}}}
    publish = {"name": "days", "from": {"job": "day"}, "columns": list(columns)}
    return compiled({"jobs": [day, step("clean", "day")], "publish": [publish] if published else []}, dag="flights")


OLD = ({"name": "id", "type": "bigint", "nullable": False}, {"name": "day", "type": "date"})


def change(*new: dict[str, Any], uses: tuple[Use, ...] = (), columns: tuple[LastColumns, ...] = ()) -> Explanation:
    """What going from OLD to these columns says; two jobs of another DAG read."""
    readers = tuple(Reader(dataset="days", job="day", output=0, dag="d", reader=name) for name in ("r1", "r2"))
    wanted = document(*new)
    observed = Observed(org_id=UUID(int=1), compiled=wanted, current_version=UUID(int=2), current_hash="x", uses=uses,
                        base_publish=document(*OLD).document.publish, readers=readers, columns=columns)  # fmt: skip
    return explain(wanted, observed, (), "build first")


def test_what_is_given_up_and_whom_it_hurts() -> None:
    """All that read, with what they are known to use: lineage does not tell what rows are chosen or joined by."""
    uses = (
        Use(dataset="days", column="id", dag="d", job="r1"),
        Use(dataset="days", column="day", dag="flights", job="clean"),
    )
    (told,) = change({"name": "id", "type": "text", "nullable": False}, OLD[1], uses=uses).contracts
    assert [(b.column, b.change, b.old, b.new) for b in told.breaks] == [("id", "type", "bigint", "text")]
    assert [(h.dag, h.job, h.columns) for h in told.hurts] == [
        ("d", "r1", ("id",)), ("d", "r2", ()), ("flights", "clean", ()),
    ]  # fmt: skip
    (told,) = change(OLD[0], uses=uses).contracts
    assert [(b.column, b.change) for b in told.breaks] == [("day", "removed")]
    assert [(h.dag, h.job, h.columns) for h in told.hurts] == [
        ("d", "r1", ()), ("d", "r2", ()), ("flights", "clean", ("day",)),
    ]  # fmt: skip


def test_more_and_stricter_columns_hurt_nobody() -> None:
    told = change(*OLD, {"name": "more", "type": "text"})
    assert (told.contracts, told.notes) == ((), ())
    assert change(OLD[0], {**OLD[1], "nullable": False}).contracts == ()


def test_a_contract_that_is_dropped_is_told() -> None:
    told = change()
    assert [(c.dataset, [b.column for b in c.breaks], len(c.hurts)) for c in told.contracts] == [
        ("days", ["day", "id"], 3)
    ]
    assert [note.partition(",")[0] for note in told.notes] == ["dataset days: its contract is dropped"]


def test_what_is_there_may_not_keep_a_new_contract() -> None:
    last = LastColumns(dataset="days", columns=(ID, DAY))
    (note,) = change(*OLD, {"name": "more", "type": "text"}, columns=(last,)).notes
    assert "what is there does not keep its contract (more text is not there)" in note
