"""Where Postgres stood when this gateway last looked: one restored since is not believed. `serve` shares it."""

from __future__ import annotations

from headrace.errors import TemporaryError
from headrace.plan.standing import Standing, may_serve


class Restores:
    """What workers and sources are told is of no earlier Postgres than was seen before."""

    def __init__(self) -> None:
        self.seen: Standing | None = None

    def check(self, found: Standing, before: Standing | None) -> None:
        """`found` by a look, before which `before` was seen: another call's may be later than ours.

        TemporaryError while it is an earlier one: it was restored, and until an operator has begun a new incarnation,
        whatever it says may be over.
        """
        if not may_serve(found, before):
            raise TemporaryError("Postgres was restored from a backup: the operator has yet to begin anew")
        if may_serve(found, self.seen):
            self.seen = found
