"""What could be adopted, as text, and how it is asked for."""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import UUID

import pytest

from headrace.api.adoption import Adoptable, Adoptables
from headrace.cli.adopt import show_adoptables
from headrace.cli.parser import parser

DAY = datetime(2026, 11, 24, 10, 23, 5, tzinfo=UTC)


def test_orgs_are_listed_with_what_they_have_and_how_to_adopt_one() -> None:
    one = Adoptable(org="air~6c1d5f0e", id=UUID(int=1), since=DAY, dags=2, partitions=1)
    assert list(show_adoptables(Adoptables(namespace="air", orgs=(one,)))) == [
        "air~6c1d5f0e  2026-11-24  2 DAGs  1 partition",
        "To adopt one: headrace adopt ORG -n air",
    ]


def test_none_is_told() -> None:
    assert list(show_adoptables(Adoptables(namespace="air"))) == ["no other namespace air has left an org behind"]


@pytest.mark.parametrize(("given", "org"), [([], None), (["air~6c1d5f0e"], "air~6c1d5f0e")])
def test_an_org_may_be_named(given: list[str], org: str | None) -> None:
    found = parser("headrace").parse_args(["adopt", *given, "-n", "air"])
    assert (found.org, found.namespace, found.act) == (org, "air", "adopt:run")
