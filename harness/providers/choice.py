"""Picks the provider of a cluster: the one it was made with, else the one asked for, else native.

Called by the command line, by the checks and by the demo.
"""

from __future__ import annotations

from collections.abc import Callable

from harness import files, places
from harness.console import HarnessError
from harness.providers.existing import Existing
from harness.providers.kind import Kind
from harness.providers.native import Native
from harness.providers.provider import Provider

PROVIDERS: dict[str, Callable[[str], Provider]] = {"native": Native, "kind": Kind, "existing": Existing}
NAMES = tuple(PROVIDERS)


def recorded(name: str) -> str | None:
    """The provider that the cluster `name` was made with, if it was."""
    record = files.read_json(places.cluster(name) / "cluster.json")
    return None if record is None else str(record["provider"])


def get(name: str, wanted: str | None = None) -> Provider:
    """The provider of the cluster `name`."""
    made_with = recorded(name)
    if wanted is not None and made_with is not None and wanted != made_with:
        raise HarnessError(f"cluster {name} was made with --provider {made_with}: `down` it, or use another --name")
    return PROVIDERS[made_with or wanted or "native"](name)
