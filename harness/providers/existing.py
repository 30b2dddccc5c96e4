"""A cluster that someone else runs: the current kubeconfig, and HEADRACE_DATABASE_URL from the environment.

Picked by choice.py. It is looked at and never changed.
"""

from __future__ import annotations

import os
from pathlib import Path
from urllib.parse import urlsplit

from harness import files, places
from harness.console import HarnessError, run, say
from harness.packages import find
from harness.providers.provider import HEALTHY, Part, Report

_DATABASE = "HEADRACE_DATABASE_URL"


class Existing:
    """The existing provider; the cluster's name only says where that choice is recorded."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._record = places.cluster(name) / "cluster.json"

    def up(self) -> None:
        """Check that the cluster answers, and remember that it is this one."""
        report = self.status()
        for part in report.parts:
            if part.health != HEALTHY:
                raise HarnessError(f"{part.name} of the existing cluster: {part.health}")
        files.write_json(self._record, {"provider": "existing"})
        say(f"cluster {self._name} is the existing one, {report.parts[0].where}; nothing was changed")

    def down(self, *, keep: bool) -> None:
        """Forget the choice; the cluster is not ours to stop."""
        if not keep:
            self._record.unlink(missing_ok=True)
        say("the cluster is someone else's and stays as it is")

    def env(self) -> dict[str, str]:
        """The environment as it is."""
        found = {"HEADRACE_CLUSTER": self._name}
        found |= {name: os.environ[name] for name in ("KUBECONFIG", _DATABASE) if os.environ.get(name)}
        return found

    def status(self) -> Report:
        """Whether the API server answers, and whether a database is named."""
        url = os.environ.get(_DATABASE)
        database = f"{urlsplit(url).hostname}" if url else "-"
        named = Part("database", database, HEALTHY if url else f"{_DATABASE} is not set")
        if find("kubectl") is None:
            return Report((Part("api server", "-", "kubectl is missing on this machine"), named), {})
        context = run(["kubectl", "config", "current-context"], check=False).stdout.strip() or "no context"
        asked = run(["kubectl", "get", "--raw", "/readyz", "--request-timeout=10s"], check=False)
        health = HEALTHY if asked.returncode == 0 else (asked.stderr.strip().splitlines() or ["it does not answer"])[-1]
        return Report((Part("api server", context, health), named), {})

    def load_image(self, archive: Path) -> None:
        """Say what to do instead."""
        raise HarnessError(f"an existing cluster takes images from its registry: push {archive.name} there")

    def kill(self, daemon: str) -> int:
        """Refuse."""
        raise HarnessError(f"the existing cluster's {daemon} is not ours to kill")
