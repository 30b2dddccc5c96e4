"""Cursors: the same value is written the same, in its order; they move over what has no gap, and never back."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.plan.cursors import Range, Reach, advance, before, canonical, joined


def ranges(*bounds: tuple[int | None, int]) -> list[Range]:
    return [Range("n", "bigint", None if a is None else str(a), str(b)) for a, b in bounds]


@pytest.mark.parametrize(("kind", "value", "same"), [
    ("bigint", 7, "7"), ("bigint", "007", "7"), ("bigint", " -7 ", "-7"), ("text", "ab", "ab"), ("text", "", ""),
    ("timestamp", "2026-11-28T10:00:00Z", "2026-11-28T10:00:00.000000Z"),
    ("timestamp", "2026-11-28 12:00:00.5+02:00", "2026-11-28T10:00:00.500000Z"),
    ("timestamp", "2026-11-28", "2026-11-28T00:00:00.000000Z"),
])  # fmt: skip
def test_a_value_has_one_form(kind: str, value: object, same: str) -> None:
    assert canonical(kind, value) == same  # type: ignore[arg-type]


@pytest.mark.parametrize(("kind", "value"), [
    ("bigint", "a"), ("bigint", 2**63), ("bigint", -(2**63) - 1), ("bigint", 1.5), ("bigint", True), ("bigint", None),
    ("timestamp", "yesterday"), ("timestamp", 1764324000), ("text", 5), ("text", "a" * 1025), ("text", "a\0b"),
])  # fmt: skip
def test_what_is_no_value_is_told(kind: str, value: object) -> None:
    with pytest.raises(ValueError, match=r"."):
        canonical(kind, value)  # type: ignore[arg-type]


@given(st.integers(-(2**63), 2**63 - 1), st.integers(-(2**63), 2**63 - 1))
def test_numbers_are_in_their_order(a: int, b: int) -> None:
    assert before("bigint", canonical("bigint", a), canonical("bigint", b)) == (a < b)


MOMENTS = st.builds(
    lambda when, minutes: when.replace(tzinfo=timezone(timedelta(minutes=minutes))),
    st.datetimes(datetime(1, 1, 3), datetime(9999, 12, 29)), st.integers(-1439, 1439),
)  # fmt: skip


@given(MOMENTS, MOMENTS)
def test_moments_are_in_their_order(a: datetime, b: datetime) -> None:
    first, second = (canonical("timestamp", moment.isoformat()) for moment in (a, b))
    assert before("timestamp", first, second) == (a.astimezone(UTC) < b.astimezone(UTC))


@pytest.mark.parametrize(("value", "done", "reached", "ahead"), [
    (None, [(None, 5)], "5", []),
    (None, [(5, 9)], None, [(5, 9)]),
    ("5", [(9, 12), (5, 9)], "12", []),
    ("5", [(9, 12), (20, 30)], "5", [(9, 12), (20, 30)]),
    ("5", [(None, 3)], "5", []),
    ("5", [(3, 7)], "7", []),
    ("5", [(5, 5)], "5", []),
])  # fmt: skip
def test_it_moves_over_what_has_no_gap(
    value: str | None, done: list[tuple[int | None, int]], reached: str | None, ahead: list[tuple[int | None, int]]
) -> None:
    assert advance(Reach(value), ranges(*done)) == Reach(reached, tuple(ranges(*ahead)))


@given(st.permutations(range(12)), st.sets(st.integers(0, 11)))
def test_the_order_of_what_is_done_does_not_matter(order: list[int], lost: set[int]) -> None:
    """Chunks of ten each, done in any order, some never: the cursor is where one is missing, and was never less."""
    reach, last = Reach(), -1
    for chunk in order:
        if chunk in lost:
            continue
        reach = advance(reach, ranges((chunk * 10 or None, chunk * 10 + 10)))
        assert int(reach.value or 0) >= last
        last = int(reach.value or 0)
    missing = min(lost, default=12)
    assert reach.value == (str(missing * 10) if missing else None)
    assert len(reach.ahead) == len({chunk for chunk in range(12) if chunk > missing and chunk not in lost})


def test_ranges_are_one_as_far_as_each_begins_where_the_last_one_ends() -> None:
    first, second, third = ranges((None, 5), (5, 9), (10, 12))
    assert joined([first, second, third]) == 2
    assert joined([second]) == 1
    assert joined([first, None, second]) == 1
    assert joined([]) == 0
    assert joined([first, Range("m", "bigint", "5", "9")]) == 1
