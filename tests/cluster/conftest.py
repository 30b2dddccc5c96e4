"""Fixtures of the tests on a cluster; every test in this folder is one.

They run side by side, in namespaces of their own, but for those marked `alone`.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.cluster.kube import Namespace, namespace


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark everything here."""
    for item in items:
        if "tests/cluster" in str(item.path):
            item.add_marker(pytest.mark.cluster)


@pytest.fixture
def ns() -> Iterator[Namespace]:
    """A namespace of the test's own, where the operator may make pods."""
    with namespace() as made:
        yield made
