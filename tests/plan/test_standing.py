"""Whether Postgres is what was known of it, or was restored since."""

from __future__ import annotations

from uuid import UUID

import pytest

from headrace.plan.standing import Standing, may_serve, restored

ONE, OTHER = UUID(int=1), UUID(int=2)


def at(incarnation: UUID, epoch: int, mark: int) -> Standing:
    return Standing(incarnation=incarnation, epoch=epoch, mark=mark)


@pytest.mark.parametrize(
    ("found", "is_restored", "serves"),
    [
        pytest.param(at(ONE, 5, 9), False, True, id="as it was"),
        pytest.param(at(ONE, 6, 9), False, True, id="another leader"),
        pytest.param(at(ONE, 5, 10), False, True, id="something changed"),
        pytest.param(at(ONE, 5, 8), True, False, id="an earlier mark of the same leader"),
        pytest.param(at(ONE, 4, 9), True, False, id="an earlier leader"),
        pytest.param(at(ONE, 6, 8), True, False, id="restored, and led again by who did not look at the Lease"),
        pytest.param(at(OTHER, 105, 10), True, True, id="a new incarnation"),
        pytest.param(at(OTHER, 4, 99), True, False, id="an incarnation of before"),
    ],
)
def test_what_postgres_says_against_what_is_known(found: Standing, is_restored: bool, serves: bool) -> None:
    assert restored(found, at(ONE, 5, 9)) is is_restored
    assert may_serve(found, at(ONE, 5, 9)) is serves


def test_who_knows_nothing_takes_postgres_as_it_is() -> None:
    assert not restored(at(ONE, 0, 0), None)
    assert may_serve(at(ONE, 0, 0), None)
