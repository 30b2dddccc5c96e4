"""Which tests go to which of several processes, where all of a file would be too much. Called by conftest.py."""

from __future__ import annotations

from xdist.scheduler import LoadScopeScheduling


class Apart(LoadScopeScheduling):
    """Hands out test by test; those of one file together where they share what takes long to make."""

    SHARING = ("tests/cluster/test_flights.py", "tests/cluster/test_pages.py", "tests/harness/test_cluster.py")

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.split("::", maxsplit=1)[0]
        return file if file in self.SHARING else nodeid
