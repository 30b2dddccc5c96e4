"""What one cluster is made of: its addresses and directories, handed to every daemon's file.

Made by the native provider from what was recorded at the first `up`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from harness.node.network import Link


@dataclass(frozen=True)
class Node:
    """One cluster: state directory, link, directories of binaries by module, password of its database."""

    state: Path
    link: Link
    binaries: dict[str, Path]
    password: str

    @property
    def name(self) -> str:
        """The cluster's name."""
        return self.state.name

    @property
    def pki(self) -> Path:
        """Directory of certificates."""
        return self.state / "pki"

    @property
    def cgroup(self) -> str:
        """Control group below which this cluster's pods live; kubelets that shared one would end each other's pods."""
        return f"/headrace-{self.name}"

    @property
    def database_url(self) -> str:
        """Address of the database, the same from the host and from pods."""
        return f"postgresql://headrace:{self.password}@{self.link.node}:5432/headrace"
