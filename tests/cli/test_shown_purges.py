"""Purges as text: what would go, what is gone and to be deleted, what stays and why, and what to do next."""

from __future__ import annotations

from datetime import UTC, datetime

from headrace.api.purge import Purged, PurgedGeneration, SupersededOutput
from headrace.cli.purge import show_purge

AT = datetime(2026, 1, 2, 3, 4, 5, 600000, tzinfo=UTC)
GENERATION = PurgedGeneration(
    dataset="rows", location="file:///data/air/rows/1", versions=("0123456789", "abcdef0123"), partitions=12, rows=3400,
    bytes=51200,
)  # fmt: skip
OUTPUT = SupersededOutput(dataset="sums", partition="a", location="file:///data/air/sums/2/a/t-1-x", superseded=AT)


def test_a_dry_run() -> None:
    told = Purged(dag="flights", confirmed=False, listed=AT, generations=(GENERATION,), superseded=(OUTPUT,),
                  kept={"serves": 3, "recent": 1}, more=True)  # fmt: skip
    assert (
        show_purge(told)
        == """\
DAG flights
  1 generation of datasets to retire; nothing is changed without --confirm
    file:///data/air/rows/1
      rows of version 0123456789, abcdef0123: 12 partitions, 3,400 rows, 51,200 bytes
  1 output superseded: delete
    file:///data/air/sums/2/a/t-1-x
  and more: --confirm and --forget these first
  4 generations kept
    3 of the version that serves
    1 of the last versions
Retire and list them: headrace purge flights --confirm
"""
    )


def test_a_purge() -> None:
    gone = PurgedGeneration(dataset="d.join.0", location="file:///data/air/d.join.0/3", retired=AT)
    told = Purged(dag="flights", confirmed=True, listed=AT, generations=(gone,), kept={"serves": 3})
    assert (
        show_purge(told)
        == """\
DAG flights
  1 generation retired: delete what lies below
    file:///data/air/d.join.0/3
      d.join.0: 0 partitions
  3 generations kept
    3 of the version that serves
Once they are deleted: headrace purge flights --forget 2026-01-02T03:04:05.600000+00:00
"""
    )


def test_nothing_to_do_and_what_was_forgotten() -> None:
    nothing = Purged(dag="flights", confirmed=False, listed=AT, kept={"serves": 3})
    assert show_purge(nothing).splitlines()[1] == "  nothing to retire or to delete"
    assert (
        show_purge(Purged(dag="flights", confirmed=True, listed=AT, forgotten=2))
        == "DAG flights: 2 locations forgotten\n"
    )
