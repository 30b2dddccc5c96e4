"""Filters of rows and partitions: every partition that has such rows is among those found, and no other."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.api.inputs import PartitionBy
from headrace.api.invalidations import Bound, Filter, Invalidation, checked, filter_of
from headrace.api.runs import NotUnderstood
from headrace.plan.filters import affected

NUMBERS = PartitionBy(column="n", every=1000)
MONTHS = PartitionBy(column="at", format="%Y-%m")
KEYS = ["0", "1000", "2000", "3000"]
YEAR = [f"2013-{month:02}" for month in range(1, 13)]


@pytest.mark.parametrize(("bound", "keys"), [
    (Bound(gte=995, lte=1005), ["0", "1000"]),
    (Bound(gte=1000, lt=2000), ["1000"]),
    (Bound(gt=1999), ["2000", "3000"]),
    (Bound(lt=1000), ["0"]),
    (Bound(lte=1000), ["0", "1000"]),
    (Bound(eq=2500), ["2000"]),
    (Bound(in_=(1, 3999, 4000)), ["0", "3000"]),
    (Bound(eq=9999), []),
])  # fmt: skip
def test_numbers(bound: Bound, keys: list[str]) -> None:
    found = affected(NUMBERS, {"n": bound}, KEYS)
    # Whole numbers after 1999 begin in the next partition; the filter may be of others.
    assert found == (["1000", *keys] if bound.gt is not None else keys, "")


@pytest.mark.parametrize(("bound", "keys"), [
    (Bound(gte="2013-02-28", lte="2013-03-01"), ["2013-02", "2013-03"]),
    (Bound(gte="2013-02-28", lt="2013-03-01"), ["2013-02"]),
    (Bound(eq="2013-12-31T23:59:59.999999"), ["2013-12"]),
    (Bound(eq="2013-01-01T00:30:00+01:00"), []),
    (Bound(lt="2013-01-01T00:00:00.000001"), ["2013-01"]),
])  # fmt: skip
def test_times(bound: Bound, keys: list[str]) -> None:
    assert affected(MONTHS, {"at": bound, "carrier": Bound(eq="AA")}, YEAR) == (keys, "")


@pytest.mark.parametrize(("by", "rows", "why"), [
    (None, {"n": Bound(eq=5)}, "partitionBy of the job that makes it does not say"),
    (NUMBERS, {"m": Bound(eq=5)}, "the filter says nothing of n"),
    (NUMBERS, {"n": Bound(eq="5")}, "the filter's n is not of the kind"),
    (NUMBERS, {"n": Bound(gte=True)}, "the filter's n is not of the kind"),
    (MONTHS, {"at": Bound(eq=5)}, "the filter's at is not of the kind"),
    (MONTHS, {"at": Bound(eq="soon")}, "the filter's at is not of the kind"),
])  # fmt: skip
def test_what_cannot_be_mapped_is_widened_and_that_is_said(by: PartitionBy | None, rows: Filter, why: str) -> None:
    keys = YEAR if by is MONTHS else KEYS
    found, words = affected(by, rows, keys)
    assert found == keys
    assert words.startswith(why)


def test_a_partition_of_another_name_is_among_those_found() -> None:
    assert affected(NUMBERS, {"n": Bound(eq=5)}, ["*", "0", "1", "01000", "1000"])[0] == ["*", "0", "1", "01000"]
    assert affected(MONTHS, {"at": Bound(eq="2013-05-05")}, ["2013-5", "x", "2013-05"])[0] == ["2013-5", "x", "2013-05"]


BOUNDS = st.builds(
    Bound, gte=st.none() | st.integers(-50, 5000), gt=st.none() | st.integers(-50, 5000),
    lte=st.none() | st.integers(-50, 5000), lt=st.none() | st.integers(-50, 5000),
)  # fmt: skip


@given(BOUNDS, st.integers(0, 3999))
def test_the_partition_of_a_row_is_found(bound: Bound, value: int) -> None:
    within = all((
        bound.gte is None or value >= bound.gte, bound.gt is None or value > bound.gt,  # type: ignore[operator]
        bound.lte is None or value <= bound.lte, bound.lt is None or value < bound.lt,  # type: ignore[operator]
    ))  # fmt: skip
    if within:
        assert str(value // 1000 * 1000) in affected(NUMBERS, {"n": bound}, KEYS)[0]


@given(st.datetimes(datetime(2013, 1, 1), datetime(2013, 12, 31)), st.integers(0, 10**7),
       st.sampled_from(["%Y", "%Y-%m", "%Y-%m-%d", "%Y-%j", "%Y-%m-%dT%H", "%Y%m%d%H%M"]))  # fmt: skip
def test_the_partition_of_a_moment_is_found_and_one_far_off_is_not(start: datetime, seconds: int, pattern: str) -> None:
    end = start + timedelta(seconds=seconds)
    far = (end + timedelta(days=800)).strftime(pattern)
    keys = [start.strftime(pattern), end.strftime(pattern), far]
    rows: Filter = {"at": Bound(gte=start.isoformat(), lte=end.isoformat())}
    assert affected(PartitionBy(column="at", format=pattern), rows, keys) == (keys[:2], "")


@pytest.mark.parametrize(("terms", "rows"), [
    (["block_number>=995", "block_number <= 1005"], {"block_number": Bound(gte=995, lte=1005)}),
    (["carrier in AA,UA", "n=5"], {"carrier": Bound(in_=("AA", "UA")), "n": Bound(eq=5)}),
    (["at<2013-01-01", "at>'2012-12-31'"], {"at": Bound(lt="2013-01-01", gt="2012-12-31")}),
    (["x=1.5", "y=true", 'z="5"'], {"x": Bound(eq=1.5), "y": Bound(eq=True), "z": Bound(eq="5")}),
])  # fmt: skip
def test_terms_make_a_filter(terms: list[str], rows: Filter) -> None:
    assert filter_of(terms) == rows


@pytest.mark.parametrize("terms", [["n"], ["n>"], [">5"], ["n!=5"], ["a b>5"], ["n>5", "n>6"], ["n like 5"]])
def test_what_is_no_filter_is_told(terms: list[str]) -> None:
    with pytest.raises(NotUnderstood):
        filter_of(terms)


@pytest.mark.parametrize("wanted", [Invalidation(), Invalidation(filter={"n": Bound()})])
def test_an_invalidation_says_what_is_wrong(wanted: Invalidation) -> None:
    with pytest.raises(NotUnderstood):
        checked(wanted)
