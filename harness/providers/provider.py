"""What every provider offers, and the words in which it reports. Implemented by native.py, kind.py and existing.py."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

HEALTHY = "healthy"


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
        return all(part.health == HEALTHY for part in self.parts)


class Provider(Protocol):
    """What each provider can do for the cluster it was made for. All raise HarnessError for people to read."""

    def up(self) -> None:
        """Bring the cluster up; does nothing when it is."""

    def down(self, *, keep: bool) -> None:
        """Stop what `up` started; with `keep` its data stays for the next `up`."""

    def env(self) -> dict[str, str]:
        """Environment of whoever works with the cluster; `$PATH` stands for the caller's own."""

    def status(self) -> Report:
        """How the parts are and where they answer."""

    def load_image(self, archive: Path) -> None:
        """Give the cluster the images of a docker archive, unless it has them."""

    def kill(self, daemon: str) -> int:
        """End one daemon with SIGKILL, for tests of faults; its pid."""
