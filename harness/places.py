"""Where things are kept, in one place, so that nothing else spells a path.

Called by every other module of the harness. Settings come from the environment and are read here only.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from harness.console import HarnessError

ROOT = Path(__file__).resolve().parent.parent
DEFAULT_CLUSTER = "headrace"
_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,18}[a-z0-9])?")


def cache() -> Path:
    """Directory of what is slow to make and safe to delete: binaries, virtual environments, images."""
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) / "headrace"


def chosen_cluster() -> str:
    """The cluster of this shell, as `harness/cluster env` set it, or else the default one."""
    return os.environ.get("HEADRACE_CLUSTER") or DEFAULT_CLUSTER


def clusters() -> Path:
    """Directory that holds one directory for each cluster; outside /root, because Postgres runs as another user."""
    chosen = os.environ.get("HEADRACE_CLUSTERS")
    if chosen:
        return Path(chosen)
    return Path("/var/lib/headrace") if os.geteuid() == 0 else cache() / "clusters"


def cluster(name: str) -> Path:
    """State directory of the cluster `name`; names stay short, since socket paths end at 107 bytes."""
    if not _NAME.fullmatch(name):
        raise HarnessError(f"cluster name {name!r}: use 1 to 20 lower-case letters, digits and inner dashes")
    return clusters() / name
