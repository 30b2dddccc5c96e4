"""How many workers a job should have. Pure; `run.workers` gathers the counts and makes the pods.

Workers are only added here: one that has nothing to do ends by itself, and none is ended while it runs something.
"""

from __future__ import annotations

from typing import Final

_LONGEST: Final = 300.0
_FIRST: Final = 2.0


def missing(*, waiting: int, running: int, most: int, batch: int, keeps_one: bool, workers: int) -> int:
    """How many workers to add to `workers`.

    `waiting` and `running`: tasks; `most`: of them at once; `batch`: that one worker holds; `keeps_one`: also when
    there is nothing to do.
    """
    at_once = min(waiting + running, most)
    wanted = -(-at_once // batch)
    return max(0, max(wanted, int(keeps_one)) - workers)


def pause(fruitless: int) -> float:
    """Seconds to wait after the last of so many workers in a row that ended without ever having claimed."""
    return 0.0 if fruitless == 0 else min(_LONGEST, _FIRST * 2.0 ** (fruitless - 1))
