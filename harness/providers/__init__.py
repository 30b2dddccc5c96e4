"""Where a cluster comes from: `native` (built here), `kind` (a container engine), `existing` (someone else's).

Called by `harness.cluster_command`, `harness.checks` and `harness.demo`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from harness import files, places
from harness.console import HarnessError

NAMES = ("native", "kind", "existing")


@dataclass(frozen=True)
class Part:
    """One part of a cluster: its name, its pid or place, `healthy` or what ails it."""

    name: str
    where: str
    health: str


@dataclass(frozen=True)
class Report:
    """The parts of a cluster, and addresses and paths that people look for."""

    parts: tuple[Part, ...]
    addresses: dict[str, str]

    @property
    def healthy(self) -> bool:
        """Whether every part is."""
        return all(part.health == "healthy" for part in self.parts)


class Provider(Protocol):
    """What each provider can do for the cluster it was made for."""

    def up(self) -> None:
        """Bring the cluster up; does nothing when it is."""

    def down(self, *, keep: bool) -> None:
        """Stop what `up` started; with `keep` its data stays for the next `up`."""

    def env(self) -> dict[str, str]:
        """Environment of whoever works with the cluster."""

    def status(self) -> Report:
        """How the parts are and where they answer."""

    def load_image(self, archive: Path) -> None:
        """Give the cluster an image out of a docker archive."""

    def kill(self, daemon: str) -> int:
        """End one daemon with SIGKILL, for tests of faults; its pid."""


def recorded(name: str) -> str | None:
    """The provider that the cluster `name` was made with, if it was."""
    record = files.read_json(places.cluster(name) / "cluster.json")
    return None if record is None else str(record["provider"])


def get(name: str, kind: str | None = None) -> Provider:
    """The provider of the cluster `name`: the one it was made with, else `kind`, else native."""
    made_with = recorded(name)
    if kind is not None and made_with is not None and kind != made_with:
        raise HarnessError(f"cluster {name} was made with the provider {made_with}; `down` it first, or use another --name")
    chosen = made_with or kind or "native"
    if chosen == "native":
        from harness.providers.native import Native

        return Native(name)
    if chosen == "kind":
        from harness.providers.kind import Kind

        return Kind(name)
    from harness.providers.existing import Existing

    return Existing(name)
